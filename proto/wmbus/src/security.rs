// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening protected messages: MAC, security modes 5, 7 and 10, and what came of it (EN 13757-7 §7.6,
//! OMS vol. 2 §9, TR-03116-3 §7).

use alloc::vec::Vec;
use core::fmt;

use smgw_lmn_keys::{Key, KeyKind, Meter};
use smgw_mbus::Device;

use crate::layers::{Afl, Span, Tpl, is_cmac};
use crate::records::LocatedRecords;
use crate::{Ell, Keys};

/// Whether a telegram's content may be read and believed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Never protected.
    Plain,
    /// Said to be encrypted, but found in plain text: somebody decrypted it before, or an old wired
    /// meter means something else by the configuration word.
    AlreadyPlain,
    /// Decrypted, and the plain text looks like one; nothing authenticates it.
    Decrypted,
    /// Authenticated, and decrypted where it was encrypted.
    Authenticated,
    /// Readable, but its MAC is wrong: to be refused.
    MacWrong,
    /// Encrypted, and its CCM tag is wrong: another key, or a changed message.
    TagWrong,
    /// Encrypted, and no key is known for the meter.
    NoKey,
    /// Encrypted, and the key known does not give plain text.
    WrongKey,
    /// Encrypted, and the counter its key depends on is missing.
    NoCounter,
    /// Encrypted in a security mode that is not supported, e.g. 2 and 3 (DES).
    Unsupported(u8),
    /// Encrypted by TLS (mode 13), which is for the caller to carry on.
    Tls,
    /// Decrypted, but fewer blocks than announced: to be refused.
    Truncated,
    /// The payload CRC of the extended link layer is wrong although nothing is encrypted.
    PayloadCrc,
    /// A piece of a message, see [`crate::Reassembler`].
    Fragment,
}

impl Verdict {
    /// Whether there is plain text.
    pub const fn is_readable(self) -> bool {
        matches!(
            self,
            Self::Plain
                | Self::AlreadyPlain
                | Self::Decrypted
                | Self::Authenticated
                | Self::MacWrong
                | Self::Truncated
        )
    }

    /// This verdict on the extended link layer, together with the one on the transport layer.
    pub(crate) const fn with_inner(self, inner: Self) -> Self {
        match (self, inner) {
            (outer, Self::Plain) | (outer @ Self::AlreadyPlain, Self::Decrypted) => outer,
            (_, inner) => inner,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "not protected",
            Self::AlreadyPlain => "in plain text although said to be encrypted",
            Self::Decrypted => "decrypted",
            Self::Authenticated => "authenticated",
            Self::MacWrong => "meter's authentication is wrong",
            Self::TagWrong => "meter's authentication is wrong, or the key is not the meter's",
            Self::NoKey => "no key is known for the meter",
            Self::WrongKey => "the key known for the meter is not its key",
            Self::NoCounter => "meter's message lacks the counter its key depends on",
            Self::Unsupported(mode) => {
                return write!(f, "meter uses security mode {mode}, which is not supported");
            }
            Self::Tls => "protected by TLS",
            Self::Truncated => "decrypted, but fewer blocks than announced",
            Self::PayloadCrc => "payload CRC of the extended link layer is wrong",
            Self::Fragment => "a piece of a message",
        })
    }
}

/// What came of the MAC of the authentication and fragmentation layer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MacCheck {
    /// It is right.
    Good,
    /// It is wrong.
    Wrong,
    /// No key is known for the meter, or the message lacks its counter.
    NoKey,
    /// It is no CMAC, the only kind checked here.
    Unsupported,
}

