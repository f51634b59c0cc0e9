// SPDX-License-Identifier: MIT OR Apache-2.0
//! The security module seen as one trait: what the gateway of TR-03109-2 asks of it, whatever plays it.
//!
//! Split of work per TR-03109-1 detail specifications §13.4: the module holds private keys, agrees,
//! signs, verifies and gives randomness; hashing, key derivation and bulk ciphers stay outside.
//! Points are uncompressed (TR-03116-3 §2), signatures plain `r || s` (TR-03111 §5.2.1).
//!
//! Without feature `std` the trait is there for devices without an operating system; the layers that watch a module and
//! the sources of PINs are not.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod checked;
mod curve;
mod error;
#[cfg(feature = "std")]
pub mod guarded;
mod hash;
mod import;
mod layer;
pub mod lock;
mod operation;
#[cfg(feature = "std")]
mod pin;
mod public_key;
pub mod signature;
mod storage;
#[cfg(feature = "std")]
pub mod traced;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "std")]
pub use checked::Checked;
pub use curve::Curve;
pub use error::{Fault, ModuleError, Reason};
#[cfg(feature = "std")]
pub use guarded::Guarded;
pub use hash::Hash;
pub use import::Import;
pub use layer::Layer;
pub use operation::Operation;
#[cfg(feature = "std")]
pub use pin::{Pin, PinSource, PinUnreadable};
pub use public_key::PublicKey;
pub use storage::{KeyInfo, LifeCycle, ObjectId, ObjectKind, UnknownPhase};
#[cfg(feature = "std")]
pub use traced::Traced;
use zeroize::Zeroizing;

/// Name of a key inside a module (the PKCS#11 label, the card's key reference).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub String);

impl From<&str> for KeyId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key may be used for; a module refuses everything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyUsage {
    /// ECDSA signatures (TLS and SIG keys).
    Sign,
    /// Static key agreement ECKA-EG (ENC keys).
    Agree,
}

/// The X coordinate of an agreed point, `curve.field_len()` bytes, wiped on drop.
pub struct SharedSecret(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// What a module says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// Manufacturer, model and serial number as the module reports them.
    pub name: String,
    /// Version of its firmware or library, as the module reports it; empty when it does not.
    pub version: String,
    /// Curves it can generate, sign, verify and agree on.
    pub curves: Vec<Curve>,
    /// Whether private keys are guaranteed to stay inside.
    pub keys_stay_inside: bool,
    /// How many requests it works on at once; more wait for their turn.
    pub parallel: usize,
    /// The largest certificate or data object in bytes, where there is a limit.
    pub largest_object: Option<usize>,
}

/// One ephemeral key pair, usable once (ECKA-DH); dropping it destroys the private half.
pub trait EphemeralKey: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Agrees with the peer's uncompressed point.
    ///
    /// # Errors
    /// [`Fault::Caller`] when the point is malformed or off the curve.
    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError>;
}

/// A security module. Calls block for as long as the module needs; keep them off async threads.
///
/// In the phase [`LifeCycle::Decommissioned`] every operation that makes or uses a private key
/// ([`Self::generate_key`], [`Self::sign_digest`], [`Self::ephemeral_key`], [`Self::agree_static`]) fails with
/// [`Reason::WrongPhase`], whatever its other arguments are.
pub trait SecurityModule: Send + Sync + fmt::Debug {
    /// What this module is and can do.
    fn capabilities(&self) -> Capabilities;

    /// Fills `out` with random bytes from the module; `out` must not be used when this fails.
    ///
    /// # Errors
    /// [`Fault::Module`] or [`Fault::Transport`] when the module gives no randomness.
    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError>;

    /// Makes a persistent key pair under a new name and returns its public half.
    ///
    /// # Errors
    /// [`Fault::Caller`] when the name is taken or the curve is not supported.
    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError>;

    /// Destroys a persistent key pair.
    ///
    /// # Errors
    /// [`Reason::NotFound`] when no such key exists.
    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError>;

