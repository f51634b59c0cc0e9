// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where random bytes come from: the operating system, or a generator that a device brings.

use alloc::format;

use elliptic_curve::rand_core::{TryCryptoRng, TryRng};
use hsm_api::ModuleError;
use hsm_api::lock::Lock;

/// Gives random bytes fit for keys. A generator of `rand_core` is one inside a [`Lock`].
pub trait RandomSource: Send + Sync {
    /// Fills `out`, which must not be used when this fails.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Module`] when there is no randomness.
    fn fill(&self, out: &mut [u8]) -> Result<(), ModuleError>;
}

impl<R: TryCryptoRng + Send> RandomSource for Lock<R> {
    fn fill(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.lock().try_fill_bytes(out).map_err(no_randomness)
    }
}

/// The operating system's randomness.
#[cfg(feature = "std")]
pub(crate) struct System;

#[cfg(feature = "std")]
impl RandomSource for System {
    fn fill(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        getrandom::fill(out).map_err(no_randomness)
    }
}

/// A source as the arithmetic of curves wants it.
pub(crate) struct Generator<'a>(pub(crate) &'a dyn RandomSource);

impl TryRng for Generator<'_> {
    type Error = ModuleError;

    fn try_next_u32(&mut self) -> Result<u32, ModuleError> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, ModuleError> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.0.fill(out)
    }
}

impl TryCryptoRng for Generator<'_> {}

fn no_randomness(error: impl core::fmt::Display) -> ModuleError {
    ModuleError::module(format!("no randomness: {error}"))
}
