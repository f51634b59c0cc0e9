// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 48 octets of an NTP message (RFC 5905 §7.3).

use core::fmt;

use crate::timestamp::{Short, Timestamp};

/// Octets of a message without extension fields and authentication.
pub const LEN: usize = 48;

/// The version spoken.
pub const VERSION: u8 = 4;

/// The leap indicator.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Leap {
    /// No leap second is near.
    #[default]
    None,
    /// The last minute of the day has 61 seconds.
    Inserted,
    /// The last minute of the day has 59 seconds.
    Deleted,
    /// The clock is not synchronised.
    Unsynchronised,
}

impl Leap {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::None,
            1 => Self::Inserted,
            2 => Self::Deleted,
            _ => Self::Unsynchronised,
        }
    }
}

/// The association mode, 0 to 7.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mode(u8);

impl Mode {
    /// A client's question.
    pub const CLIENT: Self = Self(3);
    /// A server's answer.
    pub const SERVER: Self = Self(4);

    /// The mode of this number; of a larger one the lowest three bits.
    pub const fn new(number: u8) -> Self {
        Self(number & 7)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A message, field by field; every one of its octets is in here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Leap second warning, or that there is no time.
    pub leap: Leap,
    /// Version, 0 to 7.
    pub version: u8,
    /// Mode.
    pub mode: Mode,
    /// Distance from a reference clock; 0 is a kiss-o'-death.
    pub stratum: u8,
    /// Longest interval between questions, as log2 of seconds.
    pub poll: i8,
    /// Precision of the clock, as log2 of seconds.
    pub precision: i8,
    /// Round trip to the reference clock.
    pub root_delay: Short,
    /// Error bound towards the reference clock.
    pub root_dispersion: Short,
    /// Who the reference is, or a kiss code.
    pub reference_id: [u8; 4],
    /// When the clock was last set.
    pub reference: Timestamp,
    /// The question's transmit timestamp.
    pub origin: Timestamp,
    /// When the question arrived.
    pub receive: Timestamp,
    /// When this message left.
    pub transmit: Timestamp,
}

/// Octets that are no message because of their number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LengthError(pub usize);

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} octets, expected {LEN}", self.0)
    }
}

impl core::error::Error for LengthError {}

impl Packet {
    /// Reads a message. Any 48 octets are one.
    ///
    /// # Errors
    /// [`LengthError`]: fewer octets, or an extension or authentication behind them; the sender is at fault.
    pub fn parse(octets: &[u8]) -> Result<Self, LengthError> {
        let (words, _) = octets.as_chunks::<4>();
        let (
            true,
            &[
                head,
                root_delay,
                root_dispersion,
                reference_id,
                a,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
            ],
        ) = (octets.len() == LEN, words)
        else {
            return Err(LengthError(octets.len()));
        };
        let word = u32::from_be_bytes;
        let stamp = |high, low| Timestamp(u64::from(word(high)) << 32 | u64::from(word(low)));
        let [first, stratum, poll, precision] = head;
        Ok(Self {
            leap: Leap::from_bits(first >> 6),
            version: first >> 3 & 7,
            mode: Mode::new(first),
            stratum,
            poll: poll as i8,
            precision: precision as i8,
            root_delay: Short(word(root_delay)),
            root_dispersion: Short(word(root_dispersion)),
            reference_id,
            reference: stamp(a, b),
            origin: stamp(c, d),
            receive: stamp(e, f),
            transmit: stamp(g, h),
        })
    }

    /// The octets; of `version` the lowest three bits.
    pub fn encode(&self) -> [u8; LEN] {
        let first = (self.leap as u8) << 6 | (self.version & 7) << 3 | self.mode.number();
        let head = [first, self.stratum, self.poll as u8, self.precision as u8];
        let stamps = [self.reference, self.origin, self.receive, self.transmit];
        let words = [
            head,
            self.root_delay.0.to_be_bytes(),
            self.root_dispersion.0.to_be_bytes(),
            self.reference_id,
        ];
        let mut octets = [0; LEN];
        let (front, back) = octets.split_at_mut(16);
        for (place, word) in front.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word);
        }
        for (place, stamp) in back.chunks_exact_mut(8).zip(stamps) {
            place.copy_from_slice(&stamp.0.to_be_bytes());
        }
        octets
    }
}