/// Decrypts the payload of `ell` in place where needed, and checks its CRC.
pub(crate) fn open_session(
    bytes: &mut [u8],
    ell: &mut Ell,
    sender: &Device,
    keys: &Keys,
) -> Verdict {
    let first_counter = ell.first_counter(sender);
    let (Some(session), Some(first_counter)) = (&mut ell.session, first_counter) else {
        return Verdict::Plain;
    };
    let sealed = Span::rest(bytes, ell.span.end() - 2);
    let fits = |sealed: &[u8]| match sealed.split_first_chunk() {
        Some((&crc, payload)) => u16::from_le_bytes(crc) == crate::crc(&[payload]),
        None => false,
    };
    session.crc_ok = fits(sealed.of(bytes));
    match (session.encryption(), session.crc_ok) {
        (0, true) => return Verdict::Plain,
        (0, false) => return Verdict::PayloadCrc,
        (1, true) => return Verdict::AlreadyPlain,
        (1, false) => {}
        (mode, _) => return Verdict::Unsupported(mode),
    }
    let Some(key) = keys.of(sender) else {
        return Verdict::NoKey;
    };
    let mut plain = sealed.of(bytes).to_vec();
    key.ctr(&first_counter, &mut plain);
    if !fits(&plain) {
        return Verdict::WrongKey;
    }
    session.crc_ok = true;
    if let Some(crc) = plain.first_chunk() {
        session.crc = u16::from_le_bytes(*crc);
    }
    sealed.of_mut(bytes).copy_from_slice(&plain);
    Verdict::Decrypted
}

/// A message from its transport layer on.
pub(crate) struct Message<'a> {
    /// Who protects the message: the device of the long header, else the sender.
    pub(crate) device: Option<Device>,
    pub(crate) from_meter: bool,
    pub(crate) wired: bool,
    pub(crate) afl: Option<&'a Afl>,
    pub(crate) tpl: &'a Tpl,
}

/// What came of opening a message.
pub(crate) struct Opened {
    pub(crate) verdict: Verdict,
    pub(crate) mac: Option<MacCheck>,
    /// The application layer, in plain text when the verdict says so.
    pub(crate) payload: Span,
}

