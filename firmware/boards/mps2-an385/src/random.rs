// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers for an emulated board without a source of randomness: **for emulation only, never for a device in use**.
//!
//! A secret seed of 32 bytes lies in a store of its own behind the settings; the host puts a random one there before the
//! first start. Each start first replaces it by a value derived from it, then draws from another one, so that no two
//! starts draw the same numbers. Whoever reads the seed knows all numbers to come. Without a seed from the host the
//! numbers differ from start to start but can be guessed, and the log says so.

use core::convert::Infallible;

use embedded_storage::nor_flash::NorFlash;
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use smgw_flash_store::Store;

const SEED_BYTES: usize = 32;

/// Slots of the seed's store.
const SLOTS: u32 = 2;

/// A generator: SHA-256 of the key and a counter.
#[derive(Debug)]
pub struct Random {
    key: [u8; SEED_BYTES],
    counter: u64,
}

impl Random {
    pub(crate) fn start(flash: impl NorFlash) -> Self {
        let mut seed = [0; SEED_BYTES];
        match Store::open(flash, SLOTS) {
            Ok(mut store) => {
                if store.read(&mut seed).ok().flatten().is_none() {
                    defmt::warn!("random numbers can be guessed: nobody stored a seed");
                }
                if store.replace(&derived(b"next seed", &seed)).is_err() {
                    defmt::error!(
                        "random numbers repeat at the next start: the seed cannot be replaced"
                    );
                }
            }
            Err(_) => {
                defmt::error!("random numbers repeat at every start: there is no place for a seed")
            }
        }
        Self {
            key: derived(b"numbers", &seed),
            counter: 0,
        }
    }

    fn block(&mut self) -> [u8; SEED_BYTES] {
        self.counter += 1;
        derived(&self.counter.to_le_bytes(), &self.key)
    }
}

fn derived(purpose: &[u8], key: &[u8; SEED_BYTES]) -> [u8; SEED_BYTES] {
    Sha256::new()
        .chain_update(key)
        .chain_update(purpose)
        .finalize()
        .into()
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(SEED_BYTES) {
            part.copy_from_slice(&self.block()[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Random {}
