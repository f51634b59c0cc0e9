// SPDX-License-Identifier: MIT OR Apache-2.0
//! `TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256` and `…_AES_256_CBC_SHA384` (RFC 5289 §3.1), which rustls does not have.
//!
//! Records are MAC, then padded, then encrypted (RFC 5246 §6.2.3.2). A receiver that lets its sender see whether the
//! padding or the MAC was wrong, if only by the time it took, gives the plain text away (Vaudenay 2002, Lucky
//! Thirteen 2013). The decrypter therefore does the same work for every record of one length, see [`Reader`], and has
//! one answer for all that can be wrong, `bad_record_mac`.
//!
//! rustls cuts the key block into keys and fixed nonces of both sides and knows no MAC keys, so these take the places
//! of others: [`Aes128Sha256`] and [`Aes256Sha384`] say which.

mod digest;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use aes::cipher::{
    Array, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, KeyInit,
    KeyIvInit,
};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac};
use rustls::crypto::ActiveKeyExchange;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, UnsupportedOperationError, make_tls12_aad,
};
use rustls::crypto::tls12::Prf;
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};
use sha2::{Sha256, Sha384};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use self::digest::{BlockHash, SecretLengthHmac, Sha256State, Sha384State};

/// `AES_128_CBC_SHA256`: the key block is MAC keys of 32 bytes, then cipher keys of 16. What rustls takes for the
/// key is the MAC key, and the cipher key is what it takes for the fixed nonce.
#[derive(Debug)]
pub(crate) struct Aes128Sha256;

/// `AES_256_CBC_SHA384`: a MAC key of 48 bytes is longer than any key of rustls, so [`CipherKeysFirst`] puts the cipher
/// keys first and the MAC key takes the place of the fixed nonce.
#[derive(Debug)]
pub(crate) struct Aes256Sha384;

macro_rules! algorithm {
    ($name:ty, $cipher:ty, $hash:ty, $hmac:ty, $key:literal, $iv:literal, |$first:ident, $second:ident| $order:expr) => {
        impl Tls12AeadAlgorithm for $name {
            fn encrypter(
                &self,
                key: AeadKey,
                iv: &[u8],
                _extra: &[u8],
            ) -> Box<dyn MessageEncrypter> {
                let ($first, $second) = (key.as_ref(), iv);
                let (mac, cipher) = $order;
                Box::new(Writer::<$cipher, $hmac>::new(mac, cipher))
            }

            fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
                let ($first, $second) = (key.as_ref(), iv);
                let (mac, cipher) = $order;
                Box::new(Reader::<$cipher, $hash>::new(mac, cipher))
            }

            fn key_block_shape(&self) -> KeyBlockShape {
                KeyBlockShape {
                    enc_key_len: $key,
                    fixed_iv_len: $iv,
                    explicit_nonce_len: 0,
                }
            }

            fn extract_keys(
                &self,
                _key: AeadKey,
                _iv: &[u8],
                _explicit: &[u8],
            ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
                Err(UnsupportedOperationError)
            }
        }
    };
}

algorithm!(
    Aes128Sha256,
    Aes128,
    Sha256State,
    Hmac<Sha256>,
    32,
    16,
    |key, iv| (key, iv)
);
algorithm!(
    Aes256Sha384,
    Aes256,
    Sha384State,
    Hmac<Sha384>,
    32,
    48,
    |key, iv| (iv, key)
);

/// The PRF of [`Aes256Sha384`]: puts the cipher keys of the key block before the MAC keys.
pub(crate) struct CipherKeysFirst(pub(crate) &'static dyn Prf);

impl Prf for CipherKeysFirst {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        peer: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        self.0.for_key_exchange(output, exchange, peer, label, seed)
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        const MAC_KEYS: usize = 2 * 48;
        self.0.for_secret(output, secret, label, seed);
        if label == b"key expansion" && output.len() > MAC_KEYS {
            output.rotate_left(MAC_KEYS);
        }
    }
}

