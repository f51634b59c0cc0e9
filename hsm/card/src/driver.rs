// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card as a [`SecurityModule`] (TR-03109-2): one command after the other, since a card does one thing at a time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hsm_api::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    ObjectKind, Pin, PublicKey, Reason, SecurityModule, SharedSecret, require_digest,
    require_sequence,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::card::{Card, public_key_template};
use crate::directory::{KeyEntry, LONGEST_NAME, ObjectEntry};
use crate::profile::{CardProfile, Instruction};
use crate::session::{CardSession, Clock, LEAST_DIGITS};
use crate::trace::Recorder;
use crate::transport::CardTransport;

/// Proves to the card that the gateway administrator agrees: takes a challenge, gives the plain signature `r || s` over
/// its SHA-256. It may ask somebody far away and take its time.
pub type Administrator = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, ModuleError> + Send + Sync>;

/// An administrator whose key is in another module.
pub fn administrator(module: Arc<dyn SecurityModule>, key: KeyId) -> Administrator {
    Arc::new(move |challenge| module.sign_digest(&key, &Sha256::digest(challenge)))
}

/// How a card is used.
#[derive(Clone)]
pub struct CardOptions {
    /// Its command set.
    pub profile: CardProfile,
    /// Who authenticates for what only the gateway administrator may.
    pub administrator: Option<Administrator>,
    /// Gets every command and answer, decoded and without secrets.
    pub recorder: Option<Recorder>,
    /// The clock of the session's 48 hours; the machine's when `None`.
    pub clock: Option<Clock>,
}

impl Default for CardOptions {
    fn default() -> Self {
        Self {
            profile: CardProfile::tr03109_2_assumed(),
            administrator: None,
            recorder: None,
            clock: None,
        }
    }
}

impl fmt::Debug for CardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardOptions({})", self.profile.name)
    }
}

/// A smartcard of TR-03109-2 as security module.
///
/// The channel to the card is opened again by itself: after 48 hours, and once when the card, its reader or the service
/// went away or the channel broke, with one more try of what was asked, if that may be done twice. A PIN that the card
/// refused is never sent again by the same `CardModule`.
pub struct CardModule {
    card: Arc<Mutex<Card>>,
    name: String,
    profile: Arc<CardProfile>,
}

impl CardModule {
    /// Connects to a card and opens the channel.
    ///
    /// # Errors
    /// [`Reason::BadInput`] for a PIN with less than 10 digits, which is not sent; [`Reason::PinRefused`] and
    /// [`Reason::PinLocked`]; [`Reason::Gone`] when there is no reader or card; [`Reason::Unsupported`] for a card that
    /// is no security module.
    pub fn open(
        transport: Box<dyn CardTransport>,
        pin: Pin,
        options: CardOptions,
    ) -> Result<Self, ModuleError> {
        let profile = Arc::new(options.profile);
        let mut session = CardSession::new(transport, Arc::clone(&profile));
        if let Some(clock) = options.clock {
            session = session.with_clock(clock);
        }
        if let Some(recorder) = options.recorder {
            session = session.with_recorder(recorder);
        }
        let name = session.name();
        let mut card = Card::new(session, pin, options.administrator);
        card.ready()?;
        Ok(Self {
            card: Arc::new(Mutex::new(card)),
            name,
            profile,
        })
    }

    /// The command set in use.
    pub fn profile(&self) -> &CardProfile {
        &self.profile
    }

    /// The tries left for the PIN if the card refused it, where it told.
    pub fn tries_left(&self) -> Option<u8> {
        self.lock().session.tries_left()
    }

    /// Changes the PIN, as from the transport PIN to the gateway's own at integration. Not tried twice: when the answer
    /// is lost, either PIN may be the right one.
    ///
    /// # Errors
    /// [`Reason::BadInput`] for a PIN with less than 10 digits; [`Reason::PinRefused`] if the card does not know the
    /// present one.
    pub fn change_pin(&self, new: &Pin) -> Result<(), ModuleError> {
        let digits = new.expose().bytes().filter(u8::is_ascii_digit).count();
        if digits < LEAST_DIGITS || digits != new.expose().len() {
            return Err(ModuleError::caller(format!(
                "a card's PIN has at least {LEAST_DIGITS} digits and nothing else"
            ))
            .because(Reason::BadInput));
        }
        let mut card = self.lock();
        card.ready()?;
        let pins = Zeroizing::new([card.pin.expose(), new.expose()].concat().into_bytes());
        let command = self.profile.command(Instruction::ChangePin);
        card.send(&command.with(pins.as_slice()), "change the PIN")?;
        card.pin = new.clone();
        Ok(())
    }

