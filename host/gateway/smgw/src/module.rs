// SPDX-License-Identifier: MIT OR Apache-2.0
//! The security module: opened and tested before anything else happens (TR-03109-2; catalogue rows
//! SEC-01, SEC-03). The only file that knows which back-end it is.

use std::sync::Arc;

use hsm_api::{KeyId, ModuleError, PublicKey, SecurityModule};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_tls::Identity;
use rustls::server::ParsedCertificate;
use thiserror::Error;
use tracing::info;

use crate::config;
use crate::defects::Defects;

/// Why the gateway may not work: without its module it stops safely.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModuleUnusable {
    /// The PIN is not where the configuration says.
    #[error("cannot read the PIN from {place}: {why}")]
    Pin {
        /// Where it should be.
        place: String,
        /// Why it is not there.
        why: String,
    },
    /// The module is missing or failed.
    #[error("security module: {0}")]
    Module(#[from] ModuleError),
    /// The module answered, but wrongly.
    #[error("security module: self-test failed: {0}")]
    SelfTest(&'static str),
    /// The certificate cannot be used.
    #[error("the gateway's certificate cannot be read: {0}")]
    Certificate(String),
    /// The certificate belongs to another key.
    #[error("the gateway's certificate does not belong to key \"{0}\" of the security module")]
    OtherKey(KeyId),
}

/// Opens the module, tests it, and checks that it holds the certificate's key.
///
/// # Errors
/// [`ModuleUnusable`]; then no interface may be opened.
pub fn open(
    config: &config::SecurityModule,
    defects: Defects,
) -> Result<(Arc<dyn SecurityModule>, Identity), ModuleUnusable> {
    let module: Arc<dyn SecurityModule> = Arc::new(Pkcs11Module::open(Pkcs11Config::new(
        &config.module,
        TokenSelector::Label(config.token_label.clone()),
        pin(&config.pin)?,
    ))?);
    let identity = Identity {
        key: KeyId(config.key.clone()),
        chain: config.chain.clone(),
    };
    self_test(module.as_ref(), &identity)?;
    info!(module = module.capabilities().name, key = %identity.key, "security module ready");
    Ok((with_defects(module, defects), identity))
}

fn pin(place: &config::Pin) -> Result<Pin, ModuleUnusable> {
    match place {
        config::Pin::File(path) => Pin::read_file(path).map_err(|error| ModuleUnusable::Pin {
            place: path.display().to_string(),
            why: error.to_string(),
        }),
        config::Pin::Env(name) => {
            std::env::var(name)
                .map(Pin::new)
                .map_err(|error| ModuleUnusable::Pin {
                    place: format!("environment variable {name}"),
                    why: error.to_string(),
                })
        }
    }
}

/// Randomness, signature and verification, and whose key it is.
fn self_test(module: &dyn SecurityModule, identity: &Identity) -> Result<(), ModuleUnusable> {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    module.random(&mut first)?;
    module.random(&mut second)?;
    if first == second {
        return Err(ModuleUnusable::SelfTest("randomness repeats"));
    }
    let held = module.public_key(&identity.key)?;
    if certified_key(identity)? != held {
        return Err(ModuleUnusable::OtherKey(identity.key.clone()));
    }
    // Any 32 bytes serve as a digest.
    let signature = module.sign_digest(&identity.key, &first)?;
    if !module.verify_digest(&held, &first, &signature)? {
        return Err(ModuleUnusable::SelfTest(
            "its own signature does not verify",
        ));
    }
    if module.verify_digest(&held, &second, &signature)? {
        return Err(ModuleUnusable::SelfTest(
            "a signature of something else verifies",
        ));
    }
    Ok(())
}

fn certified_key(identity: &Identity) -> Result<PublicKey, ModuleUnusable> {
    let unreadable = |why: &str| ModuleUnusable::Certificate(why.into());
    let leaf = identity
        .chain
        .first()
        .ok_or_else(|| unreadable("there is none"))?;
    let parsed =
        ParsedCertificate::try_from(leaf).map_err(|error| unreadable(&error.to_string()))?;
    PublicKey::from_spki_der(&parsed.subject_public_key_info())
        .ok_or_else(|| unreadable("its key lies on no curve of TR-03116-3"))
}

#[cfg(not(feature = "defects"))]
fn with_defects(module: Arc<dyn SecurityModule>, _defects: Defects) -> Arc<dyn SecurityModule> {
    module
}

/// Seeded defect SEC-01.
#[cfg(feature = "defects")]
fn with_defects(module: Arc<dyn SecurityModule>, defects: Defects) -> Arc<dyn SecurityModule> {
    if !defects.has(crate::defects::Defect::SoftEcdhe) {
        return module;
    }
    let soft = Arc::new(hsm_soft::SoftModule::new());
    Arc::new(crate::defects::SoftEcdhe { hsm: module, soft })
}
