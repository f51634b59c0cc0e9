// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole telegram: every layer, decrypted and checked, in one call.

use alloc::vec::Vec;

use smgw_mbus::{ApplicationError, Device};

use crate::compact::Compact;
use crate::layers::{HeaderKind, Span};
use crate::link::HEADER;
use crate::records::LocatedRecords;
use crate::security::{Message, Opened, PADDING, open_session};
use crate::{
    Afl, CompactError, CrcFormat, Ell, Error, FormatCache, Frame, Keys, Link, MacCheck, Tpl,
    Verdict, control,
};

/// A telegram, read through all its layers.
///
/// It owns one copy of the frame, because CRCs are removed from it and cipher text in it is replaced by
/// plain text of the same length: every [`Span`] points into [`Telegram::bytes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Telegram {
    /// The frame without CRCs, in plain text where it could be decrypted. Of a wired frame, everything
    /// up to its checksum.
    pub bytes: Vec<u8>,
    /// How it came.
    pub carrier: Carrier,
    /// Extended link layer.
    pub ell: Option<Ell>,
    /// Authentication and fragmentation layer.
    pub afl: Option<Afl>,
    /// Transport layer.
    pub tpl: Option<Tpl>,
    /// Whether its content may be read and believed.
    pub verdict: Verdict,
    /// What came of the MAC, if there is one.
    pub mac: Option<MacCheck>,
    /// The application layer, or whatever stands where reading had to end.
    pub payload: Span,
    /// What the application layer is.
    pub body: Body,
}

/// How a telegram came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// By radio.
    Radio {
        /// C field and sender.
        link: Link,
        /// The CRCs it had.
        format: CrcFormat,
        /// L field as received.
        length: u8,
        /// Bytes that the L field promises but which did not come.
        missing: usize,
        /// Bytes behind the frame.
        trailing: usize,
    },
    /// By wire (EN 13757-2).
    Wire {
        /// C field.
        control: u8,
        /// Primary address.
        address: u8,
    },
}

/// What an application layer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// Nothing: an acknowledgement or announcement.
    Empty,
    /// Data records.
    Records,
    /// Values without headers; also when they could not be read.
    Compact(Compact),
    /// Headers without values; the signature when they were understood.
    Format(Option<u16>),
    /// The meter refuses.
    Refusal(ApplicationError),
    /// Alarm state.
    Alarm(u8),
    /// Of the manufacturer's own (CI A0 to B7).
    Manufacturer,
    /// Not readable, see [`Telegram::verdict`].
    Sealed,
    /// A piece of a message.
    Fragment,
    /// Something else, e.g. of the network layer or another application protocol.
    Other,
}

impl Telegram {
    /// Reads a frame from the radio, its CRC format found out by [`Frame::detect`].
    ///
    /// Full and format frames teach `formats`, compact frames use it.
    ///
    /// # Errors
    /// Of [`Frame::detect`], and [`Error::Cut`]. What cannot be decrypted is no error but a
    /// [`Verdict`]; damaged records show up in [`Telegram::records`].
    pub fn decode(input: &[u8], keys: &Keys, formats: &mut FormatCache) -> Result<Self, Error> {
        Self::of_frame(Frame::detect(input)?, keys, formats)
    }

    /// Reads a frame whose CRCs have been checked.
    ///
    /// # Errors
    /// [`Error::TooShort`] and [`Error::Cut`].
    pub fn of_frame(frame: Frame, keys: &Keys, formats: &mut FormatCache) -> Result<Self, Error> {
        let link = frame.link()?;
        let carrier = Carrier::Radio {
            link,
            format: frame.format,
            length: frame.length,
            missing: frame.missing,
            trailing: frame.trailing,
        };
        Self::new(frame.bytes, carrier).read(HEADER, keys, formats)
    }

    /// Reads a long frame of the wired bus, whose transport layer may be encrypted as well. Where the
    /// configuration word makes no sense as one, as it does in old meters, payload that reads as records
    /// to its end counts as plain text.
    ///
    /// # Errors
    /// [`Error::Wired`] and [`Error::Cut`].
    pub fn decode_wired(
        input: &[u8],
        keys: &Keys,
        formats: &mut FormatCache,
    ) -> Result<Self, Error> {
        let smgw_mbus::Frame::Long {
            control, address, ..
        } = smgw_mbus::Frame::parse(input).map_err(Error::Wired)?
        else {
            return Err(Error::TooShort);
        };
        let bytes = input.get(..input.len() - 2).unwrap_or_default().to_vec();
        let carrier = Carrier::Wire { control, address };
        Self::new(bytes, carrier).read(WIRED_HEADER, keys, formats)
    }

    fn new(bytes: Vec<u8>, carrier: Carrier) -> Self {
        Self {
            bytes,
            carrier,
            ell: None,
            afl: None,
            tpl: None,
            verdict: Verdict::Plain,
            mac: None,
            payload: Span::default(),
            body: Body::Empty,
        }
    }

