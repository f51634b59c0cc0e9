// SPDX-License-Identifier: MIT OR Apache-2.0
//! Telegrams the other way round: what a played meter or gateway sends (OMS profiles A, B, D).

use alloc::vec::Vec;

use smgw_lmn_keys::{CcmTag, Key, Meter};
use smgw_mbus::{Device, Header};

use crate::layers::{AflFields, HeaderKind, fragmentation, mac_length};
use crate::records::FILLER;
use crate::security::{
    PADDING, address, associated, authentication, ccm_nonce, encryption, mac_fields, persistent_iv,
};
use crate::{CrcFormat, Ell, Error, Session, Span, Tpl, control, link};

/// A telegram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct NewTelegram<'a> {
    /// C field.
    pub control: u8,
    /// Who sends.
    pub sender: Device,
    /// Extended link layer.
    pub ell: Option<NewEll<'a>>,
    /// CI field of the transport layer.
    pub ci: u8,
    /// Header, as long as the CI field wants it. Its configuration word needs no security mode and no
    /// number of blocks: [`Protection`] says them.
    pub header: Option<Header>,
    /// Application layer, without the fillers encryption needs.
    pub application: &'a [u8],
    /// Records to be sent unencrypted behind the encrypted ones.
    pub clear: &'a [u8],
    /// How it is protected.
    pub protection: Protection<'a>,
}

/// Extended link layer to be sent: I, II, III or IV by what it has.
#[derive(Clone, Copy, Debug)]
pub struct NewEll<'a> {
    /// Communication control field.
    pub communication: u8,
    /// Access number.
    pub access: u8,
    /// To whom the message goes.
    pub receiver: Option<Device>,
    /// Session number field, and the key if everything behind is to be encrypted; the number's encryption
    /// bits must say so.
    pub session: Option<(u32, Option<&'a Key>)>,
}

/// How a telegram is protected.
#[derive(Clone, Copy, Debug)]
pub enum Protection<'a> {
    /// Not at all.
    None,
    /// OMS profile A: security mode 5.
    A {
        /// The meter's key.
        key: &'a Key,
    },
    /// OMS profile B: security mode 7 with authentication layer.
    B {
        /// The meter's master key.
        key: &'a Key,
        /// Message counter; must rise with every telegram.
        counter: u32,
        /// AT bits of the message control field: 3 to 7 for a CMAC of 2, 4, 8, 12 or 16 bytes.
        mac: u8,
        /// Whether the message length field is sent.
        length: bool,
        /// Key information field.
        key_information: Option<u16>,
    },
    /// OMS profile D: security mode 10.
    D {
        /// The meter's master key.
        key: &'a Key,
        /// Message counter; must rise with every telegram.
        counter: u32,
        /// Length of the tag.
        tag: CcmTag,
    },
}

impl<'a> NewTelegram<'a> {
    /// What a meter sends unasked (SND_NR): `application` behind a short or long header.
    pub const fn new(sender: Device, header: Header, application: &'a [u8]) -> Self {
        Self {
            control: control::SND_NR,
            sender,
            ell: None,
            ci: if header.device.is_some() { 0x72 } else { 0x7a },
            header: Some(header),
            application,
            clear: &[],
            protection: Protection::None,
        }
    }

    /// The same as a request to be installed (SND_IR).
    pub const fn installation(mut self) -> Self {
        self.control = control::SND_IR;
        self
    }

    /// A meter's announcement that it can be accessed now (ACC_NR), without data.
    pub const fn access(sender: Device, header: Header) -> Self {
        let mut telegram = Self::new(sender, header, &[]);
        telegram.control = control::ACC_NR;
        telegram.ci = if header.device.is_some() { 0x8b } else { 0x8a };
        telegram
    }

    /// A gateway's confirmation of an installation (CNF_IR) to the device in `header`, which must be
    /// long.
    pub const fn confirmation(gateway: Device, header: Header) -> Self {
        let mut telegram = Self::new(gateway, header, &[]);
        telegram.control = control::CNF_IR;
        telegram.ci = 0x80;
        telegram
    }

    /// The frame with the CRCs of `format`.
    ///
    /// # Errors
    /// [`Error::Unencodable`] when header and CI field disagree, fewer than 2 or more than 16 bytes of
    /// MAC are asked for, or more is to be encrypted than the configuration word can say;
    /// [`Error::FrameTooLong`].
    pub fn encode(&self, format: CrcFormat) -> Result<Vec<u8>, Error> {
        let (fields, message) = self.message()?;
        self.frame(fields.map(|fields| fields.encode(0)), &message, format)
    }

