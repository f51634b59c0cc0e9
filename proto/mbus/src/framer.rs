// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds frames in a stream of bytes (EN 13757-2 §5.5), whatever stands between them.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::frame::{ACK, Frame, LONG, SHORT};

/// What the line brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A frame that passes every check.
    Frame {
        /// Its bytes, for [`Frame::parse`] or [`crate::Telegram::parse`].
        bytes: &'a [u8],
        /// Stamp of its first byte.
        first: Nanos,
        /// Stamp of its last byte.
        last: Nanos,
        /// Bytes right before it that belong to no frame.
        noise: usize,
    },
    /// Bytes that belong to no good frame.
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
    /// They begin no frame.
    Noise,
    /// The line fell silent inside a frame.
    Truncated,
    /// Wrong checksum, or no 16 at the end.
    Damaged,
}

/// Takes bytes one at a time as they come off a line.
#[derive(Clone, Debug)]
pub struct Framer {
    gap: Duration,
    /// At most one frame.
    pending: Vec<u8>,
    /// The latest whole frame.
    done: Vec<u8>,
    /// Stamps of the first four pending bytes: one of them may turn out to begin the frame.
    stamps: [Nanos; 4],
    last: Nanos,
    noise: usize,
    noise_first: Nanos,
}

impl Framer {
    /// `gap` is the silence that ends whatever was begun; the standard knows no gap inside a frame,
    /// adapters make some.
    pub fn new(gap: Duration) -> Self {
        Self {
            gap,
            pending: Vec::new(),
            done: Vec::new(),
            stamps: [Nanos(0); 4],
            last: Nanos(0),
            noise: 0,
            noise_first: Nanos(0),
        }
    }

    /// When the silence so far will end what was begun; `None` when nothing is.
    pub fn deadline(&self) -> Option<Nanos> {
        (!self.pending.is_empty() || self.noise > 0).then(|| self.last + self.gap)
    }

    /// Tells that the line was silent until `now`; gives up what was begun when that is too long.
    pub fn idle(&mut self, now: Nanos) -> Option<Event<'static>> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let reason = if self.pending.is_empty() {
            Discard::Noise
        } else {
            Discard::Truncated
        };
        self.drop_pending(self.pending.len());
        self.take_noise(reason)
    }

    /// Takes the next byte and the stamp it was received at. After a silence longer than the gap,
    /// what was begun counts as noise; call [`Framer::idle`] before to be told.
    pub fn push(&mut self, byte: u8, at: Nanos) -> Option<Event<'_>> {
        if self.deadline().is_some_and(|deadline| at >= deadline) {
            self.drop_pending(self.pending.len());
        }
        self.last = at;
        if let Some(slot) = self.stamps.get_mut(self.pending.len()) {
            *slot = at;
        }
        self.pending.push(byte);
        loop {
            match self.progress() {
                Progress::Wait => return None,
                Progress::NoStart => {
                    self.drop_pending(1);
                    if self.pending.is_empty() {
                        return None;
                    }
                }
                Progress::Whole(length) => return Some(self.finish(length)),
            }
        }
    }

    fn progress(&self) -> Progress {
        match *self.pending.as_slice() {
            // Only on its own: an E5 with bytes behind it stood inside a frame that turned out to be none.
            [ACK] => Progress::Whole(1),
            [SHORT, ref rest @ ..] if rest.len() < 4 => Progress::Wait,
            [SHORT, ..] => Progress::Whole(5),
            [LONG] => Progress::Wait,
            [LONG, length] if length >= 3 => Progress::Wait,
            [LONG, length, again] if length >= 3 && length == again => Progress::Wait,
            [LONG, length, again, LONG, ref rest @ ..] if length >= 3 && length == again => {
                let body = usize::from(length) + 2;
                if rest.len() < body {
                    Progress::Wait
                } else {
                    Progress::Whole(body + 4)
                }
            }
            _ => Progress::NoStart,
        }
    }

    /// A frame of `length` pending bytes; there are no further ones: after a false start at most three
    /// bytes are left, and frames other than E5 are longer.
    fn finish(&mut self, length: usize) -> Event<'_> {
        let first = self.stamps[0];
        let noise = core::mem::take(&mut self.noise);
        if Frame::parse(&self.pending).is_err() {
            self.pending.clear();
            let first = if noise > 0 { self.noise_first } else { first };
            return Event::Discarded {
                bytes: length + noise,
                first,
                reason: Discard::Damaged,
            };
        }
        // Swapped, so that both buffers keep their memory.
        core::mem::swap(&mut self.done, &mut self.pending);
        self.pending.clear();
        Event::Frame {
            bytes: &self.done,
            first,
            last: self.last,
            noise,
        }
    }

    fn drop_pending(&mut self, count: usize) {
        if self.noise == 0 && count > 0 {
            self.noise_first = self.stamps[0];
        }
        self.noise += count;
        self.pending.drain(..count.min(self.pending.len()));
        self.stamps.rotate_left(count.min(4) % 4);
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

enum Progress {
    Wait,
    NoStart,
    Whole(usize),
}
