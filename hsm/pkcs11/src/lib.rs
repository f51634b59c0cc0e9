// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end over PKCS#11 (OASIS PKCS#11 v2.40), for real tokens and for SoftHSM2.
//!
//! Private keys are made with `CKA_SENSITIVE` and without `CKA_EXTRACTABLE`, so they never leave the token
//! (TR-03116-3 §2.4). What tokens do differently is data in [`PointEncoding`], not branches in the code.
//!
//! ```no_run
//! use hsm_api::SecurityModule;
//! use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
//!
//! let module = Pkcs11Module::open(Pkcs11Config {
//!     module: "/usr/lib/softhsm/libsofthsm2.so".into(),
//!     token: TokenSelector::Label("smgw".into()),
//!     pin: Pin::new("1234567890"),
//!     sessions: 4,
//! })?;
//! println!("{}", module.capabilities().name);
//! # Ok::<(), hsm_api::ModuleError>(())
//! ```

mod config;
mod failure;
mod library;
mod module;
mod point;
mod pool;
pub mod softhsm;
mod storage;

pub use config::{Pkcs11Config, TokenSelector};
pub use hsm_api::Pin;
pub use library::{TokenInfo, tokens};
pub use module::Pkcs11Module;
pub use point::PointEncoding;
