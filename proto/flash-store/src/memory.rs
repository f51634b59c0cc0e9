// SPDX-License-Identifier: MIT OR Apache-2.0
//! NOR flash in memory: for partition images made on a host, and for tests that cut the power.

use std::vec::Vec;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};

/// Flash that is programmed in units of `WRITE` bytes and erased in sectors of `ERASE` bytes.
///
/// Programming clears bits and never sets one; a unit that is programmed twice between erasures is an error, as flash with
/// error correction cannot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Memory<const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    /// By unit.
    programmed: Vec<bool>,
    operations: u64,
    cut: Option<Cut>,
}

/// When the power fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// Operations (a unit programmed, a sector erased) that still succeed.
    pub after: u64,
    /// What becomes of the operation after them.
    pub torn: Torn,
}

/// How far the operation came in which the power failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Torn {
    /// Nothing happened.
    Before,
    /// So many bytes are done, the others are as before.
    Bytes(usize),
    /// Each bit that had to change did so or not, by the bits that grow out of this seed.
    Bits(u64),
}

/// Why the flash refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MemoryError {
    /// The address is no multiple of the unit, or outside.
    Address(NorFlashErrorKind),
    /// A unit would be programmed a second time.
    ProgrammedTwice {
        /// Where it begins.
        address: u32,
    },
    /// There is no power.
    PowerCut,
}

impl NorFlashError for MemoryError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Address(kind) => *kind,
            Self::ProgrammedTwice { .. } | Self::PowerCut => NorFlashErrorKind::Other,
        }
    }
}

impl<const WRITE: usize, const ERASE: usize> Memory<WRITE, ERASE> {
    /// Erased flash of so many sectors.
    pub fn erased(sectors: usize) -> Self {
        Self::holding(std::vec![0xFF; sectors * ERASE])
    }

    /// Flash with this content, which may come from anywhere; bytes beyond the last whole sector are left out.
    pub fn holding(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.len() / ERASE * ERASE);
        let programmed = bytes
            .chunks(WRITE)
            .map(|unit| unit.iter().any(|byte| *byte != 0xFF))
            .collect();
        Self {
            bytes,
            programmed,
            operations: 0,
            cut: None,
        }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Units programmed and sectors erased so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Lets the power fail after so many further operations.
    pub fn cut_power(&mut self, cut: Cut) {
        self.cut = Some(Cut {
            after: self.operations + cut.after,
            ..cut
        });
    }

    /// Gives power again.
    pub fn restore_power(&mut self) {
        self.cut = None;
    }

    /// Changes the bytes from `at` on to `wanted`, as far as the power lasts.
    fn change(&mut self, at: usize, wanted: &[u8]) -> Result<(), MemoryError> {
        let bytes = &mut self.bytes[at..at + wanted.len()];
        if let Some(cut) = self.cut.filter(|cut| self.operations >= cut.after) {
            // The torn operation is the last: nothing works until power is back.
            if self.operations == cut.after {
                self.operations += 1;
                tear(bytes, wanted, cut.torn);
            }
            return Err(MemoryError::PowerCut);
        }
        self.operations += 1;
        bytes.copy_from_slice(wanted);
        Ok(())
    }
}

fn tear(bytes: &mut [u8], wanted: &[u8], torn: Torn) {
    let mut state = match torn {
        Torn::Before => return,
        Torn::Bytes(done) => {
            let done = done.min(bytes.len());
            bytes[..done].copy_from_slice(&wanted[..done]);
            return;
        }
        Torn::Bits(seed) => seed,
    };
    for (byte, wanted) in bytes.iter_mut().zip(wanted) {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let changes = ((mixed ^ (mixed >> 31)) & 0xFF) as u8;
        *byte ^= (*byte ^ wanted) & changes;
    }
}

impl<const WRITE: usize, const ERASE: usize> ErrorType for Memory<WRITE, ERASE> {
    type Error = MemoryError;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for Memory<WRITE, ERASE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let start = offset as usize;
        let outside = MemoryError::Address(NorFlashErrorKind::OutOfBounds);
        let part = self
            .bytes
            .get(start..)
            .and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(outside)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for Memory<WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), MemoryError> {
        check_erase(self, from, to).map_err(MemoryError::Address)?;
        for at in (from as usize..to as usize).step_by(ERASE) {
            self.change(at, &[0xFF; ERASE])?;
            self.programmed[at / WRITE..(at + ERASE) / WRITE].fill(false);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemoryError> {
        check_write(self, offset, bytes.len()).map_err(MemoryError::Address)?;
        for (at, unit) in (offset as usize..).step_by(WRITE).zip(bytes.chunks(WRITE)) {
            if core::mem::replace(&mut self.programmed[at / WRITE], true) {
                let address = at as u32;
                return Err(MemoryError::ProgrammedTwice { address });
            }
            let mut cleared = [0xFF; WRITE];
            for (bit, (byte, held)) in cleared.iter_mut().zip(unit.iter().zip(&self.bytes[at..])) {
                *bit = byte & held;
            }
            self.change(at, &cleared)?;
        }
        Ok(())
    }
}
