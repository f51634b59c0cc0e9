// SPDX-License-Identifier: MIT OR Apache-2.0
//! SHA-256 and SHA-384 (FIPS 180-4) as bare compression functions, and HMAC (RFC 2104) over a message whose length is
//! secret.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use sha2::block_api::{compress256, compress512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A hash function seen as its compression function.
pub(super) trait BlockHash: Clone + Send + Sync + 'static {
    /// Bytes of one block.
    const BLOCK: usize;
    /// Bytes of the message length at the end of the last block.
    const LENGTH: usize;
    /// Bytes of the result.
    const OUTPUT: usize;

    /// The state before the first block.
    fn initial() -> Self;

    /// One call of the compression function; `block` has [`Self::BLOCK`] bytes.
    fn compress(&mut self, block: &[u8]);

    /// Becomes `other` if `choice` is set, in constant time.
    fn replace_if(&mut self, other: &Self, choice: Choice);

    /// The state as bytes, [`Self::OUTPUT`] of them.
    fn output(&self) -> Vec<u8>;
}

macro_rules! block_hash {
    ($(#[$doc:meta])* $name:ident, $word:ty, $block:literal, $output:literal, $compress:ident, $initial:expr) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub(super) struct $name([$word; 8]);

        impl BlockHash for $name {
            const BLOCK: usize = $block;
            const LENGTH: usize = $block / 8;
            const OUTPUT: usize = $output;

            fn initial() -> Self {
                Self($initial)
            }

            fn compress(&mut self, block: &[u8]) {
                let (blocks, _) = block.as_chunks::<$block>();
                $compress(&mut self.0, blocks);
            }

            fn replace_if(&mut self, other: &Self, choice: Choice) {
                for (word, new) in self.0.iter_mut().zip(&other.0) {
                    word.conditional_assign(new, choice);
                }
            }

            fn output(&self) -> Vec<u8> {
                let words = self.0.iter().flat_map(|word| word.to_be_bytes());
                words.take($output).collect()
            }
        }
    };
}

block_hash!(
    /// SHA-256, FIPS 180-4 §5.3.3.
    Sha256State, u32, 64, 32, compress256,
    [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
);

block_hash!(
    /// SHA-384, FIPS 180-4 §5.3.4.
    Sha384State, u64, 128, 48, compress512,
    [
        0xcbbb_9d5d_c105_9ed8, 0x629a_292a_367c_d507, 0x9159_015a_3070_dd17, 0x152f_ecd8_f70e_5939,
        0x6733_2667_ffc0_0b31, 0x8eb4_4a87_6858_1511, 0xdb0c_2e0d_64f9_8fa7, 0x47b5_481d_befa_4fa4,
    ]
);

/// HMAC whose work does not depend on how much of its input counts.
#[derive(Clone)]
pub(super) struct SecretLengthHmac<H: BlockHash> {
    inner: H,
    outer: H,
}

impl<H: BlockHash> fmt::Debug for SecretLengthHmac<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretLengthHmac(..)")
    }
}

impl<H: BlockHash> SecretLengthHmac<H> {
    /// With a key of at most one block, as TLS has them.
    pub(super) fn new(key: &[u8]) -> Self {
        let keyed = |pad: u8| {
            let mut block = Zeroizing::new(vec![pad; H::BLOCK]);
            block
                .iter_mut()
                .zip(key)
                .for_each(|(byte, key)| *byte ^= key);
            let mut state = H::initial();
            state.compress(&block);
            state
        };
        Self {
            inner: keyed(0x36),
            outer: keyed(0x5c),
        }
    }

