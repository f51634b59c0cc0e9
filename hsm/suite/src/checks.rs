// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts what was checked and says what was broken.

use hsm_api::{Curve, Fault, KeyId, KeyUsage, ModuleError, PublicKey, Reason, SecurityModule};

use crate::Import;

/// Why a check did not pass.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The module answered otherwise than promised.
    #[error("{0}")]
    Broken(String),
    /// The module failed where nothing was asked of it that could fail.
    #[error("{doing}: {error}")]
    Failed {
        /// What it was doing.
        doing: String,
        /// What it said.
        error: ModuleError,
    },
}

/// So many checks that passed.
#[derive(Debug, Default)]
pub(crate) struct Checks(pub(crate) usize);

impl Checks {
    /// `promise` holds, or it is broken as `what` says.
    pub(crate) fn hold(&mut self, promise: bool, what: impl Into<String>) -> Result<(), Failure> {
        if promise {
            self.0 += 1;
            Ok(())
        } else {
            Err(Failure::Broken(what.into()))
        }
    }

    /// The module refused, and told why.
    pub(crate) fn refused<T>(
        &mut self,
        result: Result<T, ModuleError>,
        why: impl Into<Expected>,
        what: impl Into<String>,
    ) -> Result<(), Failure> {
        let what = what.into();
        let Err(error) = result else {
            return Err(Failure::Broken(format!("{what}: accepted")));
        };
        let (told, expected) = match why.into() {
            Expected::Fault(fault) => (error.fault() == fault, format!("{fault:?}")),
            Expected::Reason(reason) => (error.reason() == reason, format!("{reason:?}")),
        };
        let (fault, reason) = (error.fault(), error.reason());
        self.hold(
            told,
            format!("{what}: {expected} expected, and {fault:?}/{reason:?} told: {error}"),
        )
    }
}

/// How a refusal is to be told.
pub(crate) enum Expected {
    Fault(Fault),
    Reason(Reason),
}

impl From<Fault> for Expected {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Reason> for Expected {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// Says what the module was doing when it failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &str) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, ModuleError> {
    fn doing(self, doing: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Failed {
            doing: doing.to_owned(),
            error,
        })
    }
}

/// Keys that are gone afterwards, also after a failure; those that were there before are never touched.
pub(crate) struct Keys<'a> {
    module: &'a dyn SecurityModule,
    made: Vec<KeyId>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(module: &'a dyn SecurityModule) -> Self {
        Self {
            module,
            made: Vec::new(),
        }
    }

    pub(crate) fn generate(
        &mut self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, Failure> {
        let made = self.module.generate_key(key, curve, usage);
        let public = made.doing(&format!("make key {key} on {curve}"))?;
        self.made.push(key.clone());
        Ok(public)
    }

    pub(crate) fn import(
        &mut self,
        import: &dyn Import,
        key: &KeyId,
        usage: KeyUsage,
        (curve, scalar): (Curve, &[u8]),
    ) -> Result<PublicKey, Failure> {
        let taken = import.import_key(key, curve, usage, scalar);
        let public = taken.doing(&format!("take key {key} on {curve}"))?;
        self.made.push(key.clone());
        Ok(public)
    }

    pub(crate) fn remove_all(mut self) -> Result<(), Failure> {
        while let Some(key) = self.made.pop() {
            let removed = self.module.remove_key(&key);
            removed.doing(&format!("remove key {key}"))?;
        }
        Ok(())
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        for key in &self.made {
            // The failure that led here is told; a second one would hide it.
            let _ = self.module.remove_key(key);
        }
    }
}
