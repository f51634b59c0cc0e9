// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data blocks `STX lines ! CR LF ETX BCC` (IEC 62056-21 §6.3.4), and those without STX, ETX and BCC as
//! mode D and P1 ports send them.

use alloc::vec::Vec;

use crate::line::DataSets;

pub(crate) const SOH: u8 = 0x01;
pub(crate) const STX: u8 = 0x02;
pub(crate) const ETX: u8 = 0x03;
pub(crate) const EOT: u8 = 0x04;
pub(crate) const ACK: u8 = 0x06;
pub(crate) const NAK: u8 = 0x15;

/// What a block check says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Bcc {
    /// As computed.
    Good,
    /// Not as computed.
    Wrong {
        /// Computed.
        expected: u8,
        /// Received.
        got: u8,
    },
    /// There is none.
    Absent,
}

/// XOR of `covered`: all bytes behind STX or SOH, up to and with ETX.
pub fn bcc(covered: &[u8]) -> u8 {
    covered.iter().fold(0, |check, byte| check ^ byte)
}

impl Bcc {
    pub(crate) fn verdict(covered: &[u8], got: u8) -> Self {
        match bcc(covered) {
            expected if expected == got => Self::Good,
            expected => Self::Wrong { expected, got },
        }
    }
}

/// One data block.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Block<'a> {
    /// What stands in front of `!`, for [`DataSets`].
    pub lines: &'a [u8],
    /// What stands between `!` and the end of its line: a CRC on P1 ports, nothing elsewhere.
    pub tail: &'a [u8],
    /// The block check.
    pub bcc: Bcc,
    /// Ended by EOT in place of ETX: another block follows.
    pub more: bool,
    /// Where `!` stands in the bytes it was read from.
    pub(crate) bang: Option<usize>,
}

impl<'a> Block<'a> {
    /// Reads one block. Line ends, NULs and an echoed acknowledgement may stand in front.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut scanner = Scanner::default();
        let at = |range: (usize, usize)| bytes.get(range.0..range.1).unwrap_or_default();
        let mut end = 0;
        for byte in bytes {
            end += 1;
            if scanner.push(*byte) {
                break;
            }
        }
        let marks = scanner.marks;
        let lines_end = marks.bang.or(marks.etx).unwrap_or(end);
        let tail_end = marks.tail_end.or(marks.etx).unwrap_or(end);
        let check = match (scanner.stx, marks.etx, bytes.get(end.saturating_sub(1))) {
            (true, Some(etx), Some(got)) if etx + 1 < end => {
                Bcc::verdict(at((marks.start, etx + 1)), *got)
            }
            _ => Bcc::Absent,
        };
        Self {
            lines: at((marks.start, lines_end)),
            tail: marks
                .bang
                .map_or(&[][..], |bang| at((bang + 1, tail_end)).trim_ascii()),
            bcc: check,
            more: marks.etx.and_then(|etx| bytes.get(etx)) == Some(&EOT),
            bang: marks.bang,
        }
    }

    /// The data sets.
    pub fn sets(&self) -> DataSets<'a> {
        DataSets::new(self.lines)
    }
}

/// Writes `STX lines ! CR LF ETX BCC`.
pub fn encode_block(lines: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(lines.len() + 6);
    block.push(STX);
    block.extend_from_slice(lines);
    block.extend_from_slice(b"!\r\n");
    block.push(ETX);
    let check = bcc(block.get(1..).unwrap_or_default());
    block.push(check);
    block
}

/// Follows a block byte by byte to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanner {
    state: State,
    stx: bool,
    marks: Marks,
    position: usize,
}

/// Offsets of the parts of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    start: usize,
    bang: Option<usize>,
    tail_end: Option<usize>,
    etx: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// In front of the block.
    #[default]
    Before,
    /// In an acknowledgement our own line echoes.
    Echo,
    /// In the lines; in a bracket, `!` is no end.
    Lines { bracket: bool },
    /// Behind `!`.
    Tail,
    /// Behind the line of `!`: an ETX may come.
    Ended,
    /// Behind ETX.
    Check,
}

impl Scanner {
    /// Takes the next byte; whether it was the last of the block.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        let position = self.position;
        self.position += 1;
        match (self.state, byte) {
            (State::Before, ACK) => self.state = State::Echo,
            (State::Before, 0 | b'\r' | b'\n') => {}
            (State::Before, STX) => {
                self.stx = true;
                self.marks.start = position + 1;
                self.state = State::Lines { bracket: false };
            }
            (State::Before, _) => {
                self.marks.start = position;
                self.state = State::Lines { bracket: false };
                return self.in_lines(byte, position, false);
            }
            (State::Echo, b'\n') => self.state = State::Before,
            // An acknowledgement is ASCII; this one went straight over into a block.
            (State::Echo, STX) => {
                self.state = State::Before;
                self.position = position;
                return self.push(byte);
            }
            (State::Echo, _) => {}
            (State::Lines { bracket }, _) => return self.in_lines(byte, position, bracket),
            (State::Tail, ETX | EOT) => self.etx(position),
            (State::Tail, b'\n') => {
                self.marks.tail_end = Some(position);
                self.state = State::Ended;
                return !self.stx;
            }
            (State::Tail, _) => {}
            (State::Ended, ETX | EOT) => self.etx(position),
            (State::Ended, _) => {}
            (State::Check, _) => return true,
        }
        false
    }

    fn in_lines(&mut self, byte: u8, position: usize, bracket: bool) -> bool {
        match byte {
            b'(' => self.state = State::Lines { bracket: true },
            b')' | b'\n' => self.state = State::Lines { bracket: false },
            b'!' if !bracket => {
                self.marks.bang = Some(position);
                self.state = State::Tail;
            }
            ETX | EOT if self.stx => self.etx(position),
            _ => {}
        }
        false
    }

    fn etx(&mut self, position: usize) {
        self.marks.etx = Some(position);
        self.state = State::Check;
    }

    /// Whether the block may count as whole when nothing more comes: only ETX or BCC are missing.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self.state, State::Ended | State::Check) || self.state == State::Tail
    }
}