    /// Tells the card whose signature authenticates the gateway administrator. In operation this wants the
    /// authentication of the present one.
    ///
    /// # Errors
    /// As [`SecurityModule::write_object`].
    pub fn trust_administrator(&self, key: &PublicKey) -> Result<(), ModuleError> {
        let object = ObjectId::data(self.profile.administrator.object.clone());
        self.write_object(&object, &public_key_template(key))
    }

    fn lock(&self) -> MutexGuard<'_, Card> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn require_curve(&self, curve: Curve) -> Result<(), ModuleError> {
        match self.profile.curves.iter().any(|spec| spec.curve == curve) {
            true => Ok(()),
            false => Err(
                ModuleError::caller(format!("the card does not know the curve {curve}"))
                    .because(Reason::Unsupported),
            ),
        }
    }
}

impl SecurityModule for CardModule {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: format!("{}, {}", self.name, self.profile.name),
            version: String::new(),
            curves: self.profile.curves.iter().map(|spec| spec.curve).collect(),
            keys_stay_inside: true,
            parallel: 1,
            largest_object: Some(usize::from(self.profile.files.object_size)),
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.lock().run(|card| card.random(out))
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let id = Instruction::GenerateKeyPair;
        let mut card = self.lock();
        let reference = card.run(|card| {
            card.allowed(id, None)?;
            self.require_curve(curve)?;
            require_name(&key.0)?;
            match card.key(key) {
                Err(error) if error.reason() == Reason::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    return Err(ModuleError::caller(format!(
                        "the card has a key \"{key}\" already"
                    ))
                    .because(Reason::Exists));
                }
            }
            let directory = card.directory()?;
            directory.reference_for(key, &self.profile).ok_or_else(|| {
                ModuleError::module("all keys of the card are taken; remove some")
                    .because(Reason::Memory)
            })
        })?;
        // Until the directory has it the reference is free, so this may be done twice.
        card.run(|card| {
            card.authorise(id, None)?;
            let public =
                card.generate(id, reference, curve, Some(self.profile.algorithm(usage)))?;
            let info = KeyInfo {
                key: key.clone(),
                curve,
                usage,
            };
            card.change_directory(|directory| {
                directory.keys.retain(|entry| entry.info.key != *key);
                directory.keys.push(KeyEntry { info, reference });
            })?;
            Ok(public)
        })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        let mut card = self.lock();
        let reference = card.run(|card| card.key(key))?.reference;
        card.run(|card| {
            card.authorise(Instruction::DeleteKey, None)?;
            match card.delete(Instruction::DeleteKey, reference) {
                // A try before this one may have done it.
                Err(error) if error.reason() == Reason::NotFound => {}
                result => result?,
            }
            card.change_directory(|directory| {
                directory.keys.retain(|entry| entry.info.key != *key);
            })
        })
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        self.lock().run(Card::keys)
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        self.lock().run(|card| {
            let reference = card.key(key)?.reference;
            card.read_public(reference)
        })
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.lock().run(|card| {
            card.authorise(Instruction::Sign, None)?;
            require_digest(digest)?;
            let entry = card.key(key)?;
            require_usage(&entry, KeyUsage::Sign)?;
            card.sign(entry.reference, entry.info.curve, digest)
        })
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        require_digest(digest)?;
        self.require_curve(key.curve)?;
        if signature.len() != 2 * key.curve.field_len() {
            return Ok(false);
        }
        self.lock().run(|card| card.verify(key, digest, signature))
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let mut card = self.lock();
        let (reference, public) = card.run(|card| {
            card.authorise(Instruction::GenerateEphemeralKey, None)?;
            self.require_curve(curve)?;
            card.ephemeral(curve)
        })?;
        Ok(Box::new(CardEphemeral {
            card: Arc::clone(&self.card),
            public,
            reference,
            epoch: card.session.epoch(),
            spent: false,
        }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.lock().run(|card| {
            card.authorise(Instruction::Agree, None)?;
            let entry = card.key(key)?;
            require_usage(&entry, KeyUsage::Agree)?;
            let peer = peer(entry.info.curve, peer_point)?;
            card.agree(entry.reference, &peer).map(SharedSecret)
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        self.lock().run(|card| {
            let entries = card.directory()?.objects.iter();
            let mut objects: Vec<_> = entries.map(|entry| entry.object.clone()).collect();
            objects.sort();
            Ok(objects)
        })
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        self.lock().run(|card| {
            let entry = card.object(object)?;
            card.read_file(entry.file, 0, entry.len)
        })
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        require_name(&object.name)?;
        if object.kind == ObjectKind::Certificate {
            require_sequence(content)?;
        }
        let limit = self.profile.files.object_size;
        let len = u16::try_from(content.len())
            .ok()
            .filter(|len| *len <= limit)
            .ok_or_else(|| {
                ModuleError::caller(format!(
                    "{} bytes are more than the {limit} of a card's file",
                    content.len()
                ))
                .because(Reason::Unsupported)
            })?;
        self.lock().run(|card| {
            let directory = card.directory()?;
            let file = directory.file_for(object, &self.profile).ok_or_else(|| {
                ModuleError::module("all files of the card are taken; remove an object")
                    .because(Reason::Memory)
            })?;
            let in_place = directory
                .object(object)
                .is_some_and(|entry| entry.file == file);
            card.authorise(Instruction::UpdateBinary, Some(file))?;
            if in_place {
                // Should this end halfway the object is gone, rather than half new.
                card.change_directory(|directory| {
                    directory.objects.retain(|entry| entry.object != *object);
                })?;
            }
            card.write_file(file, 0, content)?;
            card.change_directory(|directory| {
                directory.objects.retain(|entry| entry.object != *object);
                let object = object.clone();
                directory.objects.push(ObjectEntry { object, file, len });
            })
        })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        let mut card = self.lock();
        let file = card.run(|card| card.object(object))?.file;
        card.run(|card| {
            card.authorise(Instruction::UpdateBinary, Some(file))?;
            card.change_directory(|directory| {
                directory.objects.retain(|entry| entry.object != *object);
            })
        })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        self.lock().run(Card::read_phase)
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        self.lock().run(|card| card.enter_phase(phase))
    }
}

impl fmt::Debug for CardModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardModule({})", self.name)
    }
}

