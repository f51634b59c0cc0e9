// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of a link: one request for each operation of a security module, and their answers (CBOR, RFC 8949).
//!
//! Numbers of variants, fields and list entries are the wire format (`docs/module-link.md`); they are never given anew.

use std::fmt;

use hsm_api::{
    Capabilities, Curve, Fault, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    ObjectKind, PublicKey, Reason,
};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::channel::{LinkError, MAX_MESSAGE};

/// Bytes, wiped when dropped and never shown: any of them may be a shared secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Octets(pub Zeroizing<Vec<u8>>);

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<C> Encode<C> for Octets {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Octets {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.bytes().map(Self::from)
    }
}

/// A value that travels as its place in a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listed<T>(pub T);

/// What a value of this type may be, in the order of its numbers on the wire.
pub trait List: Copy + PartialEq + 'static {
    /// All values; the first stands in for one that is not listed.
    const LIST: &'static [Self];
}

impl<C, T: List> Encode<C> for Listed<T> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let place = T::LIST.iter().position(|value| *value == self.0);
        e.u8(place.unwrap_or_default() as u8)?.ok()
    }
}

impl<'b, C, T: List> Decode<'b, C> for Listed<T> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let place = usize::from(d.u8()?);
        let value = T::LIST.get(place).copied();
        value
            .map(Self)
            .ok_or_else(|| decode::Error::message("a number that is not in its list"))
    }
}

impl List for Curve {
    const LIST: &'static [Self] = &[
        Self::BrainpoolP256r1,
        Self::BrainpoolP384r1,
        Self::BrainpoolP512r1,
        Self::NistP256,
        Self::NistP384,
    ];
}

impl List for KeyUsage {
    const LIST: &'static [Self] = &[Self::Sign, Self::Agree];
}

impl List for ObjectKind {
    const LIST: &'static [Self] = &[Self::Data, Self::Certificate];
}

impl List for LifeCycle {
    const LIST: &'static [Self] = &[
        Self::Production,
        Self::Integration,
        Self::Installation,
        Self::Personalisation,
        Self::Operation,
        Self::Decommissioned,
    ];
}

impl List for Fault {
    const LIST: &'static [Self] = &[Self::Module, Self::Caller, Self::Transport];
}

impl List for Reason {
    const LIST: &'static [Self] = &[
        Self::Other,
        Self::NotFound,
        Self::Exists,
        Self::BadInput,
        Self::Unsupported,
        Self::NotAllowed,
        Self::WrongPhase,
        Self::PinRefused,
        Self::PinLocked,
        Self::Memory,
        Self::WrongResult,
        Self::Timeout,
        Self::Gone,
        Self::Channel,
    ];
}

/// A request, and the ephemeral keys that are not needed any more.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
pub struct Asked {
    /// Numbers of ephemeral keys made on this connection.
    #[n(0)]
    pub forgotten: Vec<u32>,
    /// What is asked for.
    #[n(1)]
    pub request: Request,
}

