// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must never come twice, remembered by fingerprint: a window of the newest, so that memory stays bounded.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use zeroize::Zeroizing;

/// How many values of a kind are remembered.
pub const WINDOW: usize = 4096;

/// 128 bits keyed with randomness of this process: different values never collide in practice, and the memory of
/// what was seen tells nobody what it was.
type Fingerprint = (u64, u64);

/// Values of one kind, each with what belongs to it.
#[derive(Default)]
pub(super) struct Seen {
    keys: (RandomState, RandomState),
    known: HashMap<Fingerprint, Fingerprint>,
    order: VecDeque<Fingerprint>,
}

impl Seen {
    /// Notes `value` with its `companion`; false when the value was seen with another one. A value without a
    /// companion may not come twice at all.
    pub(super) fn note(&mut self, value: &[u8], companion: &[u8]) -> bool {
        let (value, mate) = (self.fingerprint(value), self.fingerprint(companion));
        if let Some(known) = self.known.get(&value) {
            return !companion.is_empty() && *known == mate;
        }
        if self.order.len() == WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(value);
        self.known.insert(value, mate);
        true
    }

    fn fingerprint(&self, bytes: &[u8]) -> Fingerprint {
        (self.keys.0.hash_one(bytes), self.keys.1.hash_one(bytes))
    }
}

/// A stream of random bytes in blocks, however it is cut into requests.
#[derive(Default)]
pub(super) struct Blocks {
    seen: Seen,
    /// The begun block.
    rest: Zeroizing<Vec<u8>>,
}

impl Blocks {
    /// Notes the stream's next bytes; false when a block of them was seen before.
    pub(super) fn note(&mut self, mut bytes: &[u8]) -> bool {
        let mut fresh = true;
        while !bytes.is_empty() {
            let (part, later) = bytes.split_at(bytes.len().min(BLOCK - self.rest.len()));
            self.rest.extend_from_slice(part);
            bytes = later;
            if self.rest.len() == BLOCK {
                fresh &= self.seen.note(&self.rest, &[]);
                self.rest.clear();
            }
        }
        fresh
    }
}

/// Long enough that a good generator never repeats one (a chance of 2^-104 within a window).
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_return_only_with_its_companion() {
        let mut seen = Seen::default();
        assert!(seen.note(b"r", b"s"));
        assert!(seen.note(b"r", b"s"), "the same signature again");
        assert!(!seen.note(b"r", b"other"), "the same nonce for another");
        assert!(seen.note(b"point", b""));
        assert!(!seen.note(b"point", b""));
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest_first() {
        let mut seen = Seen::default();
        for number in 0..2 * WINDOW as u64 {
            assert!(seen.note(&number.to_be_bytes(), b""));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (WINDOW, WINDOW));
        assert!(seen.note(&0u64.to_be_bytes(), b""), "forgotten");
        assert!(!seen.note(&(WINDOW as u64 + 1).to_be_bytes(), b""), "known");
    }

    #[test]
    fn short_requests_are_one_stream() {
        // A generator stuck at any block up to 16 bytes is found, in requests of whatever length.
        for (stuck, request) in (1..=16).flat_map(|stuck| (1..40).map(move |len| (stuck, len))) {
            let block: Vec<u8> = (0..stuck).collect();
            let mut stream = block.iter().copied().cycle();
            let mut blocks = Blocks::default();
            let found = (0..16 * 40).any(|_| {
                let bytes: Vec<u8> = stream.by_ref().take(request).collect();
                !blocks.note(&bytes)
            });
            assert!(
                found,
                "{stuck} bytes over and over in requests of {request}"
            );
        }
        let mut counting = Blocks::default();
        assert!((0..10_000u32).all(|number| counting.note(&number.to_be_bytes())));
    }
}