/// An ephemeral key, which lives in the card as long as the session.
struct CardEphemeral {
    card: Arc<Mutex<Card>>,
    public: PublicKey,
    reference: u8,
    epoch: u64,
    spent: bool,
}

impl CardEphemeral {
    fn lock(&self) -> MutexGuard<'_, Card> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EphemeralKey for CardEphemeral {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(mut self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let peer = peer(self.public.curve, peer_point)?;
        let secret = {
            let mut card = self.lock();
            if !card.is_of(self.epoch) {
                return Err(ModuleError::transport(
                    "the ephemeral key went with the session to the card; start anew",
                )
                .because(Reason::Gone));
            }
            card.agree(self.reference, &peer)?
        };
        self.spent = true;
        Ok(SharedSecret(secret))
    }
}

impl Drop for CardEphemeral {
    fn drop(&mut self) {
        self.lock().release(self.reference, self.epoch, self.spent);
    }
}

fn peer(curve: Curve, point: &[u8]) -> Result<PublicKey, ModuleError> {
    PublicKey::new(curve, point.to_vec()).map_err(|error| error.because(Reason::BadInput))
}

fn require_usage(entry: &KeyEntry, usage: KeyUsage) -> Result<(), ModuleError> {
    match entry.info.usage == usage {
        true => Ok(()),
        false => Err(ModuleError::caller(format!(
            "the key \"{}\" is not for this use",
            entry.info.key
        ))
        .because(Reason::NotAllowed)),
    }
}

fn require_name(name: &str) -> Result<(), ModuleError> {
    match name.len() {
        1..=LONGEST_NAME => Ok(()),
        len => Err(ModuleError::caller(format!(
            "a name of {len} bytes is not within the 1 to {LONGEST_NAME} of a card's directory"
        ))
        .because(Reason::BadInput)),
    }
}
