// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command APDUs in all four cases, short and extended (ISO/IEC 7816-4 §5.1, §5.2).

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A command. Its data is wiped when dropped and never printed.
#[derive(Clone, Eq, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct Command {
    /// Class: bits 4 and 3 say secure messaging, bit 5 says that more of the same command follows.
    pub cla: u8,
    /// Instruction.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Up to [`Command::MOST_DATA`] bytes.
    pub data: Vec<u8>,
    /// How many bytes the answer may have at most (Le), 1 to [`Command::MOST_EXPECTED`]; `None` when none is expected.
    pub expected: Option<u32>,
}

/// A command that cannot be encoded, or bytes that are no command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CommandError {
    /// The bytes end before the header does.
    NoHeader,
    /// The length fields do not fit the number of bytes (status word 6700).
    Length,
    /// The caller's data or expected length is beyond what extended lengths can say.
    TooLong,
}

/// Bit 5 of the class byte: the command goes on in the next one.
const CHAINED: u8 = 0x10;

/// The most that short length fields can say.
const SHORT_DATA: usize = 255;
const SHORT_EXPECTED: u32 = 256;

impl Command {
    /// The most data an extended length can say.
    pub const MOST_DATA: usize = 0xffff;
    /// The longest answer an extended length can ask for.
    pub const MOST_EXPECTED: u32 = 0x1_0000;

    /// A command without data that expects no data.
    pub const fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Self {
            cla,
            ins,
            p1,
            p2,
            data: Vec::new(),
            expected: None,
        }
    }

    /// The same command with data.
    #[must_use]
    pub fn with(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data.zeroize();
        self.data = data.into();
        self
    }

    /// The same command, which now expects up to so many bytes.
    #[must_use]
    pub fn expecting(mut self, most: u32) -> Self {
        self.expected = Some(most);
        self
    }

    /// The same command as part of a chain: more follows.
    #[must_use]
    pub fn chained(mut self) -> Self {
        self.cla |= CHAINED;
        self
    }

    /// Whether the command goes on in the next one.
    pub const fn is_chained(&self) -> bool {
        self.cla & CHAINED != 0
    }

    /// Whether the class says secure messaging with the header authenticated.
    pub const fn is_protected(&self) -> bool {
        self.cla & crate::secure::PROTECTED == crate::secure::PROTECTED
    }

    /// CLA, INS, P1 and P2.
    pub const fn header(&self) -> [u8; 4] {
        [self.cla, self.ins, self.p1, self.p2]
    }

    /// The bytes to send; short lengths where they suffice, as cards without extended lengths need.
    ///
    /// # Errors
    /// [`CommandError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, CommandError> {
        let expected = self.expected.unwrap_or(0);
        if self.data.len() > Self::MOST_DATA
            || expected > Self::MOST_EXPECTED
            || self.expected == Some(0)
        {
            return Err(CommandError::TooLong);
        }
        let extended = self.data.len() > SHORT_DATA || expected > SHORT_EXPECTED;
        // Zero says the largest length in both forms, so cutting the number off writes it.
        let [.., middle, low] = expected.to_be_bytes();
        let [.., data_high, data_low] = self.data.len().to_be_bytes();
        let mut bytes = Vec::with_capacity(9 + self.data.len());
        bytes.extend(self.header());
        if extended {
            bytes.push(0);
        }
        if !self.data.is_empty() {
            if extended {
                bytes.push(data_high);
            }
            bytes.push(data_low);
            bytes.extend_from_slice(&self.data);
        }
        if self.expected.is_some() {
            if extended {
                bytes.push(middle);
            }
            bytes.push(low);
        }
        Ok(bytes)
    }

    /// Reads one command, which fills the bytes exactly.
    ///
    /// # Errors
    /// [`CommandError::NoHeader`] or [`CommandError::Length`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let [cla, ins, p1, p2, body @ ..] = bytes else {
            return Err(CommandError::NoHeader);
        };
        let (data, expected) = body_of(body).ok_or(CommandError::Length)?;
        Ok(Self {
            data: data.to_vec(),
            expected,
            ..Self::new(*cla, *ins, *p1, *p2)
        })
    }
}