    /// All persistent keys on curves of TR-03116-3, by name.
    ///
    /// # Errors
    /// [`Fault::Module`] or [`Fault::Transport`].
    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError>;

    /// The public half of a persistent key.
    ///
    /// # Errors
    /// [`Fault::Caller`] when no such key exists, or several share the name.
    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError>;

    /// Signs a digest that the caller computed; returns plain `r || s`, `2 * field_len` bytes.
    ///
    /// The digest is that of SHA-256, SHA-384 or SHA-512 (TR-03116-3 §4: no other); one longer than the
    /// group order is truncated to its leftmost bits.
    ///
    /// # Errors
    /// [`Fault::Caller`] when no such key exists, it is not a signing key, or the digest has another length.
    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError>;

    /// Verifies plain `r || s` over a digest; `Ok(false)` means the signature is wrong, also in its length.
    ///
    /// # Errors
    /// [`Fault::Caller`] when the digest has another length than in [`Self::sign_digest`] or the curve is not
    /// supported. A public key that is no point of its curve never verifies: it gives this error or `Ok(false)`,
    /// as the module prefers.
    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError>;

    /// Makes an ephemeral key pair for one agreement (ECKA-DH).
    ///
    /// # Errors
    /// [`Fault::Caller`] when the curve is not supported.
    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError>;

    /// Agrees with a persistent key (ECKA-EG).
    ///
    /// # Errors
    /// [`Fault::Caller`] when no such key exists, it is not an agreement key, or the point is malformed or off
    /// the curve.
    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError>;

    /// All certificates and data objects, by kind and name.
    ///
    /// # Errors
    /// [`Fault::Module`] or [`Fault::Transport`].
    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError>;

    /// The content of an object.
    ///
    /// # Errors
    /// [`Reason::NotFound`] when no such object exists.
    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError>;

    /// Stores an object; one of the same name is replaced.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] when it is larger than [`Capabilities::largest_object`], [`Reason::BadInput`] when
    /// a certificate is no DER SEQUENCE, [`Reason::Memory`] when the module is full.
    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError>;

    /// Removes an object.
    ///
    /// # Errors
    /// [`Reason::NotFound`] when no such object exists.
    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError>;

    /// The phase of its life the module is in.
    ///
    /// # Errors
    /// [`Fault::Module`] or [`Fault::Transport`].
    fn life_cycle(&self) -> Result<LifeCycle, ModuleError>;

    /// Takes the module into a later phase; the present one is no change.
    ///
    /// # Errors
    /// [`Reason::WrongPhase`] when the phase is an earlier one.
    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError>;
}

/// Refuses what is not the digest of SHA-256, SHA-384 or SHA-512; for implementations of [`SecurityModule`].
///
/// # Errors
/// [`Fault::Caller`] for any other length.
pub fn require_digest(digest: &[u8]) -> Result<(), ModuleError> {
    match digest.len() {
        32 | 48 | 64 => Ok(()),
        other => Err(ModuleError::caller(format!(
            "a digest of {other} bytes is none of SHA-256, SHA-384 or SHA-512"
        ))
        .because(Reason::BadInput)),
    }
}

/// Refuses what cannot be a certificate because it is not exactly one DER SEQUENCE; for implementations of
/// [`SecurityModule::write_object`]. What is in the sequence is not the module's business.
///
/// # Errors
/// [`Reason::BadInput`].
pub fn require_sequence(certificate: &[u8]) -> Result<(), ModuleError> {
    let body = match certificate {
        [0x30, len @ 0..=0x7f, rest @ ..] => Some((usize::from(*len), rest)),
        [0x30, 0x81, len, rest @ ..] => Some((usize::from(*len), rest)),
        [0x30, 0x82, high, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest))
        }
        _ => None,
    };
    match body {
        Some((len, rest)) if len == rest.len() => Ok(()),
        _ => Err(
            ModuleError::caller("a certificate is one DER SEQUENCE, and this is none")
                .because(Reason::BadInput),
        ),
    }
}
