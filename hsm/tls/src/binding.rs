// SPDX-License-Identifier: MIT OR Apache-2.0
//! A security module as the parts of a rustls `CryptoProvider`: randomness, ECDHE groups, verification.
//!
//! rustls 0.23 wants these parts to live for ever. Each module therefore gets one small binding that is never freed;
//! it holds the module weakly, so that the module itself closes when the last configuration is gone.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;

use hsm_api::lock::Lock;
use hsm_api::{EphemeralKey, Fault, ModuleError, SecurityModule};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret,
    SupportedKxGroup, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

use crate::TlsConfigError;
use crate::profile::{GROUPS, Group, TlsProfile};
use crate::verification::verification;

/// A provider that has only what the profile allows and does its key work in the module.
///
/// The provider does not keep the module alive; configurations of this crate do. Calls after the module is gone
/// fail.
///
/// # Errors
/// [`TlsConfigError::EmptyProfile`] when the profile was narrowed to nothing, [`TlsConfigError::Module`] when the
/// module lacks a curve of it.
pub fn provider(
    module: &Arc<dyn SecurityModule>,
    profile: &TlsProfile,
) -> Result<CryptoProvider, TlsConfigError> {
    if profile.versions().is_empty() {
        return Err(TlsConfigError::EmptyProfile(profile.name()));
    }
    let curves = module.capabilities().curves;
    if let Some(group) = profile
        .supported_groups()
        .find(|group| !curves.contains(&group.curve))
    {
        let what = format!(
            "the security module lacks {}, which profile {} needs",
            group.curve,
            profile.name()
        );
        return Err(ModuleError::caller(what).into());
    }
    let binding = Binding::of(module);
    let kx_groups = profile
        .supported_groups()
        .filter_map(|wanted| {
            binding
                .groups
                .iter()
                .find(|bound| bound.group.id == wanted.id)
        })
        .map(|bound| bound as &'static dyn SupportedKxGroup)
        .collect();
    Ok(CryptoProvider {
        cipher_suites: profile.supported_suites(),
        kx_groups,
        signature_verification_algorithms: binding.verification,
        secure_random: binding,
        key_provider: &NoLooseKeys,
    })
}

/// What rustls needs of one module, for ever.
struct Binding {
    module: Weak<dyn SecurityModule>,
    groups: Vec<BoundGroup>,
    verification: WebPkiSupportedAlgorithms,
}

impl Binding {
    /// The module's binding, made at its first use.
    fn of(module: &Arc<dyn SecurityModule>) -> &'static Self {
        static BINDINGS: Lock<Vec<&'static Binding>> = Lock::new(Vec::new());
        let mut bindings = BINDINGS.lock();
        let weak = Arc::downgrade(module);
        // The weak reference keeps the address of a closed module from being used again, so addresses identify.
        let address = |weak: &Weak<dyn SecurityModule>| weak.as_ptr().cast::<()>();
        if let Some(known) = bindings
            .iter()
            .find(|known| address(&known.module) == address(&weak))
        {
            return known;
        }
        let groups = GROUPS
            .iter()
            .map(|group| BoundGroup {
                module: weak.clone(),
                group,
            })
            .collect();
        let verification = verification(&weak);
        let binding: &'static Self = Box::leak(Box::new(Self {
            module: weak,
            groups,
            verification,
        }));
        bindings.push(binding);
        binding
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(..)")
    }
}

impl SecureRandom for Binding {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        let filled = alive(&self.module).and_then(|module| module.random(out));
        filled.map_err(|error| {
            swallowed("no random bytes for TLS", &error);
            GetRandomFailed
        })
    }
}

struct BoundGroup {
    module: Weak<dyn SecurityModule>,
    group: &'static Group,
}

impl fmt::Debug for BoundGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundGroup({})", self.group.id)
    }
}

impl SupportedKxGroup for BoundGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let key = alive(&self.module)
            .and_then(|module| module.ephemeral_key(self.group.curve))
            .map_err(|error| {
                Error::General(format!(
                    "the security module makes no ephemeral key: {error}"
                ))
            })?;
        Ok(Box::new(Exchange {
            key,
            group: self.group,
        }))
    }

    fn name(&self) -> NamedGroup {
        self.group.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.group.versions.contains(&version)
    }
}

struct Exchange {
    key: Box<dyn EphemeralKey>,
    group: &'static Group,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        match self.key.agree(peer) {
            Ok(secret) => Ok(SharedSecret::from(secret.0.as_slice())),
            Err(error) if error.fault() == Fault::Caller => {
                Err(PeerMisbehaved::InvalidKeyShare.into())
            }
            Err(error) => Err(Error::General(format!(
                "the security module does not agree: {error}"
            ))),
        }
    }

    fn pub_key(&self) -> &[u8] {
        &self.key.public_key().point
    }

    fn group(&self) -> NamedGroup {
        self.group.name()
    }
}

/// Private keys exist in the module only.
#[derive(Debug)]
struct NoLooseKeys;

impl KeyProvider for NoLooseKeys {
    fn load_private_key(&self, _key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General(
            "private keys stay in the security module and are not loaded".into(),
        ))
    }
}

/// Tells of an error that rustls has no room for.
pub(crate) fn swallowed(what: &str, error: &ModuleError) {
    #[cfg(feature = "std")]
    tracing::warn!(%error, "{what}");
    #[cfg(not(feature = "std"))]
    let _ = (what, error);
}

pub(crate) fn alive(
    module: &Weak<dyn SecurityModule>,
) -> Result<Arc<dyn SecurityModule>, ModuleError> {
    module
        .upgrade()
        .ok_or_else(|| ModuleError::transport("the security module is closed"))
}
