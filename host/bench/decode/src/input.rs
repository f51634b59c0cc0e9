// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a file to bytes: raw captures, hex text, and the lines of radio receivers.
//!
//! Hex text may hold spaces, `|`, `_`, `,`, `0x` and comments behind `#`. Lines that each hold one
//! frame stay apart; any other hex text is one dump of one stream. Receivers' lines are those of
//! rtl_wmbus (`T1;1;1;...;0x2e44...`), of CUL sticks (`b2e44...`, `bY...`) and the telegram lines of
//! wmbusmeters (`telegram=|2e44...|`).

use std::borrow::Cow;

use crate::detect;

/// How the bytes of an input are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// Look at the input.
    #[default]
    Auto,
    /// As they are.
    Raw,
    /// In hex digits.
    Hex,
    /// One line of a receiver per frame.
    Lines,
}

/// An input nothing can be read from; the caller gave the wrong file or the wrong form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// More bytes than [`LIMIT`].
    #[error("input of {0} bytes is larger than {LIMIT}; split it")]
    TooLarge(usize),
    /// Text that is no hex.
    #[error("line {line}: {found:?} is no hex digit")]
    NoHex {
        /// Counted from 1.
        line: usize,
        /// The first character that does not fit.
        found: char,
    },
    /// An odd number of hex digits.
    #[error("line {line}: odd number of hex digits")]
    OddHex {
        /// Counted from 1.
        line: usize,
    },
    /// A receiver's line without a frame.
    #[error("line {line}: no frame of a known receiver")]
    NoReceiverLine {
        /// Counted from 1.
        line: usize,
    },
    /// The bytes fit no protocol.
    #[error("cannot tell the protocol; name it with --protocol")]
    UnknownProtocol,
}

/// Largest input read at once.
pub const LIMIT: usize = 256 << 20;

/// A run of bytes to decode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The line it stood on, counted from 1.
    pub(crate) line: Option<usize>,
    /// Exactly one frame, rather than a stream of them.
    pub(crate) whole: bool,
}

/// Reads an input.
pub(crate) fn pieces(input: &[u8], form: Form) -> Result<Vec<Piece<'_>>, InputError> {
    if input.len() > LIMIT {
        return Err(InputError::TooLarge(input.len()));
    }
    let text = std::str::from_utf8(input).ok();
    match (form, text) {
        (Form::Hex, Some(text)) => hex_pieces(text),
        (Form::Lines, Some(text)) => receiver_pieces(text),
        (Form::Hex | Form::Lines, None) => Err(InputError::NoHex {
            line: 1,
            found: char::REPLACEMENT_CHARACTER,
        }),
        (Form::Auto, Some(text)) if is_text(text, |line| receiver_line(line).is_some()) => {
            receiver_pieces(text)
        }
        (Form::Auto, Some(text)) if is_text(text, |line| hex_line(line, 0).is_ok()) => {
            hex_pieces(text)
        }
        (Form::Raw | Form::Auto, _) => Ok(vec![Piece {
            bytes: Cow::Borrowed(input),
            line: None,
            whole: false,
        }]),
    }
}

/// Whether there are lines, and all of them fit.
fn is_text(text: &str, fits: impl Fn(&str) -> bool) -> bool {
    let mut lines = content(text).peekable();
    lines.peek().is_some() && lines.all(|(_, line)| fits(line))
}

/// Lines with their numbers, without comments and blank ones.
fn content(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        (!line.is_empty()).then_some((index + 1, line))
    })
}

fn hex_pieces(text: &str) -> Result<Vec<Piece<'static>>, InputError> {
    let lines = content(text)
        .map(|(number, line)| Ok((number, hex_line(line, number)?)))
        .collect::<Result<Vec<_>, InputError>>()?;
    // One damaged line among frames does not make them a dump.
    let frames = lines
        .iter()
        .filter(|(_, bytes)| detect::is_one_frame(bytes))
        .count();
    if 2 * frames >= lines.len() {
        return Ok(lines.into_iter().map(whole).collect());
    }
    let line = match lines.as_slice() {
        [(number, _)] => Some(*number),
        _ => None,
    };
    Ok(vec![Piece {
        bytes: Cow::Owned(lines.into_iter().flat_map(|(_, bytes)| bytes).collect()),
        line,
        whole: false,
    }])
}

