// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signed export of a log book (catalogue row LOG-07; form in `docs/logs.md`, assumption `log-export`).
//!
//! Each part is a JSON document of at most 1000 entries, the security module's ECDSA signature over its bytes, and the
//! certificate to check it with.

use std::path::{Path, PathBuf};

use hsm_api::{Hash, ModuleError, SecurityModule, signature};
use hsm_tls::Identity;
use serde::Serialize;
use smgw_core::log::{Book, Record};
use smgw_units::{DeviceId, UtcNanos};
use thiserror::Error;

use crate::han::LogEntry;
use crate::store::{LogSelection, Store, StoreError};

/// Why there is no export.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The security module does not sign.
    #[error("security module: {0}")]
    Module(#[from] ModuleError),
    /// The security module's signature has no form.
    #[error("security module: its signature is none")]
    Signature,
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The document cannot be made.
    #[error("the export cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What to export; times are inclusive on both ends.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which book.
    pub book: Book,
    /// Not earlier than this.
    pub from: Option<UtcNanos>,
    /// Not later than this.
    pub to: Option<UtcNanos>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    schema: &'static str,
    gateway: &'a str,
    book: String,
    part: usize,
    parts: usize,
    entries: Vec<LogEntry>,
}

/// Writes the parts into `folder`, each with its signature; returns the documents in order. A range without entries makes
/// one part without entries: that, too, is signed.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    store: &Store,
    gateway: DeviceId,
    module: &dyn SecurityModule,
    identity: &Identity,
    wanted: &Wanted,
    folder: &Path,
) -> Result<Vec<PathBuf>, ExportError> {
    let selection = LogSelection {
        from: wanted.from,
        to: wanted.to,
        ..LogSelection::default()
    };
    let records = store.log(&wanted.book, selection)?;
    let mut parts: Vec<&[Record]> = records.chunks(MOST_ENTRIES).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let name = wanted.book.to_string().replace(':', "-");
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).map_err(|source| ExportError::Write {
            path: path.into(),
            source,
        })
    };
    if let Some(leaf) = identity.chain.first() {
        write(&folder.join(format!("{name}.der")), leaf)?;
    }
    let mut written = Vec::new();
    for (number, records) in parts.iter().enumerate() {
        let document = serde_json::to_vec(&Part {
            schema: SCHEMA,
            gateway: gateway.as_str(),
            book: wanted.book.to_string(),
            part: number + 1,
            parts: parts.len(),
            entries: records.iter().map(LogEntry::of).collect(),
        })?;
        let hash = Hash::of(module.public_key(&identity.key)?.curve);
        let plain = module.sign_digest(&identity.key, &hash.digest(&document))?;
        let signature = signature::der_from_plain(&plain).ok_or(ExportError::Signature)?;
        let path = folder.join(format!("{name}-{:04}.json", number + 1));
        write(&path, &document)?;
        write(&path.with_extension("sig"), &signature)?;
        written.push(path);
    }
    Ok(written)
}

const SCHEMA: &str = "smgw.log/1";
/// In one part.
const MOST_ENTRIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use hsm_api::{Curve, KeyId, KeyUsage};
    use hsm_pki::{CertificateRequest, self_signed};
    use smgw_core::log::{Event, EventKind, Logs, Stamp};
    use smgw_units::Nanos;

    use super::*;
    use crate::store::{Batch, Options};

    fn openssl(folder: &Path, arguments: &[&str]) -> bool {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder)
            .output();
        output.unwrap().status.success()
    }

    /// OpenSSL, which knows nothing of us, verifies every part, and no part with a changed byte.
    #[test]
    fn openssl_verifies_every_part() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let module = hsm_soft::SoftModule::new();
        let key = KeyId::from("gw");
        module
            .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
            .unwrap();
        let chain = vec![self_signed(&module, &key, &CertificateRequest::new("gw")).unwrap()];
        let identity = Identity { key, chain };
        let mut store = Store::open(&folder.join("store"), Options::default()).unwrap();
        let mut logs = Logs::resume([], Nanos(0));
        let log = (0..2_500_i64).flat_map(|second| {
            let now = Stamp {
                utc: UtcNanos::from_seconds(second),
                valid: true,
                monotonic: Nanos(second as u64 * 1_000_000_000),
            };
            logs.record(&Event::new(EventKind::TimeSet).with(second), now)
        });
        let batch = Batch {
            log: log
                .filter(|record| record.book == Book::Calibration)
                .collect(),
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
        let gateway = "esmb0012345678".parse().unwrap();
        let wanted = |from, to| Wanted {
            book: Book::Calibration,
            from: Some(UtcNanos::from_seconds(from)),
            to: Some(UtcNanos::from_seconds(to)),
        };
        let export = |wanted| export(&store, gateway, &module, &identity, &wanted, folder).unwrap();

        // Both ends count: 2001 entries.
        let parts = export(wanted(100, 2_100));
        assert_eq!(parts.len(), 3);
        assert!(openssl(
            folder,
            &[
                "x509",
                "-inform",
                "DER",
                "-in",
                "calibration.der",
                "-noout",
                "-pubkey",
                "-out",
                "key.pem"
            ]
        ));
        let verify = |document: &str, signature: &str| {
            openssl(
                folder,
                &[
                    "dgst",
                    "-sha256",
                    "-verify",
                    "key.pem",
                    "-signature",
                    signature,
                    document,
                ],
            )
        };
        let mut numbers = Vec::new();
        for path in &parts {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(verify(name, &name.replace("json", "sig")), "{name}");
            let document: serde_json::Value =
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let entries = document["entries"].as_array().unwrap();
            assert!(entries.len() <= 1_000);
            numbers.extend(
                entries
                    .iter()
                    .map(|entry| entry["recordNumber"].as_i64().unwrap()),
            );
        }
        assert!(numbers.into_iter().eq(101..=2_101));
        assert!(!verify("calibration-0001.json", "calibration-0002.sig"));
        let mut bytes = std::fs::read(&parts[0]).unwrap();
        bytes[500] ^= 1;
        std::fs::write(&parts[0], bytes).unwrap();
        assert!(!verify("calibration-0001.json", "calibration-0001.sig"));
        // Nothing in the range is an answer, too.
        assert_eq!(export(wanted(5_000, 6_000)).len(), 1);
    }
}
