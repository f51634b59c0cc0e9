// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended link layer, authentication and fragmentation layer, transport layer: their fields
//! (EN 13757-4 §12.4, EN 13757-7 §6-7).

use alloc::vec::Vec;

use nom::bytes::complete::take;
use nom::number::complete::{be_u8, le_u16, le_u32};
use nom::{IResult, Parser};
use smgw_mbus::{Device, Header, Manufacturer};

use crate::{Error, Layer};

/// Where something stands in [`crate::Telegram::bytes`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Span {
    /// Offset of its first byte.
    pub at: usize,
    /// Number of its bytes.
    pub len: usize,
}

impl Span {
    /// From `at` to the end of `bytes`.
    pub(crate) const fn rest(bytes: &[u8], at: usize) -> Self {
        Self {
            at,
            len: bytes.len().saturating_sub(at),
        }
    }

    /// Offset behind its last byte.
    pub const fn end(self) -> usize {
        self.at + self.len
    }

    /// Its bytes; none when `bytes` is another telegram's.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.at..self.end()).unwrap_or_default()
    }

    pub(crate) fn of_mut(self, bytes: &mut [u8]) -> &mut [u8] {
        bytes.get_mut(self.at..self.end()).unwrap_or_default()
    }
}

/// Reads a layer's fields one after the other.
struct Fields<'a> {
    rest: &'a [u8],
    total: usize,
    layer: Layer,
}

impl<'a> Fields<'a> {
    /// `bytes` up to `end`, from `at` on.
    fn new(bytes: &'a [u8], at: usize, end: usize, layer: Layer) -> Result<Self, Error> {
        let rest = bytes.get(at..end).ok_or(Error::Cut(layer))?;
        Ok(Self {
            rest,
            total: end,
            layer,
        })
    }

    fn at(&self) -> usize {
        self.total - self.rest.len()
    }

    fn next<T>(
        &mut self,
        mut parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    ) -> Result<T, Error> {
        let parsed: IResult<&[u8], T, ()> = parser.parse(self.rest);
        let (rest, value) = parsed.map_err(|_| Error::Cut(self.layer))?;
        self.rest = rest;
        Ok(value)
    }

    fn optional<T>(
        &mut self,
        present: bool,
        parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    ) -> Result<Option<T>, Error> {
        present.then(|| self.next(parser)).transpose()
    }

    fn span(&mut self, len: usize) -> Result<Span, Error> {
        let at = self.at();
        self.next(take(len))?;
        Ok(Span { at, len })
    }

    /// Manufacturer first, as in the link layer.
    fn link_address(&mut self) -> Result<Device, Error> {
        let manufacturer = self.next(le_u16)?;
        let id = self.next(le_u32)?;
        self.device(manufacturer, id)
    }

    /// Identification number first, as in the transport layer.
    fn transport_address(&mut self) -> Result<Device, Error> {
        let id = self.next(le_u32)?;
        let manufacturer = self.next(le_u16)?;
        self.device(manufacturer, id)
    }

    fn device(&mut self, manufacturer: u16, id: u32) -> Result<Device, Error> {
        Ok(Device {
            id: id.to_le_bytes(),
            manufacturer: Manufacturer(manufacturer),
            version: self.next(be_u8)?,
            medium: self.next(be_u8)?,
        })
    }
}

/// Extended link layer I to IV. Layout V (CI 86) is not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ell {
    /// Its bytes, CI field included.
    pub span: Span,
    /// CI field: 8C, 8D, 8E, 8F for I to IV.
    pub ci: u8,
    /// Communication control field.
    pub communication: u8,
    /// Access number.
    pub access: u8,
    /// To whom the message goes (III and IV).
    pub receiver: Option<Device>,
    /// Session and payload CRC (II and IV).
    pub session: Option<Session>,
}

/// Session number field of the extended link layer, and the CRC behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    /// The field as a number.
    pub number: u32,
    /// CRC over the decrypted payload as sent, when it could be decrypted.
    pub crc: u16,
    /// Whether it fits; also `false` while the payload is encrypted.
    pub crc_ok: bool,
}

