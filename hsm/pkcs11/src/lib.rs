// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end over PKCS#11 (OASIS PKCS#11 v2.40), for real tokens and for SoftHSM2.
//!
//! Private keys are made with `CKA_SENSITIVE` and without `CKA_EXTRACTABLE`, so they never leave the token
//! (TR-03116-3 §2.4). What tokens do differently is data in [`Quirks`], not branches in the code. Calls block; a
//! token that is gone, or busy for longer than [`Pkcs11Config::lease_timeout`], answers with an error.
//!
//! ```no_run
//! use hsm_api::{PinSource, SecurityModule};
//! use hsm_pkcs11::{Pkcs11Config, Pkcs11Module, TokenSelector};
//!
//! let module = Pkcs11Module::open(Pkcs11Config::new(
//!     "/usr/lib/softhsm/libsofthsm2.so",
//!     TokenSelector::Label("smgw".into()),
//!     PinSource::Env("SMGW_PIN".into()),
//! ))?;
//! println!("{}", module.capabilities().name);
//! # Ok::<(), hsm_api::ModuleError>(())
//! ```

mod backoff;
mod config;
mod failure;
mod keys;
mod library;
mod link;
mod module;
mod point;
mod quirks;
pub mod softhsm;
pub mod spy;
mod storage;

pub use config::{Pkcs11Config, TokenSelector};
pub use hsm_api::Pin;
pub use library::{TokenInfo, tokens};
pub use module::Pkcs11Module;
pub use quirks::{PointEncoding, Quirks};