impl Message<'_> {
    /// Checks the MAC, and decrypts in place.
    pub(crate) fn open(&self, bytes: &mut [u8], keys: &Keys) -> Opened {
        let key = self.device.as_ref().and_then(|device| keys.of(device));
        let mac = self.check_mac(bytes, key);
        let mut payload = Span::rest(bytes, self.tpl.span.end());
        if keys.wants_authentic()
            && let Some(verdict) = self.not_authentic(mac)
        {
            return Opened {
                verdict,
                mac,
                payload,
            };
        }
        let verdict = match self.tpl.mode() {
            0 => Verdict::Plain,
            5 => self.open_blocks(bytes, &mut payload, || {
                let iv = persistent_iv(&self.device.ok_or(Verdict::NoKey)?, self.access());
                Ok((key.ok_or(Verdict::NoKey)?.clone(), iv))
            }),
            7 => self.open_blocks(bytes, &mut payload, || {
                let key = key.ok_or(Verdict::NoKey)?;
                match self.tpl.key_derivation() {
                    0 => Ok((key.clone(), [0; 16])),
                    1 => {
                        let counter = self.afl.and_then(|afl| afl.counter);
                        let counter = counter.ok_or(Verdict::NoCounter)?;
                        Ok((self.encryption_key(key, counter)?, [0; 16]))
                    }
                    _ => Err(Verdict::Unsupported(7)),
                }
            }),
            10 => {
                let opened = self.open_ccm(bytes, &mut payload, key);
                opened.err().unwrap_or(Verdict::Authenticated)
            }
            13 => Verdict::Tls,
            _ if self.is_plain(payload.of(bytes)) => Verdict::AlreadyPlain,
            mode => Verdict::Unsupported(mode),
        };
        let verdict = match (mac, verdict) {
            (Some(MacCheck::Good), Verdict::Plain | Verdict::Decrypted) => Verdict::Authenticated,
            (Some(MacCheck::Wrong), Verdict::Plain | Verdict::Decrypted) => Verdict::MacWrong,
            (_, verdict) => verdict,
        };
        Opened {
            verdict,
            mac,
            payload,
        }
    }

    /// Why a message is not to be opened by someone who wants authentic ones only. Mode 10 checks its own tag.
    fn not_authentic(&self, mac: Option<MacCheck>) -> Option<Verdict> {
        match mac {
            _ if self.tpl.mode() == 10 => None,
            Some(MacCheck::Good) => None,
            Some(MacCheck::NoKey) => Some(Verdict::NoKey),
            Some(MacCheck::Wrong | MacCheck::Unsupported) => Some(Verdict::TagWrong),
            None => Some(Verdict::Unsupported(self.tpl.mode())),
        }
    }

    /// Whether a payload is plain text although the configuration word says otherwise: somebody has
    /// decrypted it, or an old wired meter puts something else there, which shows by a security mode
    /// nobody has or by fewer bytes than it would take.
    fn is_plain(&self, payload: &[u8]) -> bool {
        let possible = match self.tpl.mode() {
            5 | 7 => payload.len() >= 16 * usize::from(self.tpl.blocks()),
            _ => false,
        };
        payload.starts_with(&PADDING) || self.wired && !possible && are_records(payload)
    }

    fn access(&self) -> u8 {
        self.tpl.header.map_or(0, |header| header.access)
    }

    fn derive(&self, key: &Key, kind: KeyKind, counter: u32) -> Option<Key> {
        Some(key.derive(kind, counter, &Meter::Radio(self.device?.id)))
    }

    fn encryption_key(&self, key: &Key, counter: u32) -> Result<Key, Verdict> {
        let kind = encryption(self.from_meter);
        self.derive(key, kind, counter).ok_or(Verdict::NoKey)
    }

    fn check_mac(&self, bytes: &[u8], key: Option<&Key>) -> Option<MacCheck> {
        let afl = self.afl?;
        let (mac, control) = (afl.mac?, afl.control?);
        if !is_cmac(control) {
            return Some(MacCheck::Unsupported);
        }
        let counter = afl.counter.unwrap_or(0);
        let authentication = authentication(self.from_meter);
        let Some(key) = key.and_then(|key| self.derive(key, authentication, counter)) else {
            return Some(MacCheck::NoKey);
        };
        let message = Span::rest(bytes, self.tpl.span.at);
        let fields = mac_fields(control, afl.counter, afl.length);
        let good = key.verify_cmac(&[&fields, message.of(bytes)], mac.of(bytes));
        Some(if good {
            MacCheck::Good
        } else {
            MacCheck::Wrong
        })
    }

    /// Whole blocks in CBC, and unprotected records behind them (modes 5 and 7). Of a message cut short,
    /// the blocks that are there.
    fn open_blocks(
        &self,
        bytes: &mut [u8],
        payload: &mut Span,
        key: impl FnOnce() -> Result<(Key, [u8; 16]), Verdict>,
    ) -> Verdict {
        let announced = 16 * usize::from(self.tpl.blocks());
        if announced == 0 {
            return Verdict::Plain;
        }
        let sealed = Span {
            at: payload.at,
            len: announced.min(payload.len / 16 * 16),
        };
        let opened = key().and_then(|(key, iv)| {
            let mut blocks = sealed.of(bytes).to_vec();
            let decrypted = key.cbc_decrypt(&iv, &mut blocks).is_ok();
            (decrypted && blocks.starts_with(&PADDING))
                .then_some(blocks)
                .ok_or(Verdict::WrongKey)
        });
        match opened {
            Ok(blocks) => {
                sealed.of_mut(bytes).copy_from_slice(&blocks);
                if sealed.len < announced {
                    *payload = sealed;
                    Verdict::Truncated
                } else {
                    Verdict::Decrypted
                }
            }
            Err(_) if self.is_plain(payload.of(bytes)) => Verdict::AlreadyPlain,
            Err(verdict) => verdict,
        }
    }

    /// Mode 10: the low byte of the configuration word counts the encrypted bytes, FF standing for
    /// all; unencrypted ones and the tag follow. The layout is that of a captured telegram and of
    /// wmbusmeters; that the address of a long header is not part of the associated data is what the
    /// detail specifications say, and no capture proves it.
    fn open_ccm(
        &self,
        bytes: &mut [u8],
        payload: &mut Span,
        key: Option<&Key>,
    ) -> Result<(), Verdict> {
        let counter = self.tpl.counter.ok_or(Verdict::NoCounter)?;
        let device = self.device.ok_or(Verdict::NoKey)?;
        let key = key.ok_or(Verdict::NoKey)?;
        let key = match self.tpl.key_derivation() {
            0 => key.clone(),
            1 => self.encryption_key(key, counter)?,
            _ => return Err(Verdict::Unsupported(10)),
        };
        let (text, tag) = payload
            .len
            .checked_sub(self.tpl.tag_length())
            .and_then(|len| payload.of(bytes).split_at_checked(len))
            .ok_or(Verdict::TagWrong)?;
        let counted = self.tpl.header.map_or(0, |header| header.config & 0xff);
        let encrypted = match usize::from(counted) {
            0xff => text.len(),
            counted => counted,
        };
        let (sealed, clear) = text.split_at_checked(encrypted).ok_or(Verdict::TagWrong)?;
        let associated = [&associated(self.tpl.span.of(bytes), self.tpl), clear].concat();
        let (mut plain, len) = (sealed.to_vec(), text.len());
        key.ccm_decrypt(&ccm_nonce(&device, counter), &associated, &mut plain, tag)
            .map_err(|_| Verdict::TagWrong)?;
        payload.len = len;
        let sealed = Span {
            at: payload.at,
            len: encrypted,
        };
        sealed.of_mut(bytes).copy_from_slice(&plain);
        Ok(())
    }
}