impl Session {
    /// How the payload is encrypted: 0 not, 1 by AES-128-CTR.
    pub const fn encryption(&self) -> u8 {
        (self.number >> 29) as u8
    }

    /// Time counter of 25 bits.
    pub const fn time(&self) -> u32 {
        self.number >> 4 & 0x01ff_ffff
    }

    /// Session of 4 bits.
    pub const fn session(&self) -> u8 {
        (self.number & 0x0f) as u8
    }
}

impl Ell {
    /// Whether `ci` begins an extended link layer this crate reads.
    pub const fn is(ci: u8) -> bool {
        matches!(ci, 0x8c..=0x8f)
    }

    /// Reads the layer at `at`; its payload CRC is not checked yet.
    pub(crate) fn parse(bytes: &[u8], at: usize) -> Result<Self, Error> {
        let mut fields = Fields::new(bytes, at, bytes.len(), Layer::Extended)?;
        let ci = fields.next(be_u8)?;
        let communication = fields.next(be_u8)?;
        let access = fields.next(be_u8)?;
        let addressed = matches!(ci, 0x8e | 0x8f);
        let receiver = addressed.then(|| fields.link_address()).transpose()?;
        let session = if matches!(ci, 0x8d | 0x8f) {
            Some(Session {
                number: fields.next(le_u32)?,
                crc: fields.next(le_u16)?,
                crc_ok: false,
            })
        } else {
            None
        };
        Ok(Self {
            span: Span {
                at,
                len: fields.at() - at,
            },
            ci,
            communication,
            access,
            receiver,
            session,
        })
    }

    /// First counter block of AES-CTR: the hop and repeater bits do not count, as repeaters change them.
    pub fn first_counter(&self, sender: &Device) -> Option<[u8; 16]> {
        let [m0, m1] = sender.manufacturer.0.to_le_bytes();
        let [i0, i1, i2, i3] = sender.id;
        let [s0, s1, s2, s3] = self.session?.number.to_le_bytes();
        let communication = self.communication & !(HOP | REPEATED);
        Some([
            m0,
            m1,
            i0,
            i1,
            i2,
            i3,
            sender.version,
            sender.medium,
            communication,
            s0,
            s1,
            s2,
            s3,
            0,
            0,
            0,
        ])
    }
}

/// Authentication and fragmentation layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Afl {
    /// Its bytes, CI field included.
    pub span: Span,
    /// Fragmentation control field.
    pub fragmentation: u16,
    /// Message control field.
    pub control: Option<u8>,
    /// Key information field.
    pub key: Option<u16>,
    /// Message counter.
    pub counter: Option<u32>,
    /// Message authentication code.
    pub mac: Option<Span>,
    /// Length of the whole message from the CI field of the transport layer on.
    pub length: Option<u16>,
}

impl Afl {
    /// CI field.
    pub const CI: u8 = 0x90;

    /// Reads the layer at `at`. Fields behind the known ones, inside the layer's length, are left out.
    pub(crate) fn parse(bytes: &[u8], at: usize) -> Result<Self, Error> {
        let mut fields = Fields::new(bytes, at, bytes.len(), Layer::Authentication)?;
        fields.next(take(1usize))?;
        let length = usize::from(fields.next(be_u8)?);
        let end = fields.at() + length;
        let mut fields = Fields::new(bytes, fields.at(), end, Layer::Authentication)?;
        let fragmentation = fields.next(le_u16)?;
        let has = |bit: u16| fragmentation & bit != 0;
        let control = fields.optional(has(fragmentation::CONTROL), be_u8)?;
        let key = fields.optional(has(fragmentation::KEY), le_u16)?;
        let counter = fields.optional(has(fragmentation::COUNTER), le_u32)?;
        let behind = if has(fragmentation::LENGTH) { 2 } else { 0 };
        let mac = if has(fragmentation::MAC) {
            // The last fragment has the MAC, but only the first one says how long it is.
            let len = match control {
                Some(control) => mac_length(control).unwrap_or(0),
                None => fields.rest.len().saturating_sub(behind),
            };
            Some(fields.span(len)?)
        } else {
            None
        };
        Ok(Self {
            span: Span { at, len: end - at },
            fragmentation,
            control,
            key,
            counter,
            mac,
            length: fields.optional(has(fragmentation::LENGTH), le_u16)?,
        })
    }

