// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole telegrams, identification and data block, and how they are found on a line: replies of modes A
//! to C as an eavesdropper hears them, mode D, P1.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::block::{Block, Scanner};
use crate::identification::{Identification, MAX_IDENTIFICATION};

/// Identification and data block.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Telegram<'a> {
    /// Its first line.
    pub identification: Identification<'a>,
    /// The rest.
    pub block: Block<'a>,
    /// All of it, from `/` on.
    pub bytes: &'a [u8],
}

impl<'a> Telegram<'a> {
    /// Reads a telegram from `/` on; `None` when it does not begin with an identification.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, block) = bytes.split_at_checked(end + 1)?;
        Some(Self {
            identification: Identification::parse(line)?,
            block: Block::parse(block),
            bytes,
        })
    }

    /// Everything up to and with `!`: what the checksum of P1 ports covers.
    pub(crate) fn up_to_bang(&self) -> Option<&'a [u8]> {
        let line = self.bytes.iter().position(|byte| *byte == b'\n')?;
        self.bytes.get(..=line + 1 + self.block.bang?)
    }
}

/// Writes a telegram without STX, ETX and BCC, as mode D does: identification, empty line, lines, `!`.
pub fn encode_unchecked(identification: &Identification<'_>, lines: &[u8]) -> Vec<u8> {
    [&identification.encode(), &b"\r\n"[..], lines, b"!\r\n"].concat()
}

/// What the line brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A telegram that is whole; its block check may be wrong or absent.
    Telegram {
        /// The telegram.
        telegram: Telegram<'a>,
        /// Stamp of its first byte.
        first: Nanos,
        /// Stamp of its last byte.
        last: Nanos,
        /// Bytes in front of it that belong to none.
        noise: usize,
    },
    /// Bytes that belong to no telegram.
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
    /// They begin no telegram.
    Noise,
    /// The line fell silent inside a telegram, or another one began.
    Truncated,
    /// Longer than any telegram may be.
    Oversize,
}

/// Takes bytes one at a time as they come off a line; keeps one telegram of them at most.
#[derive(Clone, Debug)]
pub struct Framer {
    gap: Duration,
    limit: usize,
    stage: Stage,
    pending: Vec<u8>,
    /// The latest whole telegram.
    done: Vec<u8>,
    done_stamps: (Nanos, Nanos),
    first: Nanos,
    last: Nanos,
    noise: usize,
    noise_first: Nanos,
}

#[derive(Clone, Debug)]
enum Stage {
    Hunt,
    Identification,
    Block(Scanner),
}

impl Framer {
    /// `gap` is the silence that ends a telegram begun, `limit` the most bytes of one.
    pub fn new(gap: Duration, limit: usize) -> Self {
        Self {
            gap,
            limit,
            stage: Stage::Hunt,
            pending: Vec::new(),
            done: Vec::new(),
            done_stamps: (Nanos(0), Nanos(0)),
            first: Nanos(0),
            last: Nanos(0),
            noise: 0,
            noise_first: Nanos(0),
        }
    }

    /// Takes the next byte and the stamp it was received at.
    pub fn push(&mut self, byte: u8, at: Nanos) -> Option<Event<'_>> {
        // Neither a code nor a line inside a block begins with a slash.
        let begins = byte == b'/' && self.pending.last().is_none_or(|last| *last == b'\n');
        if begins && !matches!(self.stage, Stage::Hunt) {
            let whole = self.finish();
            self.begin(at);
            self.last = at;
            return if whole {
                self.telegram()
            } else {
                self.take_noise(Discard::Truncated)
            };
        }
        self.last = at;
        let whole = match &mut self.stage {
            Stage::Hunt if byte == b'/' => {
                self.begin(at);
                return None;
            }
            Stage::Hunt => {
                self.add_noise(1, at);
                return None;
            }
            Stage::Identification if byte == b'/' && Identification::restarts(&self.pending) => {
                self.give_up();
                self.begin(at);
                return None;
            }
            Stage::Identification => {
                self.pending.push(byte);
                if byte == b'\n' {
                    if Identification::parse(&self.pending).is_some() {
                        self.stage = Stage::Block(Scanner::default());
                    } else {
                        // A request, ours by echo or another reader's, or damage.
                        self.give_up();
                    }
                } else if self.pending.len() > MAX_IDENTIFICATION + 3 {
                    self.give_up();
                }
                return None;
            }
            Stage::Block(scanner) => {
                self.pending.push(byte);
                scanner.push(byte)
            }
        };
        if whole {
            self.finish();
            return self.telegram();
        }
        if self.pending.len() >= self.limit {
            self.give_up();
            return self.take_noise(Discard::Oversize);
        }
        None
    }

    /// When the silence so far will end what was begun; `None` when nothing is.
    pub fn deadline(&self) -> Option<Nanos> {
        (!self.pending.is_empty() || self.noise > 0).then(|| self.last + self.gap)
    }

    /// Tells that the line was silent until `now`. A telegram that only lacks its ETX counts as whole,
    /// anything else begun is given up.
    pub fn idle(&mut self, now: Nanos) -> Option<Event<'_>> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let begun = !self.pending.is_empty();
        if self.finish() {
            return self.telegram();
        }
        self.take_noise(if begun {
            Discard::Truncated
        } else {
            Discard::Noise
        })
    }

    fn begin(&mut self, at: Nanos) {
        self.stage = Stage::Identification;
        self.pending.clear();
        self.pending.push(b'/');
        self.first = at;
    }

    /// Puts what is pending away: whether it is whole, and noise otherwise.
    fn finish(&mut self) -> bool {
        let whole = matches!(&self.stage, Stage::Block(scanner) if scanner.may_end());
        if whole {
            core::mem::swap(&mut self.done, &mut self.pending);
            self.done_stamps = (self.first, self.last);
            self.pending.clear();
            self.stage = Stage::Hunt;
        } else {
            self.give_up();
        }
        whole
    }

    fn give_up(&mut self) {
        self.add_noise(self.pending.len(), self.first);
        self.pending.clear();
        self.stage = Stage::Hunt;
    }

    fn add_noise(&mut self, bytes: usize, first: Nanos) {
        if self.noise == 0 {
            self.noise_first = first;
        }
        self.noise += bytes;
    }

    fn telegram(&mut self) -> Option<Event<'_>> {
        let (first, last) = self.done_stamps;
        Some(Event::Telegram {
            telegram: Telegram::parse(&self.done)?,
            first,
            last,
            noise: core::mem::take(&mut self.noise),
        })
    }

    fn take_noise(&mut self, reason: Discard) -> Option<Event<'static>> {
        let bytes = core::mem::take(&mut self.noise);
        (bytes > 0).then_some(Event::Discarded {
            bytes,
            first: self.noise_first,
            reason,
        })
    }
}