/// Data and expected length of what follows the header.
fn body_of(body: &[u8]) -> Option<(&[u8], Option<u32>)> {
    let short = |le: &u8| or_most(u32::from(*le), SHORT_EXPECTED);
    let long = |high: &u8, low: &u8| {
        or_most(
            u32::from(u16::from_be_bytes([*high, *low])),
            Command::MOST_EXPECTED,
        )
    };
    match body {
        [] => Some((&[], None)),
        [le] => Some((&[], Some(short(le)))),
        [0, high, low] => Some((&[], Some(long(high, low)))),
        [0, high, low, rest @ ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let (data, le) = rest.split_at_checked(len).filter(|_| len > 0)?;
            match le {
                [] => Some((data, None)),
                [high, low] => Some((data, Some(long(high, low)))),
                _ => None,
            }
        }
        [len, rest @ ..] => {
            let (data, le) = rest
                .split_at_checked(usize::from(*len))
                .filter(|_| *len > 0)?;
            match le {
                [] => Some((data, None)),
                [le] => Some((data, Some(short(le)))),
                _ => None,
            }
        }
    }
}

fn or_most(length: u32, most: u32) -> u32 {
    if length == 0 { most } else { length }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cla, ins, p1, p2] = self.header();
        write!(
            f,
            "Command({cla:02x} {ins:02x} {p1:02x} {p2:02x}, {} bytes, expecting {:?})",
            self.data.len(),
            self.expected
        )
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "command is shorter than its header of four bytes",
            Self::Length => "command's length fields do not fit its bytes",
            Self::TooLong => "command is beyond what extended length fields can say",
        })
    }
}

impl core::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seven forms of ISO/IEC 7816-4 §5.1 and what they mean.
    #[test]
    fn all_cases_are_written_and_read() {
        let plain = Command::new(0, 0xb0, 1, 2);
        let with = |len: usize| plain.clone().with(alloc::vec![9; len]);
        for (command, lengths) in [
            (plain.clone(), &[][..]),
            (plain.clone().expecting(256), &[0]),
            (plain.clone().expecting(255), &[255]),
            (plain.clone().expecting(257), &[0, 1, 1]),
            (plain.clone().expecting(65536), &[0, 0, 0]),
            (with(255), &[255]),
            (with(256), &[0, 1, 0]),
            (with(3).expecting(256), &[3]),
            (with(3).expecting(257), &[0, 0, 3]),
        ] {
            let bytes = command.encode().unwrap();
            assert_eq!(bytes[4..4 + lengths.len()], *lengths);
            assert_eq!(Command::decode(&bytes), Ok(command));
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bytes in [
            &[0, 0xb0, 0][..],
            &[0, 0xb0, 0, 0, 2, 1],
            &[0, 0xb0, 0, 0, 1, 1, 0, 0],
            &[0, 0xb0, 0, 0, 0, 1],
            &[0, 0xb0, 0, 0, 0, 0, 0, 1],
            &[0, 0xb0, 0, 0, 0, 0, 1, 9, 0],
            &[0, 0xb0, 0, 0, 0, 0, 2, 9],
        ] {
            assert!(Command::decode(bytes).is_err(), "{bytes:02x?}");
        }
        let long = Command::new(0, 0, 0, 0).with(alloc::vec![0; 0x1_0000]);
        assert_eq!(long.encode(), Err(CommandError::TooLong));
        assert!(Command::new(0, 0, 0, 0).expecting(0).encode().is_err());
    }

    #[test]
    fn data_is_never_printed() {
        let shown = alloc::format!("{:?}", Command::new(0, 0x24, 0, 3).with([0x77; 10]));
        assert!(!shown.contains("77"), "{shown}");
    }
}
