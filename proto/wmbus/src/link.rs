// SPDX-License-Identifier: MIT OR Apache-2.0
//! Link layer: frame formats A and B with their CRCs, C field and address (EN 13757-4 §12).

use alloc::vec::Vec;
use core::fmt;

use smgw_mbus::{Device, Manufacturer};

use crate::crc::crc;
use crate::{Error, Layer};

/// How CRCs are spread over a frame.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CrcFormat {
    /// A CRC behind the first 10 bytes and behind every 16 bytes further; the L field does not count
    /// them.
    A,
    /// A CRC at the end, and one behind the first 126 bytes of longer frames; the L field counts them.
    B,
    /// None: the receiver has checked and removed them.
    Stripped,
}

impl fmt::Display for CrcFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "format A",
            Self::B => "format B",
            Self::Stripped => "without CRCs",
        })
    }
}

/// A frame freed of its CRCs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// L field, C field, address, and all behind; the L field counts the bytes behind it.
    pub bytes: Vec<u8>,
    /// The CRCs it had; all of them were right.
    pub format: CrcFormat,
    /// L field as received.
    pub length: u8,
    /// Bytes the L field promises but which did not come; only possible without CRCs.
    pub missing: usize,
    /// Bytes behind the frame: signal strength of some receivers, or noise.
    pub trailing: usize,
}

impl Frame {
    /// Reads a frame whose format is unknown: A when its CRCs say so, else B, else stripped. A format
    /// is taken for granted when at least half of its CRCs are right.
    ///
    /// # Errors
    /// [`Error::TooShort`], [`Error::Crc`], [`Error::Incomplete`]. A damaged frame of format B of one
    /// block cannot be told from one without CRCs; [`Frame::decode`] can.
    pub fn detect(input: &[u8]) -> Result<Self, Error> {
        for format in [CrcFormat::A, CrcFormat::B] {
            let check = Check::new(input, format)?;
            if check.good > 0 && 2 * check.good >= check.blocks {
                return check.frame(input);
            }
        }
        Self::decode(input, CrcFormat::Stripped)
    }

    /// Reads a frame of a known format.
    ///
    /// # Errors
    /// As [`Frame::detect`].
    pub fn decode(input: &[u8], format: CrcFormat) -> Result<Self, Error> {
        Check::new(input, format)?.frame(input)
    }

    /// The link layer's fields.
    ///
    /// # Errors
    /// [`Error::TooShort`].
    pub fn link(&self) -> Result<Link, Error> {
        let (&[_, control, m0, m1, i0, i1, i2, i3, version, medium], rest) =
            self.bytes.split_first_chunk().ok_or(Error::TooShort)?;
        if rest.is_empty() {
            return Err(Error::TooShort);
        }
        Ok(Link {
            control,
            sender: Device {
                id: [i0, i1, i2, i3],
                manufacturer: Manufacturer(u16::from_le_bytes([m0, m1])),
                version,
                medium,
            },
        })
    }
}

/// Adds the CRCs of `format` to `bytes`, which begin with an L field (it is rewritten).
///
/// # Errors
/// [`Error::FrameTooLong`] when the L field cannot say the length; [`Error::Cut`] below 10 bytes.
pub fn encode(bytes: &[u8], format: CrcFormat) -> Result<Vec<u8>, Error> {
    if bytes.len() < HEADER {
        return Err(Error::Cut(Layer::Link));
    }
    let counted = match format {
        CrcFormat::A | CrcFormat::Stripped => bytes.len(),
        CrcFormat::B if bytes.len() <= B_BLOCK => bytes.len() + 2,
        CrcFormat::B => bytes.len() + 4,
    };
    let length = u8::try_from(counted - 1).map_err(|_| Error::FrameTooLong)?;
    let mut bytes = bytes.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first = length;
    }
    let mut rest = bytes.as_slice();
    let mut frame = Vec::new();
    for size in blocks(format, length) {
        let (block, behind) = rest.split_at_checked(size).ok_or(Error::FrameTooLong)?;
        frame.extend_from_slice(block);
        if format != CrcFormat::Stripped {
            frame.extend_from_slice(&crc(&[block]).to_be_bytes());
        }
        rest = behind;
    }
    Ok(frame)
}

/// What the CRCs of one format come to.
struct Check {
    format: CrcFormat,
    length: u8,
    bytes: Vec<u8>,
    used: usize,
    missing: usize,
    blocks: usize,
    good: usize,
    first_bad: Option<Error>,
}

