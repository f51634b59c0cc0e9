// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test certificates for HAN, LMN and WAN partners, and their deliberately bad variants (TR-03116-3 §5, §6.3).
//!
//! Certificates are signed through the [`hsm_api::SecurityModule`], so their keys never leave it:
//!
//! ```
//! use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
//! use hsm_pki::{CertificateRequest, fingerprint_sha256, self_signed, to_pem};
//!
//! let module = hsm_soft::SoftModule::new();
//! let key = KeyId::from("emt-tls");
//! module.generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)?;
//! let certificate = self_signed(&module, &key, &CertificateRequest::new("emt.example").with_dns_name("emt.example"))?;
//! println!("{}\n{}", fingerprint_sha256(&certificate), to_pem(&certificate));
//! # Ok::<(), hsm_pki::PkiError>(())
//! ```
//!
//! Two bad variants: an expired certificate ([`CertificateRequest::expired`]), and an impostor, which is the same
//! request signed with another key.
//!
//! A whole smart metering PKI, with its revocation lists and bad certificates for every reason there is, comes from
//! [`TestPki`]; [`Flaw`] lists the reasons. [`lint`] holds certificates of any origin against the profiles of the PKI,
//! and [`Package`] reads requests for certificates.

mod ber;
mod crl;
mod draft;
mod factory;
mod file;
mod flaw;
mod lint;
mod name;
mod oid;
mod package;
mod profile;
mod request;
mod self_signed;
mod signing;
mod template;

use hsm_api::ModuleError;

pub use crl::{
    ROOT_LIST_LIFETIME, ReadList, RevocationList, RevocationReason, SUB_CA_LIST_LIFETIME,
};
pub use draft::Contact;
pub use factory::{Issued, Partner, Setting, TestPki, Triple, key_name};
pub use file::{Fingerprint, fingerprint_sha256, from_pem, public_key, read_pem_file, to_pem};
pub use flaw::{Alert, Flaw};
pub use lint::{Expectation, Finding, RULES, Report, Rule, Severity, lint};
pub use package::{
    Package, PackageError, PackageSignature, RequestedKey, authorize_package, request_package,
    sign_package,
};
pub use profile::{Confidence, Generation, LIFETIMES, Lifetime, Profile, Purpose, Role};
pub use request::CertificateRequest;
pub use self_signed::self_signed;

/// A certificate that cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The module failed, or has no such key.
    #[error("the security module failed: {0}")]
    Module(#[from] ModuleError),
    /// The request asks for what a certificate cannot say.
    #[error("no certificate can be made: {0}")]
    Request(String),
    /// The file cannot be read.
    #[error("certificate file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text holds no certificate, or more than one.
    #[error("{origin}: {what}")]
    Pem {
        /// The file, or "text".
        origin: String,
        /// What is wrong with it.
        what: String,
    },
}

fn unencodable(error: der::Error) -> PkiError {
    PkiError::Request(error.to_string())
}
