// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trait over a token (PKCS#11 v2.40): each operation runs on a leased session with handles of its generation.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::error::RvError;
use cryptoki::mechanism::MechanismType;
use hsm_api::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    ObjectKind, PublicKey, Reason, SecurityModule, SharedSecret, require_digest, require_sequence,
};

use crate::config::Pkcs11Config;
use crate::failure::Failure;
use crate::keys::{self, Key};
use crate::library::{Library, TokenInfo};
use crate::link::{Link, Place, Settings, find_token};
use crate::quirks::Quirks;
use crate::storage;

/// A token behind a PKCS#11 library. Dropping it (and the ephemeral keys it made) closes its sessions, and the
/// last user of the library in this process finalises it.
///
/// A token that was lost is opened again by the next call: [`Reason::Gone`] while it is away. Once it refused the PIN,
/// every call answers [`Reason::PinRefused`] or [`Reason::PinLocked`] without touching it.
///
/// The life-cycle phase is read once after each opening: that another program ended the token's life shows at the
/// next one.
pub struct Pkcs11Module {
    token: Arc<Token>,
}

struct Token {
    link: Link,
    info: TokenInfo,
    version: String,
    quirks: Quirks,
    /// Mechanisms we use and the token does not offer.
    missing: Vec<MechanismType>,
    known: Mutex<Known>,
}

/// What was read from the token in one generation. Looking up an object costs more than many an operation.
#[derive(Default)]
struct Known {
    generation: u64,
    keys: HashMap<KeyId, Key>,
    phase: Option<LifeCycle>,
}

impl Pkcs11Module {
    /// Opens a token: loads the library, finds the token, reads the PIN, opens all sessions and logs in.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`] when the library or the token is missing; the text names what was looked for
    /// and what exists. [`hsm_api::Fault::Module`] when the token refuses the PIN (which is tried exactly once),
    /// cannot sign or does not grant the sessions. [`hsm_api::Fault::Caller`] for zero sessions and for a PIN that
    /// is not where it should be.
    pub fn open(config: Pkcs11Config) -> Result<Self, ModuleError> {
        let library = Library::acquire(&config.module)?;
        let (slot, info) = find_token(&library, &config.token)?;
        let offered = library
            .context()
            .get_mechanism_list(slot)
            .map_err(|error| Failure::from(error).explain("listing mechanisms"))?;
        let missing = MECHANISMS
            .iter()
            .map(|(mechanism, _)| *mechanism)
            .filter(|mechanism| !offered.contains(mechanism))
            .collect();
        let pin = config
            .pin
            .read()
            .map_err(|error| ModuleError::caller(error.to_string()))?;
        let quirks = config
            .quirks
            .unwrap_or_else(|| Quirks::of(&info.manufacturer, &info.model));
        let version = format!("firmware {}, {}", info.firmware, library.version());
        let settings = Settings {
            selector: config.token,
            serial: info.serial.clone(),
            pin,
            sessions: config.sessions,
            lease_timeout: config.lease_timeout,
            reopen_pause: config.reopen_pause,
            restart_library: quirks.lists_tokens_at_start,
        };
        let token = Token {
            link: Link::open(library, slot, settings)?,
            info,
            version,
            quirks,
            missing,
            known: Mutex::default(),
        };
        token.require(MechanismType::ECDSA)?;
        Ok(Self {
            token: Arc::new(token),
        })
    }

    /// The token that was opened.
    pub fn token(&self) -> &TokenInfo {
        &self.token.info
    }

    /// What the driver takes the token's peculiarities to be.
    pub fn quirks(&self) -> &Quirks {
        &self.token.quirks
    }
}

impl fmt::Debug for Pkcs11Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Module")
            .field("token", &self.token.info)
            .finish_non_exhaustive()
    }
}

