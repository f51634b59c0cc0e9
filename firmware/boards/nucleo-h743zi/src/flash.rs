// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings partition: the last two sectors (128 KiB each) of flash bank 2, so that the image in bank 1 runs while they
//! are erased.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write,
};
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};
use stm32h7xx_hal::flash::{LockedFlashBank, UnlockedFlashBank};

/// Slots into which the settings' store divides the partition: one sector each.
pub const SETTINGS_SLOTS: u32 = 2;

const SECTOR: usize = UnlockedFlashBank::ERASE_SIZE;

/// Where the partition begins in its bank of 1 MiB.
const START: u32 = 0x10_0000 - 2 * SECTOR as u32;

/// The settings partition.
pub struct Flash(pub(crate) LockedFlashBank);

/// The partition's flash refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlashError(NorFlashErrorKind);

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

fn failed(error: impl NorFlashError) -> FlashError {
    FlashError(error.kind())
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len()).map_err(FlashError)?;
        self.0.read(START + offset, bytes).map_err(failed)
    }

    fn capacity(&self) -> usize {
        2 * SECTOR
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = UnlockedFlashBank::WRITE_SIZE;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError)?;
        self.0
            .unlocked()
            .erase(START + from, START + to)
            .map_err(failed)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError)?;
        self.0
            .unlocked()
            .write(START + offset, bytes)
            .map_err(failed)
    }
}