    /// The data records, with their places in the bytes returned by [`Telegram::record_bytes`]. Of a
    /// compact frame, the records a full frame would have sent.
    pub fn records(&self) -> LocatedRecords<'_> {
        LocatedRecords::new(self.record_bytes(), self.record_span())
    }

    /// What the spans of [`Telegram::records`] point into: [`Telegram::bytes`], or the records of a
    /// compact frame as a full frame would have sent them.
    pub fn record_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Compact(Compact { full: Ok(full), .. }) => full,
            _ => &self.bytes,
        }
    }

    /// C field.
    pub const fn control(&self) -> u8 {
        match self.carrier {
            Carrier::Radio { link, .. } => link.control,
            Carrier::Wire { control, .. } => control,
        }
    }

    /// Who sends, by the link layer; on the wire nobody says.
    pub const fn sender(&self) -> Option<Device> {
        match self.carrier {
            Carrier::Radio { link, .. } => Some(link.sender),
            Carrier::Wire { .. } => None,
        }
    }

    /// The meter the message is about, and whose keys protect it: the device of a long header, else
    /// the sender.
    pub fn meter(&self) -> Option<Device> {
        let header = self.tpl.and_then(|tpl| tpl.header);
        header.and_then(|header| header.device).or(self.sender())
    }

    /// Message counter: that of the authentication layer, or of the transport layer in mode 10.
    pub fn counter(&self) -> Option<u32> {
        let afl = self.afl.and_then(|afl| afl.counter);
        afl.or(self.tpl.and_then(|tpl| tpl.counter))
    }

    /// First CI field behind the extended link and authentication layers.
    pub fn ci(&self) -> Option<u8> {
        let fixed = match self.carrier {
            Carrier::Radio { .. } => HEADER,
            Carrier::Wire { .. } => WIRED_HEADER,
        };
        let ell = self.ell.map(|ell| ell.span.end());
        let at = self.afl.map(|afl| afl.span.end()).or(ell).unwrap_or(fixed);
        let sealed = self.tpl.is_none() && self.body == Body::Sealed;
        self.bytes.get(at).copied().filter(|_| !sealed)
    }

    fn record_span(&self) -> Span {
        match &self.body {
            Body::Records => self.payload,
            Body::Compact(Compact { full: Ok(full), .. }) => Span::rest(full, 0),
            _ => Span::default(),
        }
    }

    /// Reads the layers from `at` on.
    fn read(
        mut self,
        mut at: usize,
        keys: &Keys,
        formats: &mut FormatCache,
    ) -> Result<Self, Error> {
        if let (Some(ci), Some(sender)) = (self.bytes.get(at), self.sender())
            && Ell::is(*ci)
        {
            let mut ell = Ell::parse(&self.bytes, at)?;
            at = ell.span.end();
            self.verdict = open_session(&mut self.bytes, &mut ell, &sender, keys);
            self.ell = Some(ell);
            if !self.verdict.is_readable() {
                return Ok(self.ended(at, Body::Sealed));
            }
        }
        if self.bytes.get(at) == Some(&Afl::CI) {
            let afl = Afl::parse(&self.bytes, at)?;
            at = afl.span.end();
            self.afl = Some(afl);
            if afl.is_fragment() {
                self.verdict = Verdict::Fragment;
                return Ok(self.ended(at, Body::Fragment));
            }
        }
        match self.bytes.get(at) {
            None => Ok(self.ended(at, Body::Empty)),
            Some(0xa0..=0xb7) => Ok(self.ended(at + 1, Body::Manufacturer)),
            Some(0x81 | 0x83 | 0x86 | 0x89) => Ok(self.ended(at + 1, Body::Other)),
            Some(_) => self.read_message(at, keys, formats),
        }
    }

    fn ended(mut self, at: usize, body: Body) -> Self {
        self.payload = Span::rest(&self.bytes, at);
        self.body = body;
        self
    }

    fn read_message(
        mut self,
        at: usize,
        keys: &Keys,
        formats: &mut FormatCache,
    ) -> Result<Self, Error> {
        let tpl = Tpl::parse(&self.bytes, at)?;
        self.tpl = Some(tpl);
        let message = Message {
            device: self.meter(),
            from_meter: control::from_meter(self.control()),
            wired: matches!(self.carrier, Carrier::Wire { .. }),
            afl: self.afl.as_ref(),
            tpl: &tpl,
        };
        let opened = message.open(&mut self.bytes, keys);
        let Opened {
            verdict,
            mac,
            payload,
        } = opened;
        self.verdict = self.verdict.with_inner(verdict);
        (self.mac, self.payload) = (mac, payload);
        self.body = if verdict.is_readable() {
            self.application(tpl.ci, formats)
        } else {
            Body::Sealed
        };
        Ok(self)
    }

    fn application(&self, ci: u8, formats: &mut FormatCache) -> Body {
        let payload = self.payload.of(&self.bytes);
        let first = payload.first().copied();
        let compact = matches!(self.carrier, Carrier::Radio { .. }) || ci != 0x73;
        match ci {
            0x51 | 0x5a | 0x5b | 0x72 | 0x78 | 0x7a => {
                formats.learn(payload);
                Body::Records
            }
            0x73 | 0x79 | 0x7b if compact => formats
                .read(&self.bytes, self.behind_padding())
                .map_or(Body::Other, Body::Compact),
            0x69..=0x6b => {
                let body = self.behind_padding();
                Body::Format(formats.learn_format(body.of(&self.bytes)))
            }
            0x6e..=0x70 => Body::Refusal(ApplicationError::from_code(first.unwrap_or(0))),
            0x71 | 0x74 | 0x75 => Body::Alarm(first.unwrap_or(0)),
            _ if payload.is_empty() || HeaderKind::ends_message(ci) => Body::Empty,
            _ => Body::Other,
        }
    }

    /// The payload behind the fillers every encrypted one begins with.
    fn behind_padding(&self) -> Span {
        let encrypted = self.tpl.is_some_and(|tpl| matches!(tpl.mode(), 5 | 7));
        let fillers = if encrypted && self.payload.of(&self.bytes).starts_with(&PADDING) {
            PADDING.len()
        } else {
            0
        };
        Span {
            at: self.payload.at + fillers,
            len: self.payload.len - fillers,
        }
    }
}

impl Compact {
    /// Why the values could not be read.
    pub fn error(&self) -> Option<CompactError> {
        self.full.as_ref().err().copied()
    }
}

/// 68 L L 68 C A.
const WIRED_HEADER: usize = 6;
