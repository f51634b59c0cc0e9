// SPDX-License-Identifier: MIT OR Apache-2.0
//! `verify`: is this bundle what was sealed, all of it, and by whom?

use std::path::Path;

use bench_engine::ExitCode;
use bench_evidence::VerifyError;
use hsm_api::PublicKey;

use crate::args::VerifyArgs;
use crate::failure::Failure;

/// Runs the verb.
pub fn run(arguments: &VerifyArgs) -> Result<ExitCode, Failure> {
    let trust = arguments.trust.as_deref().map(trusted_key).transpose()?;
    match bench_evidence::verify(&arguments.bundle, trust.as_ref()) {
        Ok(report) => {
            println!(
                "sealed        {} files, {} events",
                report.files, report.events
            );
            println!(
                "run           {} on rig {}, ended: {}",
                report.run, report.rig, report.reason
            );
            println!("key           {} ({})", report.signer, report.key_id);
            if report.trusted {
                println!("origin        sealed by the trusted key");
            } else {
                println!("origin        not checked: give --trust PEM to check who sealed it");
            }
            println!("verified      {}", arguments.bundle.display());
            Ok(ExitCode::Success)
        }
        Err(VerifyError::Problems(problems)) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            let count = problems.len();
            Err(Failure::new(
                ExitCode::BundleInvalid,
                format!(
                    "{}: {count} problem(s), see above",
                    arguments.bundle.display()
                ),
            ))
        }
        Err(error) => Err(Failure::new(ExitCode::BundleInvalid, error.to_string())),
    }
}

fn trusted_key(path: &Path) -> Result<PublicKey, Failure> {
    let usage = |what: String| Failure::new(ExitCode::Usage, what);
    let certificate = hsm_pki::read_pem_file(path).map_err(|error| usage(error.to_string()))?;
    hsm_pki::public_key(&certificate).map_err(|error| usage(error.to_string()))
}