/// An operation of a security module.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[allow(missing_docs, reason = "the fields are the arguments of the operation")]
pub enum Request {
    /// [`hsm_api::SecurityModule::capabilities`]
    #[n(0)]
    Capabilities,
    /// [`hsm_api::SecurityModule::random`], at most [`MOST_RANDOM`] bytes.
    #[n(1)]
    Random {
        #[n(0)]
        count: u16,
    },
    /// [`hsm_api::SecurityModule::generate_key`]
    #[n(2)]
    GenerateKey {
        #[n(0)]
        key: String,
        #[n(1)]
        curve: Listed<Curve>,
        #[n(2)]
        usage: Listed<KeyUsage>,
    },
    /// [`hsm_api::SecurityModule::remove_key`]
    #[n(3)]
    RemoveKey {
        #[n(0)]
        key: String,
    },
    /// [`hsm_api::SecurityModule::keys`]
    #[n(4)]
    Keys,
    /// [`hsm_api::SecurityModule::public_key`]
    #[n(5)]
    PublicKey {
        #[n(0)]
        key: String,
    },
    /// [`hsm_api::SecurityModule::sign_digest`]
    #[n(6)]
    SignDigest {
        #[n(0)]
        key: String,
        #[n(1)]
        digest: Octets,
    },
    /// [`hsm_api::SecurityModule::verify_digest`]
    #[n(7)]
    VerifyDigest {
        #[n(0)]
        key: Point,
        #[n(1)]
        digest: Octets,
        #[n(2)]
        signature: Octets,
    },
    /// [`hsm_api::SecurityModule::ephemeral_key`]
    #[n(8)]
    EphemeralKey {
        #[n(0)]
        curve: Listed<Curve>,
    },
    /// [`hsm_api::EphemeralKey::agree`] with a key made on this connection.
    #[n(9)]
    Agree {
        #[n(0)]
        number: u32,
        #[n(1)]
        peer: Octets,
    },
    /// [`hsm_api::SecurityModule::agree_static`]
    #[n(10)]
    AgreeStatic {
        #[n(0)]
        key: String,
        #[n(1)]
        peer: Octets,
    },
    /// [`hsm_api::SecurityModule::objects`]
    #[n(11)]
    Objects,
    /// [`hsm_api::SecurityModule::read_object`]
    #[n(12)]
    ReadObject {
        #[n(0)]
        object: Object,
    },
    /// [`hsm_api::SecurityModule::write_object`]
    #[n(13)]
    WriteObject {
        #[n(0)]
        object: Object,
        #[n(1)]
        content: Octets,
    },
    /// [`hsm_api::SecurityModule::remove_object`]
    #[n(14)]
    RemoveObject {
        #[n(0)]
        object: Object,
    },
    /// [`hsm_api::SecurityModule::life_cycle`]
    #[n(15)]
    LifeCycle,
    /// [`hsm_api::SecurityModule::enter_phase`]
    #[n(16)]
    EnterPhase {
        #[n(0)]
        phase: Listed<LifeCycle>,
    },
}

impl Request {
    /// Whether asking again does no harm when nobody knows if the first time was heard. Making and removing is not
    /// repeated, since the second answer would be another; an ephemeral key ends with its connection.
    pub fn may_be_repeated(&self) -> bool {
        !matches!(
            self,
            Self::GenerateKey { .. }
                | Self::RemoveKey { .. }
                | Self::RemoveObject { .. }
                | Self::Agree { .. }
        )
    }
}

/// What a module answers.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[allow(missing_docs, reason = "the fields are the operation's result")]
pub enum Answer {
    /// The operation failed.
    #[n(0)]
    Failed {
        #[n(0)]
        fault: Listed<Fault>,
        #[n(1)]
        reason: Listed<Reason>,
        #[n(2)]
        what: String,
    },
    /// It was done and has no result.
    #[n(1)]
    Done,
    /// What the module can do.
    #[n(2)]
    Capabilities {
        #[n(0)]
        name: String,
        #[n(1)]
        version: String,
        #[n(2)]
        curves: Vec<Listed<Curve>>,
        #[n(3)]
        keys_stay_inside: bool,
        #[n(4)]
        parallel: u16,
        #[n(5)]
        largest_object: Option<u32>,
    },
    /// Random bytes, a signature, an object's content or an agreed X coordinate.
    #[n(3)]
    Bytes {
        #[n(0)]
        bytes: Octets,
    },
    /// A public key.
    #[n(4)]
    Key {
        #[n(0)]
        key: Point,
    },
    /// An ephemeral key under a number that means it on this connection.
    #[n(5)]
    Ephemeral {
        #[n(0)]
        number: u32,
        #[n(1)]
        key: Point,
    },
    /// Whether a signature is right.
    #[n(6)]
    Verdict {
        #[n(0)]
        right: bool,
    },
    /// Persistent keys.
    #[n(7)]
    Keys {
        #[n(0)]
        keys: Vec<Named>,
    },
    /// Certificates and data objects.
    #[n(8)]
    Objects {
        #[n(0)]
        objects: Vec<Object>,
    },
    /// A phase of life.
    #[n(9)]
    Phase {
        #[n(0)]
        phase: Listed<LifeCycle>,
    },
}

