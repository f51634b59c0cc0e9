// SPDX-License-Identifier: MIT OR Apache-2.0
//! Symmetrically protected messages between gateway and meter (SYM, "LKS1.PSK"; TR-03109-1 detail
//! specifications ch. 9, TR-03116-3 §7), as they serve to pair the two before TLS.
//!
//! Public is: the derivation of a key per message, AES-128-CBC with an IV of 0 and then AES-CMAC of 8 or
//! 16 bytes, a counter in clear that the MAC covers and that only rises, types 6 and 7 for the crypto
//! reset. Not public is the layout of the messages (DIN VDE 0418-63-7). So the layout is a trait,
//! [`SymCodec`], and [`PlaceholderLayout`] is ours: two ends of this bench understand each other, no
//! device will. Whoever has the standard writes another [`SymCodec`] and keeps [`SymSession`].

use alloc::vec::Vec;
use core::fmt;

use nom::bytes::complete::tag;
use nom::number::complete::{be_u16, be_u32, u8 as byte};
use nom::{IResult, Parser as _};
use smgw_lmn_keys::{CounterGuard, Error as KeyError, Key, KeyKind, Meter, StoreWithin};
use smgw_units::Nanos;

/// Who sends a message; it decides which keys protect it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sender {
    /// Kenc and Kmac.
    Meter,
    /// Lenc and Lmac.
    Gateway,
}

impl Sender {
    const fn other(self) -> Self {
        match self {
            Self::Meter => Self::Gateway,
            Self::Gateway => Self::Meter,
        }
    }
}

/// The type of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SymKind(pub u8);

impl SymKind {
    /// Asks for a crypto reset. Assumption: of the types 6 and 7 it is the first.
    pub const CRYPTO_RESET: Self = Self(6);
    /// Answers it. Assumption as above.
    pub const CRYPTO_RESET_DONE: Self = Self(7);
}

/// A message in clear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SymMessage {
    /// What it is about.
    pub kind: SymKind,
    /// Its counter.
    pub counter: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A message that cannot be protected, or must not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SymError {
    /// The sender's bytes are no message of this layout.
    Layout,
    /// The caller's payload is longer than a message carries.
    TooLong,
    /// Our counter is used up; only a new master key helps.
    CounterUsedUp,
    /// The sender's MAC is wrong, or its counter did not rise.
    Protection(KeyError),
}

impl fmt::Display for SymError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout => f.write_str("sender's bytes are no message of this layout"),
            Self::TooLong => f.write_str("caller's payload is too long for a message"),
            Self::CounterUsedUp => f.write_str("own message counter is used up"),
            Self::Protection(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SymError {}

impl From<KeyError> for SymError {
    fn from(error: KeyError) -> Self {
        Self::Protection(error)
    }
}

/// The master key shared by one meter and the gateway.
#[derive(Clone, Debug)]
pub struct SymMaster {
    key: Key,
    meter: Vec<u8>,
}

impl SymMaster {
    /// `meter` is the Server-ID of the meter, or the octet string the administrator put in its place.
    pub fn new(key: Key, meter: &[u8]) -> Self {
        Self {
            key,
            meter: meter.to_vec(),
        }
    }

    /// Keys of encryption and authentication of one message.
    pub fn keys(&self, sender: Sender, counter: u32) -> (Key, Key) {
        let (encryption, authentication) = match sender {
            Sender::Meter => (KeyKind::Kenc, KeyKind::Kmac),
            Sender::Gateway => (KeyKind::Lenc, KeyKind::Lmac),
        };
        let derive = |kind| self.key.derive(kind, counter, &Meter::Wire(&self.meter));
        (derive(encryption), derive(authentication))
    }
}

/// The layout of messages, with the protection applied.
pub trait SymCodec {
    /// Protects a message.
    ///
    /// # Errors
    /// [`SymError::TooLong`].
    fn seal(
        &self,
        master: &SymMaster,
        sender: Sender,
        message: &SymMessage,
    ) -> Result<Vec<u8>, SymError>;

    /// Verifies the MAC and then decrypts. Whether the counter rose is not looked at here.
    ///
    /// # Errors
    /// [`SymError::Layout`], [`SymError::Protection`].
    fn open(
        &self,
        master: &SymMaster,
        sender: Sender,
        bytes: &[u8],
    ) -> Result<SymMessage, SymError>;
}

/// Our own layout, for want of a public one:
/// `01 | kind (1) | counter (4, MSB first) | payload length (2, MSB first) | payload in CBC, filled with 00
/// to whole blocks | CMAC over all before`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PlaceholderLayout {
    /// The MAC is cut to 8 bytes.
    pub short_mac: bool,
}

/// Most bytes of a payload: with header, filling and MAC it fits one frame of the LMN.
pub const MAX_PAYLOAD: usize = 2000;

