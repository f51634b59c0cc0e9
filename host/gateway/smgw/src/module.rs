// SPDX-License-Identifier: MIT OR Apache-2.0
//! The security module: opened and tested before anything else happens (TR-03109-2; catalogue rows
//! SEC-01, SEC-03). The only file that knows which back-end it is.

use std::sync::Arc;
use std::time::Duration;

use hsm_api::guarded::{Deadlines, Limits};
use hsm_api::traced::{LogSink, Recorder};
use hsm_api::{KeyId, ModuleError, Operation, PublicKey, SecurityModule};
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

/// The module as the gateway uses it.
#[derive(Debug)]
pub struct Secure {
    /// Answers within the limits or fails, and has its results checked.
    pub module: Arc<dyn SecurityModule>,
    /// Key and certificate of the gateway.
    pub identity: Identity,
    /// What ran in the module how often.
    pub trace: Arc<Recorder>,
}

/// Opens the module, tests it, and checks that it holds the certificate's key.
///
/// # Errors
/// [`ModuleUnusable`]; then no interface may be opened.
pub fn open(config: &config::SecurityModule, defects: Defects) -> Result<Secure, ModuleUnusable> {
    let bare = config.place.open(&config.pin, None)?;
    let identity = Identity {
        key: KeyId(config.key.clone()),
        chain: config.chain.clone(),
    };
    let mut secure = secure(bare, &config.place.to_string(), config.timeout, identity)?;
    secure.module = with_defects(secure.module, defects);
    Ok(secure)
}

/// Puts deadlines, checks and a trace in front of a module, and tests it.
///
/// # Errors
/// As [`open`].
pub fn secure(
    bare: Arc<dyn SecurityModule>,
    place: &str,
    timeout: Duration,
    identity: Identity,
) -> Result<Secure, ModuleUnusable> {
    let trace = Arc::new(Recorder::new(0));
    let usual = Deadlines::default();
    let deadlines = Deadlines::all(timeout).with(
        Operation::GenerateKey,
        usual.of(Operation::GenerateKey).max(timeout),
    );
    let limits = Limits {
        deadlines,
        ..Limits::default()
    };
    let module = hsm_open::protect(bare, place, Arc::new((LogSink, trace.clone())), limits)?;
    self_test(module.as_ref(), &identity)?;
    let name = module.capabilities().name;
    info!(module = name, place, key = %identity.key, "security module ready");
    Ok(Secure {
        module,
        identity,
        trace,
    })
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
