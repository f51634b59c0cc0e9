// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a module stores beside private keys, and in which phase of its life it is (TR-03109-2 life cycle, file system).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::{Curve, KeyId, KeyUsage, ModuleError, Reason};

/// A persistent key pair as a listing shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyInfo {
    /// Its name.
    pub key: KeyId,
    /// The curve it lies on.
    pub curve: Curve,
    /// What it may be used for.
    pub usage: KeyUsage,
}

/// What an object holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ObjectKind {
    /// One DER certificate.
    Certificate,
    /// Anything else.
    Data,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Data => "data object",
        })
    }
}

/// Name of an object: what it holds and how it is called. A certificate is named like the key it belongs to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectId {
    /// What it holds.
    pub kind: ObjectKind,
    /// The PKCS#11 label, or the name the card's profile gives an elementary file.
    pub name: String,
}

impl ObjectId {
    /// The certificate of a key.
    pub fn certificate(name: impl Into<String>) -> Self {
        Self {
            kind: ObjectKind::Certificate,
            name: name.into(),
        }
    }

    /// A data object.
    pub fn data(name: impl Into<String>) -> Self {
        Self {
            kind: ObjectKind::Data,
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The phases of a module's life (TR-03109-2, life-cycle model). Phases are only left forwards.
///
/// The order of the phases is that of the published table of contents; the names in English are ours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LifeCycle {
    /// Made, still with its transport PIN.
    Production,
    /// Built into a gateway, which now knows the PIN; holds the seal-of-approval keys.
    Integration,
    /// On site, reachable for the gateway administrator.
    Installation,
    /// Receiving its operational keys and certificates.
    Personalisation,
    /// In use; key generation wants the administrator's external authentication.
    Operation,
    /// Out of use for ever: every use of a private key is refused. Randomness, verification and what is public stay.
    Decommissioned,
}

impl LifeCycle {
    /// All phases in order.
    pub const ALL: [Self; 6] = [
        Self::Production,
        Self::Integration,
        Self::Installation,
        Self::Personalisation,
        Self::Operation,
        Self::Decommissioned,
    ];

    /// The phase's name, as commands and files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Integration => "integration",
            Self::Installation => "installation",
            Self::Personalisation => "personalisation",
            Self::Operation => "operation",
            Self::Decommissioned => "decommissioned",
        }
    }
}

impl LifeCycle {
    /// Refuses the way back; for implementations of [`crate::SecurityModule::enter_phase`].
    ///
    /// # Errors
    /// [`Reason::WrongPhase`] when `next` is an earlier phase.
    pub fn require_forward(self, next: Self) -> Result<(), ModuleError> {
        if next >= self {
            Ok(())
        } else {
            Err(ModuleError::caller(format!(
                "the module is in phase {self}, and no way leads back to {next}"
            ))
            .because(Reason::WrongPhase))
        }
    }

    /// Refuses private keys after the end of the module's life; for implementations of [`crate::SecurityModule`],
    /// in whatever makes a key, signs or agrees.
    ///
    /// # Errors
    /// [`Reason::WrongPhase`] when the module is decommissioned.
    pub fn require_usable_keys(self) -> Result<(), ModuleError> {
        if self == Self::Decommissioned {
            Err(ModuleError::caller(
                "the module is decommissioned, and its private keys are out of use for ever",
            )
            .because(Reason::WrongPhase))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LifeCycle {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.name() == text)
            .ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

/// No phase has this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" is no life-cycle phase; there are production, integration, installation, personalisation, operation and decommissioned"
)]
pub struct UnknownPhase(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_ordered_and_spell_themselves() {
        assert!(LifeCycle::ALL.is_sorted());
        for phase in LifeCycle::ALL {
            assert_eq!(phase.to_string().parse(), Ok(phase));
            assert!(
                UnknownPhase(String::new())
                    .to_string()
                    .contains(phase.name())
            );
        }
        assert!("retired".parse::<LifeCycle>().is_err());
    }
}
