// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML transport protocol version 1 (SML 1.05 §8.1): escapes, fill and checksum around a file.
//!
//! ```text
//! 1b1b1b1b 01010101  file, every 1b1b1b1b doubled  00 x fill  1b1b1b1b 1a fill crc crc
//! ```
//! The [`Framer`] takes bytes as they come off a line, one at a time or many, finds its way back after
//! every kind of damage, and says what it had to throw away.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;
use smgw_units::Nanos;

use crate::crc::{Crc, CrcKind};
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

/// Where byte `offset` of `payload` stands in its transmission, in bytes from the start sequence: behind
/// that, and behind the escapes before it.
pub fn offset_on_line(payload: &[u8], offset: usize) -> usize {
    let before = payload.get(..offset).unwrap_or(payload);
    let escapes = escape_runs(before).filter(|run| run.first() == Some(&ESCAPE));
    START.len() + offset + escapes.map(|run| run.len() / 4 * 4).sum::<usize>()
}

/// Cuts `content` into runs of 1b and runs without.
fn escape_runs(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.chunk_by(|one, next| (*one == ESCAPE) == (*next == ESCAPE))
}

/// What the line brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A whole file whose checksum verifies.
    File {
        /// The file, for [`crate::File::parse`].
        payload: &'a [u8],
        /// Where the start sequence begins, in bytes the framer has taken before it.
        offset: u64,
        /// Bytes of fill behind the payload, as announced (0 to 3).
        fill: u8,
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
        /// Where the first of them is, in bytes the framer has taken before it.
        offset: u64,
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
    /// Bytes taken so far.
    taken: u64,
    /// Matched bytes of the start sequence while hunting.
    matched: usize,
    /// Stamps of those bytes; inside a transmission those of the latest run of 1b.
    stamps: [Nanos; 8],
    noise: Option<(usize, Nanos)>,
    body: Vec<u8>,
    /// The part of the body that is payload, once the transmission is whole.
    payload: Range<usize>,
    /// Where in the body four bytes 1b stand that could be the beginning of a start sequence, and their
    /// first stamp: a transmission that lost all behind the 1b of its end makes the next one look like its
    /// content.
    suspect: Option<(usize, Nanos)>,
    /// The transmission that was found in another's content, to be told next.
    rescued: Option<Event<'static>>,
    crc: Crc,
    first: Nanos,
    /// Where the transmission begins.
    offset: u64,
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
            taken: 0,
            matched: 0,
            stamps: [Nanos(0); 8],
            noise: None,
            body: Vec::new(),
            payload: 0..0,
            suspect: None,
            rescued: None,
            crc: Crc::new(),
            first: Nanos(0),
            offset: 0,
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
        // The first byte behind a transmission leads to nothing yet.
        let rescued = self.rescued.take();
        let found = rescued.or(self.step(byte, at))?;
        Some(self.complete(found))
    }

    /// Takes bytes from the front of `input` up to the next event, or all of them; call it again until
    /// `None` says that they are used up. They were all received at `at`.
    pub fn feed(&mut self, input: &mut &[u8], at: Nanos) -> Option<Event<'_>> {
        if let Some(rescued) = self.rescued.take() {
            return Some(self.complete(rescued));
        }
        loop {
            let (plain, rest) = self.split_plain(input);
            self.skip(plain, at);
            *input = rest;
            let (byte, rest) = rest.split_first()?;
            *input = rest;
            if let Some(found) = self.step(*byte, at) {
                return Some(self.complete(found));
            }
        }
    }

    /// Tells that the line is silent: what is pending will never be completed. Call it again until `None`.
    pub fn flush(&mut self) -> Option<Event<'_>> {
        if let Some(rescued) = self.rescued.take() {
            return Some(self.complete(rescued));
        }
        match self.state {
            State::Hunt => {
                let pending = self.matched;
                self.matched = 0;
                self.count_noise(pending, self.stamps[0]);
                self.take_noise(0)
            }
            State::Data { .. } | State::Escape { .. } => {
                Some(self.discard(Discard::Truncated, &[]))
            }
        }
    }

    /// The bytes at the front of `input` that need no step of the machine: noise without 1b, or data in
    /// which no escape can begin.
    fn split_plain<'b>(&self, input: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let (room, in_data) = match self.state {
            State::Hunt if self.matched == 0 => (input.len(), false),
            State::Data { run: 0 } => (self.limit.saturating_sub(self.bytes), true),
            _ => (0, false),
        };
        let within = input.get(..room).unwrap_or(input);
        let mut length = 0;
        while let Some(rest) = within.get(length..) {
            match memchr(ESCAPE, rest) {
                None => length = within.len(),
                // A single 1b is data like any other.
                Some(run) if in_data && rest.get(run + 1).is_some_and(|next| *next != ESCAPE) => {
                    length += run + 2;
                    continue;
                }
                Some(run) => length += run,
            }
            break;
        }
        input.split_at_checked(length).unwrap_or((&[], input))
    }

    /// Takes plain bytes, see [`Self::split_plain`].
    fn skip(&mut self, plain: &[u8], at: Nanos) {
        self.taken += plain.len() as u64;
        if let State::Hunt = self.state {
            self.count_noise(plain.len(), at);
        } else {
            self.bytes += plain.len();
            self.crc.feed(plain);
            self.body.extend_from_slice(plain);
        }
    }

    fn step(&mut self, byte: u8, at: Nanos) -> Option<Event<'static>> {
        self.taken += 1;
        match self.state {
            State::Hunt => self.hunt(byte, at),
            State::Data { run } => {
                self.bytes += 1;
                if self.bytes > self.limit {
                    return Some(self.discard(Discard::TooLong, &[(byte, at)]));
                }
                self.crc.feed(&[byte]);
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

    /// Gives the payload to the event of a whole transmission.
    fn complete(&self, event: Event<'static>) -> Event<'_> {
        let mut event: Event<'_> = event;
        let whole = self.body.get(self.payload.clone()).unwrap_or_default();
        if let Event::File { payload, .. } = &mut event {
            *payload = whole;
        }
        event
    }

    fn hunt(&mut self, byte: u8, at: Nanos) -> Option<Event<'static>> {
        if START.get(self.matched) == Some(&byte) {
            if let Some(slot) = self.stamps.get_mut(self.matched) {
                *slot = at;
            }
            self.matched += 1;
            if self.matched < START.len() {
                return None;
            }
            self.begin(self.stamps[0]);
            return self.take_noise(START.len());
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

    /// The noise that ends `behind` bytes before the next byte.
    fn take_noise(&mut self, behind: usize) -> Option<Event<'static>> {
        let (bytes, first) = self.noise.take()?;
        Some(Event::Discarded {
            offset: self.taken - (bytes + behind) as u64,
            bytes,
            first,
            reason: Discard::Noise,
        })
    }

    fn begin(&mut self, first: Nanos) {
        self.state = State::Data { run: 0 };
        self.matched = 0;
        self.body.clear();
        self.suspect = None;
        self.crc = Crc::over(&START);
        self.first = first;
        self.offset = self.taken - START.len() as u64;
        self.bytes = START.len();
    }

    fn escape(&mut self, bytes: [(u8, Nanos); 4], at: Nanos) -> Option<Event<'static>> {
        let codes = bytes.map(|(byte, _)| byte);
        match codes {
            [ESCAPE, ESCAPE, ESCAPE, ESCAPE] => {
                self.crc.feed(&codes);
                let suspect = self.suspect.map(|(from, _)| from);
                if suspect.is_none_or(|from| self.swallowed(from).is_none()) {
                    self.suspect = Some((self.body.len(), bytes[0].1));
                }
                self.body.extend_from_slice(&codes);
                self.state = State::Data { run: 0 };
                None
            }
            [1, 1, 1, 1] => {
                let (offset, length, first) = (self.offset, self.bytes - START.len(), self.first);
                self.begin(self.stamps[0]);
                Some(Event::Discarded {
                    offset,
                    bytes: length,
                    first,
                    reason: Discard::Restart,
                })
            }
            [END, fill, low, high] => {
                self.crc.feed(&[END, fill]);
                let aligned = self.bytes.is_multiple_of(4);
                if aligned && let Some(kind) = self.verdict(self.crc, 0, [fill, low, high]) {
                    let begins = (self.offset, self.first);
                    return Some(self.whole(begins, self.bytes, fill, at, kind));
                }
                if let Some(event) = self.rescue([fill, low, high], at) {
                    return Some(event);
                }
                let reason = if aligned {
                    Discard::BadCrc
                } else {
                    Discard::Misaligned
                };
                Some(self.discard(reason, &bytes))
            }
            [ESCAPE, ..] => {
                // More than four 1b: the first ones are data, the last four may be an escape.
                let extra = codes.iter().take_while(|code| **code == ESCAPE).count();
                self.crc.feed(codes.get(..extra).unwrap_or_default());
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
            _ => Some(self.discard(Discard::BadEscape, &bytes)),
        }
    }

    /// Which checksum verifies the transmission whose content begins at `from` in the body; if one does, that
    /// content without its fill is the payload.
    fn verdict(&mut self, crc: Crc, from: usize, [fill, low, high]: [u8; 3]) -> Option<CrcKind> {
        let kermit = self.quirks.tolerates(Quirk::KermitCrc);
        let kind = crc.matching([low, high], kermit)?;
        let to = self.body.len().checked_sub(usize::from(fill))?;
        if fill > 3 || from > to {
            return None;
        }
        self.payload = from..to;
        Some(kind)
    }

    /// The end of a good transmission of `bytes`.
    fn whole(
        &mut self,
        (offset, first): (u64, Nanos),
        bytes: usize,
        fill: u8,
        last: Nanos,
        crc: CrcKind,
    ) -> Event<'static> {
        self.state = State::Hunt;
        Event::File {
            payload: &[],
            offset,
            fill,
            first,
            last,
            crc,
            bytes,
        }
    }

    /// The content behind a start sequence that was taken for content itself, at `from` in the body.
    fn swallowed(&self, from: usize) -> Option<&[u8]> {
        self.body.get(from..)?.strip_prefix(&START)
    }

    /// Finds the good transmission inside a bad one that lost its end.
    fn rescue(&mut self, end: [u8; 3], at: Nanos) -> Option<Event<'static>> {
        let (from, first) = self.suspect?;
        let content = self.swallowed(from)?;
        let mut crc = Crc::over(&START);
        for run in escape_runs(content) {
            crc.feed(run);
            if run.first() == Some(&ESCAPE) {
                (0..run.len() / 4).for_each(|_| crc.feed(&[ESCAPE; 4]));
            }
        }
        crc.feed(&[ESCAPE, ESCAPE, ESCAPE, ESCAPE, END, end[0]]);
        let bytes = offset_on_line(content, content.len()) + START.len();
        let kind = self.verdict(crc, from + START.len(), end)?;
        let begins = (self.taken - bytes as u64, first);
        self.rescued = Some(self.whole(begins, bytes, end[0], at, kind));
        Some(Event::Discarded {
            offset: self.offset,
            bytes: self.bytes - bytes,
            first: self.first,
            reason: Discard::Restart,
        })
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
            offset: self.offset,
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
