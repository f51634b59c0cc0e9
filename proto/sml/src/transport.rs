// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML transport protocol version 1 (SML 1.05 §8.1): escapes, fill and checksum around a file.
//!
//! ```text
//! 1b1b1b1b 01010101  file, every 1b1b1b1b doubled  00 x fill  1b1b1b1b 1a fill crc crc
//! ```
//! The [`Framer`] takes bytes one at a time as they come off a line, finds its way back after every
//! kind of damage, and says what it had to throw away.

use alloc::vec::Vec;

use smgw_units::Nanos;

use crate::crc::{CrcKind, CrcPair};
use crate::quirks::{Quirk, Quirks};

/// Ready for the line, with the checksum the specification asks for.
pub fn encode(payload: &[u8]) -> Vec<u8> {
    encode_with(payload, CrcKind::X25)
}

/// Ready for the line, with a checksum of choice.
pub fn encode_with(payload: &[u8], crc: CrcKind) -> Vec<u8> {
    let mut line = Vec::with_capacity(payload.len() + 24);
    line.extend_from_slice(&START);
    let mut run = 0;
    for byte in payload {
        line.push(*byte);
        run = if *byte == ESCAPE { run + 1 } else { 0 };
        if run == 4 {
            line.extend_from_slice(&[ESCAPE; 4]);
            run = 0;
        }
    }
    let fill = line.len().wrapping_neg() % 4;
    line.extend(core::iter::repeat_n(0, fill));
    line.extend_from_slice(&[ESCAPE; 4]);
    line.extend_from_slice(&[END, fill as u8]);
    let checksum = crc.of(&line);
    line.extend_from_slice(&checksum);
    line
}

/// What the line brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A whole file whose checksum verifies.
    File {
        /// The file, for [`crate::File::parse`].
        payload: &'a [u8],
        /// Stamp of the first byte of the start sequence.
        first: Nanos,
        /// Stamp of the last byte of the checksum.
        last: Nanos,
        /// Which checksum verified.
        crc: CrcKind,
        /// Bytes on the line, from the start sequence to the checksum.
        bytes: usize,
    },
    /// Bytes that belong to no good file.
    Discarded {
        /// How many.
        bytes: usize,
        /// Stamp of the first of them.
        first: Nanos,
        /// Why.
        reason: Discard,
    },
}

/// Why bytes were thrown away.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Discard {
    /// They stand outside of any transmission.
    Noise,
    /// The transmission ends with a wrong checksum or an impossible fill count.
    BadCrc,
    /// The line fell silent inside the transmission, see [`Framer::flush`].
    Truncated,
    /// A new transmission began inside the transmission.
    Restart,
    /// The end marker does not stand on a multiple of four bytes: the line lost or added some.
    Misaligned,
    /// An escape sequence SML does not have.
    BadEscape,
    /// The transmission is longer than the limit.
    TooLong,
}

impl core::fmt::Display for Discard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Noise => "bytes outside of a transmission",
            Self::BadCrc => "wrong checksum",
            Self::Truncated => "transmission ended early",
            Self::Restart => "new transmission inside a transmission",
            Self::Misaligned => "lost or added bytes",
            Self::BadEscape => "unknown escape sequence",
            Self::TooLong => "transmission too long",
        })
    }
}

/// Finds transmissions in a stream of bytes.
#[derive(Clone, Debug)]
pub struct Framer {
    quirks: Quirks,
    limit: usize,
    state: State,
    /// Matched bytes of the start sequence while hunting.
    matched: usize,
    /// Stamps of those bytes; inside a transmission those of the latest run of 1b.
    stamps: [Nanos; 8],
    noise: Option<(usize, Nanos)>,
    body: Vec<u8>,
    crc: CrcPair,
    first: Nanos,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Looking for a start sequence.
    Hunt,
    /// Inside a transmission after `run` (0..=3) bytes 1b that are not in the body yet.
    Data { run: usize },
    /// After four bytes 1b: the next four decide.
    Escape {
        seen: usize,
        bytes: [(u8, Nanos); 4],
    },
}

