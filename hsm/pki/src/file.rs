// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates as PEM text and files (RFC 7468 §5), and their fingerprints.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use der::pem::LineEnding;
use der::{Decode, Encode};
use hsm_api::PublicKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::PkiError;

/// The PEM text of a certificate, lines of 64 characters, ending with a line feed.
pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    // Base64 of anything can be written; the encoder fails on an invalid label only, and ours is constant.
    der::pem::encode_string(LABEL, LineEnding::LF, certificate).unwrap_or_default()
}

/// Reads exactly one certificate from PEM text; text around it is allowed, as `openssl x509 -text` writes it.
///
/// # Errors
/// [`PkiError::Pem`] when there is none, more than one, or it is no X.509 certificate.
pub fn from_pem(text: &str) -> Result<CertificateDer<'static>, PkiError> {
    parse(text.as_bytes(), "text")
}

/// Reads a file with exactly one PEM certificate, of at most 64 KiB.
///
/// # Errors
/// [`PkiError::File`] when it cannot be read, [`PkiError::Pem`] as for [`from_pem`]; both name the file.
pub fn read_pem_file(path: &Path) -> Result<CertificateDer<'static>, PkiError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
        .map_err(|source| PkiError::File {
            path: path.display().to_string(),
            source,
        })?;
    let origin = path.display().to_string();
    if content.len() as u64 > MAX_FILE {
        return Err(PkiError::Pem {
            origin,
            what: "longer than 64 KiB".into(),
        });
    }
    parse(&content, &origin)
}

/// SHA-256 over the DER certificate; displayed as 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The fingerprint of a certificate.
pub fn fingerprint_sha256(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

/// The public key a certificate certifies: a named curve of [`hsm_api::Curve`] and an uncompressed point.
///
/// # Errors
/// [`PkiError::Pem`] when it is no certificate or holds another kind of key.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, PkiError> {
    let wrong = |what: &str| PkiError::Pem {
        origin: "certificate".to_owned(),
        what: what.to_owned(),
    };
    let parsed = x509_cert::Certificate::from_der(certificate)
        .map_err(|error| wrong(&format!("no certificate: {error}")))?;
    let spki = parsed.tbs_certificate().subject_public_key_info();
    let der = spki.to_der().map_err(|error| wrong(&error.to_string()))?;
    PublicKey::from_spki_der(&der).ok_or_else(|| wrong("its key is on no curve of TR-03116-3"))
}

const LABEL: &str = "CERTIFICATE";
const MAX_FILE: u64 = 64 * 1024;

fn parse(text: &[u8], origin: &str) -> Result<CertificateDer<'static>, PkiError> {
    let wrong = |what: String| PkiError::Pem {
        origin: origin.to_owned(),
        what,
    };
    let mut found = CertificateDer::pem_slice_iter(text);
    let certificate = match found.next() {
        Some(Ok(certificate)) => certificate,
        Some(Err(error)) => return Err(wrong(format!("broken PEM: {error}"))),
        None => return Err(wrong("no PEM certificate in it".into())),
    };
    if found.next().is_some() {
        return Err(wrong(
            "more than one certificate, where the end-entity certificate alone belongs".into(),
        ));
    }
    x509_cert::Certificate::from_der(&certificate)
        .map_err(|error| wrong(format!("not an X.509 certificate: {error}")))?;
    Ok(certificate)
}
