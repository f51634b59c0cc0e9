// SPDX-License-Identifier: MIT OR Apache-2.0
//! One lock for both worlds: the operating system's where there is one, else one that spins.
//!
//! A device without an operating system must not use a module in interrupts: the lock would wait for what it interrupts.

/// Mutual exclusion for state that no operation leaves half changed, so that a panicking thread cannot damage it.
#[derive(Debug, Default)]
pub struct Lock<T>(Mutex<T>);

#[cfg(feature = "std")]
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(not(feature = "std"))]
use spin::{Mutex, MutexGuard};

impl<T> Lock<T> {
    /// The state, unlocked.
    pub const fn new(state: T) -> Self {
        Self(Mutex::new(state))
    }

    /// The state, once nobody else has it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(feature = "std")]
        return self.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(not(feature = "std"))]
        return self.0.lock();
    }
}