impl PlaceholderLayout {
    const fn mac_length(self) -> usize {
        if self.short_mac { 8 } else { 16 }
    }
}

impl SymCodec for PlaceholderLayout {
    fn seal(
        &self,
        master: &SymMaster,
        sender: Sender,
        message: &SymMessage,
    ) -> Result<Vec<u8>, SymError> {
        let length = message.payload.len();
        if length > MAX_PAYLOAD {
            return Err(SymError::TooLong);
        }
        let (encryption, authentication) = master.keys(sender, message.counter);
        let mut bytes = Vec::from([VERSION, message.kind.0]);
        bytes.extend_from_slice(&message.counter.to_be_bytes());
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
        let mut payload = message.payload.clone();
        payload.resize(length.next_multiple_of(16), 0);
        encryption.cbc_encrypt(&ZERO_IV, &mut payload)?;
        bytes.append(&mut payload);
        let mac = authentication.cmac(&[&bytes]);
        bytes.extend(mac.iter().take(self.mac_length()));
        Ok(bytes)
    }

    fn open(
        &self,
        master: &SymMaster,
        sender: Sender,
        bytes: &[u8],
    ) -> Result<SymMessage, SymError> {
        let covered = bytes.len().checked_sub(self.mac_length());
        let split = covered.and_then(|covered| bytes.split_at_checked(covered));
        let (covered, mac) = split.ok_or(SymError::Layout)?;
        let header: IResult<&[u8], (&[u8], u8, u32, u16)> =
            (tag(&[VERSION][..]), byte, be_u32, be_u16).parse(covered);
        let (encrypted, (_, kind, counter, length)) = header.map_err(|_| SymError::Layout)?;
        let length = usize::from(length);
        if length > MAX_PAYLOAD || encrypted.len() != length.next_multiple_of(16) {
            return Err(SymError::Layout);
        }
        let (encryption, authentication) = master.keys(sender, counter);
        // Nothing is decrypted before the MAC is known to be right.
        if !authentication.verify_cmac(&[covered], mac) {
            return Err(KeyError::Tag.into());
        }
        let mut payload = encrypted.to_vec();
        encryption.cbc_decrypt(&ZERO_IV, &mut payload)?;
        payload.truncate(length);
        Ok(SymMessage {
            kind: SymKind(kind),
            counter,
            payload,
        })
    }
}

/// One end of an exchange of protected messages: counts what it sends, refuses replays.
#[derive(Clone, Debug)]
pub struct SymSession<C> {
    codec: C,
    master: SymMaster,
    role: Sender,
    /// The counter of the latest message sent.
    sent: Option<u32>,
    received: CounterGuard,
}

impl<C: SymCodec> SymSession<C> {
    /// `sent` and `received` are the latest counters out of lasting storage, `None` for a new master key.
    pub fn new(
        codec: C,
        master: SymMaster,
        role: Sender,
        sent: Option<u32>,
        received: Option<u32>,
    ) -> Self {
        Self {
            codec,
            master,
            role,
            sent,
            received: CounterGuard::new(received, StoreWithin::AT_ONCE),
        }
    }

    /// Protects a message with the next counter, 1 being the first.
    ///
    /// # Errors
    /// [`SymError::TooLong`], [`SymError::CounterUsedUp`]; the counter then stays as it was.
    pub fn seal(&mut self, kind: SymKind, payload: &[u8]) -> Result<Vec<u8>, SymError> {
        let next = self.sent.unwrap_or(0).checked_add(1);
        let counter = next.ok_or(SymError::CounterUsedUp)?;
        let message = SymMessage {
            kind,
            counter,
            payload: payload.to_vec(),
        };
        let bytes = self.codec.seal(&self.master, self.role, &message)?;
        self.sent = Some(counter);
        Ok(bytes)
    }

    /// Takes a message of the other end: MAC first, then the counter.
    ///
    /// # Errors
    /// [`SymError::Layout`], [`SymError::Protection`]; the session then stays as it was.
    pub fn open(&mut self, bytes: &[u8], now: Nanos) -> Result<SymMessage, SymError> {
        let message = self.codec.open(&self.master, self.role.other(), bytes)?;
        self.received.accept(message.counter, now)?;
        Ok(message)
    }

    /// The latest counters sent and received, for lasting storage.
    pub const fn counters(&self) -> (Option<u32>, Option<u32>) {
        (self.sent, self.received.last())
    }

    /// A new master key: MK' in place of MK0, or after a crypto reset. Counters start again.
    pub fn rekey(&mut self, master: SymMaster) {
        self.master = master;
        self.sent = None;
        self.received = CounterGuard::new(None, StoreWithin::AT_ONCE);
    }
}

const VERSION: u8 = 1;
const ZERO_IV: [u8; 16] = [0; 16];