    /// A long frame of the wired bus to or from primary address `address`, without link layers of the
    /// radio.
    ///
    /// # Errors
    /// As [`NewTelegram::encode`]; [`Error::Unencodable`] with an extended link or authentication layer.
    pub fn encode_wired(&self, address: u8) -> Result<Vec<u8>, Error> {
        let (fields, message) = self.message()?;
        match (fields, self.ell, message.as_slice()) {
            (None, None, &[ci, ref data @ ..]) => smgw_mbus::Frame::Long {
                control: self.control,
                address,
                ci,
                data,
            }
            .encode()
            .map_err(|_| Error::FrameTooLong),
            _ => Err(Error::Unencodable),
        }
    }

    /// Frames with at most `size` bytes of the message each, numbered from 1. The MAC is in the last
    /// one.
    ///
    /// # Errors
    /// As [`NewTelegram::encode`]; [`Error::Unencodable`] without authentication layer, and for more than
    /// 255 fragments.
    pub fn fragments(&self, size: usize, format: CrcFormat) -> Result<Vec<Vec<u8>>, Error> {
        let (fields, message) = self.message()?;
        let all = fields.ok_or(Error::Unencodable)?;
        let pieces = message.chunks(size.max(1));
        let last = u8::try_from(pieces.len()).map_err(|_| Error::Unencodable)?;
        pieces
            .zip(1..=last)
            .map(|(piece, number)| {
                let mut fields = AflFields::default();
                if number == 1 {
                    fields = all.clone();
                    fields.mac.clear();
                }
                let mut bits = u16::from(number);
                if number == last {
                    fields.mac.clone_from(&all.mac);
                } else {
                    bits |= fragmentation::MORE;
                }
                self.frame(Some(fields.encode(bits)), piece, format)
            })
            .collect()
    }

    fn frame(
        &self,
        afl: Option<Vec<u8>>,
        message: &[u8],
        format: CrcFormat,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = alloc::vec![0, self.control];
        bytes.extend(address(&self.sender));
        let mut payload = afl.unwrap_or_default();
        payload.extend_from_slice(message);
        if let Some(ell) = &self.ell {
            ell.encode(&self.sender, &mut payload, &mut bytes)?;
        }
        bytes.extend(payload);
        link::encode(&bytes, format)
    }

    fn meter(&self) -> Device {
        let device = self.header.and_then(|header| header.device);
        device.unwrap_or(self.sender)
    }

    fn derive(&self, key: &Key, kind: smgw_lmn_keys::KeyKind, counter: u32) -> Key {
        key.derive(kind, counter, &Meter::Radio(self.meter().id))
    }

    /// The message from its transport layer on, and the fields of its authentication layer.
    fn message(&self) -> Result<(Option<AflFields>, Vec<u8>), Error> {
        let from_meter = control::from_meter(self.control);
        let access = self.header.map_or(0, |header| header.access);
        match self.protection {
            Protection::None => {
                let mut message = self.transport(0, 0, &[])?;
                message.extend_from_slice(self.application);
                message.extend_from_slice(self.clear);
                Ok((None, message))
            }
            Protection::A { key } => {
                let iv = persistent_iv(&self.meter(), access);
                Ok((None, self.blocks(5, &[], key, &iv)?))
            }
            Protection::B {
                key,
                counter,
                mac,
                length,
                key_information,
            } => {
                let kenc = self.derive(key, encryption(from_meter), counter);
                let message = self.blocks(7, &[DERIVED as u8], &kenc, &[0; 16])?;
                let control = mac
                    | 0x20
                    | if length { 0x40 } else { 0 }
                    | if key_information.is_some() { 0x10 } else { 0 };
                let length = length.then(|| u16::try_from(message.len())).transpose();
                let length = length.map_err(|_| Error::Unencodable)?;
                let kmac = self.derive(key, authentication(from_meter), counter);
                let mut code = kmac
                    .cmac(&[&mac_fields(control, Some(counter), length), &message])
                    .to_vec();
                let known = mac_length(mac).filter(|_| mac < 8);
                code.truncate(known.ok_or(Error::Unencodable)?);
                let fields = AflFields {
                    control: Some(control),
                    key: key_information,
                    counter: Some(counter),
                    mac: code,
                    length,
                };
                Ok((Some(fields), message))
            }
            Protection::D { key, counter, tag } => {
                let count = match self.clear {
                    [] => 0xff,
                    _ => u16::try_from(self.application.len()).map_err(|_| Error::Unencodable)?,
                };
                if count > 0xff || (count == 0xff) != self.clear.is_empty() {
                    return Err(Error::Unencodable);
                }
                let code = tag.bytes() as u16 / 4 - 1;
                let extension = (DERIVED | code << 8).to_le_bytes();
                let mut message = self.transport(10, COUNTER_SIZE | count, &extension)?;
                message.extend(counter.to_le_bytes());
                let tpl = Tpl::parse(&message, 0)?;
                let associated = [&associated(&message, &tpl), self.clear].concat();
                let kenc = self.derive(key, encryption(from_meter), counter);
                let nonce = ccm_nonce(&self.meter(), counter);
                let mut sealed = self.application.to_vec();
                let code = kenc
                    .ccm_encrypt(&nonce, &associated, &mut sealed, tag)
                    .map_err(|_| Error::FrameTooLong)?;
                message.extend(sealed);
                message.extend_from_slice(self.clear);
                message.extend(code.iter().take(tag.bytes()));
                Ok((None, message))
            }
        }
    }