impl Framer {
    /// Longest transmission accepted by default: some fifteen times what meters send.
    pub const DEFAULT_LIMIT: usize = 8192;

    /// All quirks, default limit.
    pub fn new() -> Self {
        Self::with(Quirks::ALL, Self::DEFAULT_LIMIT)
    }

    /// `limit` is the longest transmission accepted, in bytes on the line.
    pub fn with(quirks: Quirks, limit: usize) -> Self {
        Self {
            quirks,
            limit,
            state: State::Hunt,
            matched: 0,
            stamps: [Nanos(0); 8],
            noise: None,
            body: Vec::new(),
            crc: CrcPair::new(),
            first: Nanos(0),
            bytes: 0,
        }
    }

    /// Whether the line is inside a transmission, and since when.
    pub fn pending_since(&self) -> Option<Nanos> {
        match self.state {
            State::Hunt => None,
            State::Data { .. } | State::Escape { .. } => Some(self.first),
        }
    }

    /// Takes the next byte and the stamp it was received at.
    pub fn push(&mut self, byte: u8, at: Nanos) -> Option<Event<'_>> {
        match self.state {
            State::Hunt => self.hunt(byte, at),
            State::Data { run } => {
                self.bytes += 1;
                if self.bytes > self.limit {
                    return Some(self.discard(Discard::TooLong, &[(byte, at)]));
                }
                self.crc.feed(byte);
                if let (ESCAPE, Some(slot)) = (byte, self.stamps.get_mut(run)) {
                    *slot = at;
                }
                self.state = match (byte, run) {
                    (ESCAPE, 3) => State::Escape {
                        seen: 0,
                        bytes: [(0, at); 4],
                    },
                    (ESCAPE, _) => State::Data { run: run + 1 },
                    _ => {
                        self.body.extend(core::iter::repeat_n(ESCAPE, run));
                        self.body.push(byte);
                        State::Data { run: 0 }
                    }
                };
                None
            }
            State::Escape { seen, mut bytes } => {
                self.bytes += 1;
                if let Some(slot) = bytes.get_mut(seen) {
                    *slot = (byte, at);
                }
                if seen < 3 {
                    self.state = State::Escape {
                        seen: seen + 1,
                        bytes,
                    };
                    return None;
                }
                self.escape(bytes, at)
            }
        }
    }

    /// Tells that the line is silent: what is pending will never be completed.
    pub fn flush(&mut self) -> Option<Event<'_>> {
        match self.state {
            State::Hunt => {
                let noise = self.noise.take();
                let pending = (self.matched, self.stamps[0]);
                self.matched = 0;
                let (bytes, first) = match (noise, pending) {
                    (Some((bytes, first)), (more, _)) => (bytes + more, first),
                    (None, (0, _)) => return None,
                    (None, pending) => pending,
                };
                Some(Event::Discarded {
                    bytes,
                    first,
                    reason: Discard::Noise,
                })
            }
            State::Data { .. } | State::Escape { .. } => {
                Some(self.discard(Discard::Truncated, &[]))
            }
        }
    }

    fn hunt(&mut self, byte: u8, at: Nanos) -> Option<Event<'_>> {
        if START.get(self.matched) == Some(&byte) {
            if let Some(slot) = self.stamps.get_mut(self.matched) {
                *slot = at;
            }
            self.matched += 1;
            if self.matched < START.len() {
                return None;
            }
            self.begin(self.stamps[0]);
            return self.noise.take().map(|(bytes, first)| Event::Discarded {
                bytes,
                first,
                reason: Discard::Noise,
            });
        }
        if byte == ESCAPE && self.matched == 4 {
            // A fifth 1b: the start sequence, if it is one, begins one byte later.
            self.count_noise(1, self.stamps[0]);
            self.stamps.copy_within(1..4, 0);
            self.stamps[3] = at;
        } else {
            let first = if self.matched == 0 {
                at
            } else {
                self.stamps[0]
            };
            let again = byte == ESCAPE;
            self.count_noise(self.matched + usize::from(!again), first);
            self.matched = usize::from(again);
            self.stamps[0] = at;
        }
        None
    }

    fn count_noise(&mut self, bytes: usize, first: Nanos) {
        if bytes > 0 {
            self.noise.get_or_insert((0, first)).0 += bytes;
        }
    }

    fn begin(&mut self, first: Nanos) {
        self.state = State::Data { run: 0 };
        self.matched = 0;
        self.body.clear();
        self.crc = CrcPair::new();
        self.crc.feed_all(&START);
        self.first = first;
        self.bytes = START.len();
    }

    fn escape(&mut self, bytes: [(u8, Nanos); 4], at: Nanos) -> Option<Event<'_>> {
        let codes = bytes.map(|(byte, _)| byte);
        match codes {
            [ESCAPE, ESCAPE, ESCAPE, ESCAPE] => {
                self.crc.feed_all(&codes);
                self.body.extend_from_slice(&codes);
                self.state = State::Data { run: 0 };
                None
            }
            [1, 1, 1, 1] => {
                let (length, first) = (self.bytes - START.len(), self.first);
                self.begin(self.stamps[0]);
                Some(Event::Discarded {
                    bytes: length,
                    first,
                    reason: Discard::Restart,
                })
            }
            [END, fill, low, high] if self.bytes.is_multiple_of(4) => {
                self.crc.feed(END);
                self.crc.feed(fill);
                let kermit = self.quirks.tolerates(Quirk::KermitCrc);
                let length = self.body.len().checked_sub(usize::from(fill));
                match (self.crc.matching([low, high], kermit), length) {
                    (Some(crc), Some(length)) if fill < 4 => {
                        self.state = State::Hunt;
                        Some(Event::File {
                            payload: self.body.get(..length).unwrap_or_default(),
                            first: self.first,
                            last: at,
                            crc,
                            bytes: self.bytes,
                        })
                    }
                    _ => Some(self.discard(Discard::BadCrc, &bytes)),
                }
            }
            [ESCAPE, ..] => {
                // More than four 1b: the first ones are data, the last four may be an escape.
                let extra = codes.iter().take_while(|code| **code == ESCAPE).count();
                self.crc.feed_all(codes.get(..extra).unwrap_or_default());
                self.body.extend(core::iter::repeat_n(ESCAPE, extra));
                self.stamps.copy_within(extra..4, 0);
                let run = self.stamps.iter_mut().take(4).skip(4 - extra);
                for (slot, (_, at)) in run.zip(&bytes) {
                    *slot = *at;
                }
                let mut bytes = bytes;
                bytes.rotate_left(extra);
                self.state = State::Escape {
                    seen: 4 - extra,
                    bytes,
                };
                None
            }
            [END, ..] => Some(self.discard(Discard::Misaligned, &bytes)),
            _ => Some(self.discard(Discard::BadEscape, &bytes)),
        }
    }

    /// Gives up the transmission. A run of 1b at the end of `tail`, its last bytes, may be the start
    /// of the next one, so it is not thrown away.
    fn discard(&mut self, reason: Discard, tail: &[(u8, Nanos)]) -> Event<'static> {
        let carried = tail
            .iter()
            .rev()
            .take_while(|(byte, _)| *byte == ESCAPE)
            .count();
        self.state = State::Hunt;
        self.matched = carried;
        let kept = tail.iter().skip(tail.len() - carried);
        for (slot, (_, at)) in self.stamps.iter_mut().zip(kept) {
            *slot = *at;
        }
        Event::Discarded {
            bytes: self.bytes - carried,
            first: self.first,
            reason,
        }
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

const ESCAPE: u8 = 0x1b;
const END: u8 = 0x1a;
const START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];