type Block = Array<u8, <Aes128 as BlockSizeUser>::BlockSize>;

/// Encrypts records.
///
/// RFC 5246 wants an unpredictable IV for each record. Asking the security module for each would put it into the data
/// path, so the IV is the record's sequence number encrypted under a key of its own, which the MAC key gives and no
/// record shows (NIST SP 800-38A appendix C, with a separate key).
struct Writer<C: KeyInit, M> {
    cipher_key: Zeroizing<Vec<u8>>,
    iv: Aes128,
    mac: M,
    cipher: PhantomData<C>,
}

impl<C: KeyInit, M: Mac + KeyInit + Clone> Writer<C, M> {
    fn new(mac_key: &[u8], cipher_key: &[u8]) -> Self {
        let mac = keyed::<M>(mac_key);
        // Shorter than the 13 bytes with which the MAC of any record begins, so never one of these.
        let iv_key = mac
            .clone()
            .chain_update(b"record IVs")
            .finalize()
            .into_bytes();
        let iv_key = Zeroizing::new(iv_key.to_vec());
        Self {
            cipher_key: Zeroizing::new(cipher_key.to_vec()),
            iv: keyed(iv_key.get(..16).unwrap_or_default()),
            mac,
            cipher: PhantomData,
        }
    }
}

impl<C, M> MessageEncrypter for Writer<C, M>
where
    C: BlockCipherEncrypt
        + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>
        + KeyInit
        + Send
        + Sync,
    M: Mac + Clone + Send + Sync,
{
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let mut plain = Zeroizing::new(Vec::with_capacity(
            self.encrypted_payload_len(message.payload.len()),
        ));
        message.payload.copy_to_vec(&mut plain);
        let head = make_tls12_aad(sequence, message.typ, message.version, plain.len());
        let mac = self
            .mac
            .clone()
            .chain_update(head)
            .chain_update(&*plain)
            .finalize();
        plain.extend_from_slice(&mac.into_bytes());
        let padding = BLOCK - 1 - plain.len() % BLOCK;
        let total = plain.len() + padding + 1;
        plain.resize(total, padding as u8);

        let mut iv = Block::default();
        iv.iter_mut()
            .rev()
            .zip(sequence.to_le_bytes())
            .for_each(|(byte, number)| *byte = number);
        self.iv.encrypt_block(&mut iv);
        let (blocks, _) = Block::slice_as_chunks_mut(&mut plain);
        cbc::Encryptor::<C>::new_from_slices(&self.cipher_key, &iv)
            .map_err(|_| Error::EncryptError)?
            .encrypt_blocks(blocks);

        let mut payload = PrefixedPayload::with_capacity(BLOCK + plain.len());
        payload.extend_from_slice(&iv);
        payload.extend_from_slice(&plain);
        Ok(OutboundOpaqueMessage::new(
            message.typ,
            message.version,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        BLOCK + (plain + M::output_size()) / BLOCK * BLOCK + BLOCK
    }
}

/// Decrypts records in constant time.
///
/// For a record of `n` decrypted bytes:
/// 1. The last byte says how long the padding is. A mask tells whether padding and MAC fit into `n` and whether each of
///    the last 256 bytes that belongs to the padding has the right value; all 256 are looked at.
/// 2. Where the mask says no, the padding counts as empty, and all else is done as for a good record.
/// 3. The MAC is computed by [`SecretLengthHmac`] over a length that only masks know.
/// 4. It is compared with the bytes at each of the up to 256 places where a MAC could stand; the result at the right
///    place is picked by a mask.
/// 5. Only then one bit, all well or not, leaves the masks.
///
/// So the work and all addresses follow from `n`, which the attacker knows anyway. AES and SHA-2 come from crates that
/// use neither tables nor branches on data.
struct Reader<C: KeyInit, H: BlockHash> {
    cipher_key: Zeroizing<Vec<u8>>,
    mac: SecretLengthHmac<H>,
    cipher: PhantomData<C>,
}

impl<C: KeyInit, H: BlockHash> Reader<C, H> {
    fn new(mac_key: &[u8], cipher_key: &[u8]) -> Self {
        Self {
            cipher_key: Zeroizing::new(cipher_key.to_vec()),
            mac: SecretLengthHmac::new(mac_key),
            cipher: PhantomData,
        }
    }

    /// How many bytes of the decrypted record are payload; `None` when padding or MAC are wrong.
    fn open(
        &self,
        plain: &[u8],
        sequence: u64,
        kind: ContentType,
        version: ProtocolVersion,
    ) -> Option<usize> {
        // The longest payload there can be, with an empty padding, and the shortest.
        let most = plain.len().checked_sub(H::OUTPUT + 1)?;
        let least = most.saturating_sub(LONGEST_PADDING);

        let (padding, mut good) = padding(plain, most);
        let len = most - padding;

        let head = make_tls12_aad(sequence, kind, version, len);
        let mut message = Zeroizing::new(Vec::with_capacity(head.len() + most));
        message.extend_from_slice(&head);
        message.extend_from_slice(plain.get(..most)?);
        let expected = self
            .mac
            .authenticate(&message, head.len() + len, head.len() + least);

        let mut authentic = Choice::from(0);
        for (place, found) in plain
            .windows(H::OUTPUT)
            .enumerate()
            .skip(least)
            .take(most - least + 1)
        {
            authentic |= found.ct_eq(&expected) & (place as u64).ct_eq(&(len as u64));
        }
        good &= authentic;
        bool::from(good).then_some(len)
    }
}

/// The number of padding bytes before the last byte, which states it, and whether they are right; 0 if not. `most` is
/// what is left of the record without the last byte and the MAC.
fn padding(plain: &[u8], most: usize) -> (usize, Choice) {
    let stated = plain.last().copied().unwrap_or_default();
    let mut good = !u64::from(stated).ct_gt(&(most as u64));
    let before = plain.iter().rev().skip(1).take(LONGEST_PADDING);
    for (byte, distance) in before.zip(1_u64..) {
        let outside = distance.ct_gt(&u64::from(stated));
        good &= outside | byte.ct_eq(&stated);
    }
    let padding = u64::conditional_select(&0, &u64::from(stated), good);
    (padding as usize, good)
}

impl<C, H> MessageDecrypter for Reader<C, H>
where
    C: aes::cipher::BlockCipherDecrypt
        + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>
        + KeyInit
        + Send
        + Sync,
    H: BlockHash,
{
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (kind, version) = (message.typ, message.version);
        let (iv, encrypted) = message
            .payload
            .split_at_mut_checked(BLOCK)
            .ok_or(Error::DecryptError)?;
        let (blocks, rest) = Block::slice_as_chunks_mut(encrypted);
        if !rest.is_empty() {
            return Err(Error::DecryptError);
        }
        cbc::Decryptor::<C>::new_from_slices(&self.cipher_key, iv)
            .map_err(|_| Error::DecryptError)?
            .decrypt_blocks(blocks);
        let len = self
            .open(encrypted, sequence, kind, version)
            .ok_or(Error::DecryptError)?;
        if len > LONGEST_PAYLOAD {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(BLOCK..BLOCK + len))
    }
}

/// A keyed primitive; the callers' keys have the lengths that [`KeyBlockShape`] asked for.
fn keyed<K: KeyInit>(key: &[u8]) -> K {
    K::new_from_slice(key).expect("the key block was cut to the lengths asked for")
}

impl<C: KeyInit, M> fmt::Debug for Writer<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer(..)")
    }
}

/// Bytes of an AES block, and of the IV in front of each record.
const BLOCK: usize = 16;

/// Padding bytes that may stand before the last byte.
const LONGEST_PADDING: usize = 255;

/// RFC 5246 §6.2.1.
const LONGEST_PAYLOAD: usize = 1 << 14;

#[cfg(test)]
mod tests;
