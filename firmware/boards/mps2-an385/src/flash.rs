// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings partition: PSRAM that behaves like NOR flash and outlives the emulator in a file of the host.

use core::ops::Range;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Where the CLS device keeps its settings.
pub const SETTINGS: Range<usize> = 0x2100_0000..0x2102_0000;

/// Slots into which the settings' store divides the partition: 16 KiB each.
pub const SETTINGS_SLOTS: u32 = 8;

/// Where the random generator keeps its seed.
pub(crate) const SEED: Range<usize> = 0x2102_0000..0x2102_2000;

/// What happens before each indivisible change of the flash; `()` lets them all pass at once.
pub trait Gate {
    /// Returns when the change may happen.
    fn pass(&mut self);
}

impl Gate for () {
    fn pass(&mut self) {}
}

/// A partition of the PSRAM: programming clears bits, a word at a time; erasing sets all bits of a sector.
#[derive(Debug)]
pub struct Flash<G = ()> {
    base: usize,
    bytes: usize,
    gate: G,
}

/// Parts in which a sector is erased, so that an interruption may leave it erased in part.
const ERASE_STEPS: usize = 4;

impl<G: Gate> Flash<G> {
    /// The partition at these addresses of the PSRAM.
    ///
    /// # Safety
    ///
    /// The addresses lie in the PSRAM, start and end on sectors, and nobody else uses them.
    pub(crate) unsafe fn at(addresses: Range<usize>, gate: G) -> Self {
        Self {
            base: addresses.start,
            bytes: addresses.len(),
            gate,
        }
    }

    /// The same partition with another gate.
    pub fn gated<H: Gate>(self, gate: H) -> Flash<H> {
        Flash {
            base: self.base,
            bytes: self.bytes,
            gate,
        }
    }

    fn word(&self, offset: usize) -> u32 {
        // SAFETY: offsets are checked to be words inside the partition, which is ours.
        unsafe { core::ptr::read_volatile((self.base + offset) as *const u32) }
    }

    fn set_word(&mut self, offset: usize, word: u32) {
        // SAFETY: offsets are checked to be words inside the partition, which is ours.
        unsafe { core::ptr::write_volatile((self.base + offset) as *mut u32, word) }
    }
}

impl<G> ErrorType for Flash<G> {
    type Error = NorFlashErrorKind;
}

impl<G: Gate> ReadNorFlash for Flash<G> {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        for (at, word) in (offset as usize..)
            .step_by(4)
            .zip(bytes.chunks_exact_mut(4))
        {
            word.copy_from_slice(&self.word(at).to_le_bytes());
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl<G: Gate> NorFlash for Flash<G> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let step = Self::ERASE_SIZE / ERASE_STEPS;
        for start in (from as usize..to as usize).step_by(step) {
            self.gate.pass();
            for at in (start..start + step).step_by(4) {
                self.set_word(at, u32::MAX);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (at, word) in (offset as usize..).step_by(4).zip(bytes.chunks_exact(4)) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            self.gate.pass();
            self.set_word(at, self.word(at) & word);
        }
        Ok(())
    }
}
