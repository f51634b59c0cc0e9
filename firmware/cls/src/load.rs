// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings out of the board's flash partition.

use alloc::vec;
use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use smgw_cls::settings::{MAX_LEN, Settings, SettingsError};
use smgw_flash_store::Store;
use zeroize::Zeroizing;

/// Why a board has no settings to start with; the bench, which writes them, is at fault, or the flash is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoSettings {
    /// Nobody has written any.
    Empty,
    /// The flash cannot be read.
    Flash,
    /// They are not what this firmware understands.
    Settings(SettingsError),
}

impl fmt::Display for NoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the board has no settings"),
            Self::Flash => f.write_str("the settings' flash cannot be read"),
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NoSettings {}

/// Reads the settings from a partition of that many slots.
///
/// # Errors
/// [`NoSettings`].
pub fn load(flash: impl NorFlash, slots: u32) -> Result<Settings, NoSettings> {
    let mut store = Store::open(flash, slots).map_err(|_| NoSettings::Flash)?;
    // It holds the private key.
    let mut buffer = Zeroizing::new(vec![0; MAX_LEN]);
    match store.read(&mut buffer) {
        Ok(Some(octets)) => Settings::decode(octets).map_err(NoSettings::Settings),
        Ok(None) => Err(NoSettings::Empty),
        Err(_) => Err(NoSettings::Flash),
    }
}
