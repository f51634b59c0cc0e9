// SPDX-License-Identifier: MIT OR Apache-2.0
//! PKCS#11 libraries of this process: loaded once, initialised while somebody uses them, and their tokens.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;
use hsm_api::{ModuleError, Reason};

use crate::failure::Failure;

/// One token that a library offers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenInfo {
    /// Slot number; it may change whenever tokens come and go.
    pub slot: u64,
    /// Label given at initialisation.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Version of its firmware.
    pub firmware: String,
}

/// Lists the initialised tokens of a PKCS#11 library; needs no PIN.
///
/// # Errors
/// [`hsm_api::Fault::Transport`] when the library is missing or does not start.
pub fn tokens(module: &Path) -> Result<Vec<TokenInfo>, ModuleError> {
    let library = Library::acquire(module)?;
    Ok(library
        .tokens()?
        .into_iter()
        .map(|(_, info)| info)
        .collect())
}

/// A share in an initialised library. The last share calls `C_Finalize`; the library itself stays loaded,
/// because unloading one under its own threads and exit handlers is not safe.
pub(crate) struct Library {
    path: PathBuf,
    context: Pkcs11,
}

struct Loaded {
    context: Pkcs11,
    users: usize,
    /// Somebody else in this process initialised the library, so it is theirs to finalise.
    foreign: bool,
}

impl Loaded {
    fn initialize(&mut self, path: &Path) -> Result<(), ModuleError> {
        let flags = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        self.foreign = match self.context.initialize(flags) {
            Ok(()) => false,
            // Ours to finalise as before, if it was ours and only meant to be started again.
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                self.foreign || self.users == 0
            }
            Err(error) => {
                return Err(ModuleError::transport(format!(
                    "{} does not start: {error}",
                    path.display()
                ))
                .because(Reason::Gone));
            }
        };
        Ok(())
    }
}

impl Library {
    pub(crate) fn acquire(module: &Path) -> Result<Self, ModuleError> {
        let path = module.canonicalize().map_err(|error| {
            ModuleError::transport(format!(
                "PKCS#11 library {}: {error}; {}",
                module.display(),
                installed_libraries()
            ))
        })?;
        // Held to the end: C_Initialize and C_Finalize must never overlap.
        let mut registry = registry();
        if !registry.contains_key(&path) {
            let context = Pkcs11::new(&path).map_err(|error| {
                ModuleError::transport(format!(
                    "{} is not a PKCS#11 library: {error}",
                    path.display()
                ))
            })?;
            let loaded = Loaded {
                context,
                users: 0,
                foreign: false,
            };
            registry.insert(path.clone(), loaded);
        }
        let loaded = registry
            .get_mut(&path)
            .ok_or_else(|| ModuleError::transport("the library registry is broken"))?;
        if loaded.users == 0 {
            loaded.initialize(&path)?;
        }
        loaded.users += 1;
        Ok(Self {
            context: loaded.context.clone(),
            path,
        })
    }

    /// Starts the library again after somebody finalised it under us. With `anew` it is finalised first, unless
    /// somebody else in this process uses it: their sessions would be lost. No session of ours may be open.
    pub(crate) fn restart(&self, anew: bool) -> Result<(), ModuleError> {
        let mut registry = registry();
        let Some(loaded) = registry.get_mut(&self.path) else {
            return Err(ModuleError::transport("the library registry is broken"));
        };
        if anew
            && loaded.users == 1
            && !loaded.foreign
            && let Err(error) = loaded.context.clone().finalize()
        {
            tracing::debug!(library = %self.path.display(), %error, "PKCS#11 library does not finalise");
        }
        loaded.initialize(&self.path)
    }

    /// What the library says of itself; empty when it says nothing.
    pub(crate) fn version(&self) -> String {
        self.context.get_library_info().map_or_else(
            |_| String::new(),
            |info| format!("{} {}", info.library_description(), info.library_version()),
        )
    }

    pub(crate) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn tokens(&self) -> Result<Vec<(Slot, TokenInfo)>, ModuleError> {
        let list = || -> Result<_, Failure> {
            let mut found = Vec::new();
            for slot in self.context.get_slots_with_initialized_token()? {
                let token = self.context.get_token_info(slot)?;
                let info = TokenInfo {
                    slot: slot.id(),
                    label: token.label().to_owned(),
                    serial: token.serial_number().to_owned(),
                    manufacturer: token.manufacturer_id().to_owned(),
                    model: token.model().to_owned(),
                    firmware: token.firmware_version().to_string(),
                };
                found.push((slot, info));
            }
            Ok(found)
        };
        list().map_err(|failure| failure.explain("listing tokens"))
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Library").field(&self.path).finish()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let mut registry = registry();
        let Some(loaded) = registry.get_mut(&self.path) else {
            return;
        };
        loaded.users = loaded.users.saturating_sub(1);
        if loaded.users == 0
            && !loaded.foreign
            && let Err(error) = loaded.context.clone().finalize()
        {
            tracing::warn!(library = %self.path.display(), %error, "PKCS#11 library does not finalise");
        }
    }
}

/// C_Initialize counts per process and library, hence a process-wide table keyed by the canonical path.
fn registry() -> MutexGuard<'static, HashMap<PathBuf, Loaded>> {
    static LIBRARIES: OnceLock<Mutex<HashMap<PathBuf, Loaded>>> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Mutex::default);
    libraries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Libraries at the places where distributions put them, for error messages.
fn installed_libraries() -> String {
    let found: Vec<&str> = USUAL_PLACES
        .iter()
        .copied()
        .filter(|path| Path::new(path).exists())
        .collect();
    if found.is_empty() {
        "none is installed at the usual places".to_owned()
    } else {
        format!("installed are: {}", found.join(", "))
    }
}

const USUAL_PLACES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/pkcs11/opensc-pkcs11.so",
];
