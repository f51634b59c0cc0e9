// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS by rustls whose keys, agreements, signatures and randomness stay in the security module (TR-03116-3).
//!
//! The split is that of TR-03109-1 detail specifications §13.4: the [`hsm_api::SecurityModule`] makes ephemeral keys and
//! agrees, signs, verifies and gives randomness; rustls hashes, derives keys and encrypts records, with *ring* or, see
//! [`TlsProfile::portable`], in Rust alone.
//! The provider is built from scratch, so that nothing which TR-03116-3 does not list can be negotiated.
//!
//! ```
//! use std::sync::Arc;
//!
//! use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
//! use hsm_pki::{CertificateRequest, self_signed};
//! use hsm_tls::{Identity, PinnedPeers, TlsProfile, client_config, server_config};
//!
//! let module: Arc<dyn SecurityModule> = Arc::new(hsm_soft::SoftModule::new());
//! let make = |name: &str| -> Result<Identity, hsm_pki::PkiError> {
//!     let key = KeyId::from(name);
//!     module.generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)?;
//!     let chain = vec![self_signed(&*module, &key, &CertificateRequest::new(name))?];
//!     Ok(Identity { key, chain })
//! };
//! let (gateway, consumer) = (make("gateway")?, make("consumer")?);
//! let (gateway_leaf, consumer_leaf) = (gateway.chain[0].clone(), consumer.chain[0].clone());
//! let server = server_config(Arc::clone(&module), &TlsProfile::smgw_han_server(), gateway, PinnedPeers::new([consumer_leaf]))?;
//! let client = client_config(module, &TlsProfile::han_client(), Some(consumer), PinnedPeers::new([gateway_leaf]))?;
//! # let _ = (server, client);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Blocking
//! The module works inside rustls's `process_new_packets`; a handshake takes a few of its operations. Software
//! tokens need milliseconds; a slow module must not be driven from an async thread.
//!
//! # Who is accepted
//! A [`PeerCheck`] decides: [`PinnedPeers`] for HAN and LMN, [`SmPki`] for the WAN. The alert that a refused peer gets is
//! rustls's for the reason given.
//!
//! # Session limits
//! [`SessionClock`] tells when a session has to end, [`Limited`] ends it. Every session is a full handshake unless a
//! [`ResumptionWindow`] allows more.
//!
//! # What is not there
//! * `encrypt_then_mac`, `signature_algorithms_cert` and `max_fragment_length` cannot be negotiated with rustls 0.23.
//!   TR-03116-3 demands the first of clients from 2025 on; it matters to CBC suites only, and these are not offered unless
//!   [`TlsProfile::with_cbc`] says so.
//! * Two alerts differ from RFC 5246: a TLS 1.2 client without certificate is refused with `certificate_required`, and a
//!   TLS 1.1 hello with `handshake_failure` when it lacks `signature_algorithms`. Both are fatal.
//!
//! # Without an operating system
//! Without feature `std` the crate serves devices: rustls without sockets (`UnbufferedClientConnection`), the same
//! profiles, no *ring*. [`PinnedPeers`] is the check there; [`client_config_at`] asks for the time.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod aead;
mod binding;
mod cbc;
#[cfg(feature = "std")]
mod certificate;
#[cfg(feature = "std")]
mod chain;
mod config;
mod pinned;
mod portable;
mod profile;
mod scheme;
#[cfg(feature = "std")]
mod session;
mod signer;
mod suites;
mod verification;
mod verifier;

pub use binding::provider;
#[cfg(feature = "std")]
pub use chain::{RevocationPolicy, SmPki, SmPkiRole};
pub use config::{Identity, TlsConfigError, client_config_at};
#[cfg(feature = "std")]
pub use config::{client_config, server_config};
pub use pinned::{NotPinned, PinnedPeers};
pub use profile::{Interface, TlsProfile};
#[cfg(feature = "std")]
pub use session::{Limited, ResumptionWindow, SessionClock, SessionOver};
pub use verifier::{PeerCertificates, PeerCheck, PeerSide};
