// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers from the chip's generator.

use core::fmt;

use rand_core::{TryCryptoRng, TryRng};
use stm32h7xx_hal::rng::{self, RngCore as _};

/// The generator.
pub struct Random(pub(crate) rng::Rng);

/// The generator found itself faulty: its clock or its noise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faulty;

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the chip's random generator found itself faulty")
    }
}

impl core::error::Error for Faulty {}

impl TryRng for Random {
    type Error = Faulty;

    fn try_next_u32(&mut self) -> Result<u32, Faulty> {
        self.0.value().map_err(|_| Faulty)
    }

    fn try_next_u64(&mut self) -> Result<u64, Faulty> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Faulty> {
        self.0.fill(bytes).map_err(|_| Faulty)
    }
}

impl TryCryptoRng for Random {}
