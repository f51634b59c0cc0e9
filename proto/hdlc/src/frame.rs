// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of format type 3 (ISO/IEC 13239 annex H.4; TR-03109-1 detail specifications ch. 8).
//!
//! `7E | 1010 S LLL LLLLLLLL | destination | source | control | HCS | [information | FCS] | 7E`.
//! L counts the bytes between the flags. There is neither bit stuffing nor escaping: 7E may occur
//! anywhere, so a frame is read by its length.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use nom::{IResult, Parser as _, bytes::complete::take, number::complete::u8 as byte};

use crate::address::{Address, Addressing};
use crate::control::Control;
use crate::crc::CrcKind;

/// Opens and closes a frame.
pub const FLAG: u8 = 0x7e;

/// What the frames of a line look like.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Profile {
    /// Checksum of header and frame.
    pub crc: CrcKind,
    /// Lengths of the addresses.
    pub addressing: Addressing,
    /// Most bytes of information in one frame.
    pub max_info: u16,
}

impl Profile {
    /// The wired LMN (TR-03109-1 detail specifications ch. 8). Assumptions: its "CCITT-CRC16" is X-25,
    /// low byte first, as in ISO/IEC 13239, and the SAP precedes the station.
    pub const LMN: Self = Self {
        crc: CrcKind::X25,
        addressing: Addressing::Lmn,
        max_info: 2034,
    };
    /// DLMS over HDLC (IEC 62056-46).
    pub const DLMS: Self = Self {
        crc: CrcKind::X25,
        addressing: Addressing::Dlms,
        max_info: 2030,
    };
    /// The experimental bridge behind [`crate::SlotDiscovery`].
    pub const SLOTTED: Self = Self {
        crc: CrcKind::CcittFalse,
        addressing: Addressing::Slotted { source: 1 },
        max_info: 2034,
    };

    /// Segmentation and length of the bytes between the flags, from the format field.
    pub(crate) fn format(&self, high: u8, low: u8) -> Result<(bool, usize), Fault> {
        if high >> 4 != 0x0a {
            return Err(Fault::FormatType);
        }
        let length = usize::from(u16::from_be_bytes([high & 0x07, low]));
        // Format, addresses, control, HCS; with information an FCS more.
        let shortest = 2 + self.addressing.shortest() + 1 + 2;
        if length < shortest {
            return Err(Fault::LengthShort);
        }
        let longest_addresses = match self.addressing {
            Addressing::Dlms => 8,
            fixed => fixed.shortest(),
        };
        if length > 2 + longest_addresses + 1 + 2 + usize::from(self.max_info) + 2 {
            return Err(Fault::Oversize);
        }
        Ok((high & 0x08 != 0, length))
    }
}

/// What is wrong with the bytes of a frame; all of it lies with the sender or the line.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// No 7E where a frame should begin.
    NoStartFlag,
    /// The format field does not begin with 1010.
    FormatType,
    /// The frame goes on behind the length it tells, or the length is too small for any frame.
    LengthShort,
    /// The frame ends before the length it tells.
    LengthLong,
    /// The header is right, but no 7E stands where its length says.
    NoEndFlag,
    /// More information than a frame may carry.
    Oversize,
    /// An extension bit of an address is wrong.
    AddressExtension,
    /// Wrong checksum of the header.
    Hcs,
    /// Wrong checksum of the frame.
    Fcs,
}

impl Fault {
    /// A short name for logs and evidence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoStartFlag => "no_start_flag",
            Self::FormatType => "format_type",
            Self::LengthShort => "length_short",
            Self::LengthLong => "length_long",
            Self::NoEndFlag => "no_end_flag",
            Self::Oversize => "oversize",
            Self::AddressExtension => "addr_ext_bit",
            Self::Hcs => "hcs",
            Self::Fcs => "fcs",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStartFlag => "no flag where a frame should begin",
            Self::FormatType => "the format field is not of type 3",
            Self::LengthShort => "the frame is longer than the length it tells",
            Self::LengthLong => "the frame is shorter than the length it tells",
            Self::NoEndFlag => "no flag where the frame should end",
            Self::Oversize => "more information than a frame may carry",
            Self::AddressExtension => "wrong extension bit in an address",
            Self::Hcs => "wrong checksum of the header (HCS)",
            Self::Fcs => "wrong checksum of the frame (FCS)",
        })
    }
}

impl core::error::Error for Fault {}

