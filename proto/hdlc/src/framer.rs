// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds frames in a stream of bytes by their length (ISO/IEC 13239 annex H.4), and its way back after damage.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::frame::{FLAG, Fault, Frame, Layout, Profile};

/// What the line brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A frame that passes every check.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// Its bytes with both flags.
        bytes: &'a [u8],
        /// Stamp of its opening flag; of the byte behind it, where that flag closed the frame before.
        first: Nanos,
        /// Stamp of its closing flag.
        last: Nanos,
    },
    /// Bytes on end that belong to no good frame; more than 4096 of them come as several events.
    Discarded {
        /// How many.
        bytes: usize,
        /// Stamp of the first of them.
        first: Nanos,
        /// What was wrong with the first frame among them.
        reason: Fault,
    },
}

/// Takes bytes one at a time as they come off a line; keeps one frame of them at most.
#[derive(Clone, Debug)]
pub struct Framer {
    profile: Profile,
    gap: Duration,
    /// Begins with a flag, unless empty.
    pending: Vec<u8>,
    stamps: Vec<Nanos>,
    /// The first pending byte closed the frame before.
    shared: bool,
    /// The latest good frame.
    done: Vec<u8>,
    ready: Option<(Layout, Nanos, Nanos)>,
    lost: Option<Lost>,
    /// The line fell silent: what is pending will not go on.
    silent: bool,
    last: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    bytes: usize,
    first: Nanos,
    reason: Fault,
}

enum Progress {
    Wait,
    Good(Layout, usize),
    /// And the length the frame told, where it did.
    Bad(Fault, usize),
}

impl Framer {
    /// `gap` is the silence that ends whatever was begun.
    pub fn new(profile: Profile, gap: Duration) -> Self {
        Self {
            profile,
            gap,
            pending: Vec::new(),
            stamps: Vec::new(),
            shared: false,
            done: Vec::new(),
            ready: None,
            lost: None,
            silent: false,
            last: Nanos(0),
        }
    }

    /// Takes the next byte and the stamp it was received at. Call [`Framer::poll`] until it gives
    /// nothing before the next byte; a frame not taken by then is lost.
    pub fn push(&mut self, byte: u8, at: Nanos) {
        self.ready = None;
        self.silent = false;
        self.last = at;
        match self.pending.as_slice() {
            [] if byte != FLAG => return self.lose(1, at, Fault::NoStartFlag),
            // A flag behind a flag fills the time between frames.
            [FLAG] if byte == FLAG => self.drop_first(1),
            _ => {}
        }
        self.pending.push(byte);
        self.stamps.push(at);
    }

    /// When the silence so far will end what was begun; `None` when nothing is.
    pub fn deadline(&self) -> Option<Nanos> {
        (!self.pending.is_empty() || self.lost.is_some()).then(|| self.last + self.gap)
    }

    /// Tells that the line was silent until `now`; what was begun is given up when that is too long.
    pub fn idle(&mut self, now: Nanos) {
        self.silent |= self.deadline().is_some_and(|deadline| now >= deadline);
    }

    /// The next event, in the order of the line.
    pub fn poll(&mut self) -> Option<Event<'_>> {
        self.advance();
        // Noise without an end is told of while it lasts.
        let endless = self.lost.is_some_and(|lost| lost.bytes >= MOST_NOISE);
        if (self.ready.is_some() || self.silent || endless)
            && let Some(lost) = self.lost.take()
        {
            return Some(Event::Discarded {
                bytes: lost.bytes,
                first: lost.first,
                reason: lost.reason,
            });
        }
        let (layout, first, last) = self.ready.take()?;
        Some(Event::Frame {
            frame: layout.frame(&self.done),
            bytes: &self.done,
            first,
            last,
        })
    }

    /// Works on what is pending until a frame is ready or more bytes are needed.
    fn advance(&mut self) {
        while self.ready.is_none() && !self.pending.is_empty() {
            match self.progress() {
                Progress::Good(layout, total) => self.take(layout, total),
                Progress::Bad(Fault::Fcs, total) => self.discard(total - 1, Fault::Fcs),
                Progress::Bad(fault, _) => self.discard_to_flag(fault),
                Progress::Wait if !self.silent => return,
                Progress::Wait if self.pending.len() == 1 => self.drop_first(1),
                Progress::Wait => {
                    let fault = Layout::verify(&self.profile, &self.pending).err();
                    self.discard_to_flag(fault.unwrap_or(Fault::LengthLong));
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        let (high, low) = match *self.pending.as_slice() {
            [_, high, low, ..] => (high, low),
            // The type stands in the first byte.
            [_, high] => (high, 0xff),
            _ => return Progress::Wait,
        };
        let total = match self.profile.format(high, low) {
            Err(Fault::FormatType) => return Progress::Bad(Fault::FormatType, 0),
            _ if self.pending.len() < 3 => return Progress::Wait,
            Err(fault) => return Progress::Bad(fault, 0),
            Ok((_, length)) => length + 2,
        };
        let Some(whole) = self.pending.get(..total) else {
            return Progress::Wait;
        };
        match Layout::verify(&self.profile, whole) {
            Ok(layout) => Progress::Good(layout, total),
            Err(fault) => Progress::Bad(fault, total),
        }
    }

    fn take(&mut self, layout: Layout, total: usize) {
        let stamp = |index: usize| self.stamps.get(index).copied().unwrap_or(self.last);
        let first = stamp(usize::from(self.shared));
        self.ready = Some((layout, first, stamp(total - 1)));
        self.done.clear();
        self.done.extend(self.pending.iter().take(total));
        // The closing flag may open the next frame.
        self.drop_first(total - 1);
        self.shared = true;
    }

    /// Gives up a beginning; the next flag may be a better one.
    fn discard_to_flag(&mut self, fault: Fault) {
        let mut behind = self.pending.iter().skip(1);
        let next = behind.position(|byte| *byte == FLAG);
        self.discard(next.map_or(self.pending.len(), |next| next + 1), fault);
    }

    fn discard(&mut self, count: usize, fault: Fault) {
        let uncounted = usize::from(self.shared);
        let first = self.stamps.get(uncounted).copied().unwrap_or(self.last);
        self.lose(count - uncounted, first, fault);
        self.drop_first(count);
    }

    fn drop_first(&mut self, count: usize) {
        self.pending.drain(..count.min(self.pending.len()));
        self.stamps.drain(..count.min(self.stamps.len()));
        self.shared = false;
    }

    fn lose(&mut self, bytes: usize, first: Nanos, reason: Fault) {
        let lost = self.lost.get_or_insert(Lost {
            bytes: 0,
            first,
            reason,
        });
        lost.bytes += bytes;
        // Noise before a damaged frame says less than the frame.
        if lost.reason == Fault::NoStartFlag {
            lost.reason = reason;
        }
    }
}

/// Bytes of noise that are told of as one.
const MOST_NOISE: usize = 4096;
