// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module's side of a link without its channel: a message in, a message out.

use std::collections::BTreeMap;
use std::fmt;

use hsm_api::{EphemeralKey, KeyId, ModuleError, PublicKey, Reason, SecurityModule};
use zeroize::Zeroizing;

use crate::channel::LinkError;
use crate::message::{Answer, Asked, Listed, MOST_RANDOM, Octets, Request, from_bytes, to_bytes};

/// Where the requests of one connection are worked on. It holds the connection's ephemeral keys and ends them.
pub struct Desk<'a> {
    module: &'a dyn SecurityModule,
    ephemeral: BTreeMap<u32, Box<dyn EphemeralKey>>,
    next: u32,
}

impl<'a> Desk<'a> {
    /// A desk in front of a module.
    pub fn new(module: &'a dyn SecurityModule) -> Self {
        Self {
            module,
            ephemeral: BTreeMap::new(),
            next: 0,
        }
    }

    /// Works on one request.
    ///
    /// # Errors
    /// [`LinkError::Message`] for bytes that are no request.
    pub fn answer(&mut self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let Asked { forgotten, request } = from_bytes(request)?;
        for number in forgotten {
            self.ephemeral.remove(&number);
        }
        let answer = self
            .work(request)
            .unwrap_or_else(|error| Answer::from(&error));
        to_bytes(&answer).or_else(|error| to_bytes(&Answer::from(&ModuleError::from(error))))
    }

    fn work(&mut self, request: Request) -> Result<Answer, ModuleError> {
        let module = self.module;
        let done = |()| Answer::Done;
        match request {
            Request::Capabilities => Ok(module.capabilities().into()),
            Request::Random { count } if count <= MOST_RANDOM => {
                let mut random = Zeroizing::new(vec![0; count.into()]);
                module.random(&mut random)?;
                Ok(bytes(random))
            }
            Request::Random { count } => Err(ModuleError::caller(format!(
                "{count} random bytes are more than one request may ask for"
            ))
            .because(Reason::BadInput)),
            Request::GenerateKey { key, curve, usage } => module
                .generate_key(&KeyId(key), curve.0, usage.0)
                .map(public),
            Request::RemoveKey { key } => module.remove_key(&KeyId(key)).map(done),
            Request::Keys => module.keys().map(|keys| Answer::Keys {
                keys: keys.iter().map(Into::into).collect(),
            }),
            Request::PublicKey { key } => module.public_key(&KeyId(key)).map(public),
            Request::SignDigest { key, digest } => module
                .sign_digest(&KeyId(key), &digest.0)
                .map(|signature| bytes(signature.into())),
            Request::VerifyDigest {
                key,
                digest,
                signature,
            } => module
                .verify_digest(&key.into(), &digest.0, &signature.0)
                .map(|right| Answer::Verdict { right }),
            Request::EphemeralKey { curve } => {
                if self.ephemeral.len() == MOST_EPHEMERAL {
                    return Err(ModuleError::module(format!(
                        "a connection holds at most {MOST_EPHEMERAL} ephemeral keys"
                    ))
                    .because(Reason::Memory));
                }
                let made = module.ephemeral_key(curve.0)?;
                let number = self.next;
                self.next = self.next.wrapping_add(1);
                let key = made.public_key().into();
                self.ephemeral.insert(number, made);
                Ok(Answer::Ephemeral { number, key })
            }
            Request::Agree { number, peer } => {
                let key = self.ephemeral.remove(&number).ok_or_else(|| {
                    ModuleError::caller("this ephemeral key is not, or not any more")
                        .because(Reason::NotFound)
                })?;
                key.agree(&peer.0).map(|secret| bytes(secret.0))
            }
            Request::AgreeStatic { key, peer } => module
                .agree_static(&KeyId(key), &peer.0)
                .map(|secret| bytes(secret.0)),
            Request::Objects => module.objects().map(|objects| Answer::Objects {
                objects: objects.iter().map(Into::into).collect(),
            }),
            Request::ReadObject { object } => module
                .read_object(&object.into())
                .map(|content| bytes(content.into())),
            Request::WriteObject { object, content } => {
                module.write_object(&object.into(), &content.0).map(done)
            }
            Request::RemoveObject { object } => module.remove_object(&object.into()).map(done),
            Request::LifeCycle => module.life_cycle().map(|phase| Answer::Phase {
                phase: Listed(phase),
            }),
            Request::EnterPhase { phase } => module.enter_phase(phase.0).map(done),
        }
    }
}

impl fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("module", &self.module)
            .field("ephemeral", &self.ephemeral.len())
            .finish_non_exhaustive()
    }
}

fn bytes(bytes: Zeroizing<Vec<u8>>) -> Answer {
    Answer::Bytes {
        bytes: Octets(bytes),
    }
}

fn public(key: PublicKey) -> Answer {
    Answer::Key { key: (&key).into() }
}

/// Ephemeral keys a connection may hold: far more than handshakes that run at once.
pub const MOST_EPHEMERAL: usize = 256;