fn whole((line, bytes): (usize, Vec<u8>)) -> Piece<'static> {
    Piece {
        bytes: Cow::Owned(bytes),
        line: Some(line),
        whole: true,
    }
}

/// The bytes of a line of hex digits.
fn hex_line(line: &str, number: usize) -> Result<Vec<u8>, InputError> {
    let mut digits = Vec::with_capacity(line.len());
    for word in line.split(|letter: char| letter.is_whitespace() || "|_,".contains(letter)) {
        let word = word
            .strip_prefix("0x")
            .or_else(|| word.strip_prefix("0X"))
            .unwrap_or(word);
        for letter in word.chars() {
            let digit = letter.to_digit(16).ok_or(InputError::NoHex {
                line: number,
                found: letter,
            })?;
            digits.push(digit as u8);
        }
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect()),
        _ => Err(InputError::OddHex { line: number }),
    }
}

fn receiver_pieces(text: &str) -> Result<Vec<Piece<'static>>, InputError> {
    content(text)
        .map(|(number, line)| {
            let bytes = receiver_line(line).ok_or(InputError::NoReceiverLine { line: number })?;
            Ok(whole((number, bytes)))
        })
        .collect()
}

/// The frame in a line of a known receiver.
fn receiver_line(line: &str) -> Option<Vec<u8>> {
    let digits = if let Some(rest) = line.strip_prefix("telegram=") {
        rest.trim_start_matches('|').split(['+', '$']).next()?
    } else if let Some((mode, _)) = line.split_once(';') {
        let known = matches!(mode.as_bytes(), [b'T' | b'C' | b'S', b'1' | b'2']);
        known.then(|| line.rsplit(';').next())??
    } else {
        // A CUL stick marks format B with a Y; the frame's own checksums tell the format as well.
        let rest = line.strip_prefix('b')?;
        rest.strip_prefix('Y').unwrap_or(rest)
    };
    let bytes = hex_line(digits, 0).ok()?;
    // A line of hex digits may begin with b as well, but then it is no frame behind it.
    (!bytes.is_empty() && (!line.starts_with('b') || detect::is_radio(&bytes))).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<usize>, usize, bool)> {
        let pieces = pieces(text.as_bytes(), Form::Auto).unwrap();
        pieces
            .iter()
            .map(|piece| (piece.line, piece.bytes.len(), piece.whole))
            .collect()
    }

    const KNOWN: &str = "1E44AE4C0455223368077A55000000041389E20100023B0000";

    #[test]
    fn lines_of_frames_stay_apart_and_dumps_do_not() {
        let frames = "# three\n10 40 01 41 16\n\n0x10,0x5b,0x01,0x5c,0x16 # request\nE5\n";
        let whole = |line, len| (Some(line), len, true);
        assert_eq!(read(frames), [whole(2, 5), whole(4, 5), whole(5, 1)]);
        let dump = "1b1b1b1b 0101|0101\n7605_000000016200\n";
        assert_eq!(read(dump), [(None, 16, false)]);
    }

    #[test]
    fn receivers_lines() {
        let rtl = format!("T1;1;1;2026-01-01 00:00:00.000;97;148;33225504;0x{KNOWN}\n");
        assert_eq!(read(&rtl), [(Some(1), 25, true)]);
        let wmbusmeters = format!("telegram=|{KNOWN}|+5\n");
        assert_eq!(read(&wmbusmeters), [(Some(1), 25, true)]);
    }

    #[test]
    fn what_is_no_hex_is_said() {
        let error = |text: &str, form| pieces(text.as_bytes(), form).unwrap_err();
        let found = 'g';
        assert_eq!(
            error("00\n0g", Form::Hex),
            InputError::NoHex { line: 2, found }
        );
        assert_eq!(error("00\n000", Form::Hex), InputError::OddHex { line: 2 });
        assert_eq!(
            error("abc", Form::Lines),
            InputError::NoReceiverLine { line: 1 }
        );
        assert!(!pieces(b"/ISK5\r\n", Form::Auto).unwrap()[0].whole);
    }
}