/// A public key.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[allow(missing_docs, reason = "as in `PublicKey`")]
pub struct Point {
    #[n(0)]
    pub curve: Listed<Curve>,
    #[n(1)]
    pub point: Octets,
}

impl From<&PublicKey> for Point {
    fn from(key: &PublicKey) -> Self {
        Self {
            curve: Listed(key.curve),
            point: key.point.as_slice().into(),
        }
    }
}

impl From<Point> for PublicKey {
    // Not `PublicKey::new`: what a caller may say to a module it may say over a link, and the module judges it.
    fn from(key: Point) -> Self {
        Self {
            curve: key.curve.0,
            point: key.point.0.to_vec(),
        }
    }
}

/// A persistent key.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[allow(missing_docs, reason = "as in `KeyInfo`")]
pub struct Named {
    #[n(0)]
    pub key: String,
    #[n(1)]
    pub curve: Listed<Curve>,
    #[n(2)]
    pub usage: Listed<KeyUsage>,
}

impl From<&KeyInfo> for Named {
    fn from(info: &KeyInfo) -> Self {
        Self {
            key: info.key.0.clone(),
            curve: Listed(info.curve),
            usage: Listed(info.usage),
        }
    }
}

impl From<Named> for KeyInfo {
    fn from(named: Named) -> Self {
        Self {
            key: KeyId(named.key),
            curve: named.curve.0,
            usage: named.usage.0,
        }
    }
}

/// The name of an object.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[allow(missing_docs, reason = "as in `ObjectId`")]
pub struct Object {
    #[n(0)]
    pub kind: Listed<ObjectKind>,
    #[n(1)]
    pub name: String,
}

impl From<&ObjectId> for Object {
    fn from(object: &ObjectId) -> Self {
        Self {
            kind: Listed(object.kind),
            name: object.name.clone(),
        }
    }
}

impl From<Object> for ObjectId {
    fn from(object: Object) -> Self {
        Self {
            kind: object.kind.0,
            name: object.name,
        }
    }
}

impl From<&ModuleError> for Answer {
    fn from(error: &ModuleError) -> Self {
        Self::Failed {
            fault: Listed(error.fault()),
            reason: Listed(error.reason()),
            what: error.to_string().chars().take(LONGEST_TEXT).collect(),
        }
    }
}

impl From<Capabilities> for Answer {
    fn from(capabilities: Capabilities) -> Self {
        let largest = capabilities
            .largest_object
            .map_or(LARGEST_OBJECT, |largest| largest.min(LARGEST_OBJECT));
        Self::Capabilities {
            name: capabilities.name,
            version: capabilities.version,
            curves: capabilities.curves.into_iter().map(Listed).collect(),
            keys_stay_inside: capabilities.keys_stay_inside,
            parallel: capabilities.parallel.try_into().unwrap_or(u16::MAX),
            largest_object: Some(largest as u32),
        }
    }
}

/// Writes a message.
///
/// # Errors
/// [`LinkError::TooLong`] when no frame can carry it.
pub fn to_bytes(message: &impl Encode<()>) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    // The whole room at once: a buffer that grows would leave pieces of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_MESSAGE));
    let mut space = Bounded(&mut bytes);
    match minicbor::encode(message, &mut space) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(LinkError::TooLong),
    }
}

/// Reads a message that fills `bytes`.
///
/// # Errors
/// [`LinkError::Message`].
pub fn from_bytes<'b, M: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<M, LinkError> {
    let mut decoder = Decoder::new(bytes);
    let message = decoder.decode().map_err(|_| LinkError::Message)?;
    if decoder.position() == bytes.len() {
        Ok(message)
    } else {
        Err(LinkError::Message)
    }
}

/// Room for one message.
struct Bounded<'a>(&'a mut Vec<u8>);

impl Write for Bounded<'_> {
    type Error = LinkError;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        if self.0.len() + bytes.len() > MAX_MESSAGE {
            return Err(LinkError::TooLong);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Random bytes of one request.
pub const MOST_RANDOM: u16 = 32_768;
/// The largest object a link carries, with room for its name.
pub const LARGEST_OBJECT: usize = 60_000;
/// Characters of an error that are passed on.
const LONGEST_TEXT: usize = 2_000;
