// SPDX-License-Identifier: MIT OR Apache-2.0
//! One card seen from several sides: by its driver as a line for APDUs, by a test as something to look into and to put
//! keys into, as a maker would while personalising it.

use std::sync::{Arc, Mutex, PoisonError};

use hsm_api::{Curve, Import, KeyId, KeyUsage, ModuleError, PublicKey, Reason};
use hsm_soft::PrivateKey;
use zeroize::Zeroizing;

use super::Card;
use crate::state::{self, Key};

/// A card that several hold.
#[derive(Clone, Debug)]
pub struct SharedCard(Arc<Mutex<Card>>);

impl SharedCard {
    /// Shares a card.
    pub fn new(card: Card) -> Self {
        Self(Arc::new(Mutex::new(card)))
    }

    /// As [`Card::transmit`].
    pub fn transmit(&self, command: &[u8]) -> Vec<u8> {
        self.with(|card| card.transmit(command))
    }

    /// As [`Card::reset`].
    pub fn reset(&self) {
        self.with(Card::reset);
    }

    /// Puts a private key into the card, told in one line: `NAME CURVE sign|agree SCALAR`, the scalar in hex digits.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn import_line(&self, line: &str) -> Result<PublicKey, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [name, curve, usage, scalar] = words[..] else {
            return Err("a key is told as NAME CURVE sign|agree SCALAR".to_owned());
        };
        let usage = match usage {
            "sign" => KeyUsage::Sign,
            "agree" => KeyUsage::Agree,
            other => {
                return Err(format!(
                    "a key is there to sign or to agree, not to {other}"
                ));
            }
        };
        let scalar = Zeroizing::new(state::unhex(scalar)?);
        self.import_key(&name.into(), state::curve(curve)?, usage, &scalar)
            .map_err(|error| error.to_string())
    }

    /// Does something with the card while nobody else does.
    pub fn with<T>(&self, work: impl FnOnce(&mut Card) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts private keys of given values under the names that the profile knows; for tests with known answers.
impl Import for SharedCard {
    fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError> {
        let private = PrivateKey::from_bytes(curve, scalar)?;
        let public = private.public_key().clone();
        self.with(|card| {
            let reference = card.profile.named_key(key).ok_or_else(|| {
                ModuleError::caller(format!("the card's profile has no key named {key}"))
                    .because(Reason::Unsupported)
            })?;
            if card.state.keys.contains_key(&reference) {
                return Err(
                    ModuleError::caller(format!("the card has a key {key} already"))
                        .because(Reason::Exists),
                );
            }
            let key = Key { private, usage };
            card.keep(|state| drop(state.keys.insert(reference, key)))
                .map_err(|status| {
                    ModuleError::module(format!("the card keeps no key: {status}"))
                        .because(Reason::Memory)
                })?;
            Ok(public)
        })
    }
}

#[cfg(test)]
mod tests {
    use hsm_api::{LifeCycle, Pin};
    use hsm_card::CardProfile;

    use super::*;
    use crate::randomness::System;
    use crate::state::{State, Volatile};

    #[test]
    fn a_line_brings_a_key_or_says_what_is_wrong_with_it() {
        let profile = CardProfile::tr03109_2_assumed();
        let state = State::fresh(&profile, "00", Pin::new("1234567890"));
        assert_eq!(state.phase, LifeCycle::Production);
        let card = SharedCard::new(Card::new(profile, state, Volatile, System));
        let one = "01".repeat(32);
        for (line, says) in [
            ("gw-enc P-256 agree", "NAME CURVE"),
            (&format!("gw-enc P-256 agree {one} more"), "NAME CURVE"),
            (&format!("gw-enc P-257 agree {one}"), "no curve P-257"),
            (&format!("gw-enc P-256 listen {one}"), "to listen"),
            ("gw-enc P-256 agree 0g", "hex"),
            ("gw-enc P-256 agree é", "hex"),
            ("gw-enc P-256 agree 01", "not a private key"),
            (&format!("another P-256 agree {one}"), "no key named"),
        ] {
            let error = card.import_line(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
        let line = format!(" gw-enc  P-256 agree {one}\n");
        let public = card.import_line(&line).unwrap();
        card.with(|card| {
            let kept: Vec<_> = card.state.keys.values().collect();
            assert_eq!(kept[0].private.public_key(), &public);
            assert_eq!((kept.len(), kept[0].usage), (1, KeyUsage::Agree));
        });
        assert!(card.import_line(&line).unwrap_err().contains("already"));
    }
}
