// SPDX-License-Identifier: MIT OR Apache-2.0
//! One card seen from several sides: by its driver as a line for APDUs, by a test as something to look into and to put
//! keys into, as a maker would while personalising it.

use std::sync::{Arc, Mutex, PoisonError};

use hsm_api::{Curve, Import, KeyId, KeyUsage, ModuleError, PublicKey, Reason};
use hsm_soft::PrivateKey;

use super::Card;
use crate::state::Key;

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
