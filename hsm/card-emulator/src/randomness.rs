// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a card's random bytes come from.

use std::io;

use crate::dice::Dice;

/// A source of random bytes.
pub trait Random: Send {
    /// Fills `out`.
    ///
    /// # Errors
    /// When there are none; the card then answers 6F00.
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Random for System {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        getrandom::fill(out).map_err(io::Error::other)
    }
}

/// Chance that repeats with its seed, for tests that must repeat.
impl Random for Dice {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        out.fill_with(|| self.roll().to_be_bytes()[0]);
        Ok(())
    }
}
