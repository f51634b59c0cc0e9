// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a meter says first: `/XXXZ<id>` (IEC 62056-21 §6.3.2), and the mode and speed that follow from Z.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Speed of a line in baud.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Baud(pub u32);

impl Baud {
    /// Where modes A, B, C and E begin.
    pub const INITIAL: Self = Self(300);
    /// The usual speed of mode D.
    pub const MODE_D: Self = Self(2400);

    /// Time of `count` characters of ten bits (7E1 and 8N1 alike).
    pub fn characters(self, count: usize) -> Duration {
        let bits = 10 * count as u64;
        Duration::from_nanos(bits.saturating_mul(1_000_000_000) / u64::from(self.0.max(1)))
    }
}

impl fmt::Display for Baud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Bd", self.0)
    }
}

/// The dialogues of the standard.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    /// Request, answer, one speed.
    A,
    /// As A, but the meter changes the speed by itself.
    B,
    /// The reader chooses: readout or programming, old speed or new.
    C,
    /// The meter sends unasked.
    D,
    /// As C, and more protocols to choose from (`\2`: HDLC).
    E,
}

/// An identification line; what it borrows is ASCII.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identification<'a> {
    /// Three letters of the manufacturer; a lower-case third one tells of a fast meter.
    pub manufacturer: &'a str,
    /// Z.
    pub baud: u8,
    /// The pairs `\W` between Z and the id, e.g. `\2`; empty in most meters.
    pub enhanced: &'a str,
    /// The rest. P1 ports put bytes below 20h into it.
    pub id: &'a str,
}

/// Longest identification line taken, in bytes; the standard has 16 for the id, meters have more.
pub(crate) const MAX_IDENTIFICATION: usize = 128;

impl<'a> Identification<'a> {
    /// Reads a line from `/` on, with or without its CR LF; `None` when it is something else.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(line)
            .ok()
            .filter(|text| text.is_ascii())?;
        let text = text.trim_end_matches(['\r', '\n']).strip_prefix('/')?;
        if text.len() > MAX_IDENTIFICATION || text.contains(['\r', '\n', '!']) {
            return None;
        }
        let (manufacturer, rest) = text.split_at_checked(3)?;
        let known = manufacturer.bytes().all(|byte| byte.is_ascii_alphabetic());
        let (z, rest) = rest.split_at_checked(1)?;
        let mut id = rest;
        while let Some(behind) = id.strip_prefix('\\') {
            id = behind.get(1..)?;
        }
        let (enhanced, id) = rest.split_at_checked(rest.len() - id.len())?;
        Some(Self {
            manufacturer,
            baud: *z.as_bytes().first()?,
            enhanced,
            id,
        })
        .filter(|_| known)
    }

    /// Whether a `/` behind `begun` starts a new line: always, unless it stands inside an id.
    pub(crate) fn restarts(begun: &[u8]) -> bool {
        Identification::parse(begun).is_none()
    }

    /// The line with CR LF.
    pub fn encode(&self) -> Vec<u8> {
        let [manufacturer, enhanced, id] =
            [self.manufacturer, self.enhanced, self.id].map(str::as_bytes);
        [b"/", manufacturer, &[self.baud], enhanced, id, b"\r\n"].concat()
    }

    /// The mode Z stands for: 0 to 9 mode C (E with `\W`), A to I mode B, anything else mode A. Mode D
    /// cannot be told by the line: its meters send unasked.
    pub fn mode(&self) -> Mode {
        match self.baud {
            b'0'..=b'9' if self.enhanced.is_empty() => Mode::C,
            b'0'..=b'9' => Mode::E,
            b'A'..=b'I' => Mode::B,
            _ => Mode::A,
        }
    }

    /// The speed Z stands for; `None` in mode A and for reserved letters.
    pub fn speed(&self) -> Option<Baud> {
        let step = match self.baud {
            digit @ b'0'..=b'6' => digit - b'0',
            letter @ b'A'..=b'F' => letter - b'A' + 1,
            _ => return None,
        };
        Some(Baud(300 << step))
    }

    /// The shortest reaction time of the meter, and that it grants: 20 ms when the third letter of the
    /// manufacturer is lower case, 200 ms otherwise.
    pub fn reaction(&self) -> Duration {
        let fast = self
            .manufacturer
            .ends_with(|letter: char| letter.is_ascii_lowercase());
        Duration::from_millis(if fast { 20 } else { 200 })
    }

    /// Whether the meter offers HDLC behind mode E (`\2`).
    pub fn offers_hdlc(&self) -> bool {
        self.enhanced.contains('2')
    }
}