impl Check {
    fn new(input: &[u8], format: CrcFormat) -> Result<Self, Error> {
        let length = *input.first().ok_or(Error::TooShort)?;
        let crc_length = if format == CrcFormat::Stripped { 0 } else { 2 };
        let mut check = Self {
            format,
            length,
            bytes: Vec::new(),
            used: 0,
            missing: 0,
            blocks: 0,
            good: 0,
            first_bad: None,
        };
        for size in blocks(format, length) {
            let rest = input.get(check.used..).unwrap_or_default();
            let (block, behind) = rest.split_at(size.min(rest.len()));
            check.bytes.extend_from_slice(block);
            let present = (size + crc_length).min(rest.len());
            check.used += present;
            check.missing += size + crc_length - present;
            if let (Some(&received), true) = (behind.first_chunk(), crc_length > 0) {
                let (expected, got) = (crc(&[block]), u16::from_be_bytes(received));
                if expected == got {
                    check.good += 1;
                } else {
                    check.first_bad.get_or_insert(Error::Crc {
                        format,
                        block: check.blocks,
                        expected,
                        got,
                    });
                }
            }
            check.blocks += 1;
        }
        Ok(check)
    }

    fn frame(mut self, input: &[u8]) -> Result<Frame, Error> {
        if let Some(error) = self.first_bad {
            return Err(error);
        }
        if self.format != CrcFormat::Stripped {
            if self.missing > 0 || self.good == 0 {
                return Err(Error::Incomplete {
                    format: self.format,
                });
            }
            let counted = u8::try_from(self.bytes.len() - 1).map_err(|_| Error::FrameTooLong)?;
            if let Some(first) = self.bytes.first_mut() {
                *first = counted;
            }
        }
        if self.bytes.len() <= HEADER {
            return Err(Error::TooShort);
        }
        Ok(Frame {
            bytes: self.bytes,
            format: self.format,
            length: self.length,
            missing: self.missing,
            trailing: input.len() - self.used,
        })
    }
}

/// Sizes of the blocks of a frame with this L field, without their CRCs; none when the format has no
/// such frame.
fn blocks(format: CrcFormat, length: u8) -> impl Iterator<Item = usize> {
    let total = usize::from(length) + 1;
    let (mut size, next, data) = match format {
        CrcFormat::A => (HEADER, A_BLOCK, total),
        CrcFormat::B if total <= B_BLOCK + 2 => (B_BLOCK, B_BLOCK, total.saturating_sub(2)),
        CrcFormat::B if total <= B_BLOCK + 4 => (0, 0, 0),
        CrcFormat::B => (B_BLOCK, B_BLOCK, total - 4),
        CrcFormat::Stripped => (total, total, total),
    };
    let mut left = if data < HEADER && format != CrcFormat::Stripped {
        0
    } else {
        data
    };
    core::iter::from_fn(move || {
        let block = left.min(size);
        left -= block;
        size = next;
        (block > 0).then_some(block)
    })
}

/// C field and address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// C field, see [`control`].
    pub control: u8,
    /// Who sends.
    pub sender: Device,
}

/// Values of the C field (EN 13757-4 §12.5.4).
pub mod control {
    /// Meter sends without being asked.
    pub const SND_NR: u8 = 0x44;
    /// Meter asks to be installed.
    pub const SND_IR: u8 = 0x46;
    /// Meter announces a chance to access it.
    pub const ACC_NR: u8 = 0x47;
    /// Meter demands to be accessed.
    pub const ACC_DMD: u8 = 0x48;
    /// Meter answers a request for data.
    pub const RSP_UD: u8 = 0x08;
    /// Acknowledgement.
    pub const ACK: u8 = 0x00;
    /// Other device confirms an installation.
    pub const CNF_IR: u8 = 0x06;
    /// Other device resets the link.
    pub const SND_NKE: u8 = 0x40;
    /// Other device sends a command.
    pub const SND_UD: u8 = 0x53;
    /// Other device sends a command and asks for an answer.
    pub const SND_UD2: u8 = 0x43;
    /// Other device sends a command to many.
    pub const SND_UD3: u8 = 0x45;
    /// Other device requests alarms.
    pub const REQ_UD1: u8 = 0x5a;
    /// Other device requests data.
    pub const REQ_UD2: u8 = 0x5b;

    /// The name of a value, its toggling bits left out.
    pub const fn name(control: u8) -> Option<&'static str> {
        Some(match control {
            SND_NR => "SND_NR",
            SND_IR => "SND_IR",
            ACC_NR => "ACC_NR",
            ACC_DMD => "ACC_DMD",
            0x08 | 0x18 | 0x28 | 0x38 => "RSP_UD",
            0x00 | 0x10 | 0x20 | 0x30 => "ACK",
            CNF_IR => "CNF_IR",
            SND_NKE => "SND_NKE",
            0x53 | 0x73 => "SND_UD",
            0x43 | 0x63 => "SND_UD2",
            SND_UD3 => "SND_UD3",
            0x5a | 0x7a => "REQ_UD1",
            0x5b | 0x7b => "REQ_UD2",
            _ => return None,
        })
    }

    /// Whether this is what a meter sends. An acknowledgement may come from either side; it counts
    /// as the other device's.
    pub const fn from_meter(control: u8) -> bool {
        matches!(control, SND_NR..=ACC_DMD if control != SND_UD3)
            || matches!(control, 0x08 | 0x18 | 0x28 | 0x38)
    }
}

/// L field, C field, manufacturer, address.
pub(crate) const HEADER: usize = 10;
const A_BLOCK: usize = 16;
const B_BLOCK: usize = 126;