/// What of a transport layer's bytes mode 10 authenticates: all but the address and the counter, which
/// are part of the nonce.
pub(crate) fn associated(layer: &[u8], tpl: &Tpl) -> Vec<u8> {
    let end = layer.len().saturating_sub(4);
    let address = match tpl.header.and_then(|header| header.device) {
        Some(_) => 1..9,
        None => 0..0,
    };
    let bytes = layer.iter().take(end).enumerate();
    bytes
        .filter(|(at, _)| !address.contains(at))
        .map(|(_, byte)| *byte)
        .collect()
}

/// Whether bytes read as records to their end.
fn are_records(payload: &[u8]) -> bool {
    LocatedRecords::new(payload, Span::rest(payload, 0)).all(|record| record.is_ok())
}

/// The fields in front of the message that its MAC covers. That the key information field is not one
/// of them is an assumption.
pub(crate) fn mac_fields(control: u8, counter: Option<u32>, length: Option<u16>) -> Vec<u8> {
    let mut fields = alloc::vec![control];
    fields.extend(counter.into_iter().flat_map(u32::to_le_bytes));
    fields.extend(length.into_iter().flat_map(u16::to_le_bytes));
    fields
}

/// Initialisation vector of mode 5: the address, and the access number eight times.
pub fn persistent_iv(device: &Device, access: u8) -> [u8; 16] {
    let mut iv = [access; 16];
    iv.iter_mut()
        .zip(address(device))
        .for_each(|(to, from)| *to = from);
    iv
}

/// Nonce of mode 10 (detail specifications §10.1): address, 00, message counter most significant byte
/// first.
pub fn ccm_nonce(device: &Device, counter: u32) -> [u8; 13] {
    let mut nonce = [0; 13];
    let fields = address(device)
        .into_iter()
        .chain([0])
        .chain(counter.to_be_bytes());
    nonce
        .iter_mut()
        .zip(fields)
        .for_each(|(to, from)| *to = from);
    nonce
}

/// Link layer order: manufacturer, identification number, version, device type.
pub(crate) fn address(device: &Device) -> [u8; 8] {
    let [m0, m1] = device.manufacturer.0.to_le_bytes();
    let [i0, i1, i2, i3] = device.id;
    [m0, m1, i0, i1, i2, i3, device.version, device.medium]
}

/// Kind of the encryption key, by direction.
pub(crate) const fn encryption(from_meter: bool) -> KeyKind {
    if from_meter {
        KeyKind::Kenc
    } else {
        KeyKind::Lenc
    }
}

/// Kind of the authentication key, by direction.
pub(crate) const fn authentication(from_meter: bool) -> KeyKind {
    if from_meter {
        KeyKind::Kmac
    } else {
        KeyKind::Lmac
    }
}

/// Every encrypted message begins with two idle fillers, which tell the right key from a wrong one.
pub(crate) const PADDING: [u8; 2] = [0x2f; 2];