/// Why a frame cannot be written; the caller's mistake.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EncodeError {
    /// The profile knows no such address.
    Address,
    /// More information than a frame of the profile carries.
    InfoTooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an address does not fit the profile of the line"),
            Self::InfoTooLong { bytes, limit } => {
                write!(f, "{bytes} bytes of information where {limit} are allowed")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// One frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// S bit: the message goes on in the next frame.
    pub segmented: bool,
    /// To whom.
    pub destination: Address,
    /// From whom.
    pub source: Address,
    /// What for.
    pub control: Control,
    /// Information, empty where there is none.
    pub info: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads exactly one frame with both its flags.
    ///
    /// # Errors
    /// The first [`Fault`], in this order: flags, format, length, addresses, HCS, FCS.
    pub fn decode(profile: &Profile, bytes: &'a [u8]) -> Result<Self, Fault> {
        Layout::verify(profile, bytes).map(|layout| layout.frame(bytes))
    }

    /// The frame with both its flags.
    ///
    /// # Errors
    /// [`EncodeError`] when an address or the information does not fit the profile.
    pub fn encode(&self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        if !profile.addressing.fits(self.destination, self.source) {
            return Err(EncodeError::Address);
        }
        let head = 2 + self.destination.as_bytes().len() + self.source.as_bytes().len() + 1 + 2;
        // The length field has eleven bits, whatever the profile allows.
        let limit = usize::from(profile.max_info).min(0x7ff - head - 2);
        if self.info.len() > limit {
            return Err(EncodeError::InfoTooLong {
                bytes: self.info.len(),
                limit,
            });
        }
        let with_info = if self.info.is_empty() {
            0
        } else {
            self.info.len() + 2
        };
        let length = (head + with_info) as u16;
        let segmented = if self.segmented { 0x0800 } else { 0 };
        let mut body = Vec::with_capacity(usize::from(length) + 2);
        body.extend_from_slice(&(0xa000 | segmented | length).to_be_bytes());
        body.extend_from_slice(self.destination.as_bytes());
        body.extend_from_slice(self.source.as_bytes());
        body.push(self.control.byte());
        body.extend_from_slice(&profile.crc.of(&body));
        if !self.info.is_empty() {
            body.extend_from_slice(self.info);
            body.extend_from_slice(&profile.crc.of(&body));
        }
        body.insert(0, FLAG);
        body.push(FLAG);
        Ok(body)
    }
}

/// Where the parts of verified bytes are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    segmented: bool,
    destination: Address,
    source: Address,
    control: Control,
    info: Range<usize>,
}

impl Layout {
    pub(crate) fn verify(profile: &Profile, bytes: &[u8]) -> Result<Self, Fault> {
        let [FLAG, rest @ ..] = bytes else {
            return Err(Fault::NoStartFlag);
        };
        let [high, low, ..] = *rest else {
            return Err(Fault::LengthLong);
        };
        let (segmented, length) = profile.format(high, low)?;
        let Some((body, behind)) = rest.split_at_checked(length) else {
            return Err(Fault::LengthLong);
        };
        match behind {
            [FLAG] => Self::of_body(profile, segmented, body),
            // All of the frame is there and right, only its flag is not.
            [] if Self::of_body(profile, segmented, body).is_ok() => Err(Fault::NoEndFlag),
            [] => Err(Fault::LengthLong),
            // A header with the right checksum tells the right length.
            [_] => match Self::of_body(profile, segmented, body) {
                Ok(_) | Err(Fault::Fcs) => Err(Fault::NoEndFlag),
                Err(_) => Err(Fault::LengthShort),
            },
            _ => Err(Fault::LengthShort),
        }
    }

    /// Checks the bytes between the flags.
    fn of_body(profile: &Profile, segmented: bool, body: &[u8]) -> Result<Self, Fault> {
        let (_, addressed) = body.split_at_checked(2).ok_or(Fault::LengthShort)?;
        let (destination, source, rest) = profile
            .addressing
            .split(addressed)
            .ok_or(Fault::AddressExtension)?;
        let head = body.len() - rest.len() + 1 + 2;
        let control_and_hcs: IResult<&[u8], (u8, &[u8])> = (byte, take(2_usize)).parse(rest);
        let (behind, (control, _)) = control_and_hcs.map_err(|_| Fault::LengthShort)?;
        let (header, _) = body.split_at_checked(head).ok_or(Fault::LengthShort)?;
        if !profile.crc.holds(header) {
            return Err(Fault::Hcs);
        }
        let info = match behind.len() {
            0 => head..head,
            // Information of no bytes has no FCS.
            1 | 2 => return Err(Fault::LengthShort),
            more => head..head + more - 2,
        };
        if info.len() > usize::from(profile.max_info) {
            return Err(Fault::Oversize);
        }
        if !info.is_empty() && !profile.crc.holds(body) {
            return Err(Fault::Fcs);
        }
        Ok(Self {
            segmented,
            destination,
            source,
            control: Control::from_byte(control),
            // Counted from the opening flag.
            info: info.start + 1..info.end + 1,
        })
    }

    /// The frame, over the bytes that were verified.
    pub(crate) fn frame<'a>(&self, bytes: &'a [u8]) -> Frame<'a> {
        Frame {
            segmented: self.segmented,
            destination: self.destination,
            source: self.source,
            control: self.control,
            info: bytes.get(self.info.clone()).unwrap_or_default(),
        }
    }
}