    /// CI field and header with the security mode and `count` in its configuration word.
    fn transport(&self, mode: u16, count: u16, extension: &[u8]) -> Result<Vec<u8>, Error> {
        let mut message = alloc::vec![self.ci];
        let kind = match &self.header {
            None => HeaderKind::None,
            Some(header) if header.device.is_none() => HeaderKind::Short,
            Some(_) => HeaderKind::Long,
        };
        if kind != HeaderKind::of(self.ci) || (kind == HeaderKind::None && mode != 0) {
            return Err(Error::Unencodable);
        }
        if let Some(header) = &self.header {
            if let Some(device) = &header.device {
                message.extend_from_slice(&device.id);
                message.extend(device.manufacturer.0.to_le_bytes());
                message.extend_from_slice(&[device.version, device.medium]);
            }
            message.extend_from_slice(&[header.access, header.status]);
            let config = header.config | mode << 8 | count;
            message.extend(config.to_le_bytes());
            message.extend_from_slice(extension);
        }
        Ok(message)
    }

    /// Transport layer, encrypted blocks, and unencrypted records behind them.
    fn blocks(
        &self,
        mode: u16,
        extension: &[u8],
        key: &Key,
        iv: &[u8; 16],
    ) -> Result<Vec<u8>, Error> {
        let mut plain = PADDING.to_vec();
        plain.extend_from_slice(self.application);
        plain.resize(plain.len().next_multiple_of(16), FILLER);
        let count = u16::try_from(plain.len() / 16).map_err(|_| Error::Unencodable)?;
        if count > 15 {
            return Err(Error::Unencodable);
        }
        key.cbc_encrypt(iv, &mut plain)
            .map_err(|_| Error::Unencodable)?;
        let mut message = self.transport(mode, count << 4, extension)?;
        message.extend(plain);
        message.extend_from_slice(self.clear);
        Ok(message)
    }
}

impl NewEll<'_> {
    /// Appends the layer to `bytes`; `payload` is what stands behind it, and is encrypted in place.
    fn encode(
        &self,
        sender: &Device,
        payload: &mut [u8],
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let ci = 0x8c | u8::from(self.session.is_some()) | u8::from(self.receiver.is_some()) << 1;
        bytes.extend_from_slice(&[ci, self.communication, self.access]);
        bytes.extend(self.receiver.iter().flat_map(address));
        let Some((number, key)) = self.session else {
            return Ok(());
        };
        let mut crc = crate::crc(&[payload]).to_le_bytes();
        let ell = Ell {
            span: Span::default(),
            ci,
            communication: self.communication,
            access: self.access,
            receiver: self.receiver,
            session: Some(Session {
                number,
                crc: 0,
                crc_ok: true,
            }),
        };
        let encryption = u32::from(key.is_some());
        if number >> 29 != encryption {
            return Err(Error::Unencodable);
        }
        if let (Some(key), Some(first)) = (key, ell.first_counter(sender)) {
            let mut sealed = [&crc, &*payload].concat();
            key.ctr(&first, &mut sealed);
            if let Some((sealed_crc, sealed)) = sealed.split_first_chunk() {
                crc = *sealed_crc;
                payload.copy_from_slice(sealed);
            }
        }
        bytes.extend(number.to_le_bytes());
        bytes.extend(crc);
        Ok(())
    }
}

/// Extension of the configuration word: keys by the derivation of TR-03116-3 §7.2.
const DERIVED: u16 = 0x10;
/// Configuration word of mode 10: message counter of 4 bytes.
const COUNTER_SIZE: u16 = 1 << 13;
