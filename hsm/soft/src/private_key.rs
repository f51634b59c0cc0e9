// SPDX-License-Identifier: MIT OR Apache-2.0
//! Private keys in memory, and verification: one generic implementation over the five curves of TR-03116-3 table 4.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use ecdsa::hazmat::{sign_prehashed_rfc6979, verify_prehashed};
use ecdsa::{DigestAlgorithm, Signature};
use elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use elliptic_curve::{CurveArithmetic, Generate, SecretKey};
use hsm_api::{Curve, ModuleError, PublicKey, Reason, SharedSecret, require_digest};
use zeroize::Zeroizing;

use crate::brainpool_p512r1::BrainpoolP512r1;
use crate::random::{Generator, RandomSource};

/// A private key on one of the five curves. It is wiped on drop and never shown.
#[derive(Clone)]
pub struct PrivateKey {
    scalar: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a key with the operating system's randomness.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Module`] when there is none, [`Reason::Unsupported`] for a curve beyond the five.
    #[cfg(feature = "std")]
    pub fn generate(curve: Curve) -> Result<Self, ModuleError> {
        Self::generate_from(curve, &crate::random::System)
    }

    /// Makes a key with randomness of another source.
    ///
    /// # Errors
    /// As for `generate`.
    pub fn generate_from(curve: Curve, source: &dyn RandomSource) -> Result<Self, ModuleError> {
        on_curve!(curve, C => {
            let secret = SecretKey::<C>::try_generate_from_rng(&mut Generator(source))?;
            Ok(Self::of(curve, &secret))
        })
    }

    /// Takes a scalar of exactly `curve.field_len()` bytes, big-endian.
    ///
    /// # Errors
    /// [`Reason::BadInput`] when it has another length, is zero or not below the group order.
    pub fn from_bytes(curve: Curve, scalar: &[u8]) -> Result<Self, ModuleError> {
        on_curve!(curve, C => Ok(Self::of(curve, &secret::<C>(curve, scalar)?)))
    }

    /// The scalar, `curve.field_len()` bytes, big-endian.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.scalar.clone()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a digest; as [`hsm_api::SecurityModule::sign_digest`], with the nonce of RFC 6979.
    ///
    /// # Errors
    /// [`Reason::BadInput`] when the digest is none of SHA-256, SHA-384 and SHA-512.
    pub fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        require_digest(digest)?;
        let curve = self.public.curve;
        on_curve!(curve, C => {
            let scalar = Zeroizing::new(secret::<C>(curve, &self.scalar)?.to_nonzero_scalar());
            let (signature, _) =
                sign_prehashed_rfc6979::<C, <C as DigestAlgorithm>::Digest>(&scalar, digest, &[]);
            Ok(signature.to_bytes().to_vec())
        })
    }

    /// Agrees with a peer's uncompressed point.
    ///
    /// # Errors
    /// [`Reason::BadInput`] when the point is malformed or off the curve.
    pub fn agree(&self, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let curve = self.public.curve;
        on_curve!(curve, C => {
            let peer = peer::<C>(&PublicKey::new(curve, peer_point.to_vec())?)?;
            let shared = secret::<C>(curve, &self.scalar)?.diffie_hellman(&peer);
            Ok(SharedSecret(Zeroizing::new(shared.raw_secret_bytes().to_vec())))
        })
    }

    fn of<C: Arithmetic>(curve: Curve, secret: &SecretKey<C>) -> Self {
        let bytes = Zeroizing::new(secret.to_bytes());
        let point = secret.public_key().to_sec1_point(false);
        Self {
            scalar: Zeroizing::new(bytes.to_vec()),
            public: PublicKey {
                curve,
                point: point.as_bytes().to_vec(),
            },
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, ..)", self.public.curve)
    }
}

/// Verifies plain `r || s` over a digest without any module; the contract is that of
/// [`hsm_api::SecurityModule::verify_digest`].
///
/// # Errors
/// [`Reason::BadInput`] when the point is not on its curve, or the digest is none of SHA-256, SHA-384 and SHA-512.
pub fn verify(key: &PublicKey, digest: &[u8], signature: &[u8]) -> Result<bool, ModuleError> {
    require_digest(digest)?;
    on_curve!(key.curve, C => {
        let point = peer::<C>(key)?.to_projective();
        // A signature of wrong length or with r or s out of range does not parse; it is simply wrong.
        Ok(Signature::<C>::from_slice(signature)
            .is_ok_and(|signature| verify_prehashed(&point, digest, &signature).is_ok()))
    })
}

/// What every curve's type offers; the same for all, so that the code above is written once.
trait Arithmetic:
    CurveArithmetic<
        FieldBytesSize: ModulusSize,
        AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>,
    > + DigestAlgorithm
{
}

impl Arithmetic for bp256::BrainpoolP256r1 {}
impl Arithmetic for bp384::BrainpoolP384r1 {}
impl Arithmetic for BrainpoolP512r1 {}
impl Arithmetic for p256::NistP256 {}
impl Arithmetic for p384::NistP384 {}

/// Evaluates an expression with the type of a curve known only when running.
macro_rules! on_curve {
    ($curve:expr, $type:ident => $work:expr) => {
        match $curve {
            Curve::BrainpoolP256r1 => on_curve!(@ $type = bp256::BrainpoolP256r1, $work),
            Curve::BrainpoolP384r1 => on_curve!(@ $type = bp384::BrainpoolP384r1, $work),
            Curve::BrainpoolP512r1 => on_curve!(@ $type = BrainpoolP512r1, $work),
            Curve::NistP256 => on_curve!(@ $type = p256::NistP256, $work),
            Curve::NistP384 => on_curve!(@ $type = p384::NistP384, $work),
            other => Err(ModuleError::caller(format!("the soft module does not know {other}"))
                .because(Reason::Unsupported)),
        }
    };
    (@ $type:ident = $curve:ty, $work:expr) => {{
        type $type = $curve;
        $work
    }};
}
use on_curve;

fn secret<C: Arithmetic>(curve: Curve, scalar: &[u8]) -> Result<SecretKey<C>, ModuleError> {
    // The parser would pad a short scalar; a key of the wrong length is a mistake of the caller.
    Some(scalar)
        .filter(|scalar| scalar.len() == curve.field_len())
        .and_then(|scalar| SecretKey::from_slice(scalar).ok())
        .ok_or_else(|| bad_input(format!("not a private key of {curve}")))
}

/// Checks shape and place of a point (TR-03111 §4.3.1).
fn peer<C: Arithmetic>(key: &PublicKey) -> Result<elliptic_curve::PublicKey<C>, ModuleError> {
    let shaped = PublicKey::new(key.curve, key.point.clone())?;
    elliptic_curve::PublicKey::from_sec1_bytes(&shaped.point)
        .map_err(|_| bad_input(format!("the point is not on {}", key.curve)))
}

fn bad_input(what: String) -> ModuleError {
    ModuleError::caller(what).because(Reason::BadInput)
}
