// SPDX-License-Identifier: MIT OR Apache-2.0
//! Receivers on a serial line: finding telegrams in what they send, and sending as they do.
//!
//! The layouts are those that open-source readers of these receivers use; vendor manuals have not been
//! at hand. Every kind of receiver is a [`Framing`]; a [`Framer`] feeds it, finds its way back after
//! noise, and never keeps more than one packet.

mod amber;
mod cul;
mod im871a;
mod rtl;

use alloc::string::String;
use alloc::vec::Vec;

pub use amber::Amber;
pub use cul::Cul;
pub use im871a::{Im871a, Packet};
pub use rtl::RtlWmbus;

use crate::CrcFormat;

/// A telegram as a receiver heard it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heard {
    /// The frame, for [`crate::Frame::decode`].
    pub frame: Vec<u8>,
    /// The CRCs in it.
    pub format: CrcFormat,
    /// Signal strength in dBm.
    pub rssi_dbm: Option<i16>,
    /// When the receiver heard it, by its own clock.
    pub stamp: Option<Stamp>,
}

/// A receiver's time stamp.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stamp {
    /// A counter, in the receiver's own ticks.
    Ticks(u32),
    /// Date and time as text.
    Text(String),
}

impl Heard {
    /// A frame without CRCs, and nothing else.
    pub const fn stripped(frame: Vec<u8>) -> Self {
        Self {
            frame,
            format: CrcFormat::Stripped,
            rssi_dbm: None,
            stamp: None,
        }
    }
}

/// How a receiver packs what it sends.
pub trait Framing {
    /// What it sends.
    type Packet;
    /// Bytes of its longest packet.
    const LONGEST: usize;

    /// Looks at the bytes received so far, which are at least one.
    fn split(&self, bytes: &[u8]) -> Split<Self::Packet>;
}

/// What the bytes received so far begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Split<T> {
    /// The beginning of a packet.
    More,
    /// So many bytes of noise.
    Noise(usize),
    /// A packet of so many bytes.
    Packet(usize, T),
}

/// Finds packets in a stream of bytes.
#[derive(Clone, Debug)]
pub struct Framer<F> {
    framing: F,
    pending: Vec<u8>,
    noise: u64,
}

impl<F: Framing> Framer<F> {
    /// At the start of a stream.
    pub const fn new(framing: F) -> Self {
        Self {
            framing,
            pending: Vec::new(),
            noise: 0,
        }
    }

    /// Takes bytes as they come, and hands every packet they complete to `each`.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(F::Packet)) {
        for byte in bytes {
            self.pending.push(*byte);
            while !self.pending.is_empty() {
                let used = match self.framing.split(&self.pending) {
                    Split::More if self.pending.len() < F::LONGEST => break,
                    Split::More => self.drop(1),
                    Split::Noise(bytes) => self.drop(bytes),
                    Split::Packet(bytes, packet) => {
                        each(packet);
                        bytes
                    }
                };
                self.pending.drain(..used.clamp(1, self.pending.len()));
            }
        }
    }

    /// Bytes of a packet that has begun.
    pub const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Forgets the beginning of a packet: the line has been silent for too long.
    pub fn idle(&mut self) {
        self.noise += self.pending.len() as u64;
        self.pending.clear();
    }

    /// Bytes so far that belonged to no packet.
    pub const fn noise(&self) -> u64 {
        self.noise
    }

    fn drop(&mut self, bytes: usize) -> usize {
        self.noise += bytes.clamp(1, self.pending.len()) as u64;
        bytes
    }
}

/// Where the first line of `bytes` ends and how long it is, line feed included.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let text = bytes.get(..end)?;
    Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1))
}

/// Bytes from their hexadecimal digits; `None` unless all are.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8))
        .collect()
}

/// Hexadecimal digits, upper case when asked for.
fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .filter_map(|digit| digits.get(usize::from(digit)).copied())
        .collect()
}

/// Signal strength of the CC1101 and its kin, whose raw value is in half dB (data sheet §17.3).
const fn cc1101_dbm(raw: u8) -> i16 {
    (raw.cast_signed() as i16).div_euclid(2) - CC1101_OFFSET
}

/// The raw value nearest to a signal strength.
fn cc1101_raw(dbm: i16) -> u8 {
    let half = dbm
        .saturating_add(CC1101_OFFSET)
        .saturating_mul(2)
        .clamp(-128, 127);
    half as i8 as u8
}

const CC1101_OFFSET: i16 = 74;
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";