impl SecurityModule for Pkcs11Module {
    fn capabilities(&self) -> Capabilities {
        let TokenInfo {
            manufacturer,
            model,
            serial,
            ..
        } = &self.token.info;
        Capabilities {
            name: format!("{manufacturer} {model} {serial}"),
            version: self.token.version.clone(),
            curves: self.token.quirks.curves.to_vec(),
            keys_stay_inside: true,
            parallel: self.token.link.size(),
            largest_object: self.token.quirks.largest_object,
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        if out.is_empty() {
            // Some tokens take a request for nothing as an error.
            return Ok(());
        }
        self.token.link.run("random bytes", |at| {
            Ok(at.session.generate_random_slice(out)?)
        })
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        self.token.link.run(format_args!("making key {key}"), |at| {
            self.token.require_alive(at)?;
            self.token.require(MechanismType::ECC_KEY_PAIR_GEN)?;
            let made = keys::generate(at.session, key, curve, usage)?;
            let public = made.public.clone();
            self.token.known(at).keys.insert(key.clone(), made);
            Ok(public)
        })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        self.token.require_destruction()?;
        let mut begun = false;
        self.token
            .link
            .run(format_args!("removing key {key}"), |at| {
                self.token.known(at).keys.remove(key);
                keys::remove(at.session, key, &mut begun)
            })
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        self.token
            .link
            .run("listing keys", |at| keys::list(at.session))
    }

    /// Always read from the token, since another program may have put another key in this one's place.
    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        self.token
            .link
            .run(format_args!("reading key {key}"), |at| {
                Ok(self.token.look_up(at, key)?.public)
            })
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.token.with_key("signing with", key, |at, key| {
            require_digest(digest)?;
            keys::sign(at.session, key, digest)
        })
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        require_digest(digest)?;
        let key = PublicKey::new(key.curve, key.point.clone())?;
        if signature.len() != 2 * key.curve.field_len() {
            return Ok(false);
        }
        if !self.token.quirks.takes_public_keys {
            return Err(unsupported(
                "the token takes no public keys and so verifies nothing; verify outside",
            ));
        }
        self.token.link.run("verifying", |at| {
            keys::verify(at.session, &key, digest, signature)
        })
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let token = &self.token;
        let ephemeral = token.link.run("making an ephemeral key", |at| {
            token.require_alive(at)?;
            token.require(MechanismType::ECC_KEY_PAIR_GEN)?;
            token.require(MechanismType::ECDH1_DERIVE)?;
            Ok(Ephemeral {
                token: Arc::clone(token),
                generation: at.generation,
                key: keys::generate_ephemeral(at.session, curve)?,
                spent: false,
            })
        })?;
        Ok(Box::new(ephemeral))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.token.with_key("agreeing with", key, |at, key| {
            self.token.require(MechanismType::ECDH1_DERIVE)?;
            keys::agree(
                at.session,
                self.token.quirks.point_encoding,
                key,
                peer_point,
            )
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        self.token
            .link
            .run("listing objects", |at| storage::list(at.session))
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        self.token
            .link
            .run(format_args!("reading the {object}"), |at| {
                storage::read(at.session, object)
            })
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        storage::require_free_name(object)?;
        if object.kind == ObjectKind::Certificate {
            require_sequence(content)?;
        }
        if let Some(limit) = self.token.quirks.largest_object
            && content.len() > limit
        {
            return Err(unsupported(&format!(
                "the {object} has {} bytes, and the token takes {limit} at most",
                content.len()
            )));
        }
        self.token
            .link
            .run(format_args!("storing the {object}"), |at| {
                self.token.write(at, object, content)
            })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        storage::require_free_name(object)?;
        self.token.require_destruction()?;
        let mut begun = false;
        self.token
            .link
            .run(format_args!("removing the {object}"), |at| {
                storage::remove(at.session, object, &mut begun)
            })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        self.token.link.run("reading the life-cycle phase", |at| {
            self.token.read_phase(at)
        })
    }

    fn enter_phase(&self, next: LifeCycle) -> Result<(), ModuleError> {
        self.token.link.run("entering a life-cycle phase", |at| {
            let present = self.token.read_phase(at)?;
            present.require_forward(next)?;
            if next != present {
                self.token
                    .write(at, &storage::phase_object(), next.name().as_bytes())?;
                self.token.known(at).phase = Some(next);
            }
            Ok(())
        })
    }
}

/// Known answers need given keys; a gateway's own are made in its module. An imported key is a session object: it
/// never reaches the token's memory and is gone with the module at the latest.
#[cfg(feature = "testing")]
impl hsm_api::Import for Pkcs11Module {
    fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError> {
        let public = hsm_soft::PrivateKey::from_bytes(curve, scalar)?
            .public_key()
            .clone();
        self.token
            .link
            .run(format_args!("importing key {key}"), |at| {
                self.token.require_alive(at)?;
                keys::import(at.session, key, usage, scalar, &public)
            })?;
        Ok(public)
    }
}

impl Token {
    /// What is known of the generation at work; what was known of an earlier one is forgotten.
    fn known(&self, at: Place<'_>) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.generation != at.generation {
            *known = Known {
                generation: at.generation,
                ..Known::default()
            };
        }
        known
    }

    fn require(&self, mechanism: MechanismType) -> Result<(), ModuleError> {
        if !self.missing.contains(&mechanism) {
            return Ok(());
        }
        let name = MECHANISMS
            .iter()
            .find(|(other, _)| *other == mechanism)
            .map_or("a mechanism", |(_, name)| name);
        Err(unsupported(&format!("the token does not offer {name}")))
    }

    fn require_destruction(&self) -> Result<(), ModuleError> {
        if self.quirks.destroys_objects {
            Ok(())
        } else {
            Err(unsupported(
                "the token keeps what it holds; remove it with the maker's tool",
            ))
        }
    }

    fn require_alive(&self, at: Place<'_>) -> Result<(), Failure> {
        let known = self.known(at).phase;
        let phase = match known {
            Some(phase) => phase,
            None => self.read_phase(at)?,
        };
        Ok(phase.require_usable_keys()?)
    }

    fn read_phase(&self, at: Place<'_>) -> Result<LifeCycle, Failure> {
        let phase = storage::phase(at.session)?;
        self.known(at).phase = Some(phase);
        Ok(phase)
    }

    fn write(&self, at: Place<'_>, object: &ObjectId, content: &[u8]) -> Result<(), Failure> {
        let old = storage::find(at.session, object)?;
        if !old.is_empty() {
            self.require_destruction()?;
        }
        storage::replace(at.session, &old, object, content)
    }

    fn look_up(&self, at: Place<'_>, key: &KeyId) -> Result<Key, Failure> {
        self.known(at).keys.remove(key);
        let found = keys::look_up(at.session, key)?;
        self.known(at).keys.insert(key.clone(), found.clone());
        Ok(found)
    }

    /// Works with a private key of a module that is still in use.
    fn with_key<T>(
        &self,
        what: &str,
        key: &KeyId,
        mut work: impl FnMut(Place<'_>, &Key) -> Result<T, Failure>,
    ) -> Result<T, ModuleError> {
        self.link.run(format_args!("{what} key {key}"), |at| {
            self.require_alive(at)?;
            let known = self.known(at).keys.get(key).cloned();
            if let Some(found) = known {
                match work(at, &found) {
                    // The object was deleted or made anew behind our back: look once more.
                    Err(failure) if failure.rv().is_some_and(|rv| HANDLE_STALE.contains(&rv)) => {}
                    outcome => return outcome,
                }
            }
            work(at, &self.look_up(at, key)?)
        })
    }
}

struct Ephemeral {
    token: Arc<Token>,
    generation: u64,
    key: Key,
    /// The token has destroyed the private half already.
    spent: bool,
}

impl EphemeralKey for Ephemeral {
    fn public_key(&self) -> &PublicKey {
        &self.key.public
    }

    fn agree(mut self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let token = Arc::clone(&self.token);
        let lost = || {
            ModuleError::transport("the ephemeral key was lost with the session that held it")
                .because(Reason::Gone)
        };
        if !token.link.is_up(self.generation) {
            return Err(lost());
        }
        token.link.run("agreeing with an ephemeral key", |at| {
            if at.generation != self.generation {
                return Err(lost().into());
            }
            token.require_alive(at)?;
            let encoding = token.quirks.point_encoding;
            let agreed = keys::agree(at.session, encoding, &self.key, peer_point);
            keys::destroy(at.session, &[self.key.private]);
            self.spent = true;
            agreed
        })
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        // In another generation its handle is nobody's or, worse, somebody else's.
        if self.spent || !self.token.link.is_up(self.generation) {
            return;
        }
        let destroyed = self.token.link.run("destroying an ephemeral key", |at| {
            if at.generation == self.generation {
                keys::destroy(at.session, &[self.key.private]);
            }
            Ok(())
        });
        if let Err(error) = destroyed {
            // The key dies with its session at the latest.
            tracing::warn!(%error, "ephemeral key not destroyed");
        }
    }
}

fn unsupported(what: &str) -> ModuleError {
    ModuleError::caller(what).because(Reason::Unsupported)
}

const MECHANISMS: &[(MechanismType, &str)] = &[
    (MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"),
    (MechanismType::ECDSA, "CKM_ECDSA"),
    (MechanismType::ECDH1_DERIVE, "CKM_ECDH1_DERIVE"),
];

const HANDLE_STALE: &[RvError] = &[RvError::KeyHandleInvalid, RvError::ObjectHandleInvalid];