    /// Number of the fragment from 1; 0 for a message in one piece.
    pub const fn fragment(&self) -> u8 {
        self.fragmentation as u8
    }

    /// Whether further fragments follow.
    pub const fn more_fragments(&self) -> bool {
        self.fragmentation & fragmentation::MORE != 0
    }

    /// Whether this is a piece of a message.
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments() || self.fragment() > 1
    }
}

/// Fields of an authentication and fragmentation layer, from one or several fragments or to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct AflFields {
    pub(crate) control: Option<u8>,
    pub(crate) key: Option<u16>,
    pub(crate) counter: Option<u32>,
    /// Empty when there is none.
    pub(crate) mac: Vec<u8>,
    pub(crate) length: Option<u16>,
}

impl AflFields {
    /// Takes over the fields of a fragment that none before it had, and its MAC.
    pub(crate) fn add(&mut self, afl: &Afl, bytes: &[u8]) {
        self.control = self.control.or(afl.control);
        self.key = self.key.or(afl.key);
        self.counter = self.counter.or(afl.counter);
        self.length = self.length.or(afl.length);
        if let Some(mac) = afl.mac {
            self.mac = mac.of(bytes).to_vec();
        }
    }

    /// The layer; `fragment` is its number, with [`fragmentation::MORE`] when others follow.
    pub(crate) fn encode(&self, fragment: u16) -> Vec<u8> {
        let bit = |present: bool, bit: u16| if present { bit } else { 0 };
        let fragmentation = fragment
            | bit(self.control.is_some(), fragmentation::CONTROL)
            | bit(self.key.is_some(), fragmentation::KEY)
            | bit(self.counter.is_some(), fragmentation::COUNTER)
            | bit(!self.mac.is_empty(), fragmentation::MAC)
            | bit(self.length.is_some(), fragmentation::LENGTH);
        let mut layer = alloc::vec![Afl::CI, 0];
        layer.extend(fragmentation.to_le_bytes());
        layer.extend(self.control);
        layer.extend(self.key.into_iter().flat_map(u16::to_le_bytes));
        layer.extend(self.counter.into_iter().flat_map(u32::to_le_bytes));
        layer.extend_from_slice(&self.mac);
        layer.extend(self.length.into_iter().flat_map(u16::to_le_bytes));
        let length = layer.len() - 2;
        if let Some(field) = layer.get_mut(1) {
            *field = length as u8;
        }
        layer
    }
}

/// Bits of the fragmentation control field.
pub(crate) mod fragmentation {
    pub const MORE: u16 = 1 << 14;
    pub const CONTROL: u16 = 1 << 13;
    pub const LENGTH: u16 = 1 << 12;
    pub const COUNTER: u16 = 1 << 11;
    pub const MAC: u16 = 1 << 10;
    pub const KEY: u16 = 1 << 9;
}

/// Bytes of the MAC by the AT bits of a message control field; `None` for kinds not known.
pub const fn mac_length(control: u8) -> Option<usize> {
    Some(match control & 0x0f {
        3 => 2,
        4 => 4,
        5 => 8,
        6 | 8 => 12,
        7 => 16,
        _ => return None,
    })
}

/// Whether the MAC is a CMAC, the only kind checked here.
pub(crate) const fn is_cmac(control: u8) -> bool {
    matches!(control & 0x0f, 3..=7)
}

/// Transport layer: CI field and header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tpl {
    /// Its bytes, CI field included.
    pub span: Span,
    /// CI field.
    pub ci: u8,
    /// Device (long header only), access number, status, configuration word.
    pub header: Option<Header>,
    /// Extension of the configuration word, in the modes that have one: 2 bytes in mode 10, else 1.
    pub extension: Option<u16>,
    /// Key version (mode 10).
    pub key_version: Option<u8>,
    /// Message counter (mode 10).
    pub counter: Option<u32>,
}

