// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module that does one thing wrong.

use bp256::BrainpoolP256r1;
use ecdsa::hazmat::sign_prehashed;
use elliptic_curve::{Generate, NonZeroScalar, SecretKey};
use hsm_api::{
    Curve, EphemeralKey, Import, KeyId, KeyUsage, Layer, ModuleError, PublicKey, SecurityModule,
    SharedSecret,
};
use hsm_soft::SoftModule;

pub const CURVE: Curve = Curve::BrainpoolP256r1;

/// What a module does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    Nothing,
    /// One bit of a signature flips.
    Signature,
    /// A signature lacks its last byte.
    ShortSignature,
    /// Random bytes are always the same.
    Constant,
    /// Signatures share a nonce, and are valid.
    Nonce,
    /// Ephemeral keys are always the same.
    EphemeralKey,
    /// Ephemeral points lack their last byte.
    ShortPoint,
    /// The ephemeral key lies on another curve.
    OtherCurve,
    /// Agreed secrets lack their last byte.
    ShortSecret,
}

#[derive(Debug)]
pub struct Lying {
    soft: SoftModule,
    wrong: Wrong,
    secret: SecretKey<BrainpoolP256r1>,
    nonce: NonZeroScalar<BrainpoolP256r1>,
}

impl Lying {
    pub fn new(wrong: Wrong) -> Self {
        let soft = SoftModule::new();
        let secret = SecretKey::generate();
        soft.import_key(&sign(), CURVE, KeyUsage::Sign, &secret.to_bytes())
            .unwrap();
        soft.generate_key(&agree(), CURVE, KeyUsage::Agree).unwrap();
        let nonce = SecretKey::generate().to_nonzero_scalar();
        Self {
            soft,
            wrong,
            secret,
            nonce,
        }
    }
}

impl Layer for Lying {
    fn below(&self) -> &dyn SecurityModule {
        &self.soft
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        if self.wrong == Wrong::Constant {
            out.iter_mut()
                .zip(0u8..)
                .for_each(|(byte, at)| *byte = at.wrapping_mul(59));
            return Ok(());
        }
        self.soft.random(out)
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        let mut signature = self.soft.sign_digest(key, digest)?;
        match self.wrong {
            Wrong::Signature => signature[40] ^= 0x10,
            Wrong::ShortSignature => drop(signature.pop()),
            Wrong::Nonce => {
                let d = self.secret.to_nonzero_scalar();
                let (made, _) = sign_prehashed::<BrainpoolP256r1>(&d, &self.nonce, digest).unwrap();
                signature = made.to_bytes().to_vec();
            }
            _ => {}
        }
        Ok(signature)
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let curve = match self.wrong {
            Wrong::OtherCurve => Curve::NistP256,
            _ => curve,
        };
        let key = self.soft.ephemeral_key(curve)?;
        let mut public = key.public_key().clone();
        match self.wrong {
            Wrong::EphemeralKey => public = self.soft.public_key(&sign())?,
            Wrong::ShortPoint => drop(public.point.pop()),
            _ => {}
        }
        let cut = self.wrong == Wrong::ShortSecret;
        Ok(Box::new(LyingKey { public, key, cut }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let mut secret = self.soft.agree_static(key, peer_point)?;
        if self.wrong == Wrong::ShortSecret {
            secret.0.pop();
        }
        Ok(secret)
    }
}

struct LyingKey {
    public: PublicKey,
    key: Box<dyn EphemeralKey>,
    cut: bool,
}

impl EphemeralKey for LyingKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let mut secret = self.key.agree(peer_point)?;
        if self.cut {
            secret.0.pop();
        }
        Ok(secret)
    }
}

pub fn sign() -> KeyId {
    "sign".into()
}

pub fn agree() -> KeyId {
    "agree".into()
}