    /// HMAC of the first `len` bytes of `message`, `least <= len <= message.len()`.
    ///
    /// Only `len` and the content are secret. The number of compression calls and every address touched follow from
    /// `message.len()` and `least` alone: all blocks that the longest message would have are compressed, the end mark
    /// and the length are mixed in by masks, and the state after the block that `len` makes the last is kept by a mask.
    pub(super) fn authenticate(&self, message: &[u8], len: usize, least: usize) -> Vec<u8> {
        let last_block = |len: usize| (len + H::LENGTH) / H::BLOCK;
        let (secret, last) = (len as u64, last_block(len) as u64);
        // The block of the key counts too.
        let bits = 8 * (H::BLOCK as u128 + len as u128);
        let bits = bits.to_be_bytes();
        let bits = &bits[bits.len() - H::LENGTH..];

        let mut state = self.inner.clone();
        let mut result = self.inner.clone();
        let mut block = Zeroizing::new(vec![0; H::BLOCK]);
        for index in 0..=last_block(message.len()) {
            let start = index * H::BLOCK;
            if let Some(whole) = message.get(start..start + H::BLOCK)
                && start + H::BLOCK <= least
            {
                state.compress(whole);
                continue;
            }
            let is_last = (index as u64).ct_eq(&last);
            for (offset, byte) in block.iter_mut().enumerate() {
                let at = (start + offset) as u64;
                let data = message.get(start + offset).copied().unwrap_or_default();
                *byte = u8::conditional_select(&0, &data, secret.ct_gt(&at));
                byte.conditional_assign(&0x80, secret.ct_eq(&at));
            }
            let tail = block.iter_mut().skip(H::BLOCK - H::LENGTH);
            for (byte, length) in tail.zip(bits) {
                *byte |= u8::conditional_select(&0, length, is_last);
            }
            state.compress(&block);
            result.replace_if(&state, is_last);
        }
        self.finish(&result)
    }

    /// The outer hash, over one whole digest.
    fn finish(&self, inner: &H) -> Vec<u8> {
        let mut block = inner.output();
        let bits = 8 * (H::BLOCK + block.len()) as u64;
        block.push(0x80);
        block.resize(H::BLOCK - 8, 0);
        block.extend(bits.to_be_bytes());
        let mut state = self.outer.clone();
        state.compress(&block);
        state.output()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Sha256, Sha384};

    use super::*;

    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }

    /// How often the compression function ran on this thread while `work` did.
    pub(crate) fn calls<T>(work: impl FnOnce() -> T) -> (usize, T) {
        let before = CALLS.get();
        let result = work();
        (CALLS.get() - before, result)
    }

    /// A hash that counts.
    #[derive(Clone)]
    pub(crate) struct Counted<H>(H);

    impl<H: BlockHash> BlockHash for Counted<H> {
        const BLOCK: usize = H::BLOCK;
        const LENGTH: usize = H::LENGTH;
        const OUTPUT: usize = H::OUTPUT;

        fn initial() -> Self {
            Self(H::initial())
        }

        fn compress(&mut self, block: &[u8]) {
            assert_eq!(block.len(), H::BLOCK);
            CALLS.set(CALLS.get() + 1);
            self.0.compress(block);
        }

        fn replace_if(&mut self, other: &Self, choice: Choice) {
            self.0.replace_if(&other.0, choice);
        }

        fn output(&self) -> Vec<u8> {
            self.0.output()
        }
    }

    fn check<H: BlockHash, M: Mac + KeyInit>(key: &[u8]) {
        let message: Vec<u8> = (0..700_u32).map(|n| (n * 7 + 3) as u8).collect();
        let hmac = SecretLengthHmac::<Counted<H>>::new(key);
        for total in [
            0, 1, 13, 54, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 300, 700,
        ] {
            let message = &message[..total];
            for spread in [0, 1, 20, 255] {
                let least = total.saturating_sub(spread);
                let mut work = None;
                for len in least..=total {
                    let (count, tag) = calls(|| hmac.authenticate(message, len, least));
                    let mut peer = <M as KeyInit>::new_from_slice(key).unwrap();
                    peer.update(&message[..len]);
                    assert_eq!(
                        tag,
                        peer.finalize().into_bytes().to_vec(),
                        "{len} of {total}"
                    );
                    assert_eq!(*work.get_or_insert(count), count, "{len} of {total}");
                }
            }
        }
    }

    #[test]
    fn equals_hmac_of_every_length_with_equal_work() {
        check::<Sha256State, Hmac<Sha256>>(&[0x11; 32]);
        check::<Sha384State, Hmac<Sha384>>(&[0x22; 48]);
    }
}
