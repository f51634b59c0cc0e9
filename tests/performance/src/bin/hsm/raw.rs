// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer `raw cryptoki`: the same token by the bare PKCS#11 calls, one session per thread and handles looked up once.

use std::path::Path;
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hsm_api::{Curve, KeyId, PublicKey};

/// A token, with as many sessions as there will be threads. The module that is measured beside it has opened the
/// library and logged in already, which holds for the whole process.
pub struct RawToken {
    sessions: Vec<Mutex<Session>>,
}

impl RawToken {
    /// Opens the token with this label.
    pub fn open(library: &Path, label: &str, sessions: usize) -> cryptoki::error::Result<Self> {
        let context = Pkcs11::new(library)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error),
        }
        for slot in context.get_slots_with_initialized_token()? {
            if context.get_token_info(slot)?.label() == label {
                let open = |_| Ok(Mutex::new(context.open_rw_session(slot)?));
                let sessions = (0..sessions).map(open).collect::<Result<_, Error>>()?;
                return Ok(Self { sessions });
            }
        }
        Err(Error::Pkcs11(
            RvError::TokenNotPresent,
            cryptoki::context::Function::GetSlotList,
        ))
    }

    /// Finds a private key.
    pub fn key(&self, key: &KeyId) -> ObjectHandle {
        let found = self.on(0, |session| {
            session.find_objects(&[
                Attribute::Class(ObjectClass::PRIVATE_KEY),
                Attribute::Label(key.0.clone().into_bytes()),
            ])
        });
        found[0]
    }

    pub fn sign(&self, thread: usize, key: ObjectHandle, digest: &[u8]) -> Vec<u8> {
        self.on(thread, |session| {
            session.sign(&Mechanism::Ecdsa, key, digest)
        })
    }

    /// Puts the public key into the token, verifies with it and destroys it.
    pub fn verify(&self, thread: usize, key: &PublicKey, digest: &[u8], signature: &[u8]) {
        self.on(thread, |session| {
            let object = session.create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::EC),
                Attribute::Token(false),
                Attribute::Private(false),
                Attribute::EcParams(key.curve.oid_der().to_vec()),
                Attribute::EcPoint(octet_string(&key.point)),
                Attribute::Verify(true),
            ])?;
            session.verify(&Mechanism::Ecdsa, object, digest, signature)?;
            session.destroy_object(object)
        });
    }

    /// Derives, reads the secret and destroys it.
    pub fn agree(&self, thread: usize, key: ObjectHandle, curve: Curve, peer: &[u8]) -> Vec<u8> {
        let peer = octet_string(peer);
        self.on(thread, |session| {
            let secret = session.derive_key(
                &Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &peer)),
                key,
                &[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Token(false),
                    Attribute::Private(false),
                    Attribute::Sensitive(false),
                    Attribute::Extractable(true),
                    Attribute::ValueLen((curve.field_len() as u64).into()),
                ],
            )?;
            let value = session.get_attributes(secret, &[AttributeType::Value])?;
            session.destroy_object(secret)?;
            Ok(value)
        })
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        })
        .expect("a readable secret")
    }

    pub fn random(&self, thread: usize, out: &mut [u8]) {
        self.on(thread, |session| session.generate_random_slice(out));
    }

    fn on<T>(&self, thread: usize, work: impl FnOnce(&Session) -> cryptoki::error::Result<T>) -> T {
        let session = self.sessions[thread].lock().expect("no thread panicked");
        work(&session).expect("the token works")
    }
}

/// A point as DER, which SoftHSM2 needs to read every one of them.
fn octet_string(point: &[u8]) -> Vec<u8> {
    let len = point.len() as u8;
    let header: &[u8] = if len < 0x80 {
        &[4, len]
    } else {
        &[4, 0x81, len]
    };
    [header, point].concat()
}
