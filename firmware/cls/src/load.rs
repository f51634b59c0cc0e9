// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings out of the board's flash partition.

use alloc::vec;
use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use smgw_cls::defect::Defect;
use smgw_cls::settings::{MAX_LEN, Settings, SettingsError};
use smgw_flash_store::Store;
use zeroize::Zeroizing;

use crate::defects::Defects;

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

/// Reads the settings from a partition of that many slots, and which defect is in force.
///
/// # Errors
/// [`NoSettings`].
pub(crate) fn load(flash: impl NorFlash, slots: u32) -> Result<(Settings, Defects), NoSettings> {
    let mut store = Store::open(flash, slots).map_err(|_| NoSettings::Flash)?;
    // It holds the private key.
    let mut buffer = Zeroizing::new(vec![0; MAX_LEN]);
    match store.read(&mut buffer) {
        Ok(Some(octets)) => {
            let (defects, octets) = Defects::split(octets);
            let settings = Settings::decode(octets).map_err(NoSettings::Settings)?;
            if defects.has(Defect::ForgottenSettings) {
                forget(&mut store, &settings);
            }
            Ok((settings, defects))
        }
        Ok(None) => Err(NoSettings::Empty),
        Err(_) => Err(NoSettings::Flash),
    }
}

/// [`Defect::ForgottenSettings`]: the next start finds a fail-safe limit that limits nothing.
fn forget(store: &mut Store<impl NorFlash>, settings: &Settings) {
    let mut changed = settings.clone();
    changed.limits.failsafe_watts = changed.limits.nominal_watts;
    if let Ok(octets) = changed.encode() {
        let mut value = Zeroizing::new(octets.to_vec());
        value.push(Defect::ForgottenSettings.number());
        let _ = store.replace(&value);
    }
}