impl Tpl {
    pub(crate) fn parse(bytes: &[u8], at: usize) -> Result<Self, Error> {
        let mut fields = Fields::new(bytes, at, bytes.len(), Layer::Transport)?;
        let ci = fields.next(be_u8)?;
        let kind = HeaderKind::of(ci);
        let long = kind == HeaderKind::Long;
        let device = long.then(|| fields.transport_address()).transpose()?;
        let header = if kind == HeaderKind::None {
            None
        } else {
            Some(Header {
                device,
                access: fields.next(be_u8)?,
                status: fields.next(be_u8)?,
                config: fields.next(le_u16)?,
            })
        };
        let mut tpl = Self {
            span: Span { at, len: 0 },
            ci,
            header,
            extension: None,
            key_version: None,
            counter: None,
        };
        // A header that ends with the frame is a plain acknowledgement.
        match tpl.mode() {
            _ if fields.rest.is_empty() => {}
            10 => {
                let extension = fields.next(le_u16)?;
                tpl.extension = Some(extension);
                tpl.key_version = fields.optional(extension & KEY_VERSION != 0, be_u8)?;
                tpl.counter = Some(fields.next(le_u32)?);
            }
            7..=9 | 13 => tpl.extension = Some(fields.next(be_u8)?.into()),
            _ => {}
        }
        tpl.span.len = fields.at() - at;
        Ok(tpl)
    }

    /// Security mode: bits 8 to 12 of the configuration word.
    pub fn mode(&self) -> u8 {
        self.header.map_or(0, |header| mode(header.config))
    }

    /// Number of encrypted blocks: bits 4 to 7 of the configuration word, in the modes that have it.
    pub fn blocks(&self) -> u8 {
        self.header
            .map_or(0, |header| (header.config >> 4 & 0x0f) as u8)
    }

    /// Key derivation: bits 4 and 5 of the extension; 1 is that of TR-03116-3 §7.2.
    pub fn key_derivation(&self) -> u8 {
        (self.extension.unwrap_or(0) >> 4 & 3) as u8
    }

    /// Bytes of the tag in mode 10: bits 8 and 9 of the extension.
    pub fn tag_length(&self) -> usize {
        4 + 4 * usize::from(self.extension.unwrap_or(0) >> 8 & 3)
    }
}

/// Security mode of a configuration word.
pub const fn mode(config: u16) -> u8 {
    (config >> 8 & 0x1f) as u8
}

/// Which header follows a CI field (EN 13757-7 table 2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HeaderKind {
    /// None.
    None,
    /// Access number, status, configuration: 4 bytes.
    Short,
    /// Device in front of these: 12 bytes.
    Long,
}

impl HeaderKind {
    /// By CI field. 64, 65, 7E, 7F and C0 to C8 are an assumption: sources differ or are silent.
    pub const fn of(ci: u8) -> Self {
        match ci {
            0x5a | 0x61 | 0x65 | 0x6a | 0x6e | 0x74 | 0x7a | 0x7b | 0x7d | 0x7f | 0x82 | 0x88
            | 0x8a | 0xc1 | 0xc4 => Self::Short,
            0x53 | 0x5b | 0x60 | 0x64 | 0x6b | 0x6c | 0x6d | 0x6f | 0x72 | 0x73 | 0x75 | 0x7c
            | 0x7e | 0x80 | 0x84 | 0x85 | 0x87 | 0x8b | 0xc0 | 0xc3 | 0xc5 => Self::Long,
            _ => Self::None,
        }
    }

    /// Whether nothing but a transport layer follows this CI field.
    pub(crate) const fn ends_message(ci: u8) -> bool {
        matches!(ci, 0x80 | 0x8a | 0x8b)
    }
}

/// Bit of the extension of mode 10: a key version follows.
const KEY_VERSION: u16 = 1 << 6;

/// Bits of the communication control field that repeaters change.
const HOP: u8 = 0x10;
const REPEATED: u8 = 0x02;
