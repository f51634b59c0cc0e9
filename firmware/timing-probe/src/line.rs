// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines between host and probe: text, `*`, two hex digits with the exclusive or of the text's bytes, line feed.

use core::fmt::{self, Display, Write};

/// Longest line with its end.
pub const MOST_BYTES: usize = 80;

/// A line to send.
#[derive(Clone, Debug)]
pub struct Line {
    bytes: [u8; MOST_BYTES],
    length: usize,
}

impl Line {
    /// The line of a message; what does not fit is cut off, which no message of ours is long enough for.
    pub fn new(message: &impl Display) -> Self {
        let mut line = Self {
            bytes: [0; MOST_BYTES],
            length: 0,
        };
        let _ = write!(line, "{message}");
        let check = line.bytes().iter().fold(0, |check, byte| check ^ byte);
        let _ = writeln!(line, "*{check:02x}");
        line
    }

    /// The line as it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// Why a line counts for nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// Longer than [`MOST_BYTES`].
    TooLong,
    /// No text, or its check digits are missing or others.
    Damaged,
}

/// Puts lines together from bytes.
#[derive(Clone, Debug)]
pub struct LineReader {
    bytes: [u8; MOST_BYTES],
    length: usize,
    too_long: bool,
}

impl Default for LineReader {
    fn default() -> Self {
        Self {
            bytes: [0; MOST_BYTES],
            length: 0,
            too_long: false,
        }
    }
}

impl LineReader {
    /// Takes a byte: at the end of a line, its text or what is wrong with it. Empty lines are nothing.
    pub fn push(&mut self, byte: u8) -> Option<Result<&str, FrameError>> {
        if byte != b'\n' {
            match self.bytes.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length += 1;
                }
                None => self.too_long = true,
            }
            return None;
        }
        let line = self.bytes.get(..self.length).unwrap_or_default();
        self.length = 0;
        if core::mem::take(&mut self.too_long) {
            return Some(Err(FrameError::TooLong));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.is_empty() {
            true => None,
            false => Some(checked(line).ok_or(FrameError::Damaged)),
        }
    }
}

/// The text of a line whose check digits agree.
fn checked(line: &[u8]) -> Option<&str> {
    let (text, digits) = line.split_last_chunk::<3>()?;
    let digits = core::str::from_utf8(digits).ok()?.strip_prefix('*')?;
    let expected = u8::from_str_radix(digits, 16).ok()?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let check = text.iter().fold(0, |check, byte| check ^ byte);
    let text = core::str::from_utf8(text).ok()?;
    (are_digits && check == expected && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<String, FrameError>> {
        let mut reader = LineReader::default();
        let mut lines = Vec::new();
        for byte in bytes {
            lines.extend(reader.push(*byte).map(|line| line.map(String::from)));
        }
        lines
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = Line::new(&"start");
        assert_eq!(line.bytes(), b"start*60\n");
        assert_eq!(read(line.bytes()), [Ok("start".into())]);
        assert_eq!(read(b"start*60\r\n"), [Ok("start".into())]);
    }

    #[test]
    fn damage_costs_one_line_only() {
        let whole = Line::new(&"read 17");
        for bit in 0..(whole.bytes().len() - 1) * 8 {
            let mut bytes = whole.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes.extend(b"\nstart*60\n");
            let lines = read(&bytes);
            // The case of a hex digit is no damage.
            let harmless =
                bytes[..whole.bytes().len()].eq_ignore_ascii_case(whole.bytes()) && bit / 8 > 7;
            assert_eq!(lines.contains(&Ok("read 17".into())), harmless, "bit {bit}");
            assert_eq!(lines.last(), Some(&Ok("start".into())), "bit {bit}");
        }
    }

    #[test]
    fn lines_without_end_are_cut_and_told() {
        let mut bytes = std::vec![b'x'; 10 * MOST_BYTES];
        bytes.extend(b"\n\n*00\n**2a\n");
        let damaged = Err(FrameError::Damaged);
        assert_eq!(
            read(&bytes),
            [Err(FrameError::TooLong), damaged.clone(), Ok("*".into())]
        );
    }
}
