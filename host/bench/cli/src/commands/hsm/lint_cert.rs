// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm lint-cert`: certificates held against the profiles of the smart metering PKI. No module is asked.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bench_engine::ExitCode;
use clap::Args;
use hsm_pki::{Expectation, Profile, Report, lint};
use hsm_soft::SoftModule;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::args::AnswerFormat;
use super::provision::GenerationOption;
use crate::failure::{Failure, print_json};

/// `hsm lint-cert`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Certificates, PEM (one or a chain, leaf first) or DER.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Profile to judge by, e.g. SMGW-W/TLS, EMT/SIG, sub-ca; detected when not given.
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    pub profile: Option<Profile>,
    /// Generation to judge by, first or second; either will do when not given.
    #[arg(long, value_name = "GENERATION")]
    pub generation: Option<GenerationOption>,
    /// Certificate of the issuer, to judge names, identifiers and the signature; a chain has its own.
    #[arg(long, value_name = "FILE")]
    pub issuer: Option<PathBuf>,
    /// Do not judge whether the certificate is valid now.
    #[arg(long)]
    pub any_time: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

/// Runs the verb.
pub fn run(arguments: &LintArgs) -> Result<ExitCode, Failure> {
    let issuer = match &arguments.issuer {
        Some(file) => read(file)?.into_iter().next(),
        None => None,
    };
    let verifier = SoftModule::new();
    let mut judged = Vec::new();
    for file in &arguments.files {
        let chain = read(file)?;
        for (at, certificate) in chain.iter().enumerate() {
            let expectation = Expectation {
                // In a chain, the expectation is for the leaf.
                profile: arguments.profile.filter(|_| at == 0),
                generation: arguments.generation.map(|GenerationOption(one)| one),
                time: (!arguments.any_time).then(SystemTime::now),
                issuer: chain.get(at + 1).or(issuer.as_ref()),
                verifier: Some(&verifier),
            };
            let name = match chain.len() {
                1 => file.display().to_string(),
                _ => format!("{}, certificate {}", file.display(), at + 1),
            };
            judged.push((name, lint(certificate, &expectation)));
        }
    }
    match arguments.format {
        AnswerFormat::Table => {
            for (name, report) in &judged {
                print!("{}", text(name, report));
            }
        }
        AnswerFormat::Json => {
            let rows = judged.iter().map(|(name, report)| {
                json!({ "certificate": name, "passed": report.passed(), "report": report })
            });
            print_json(&rows.collect::<Vec<_>>())?;
        }
    }
    let passed = judged.iter().all(|(_, report)| report.passed());
    Ok(if passed {
        ExitCode::Success
    } else {
        ExitCode::Failed
    })
}

/// The certificates of a file. What is no PEM is taken for DER; the linter says whether it is.
fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unusable = |why: String| {
        Failure::with_help(
            ExitCode::InvalidInput,
            format!("{}: {why}", file.display()),
            "give certificates as PEM or DER",
        )
    };
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    if !bytes.starts_with(&[0x30]) {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(error.to_string()))?;
        return match chain.is_empty() {
            true => Err(unusable("there is no certificate in it".to_owned())),
            false => Ok(chain),
        };
    }
    Ok(vec![CertificateDer::from(bytes)])
}

fn text(name: &str, report: &Report) -> String {
    let profile = report
        .profile
        .map_or("no known profile".to_owned(), |one| one.to_string());
    let verdict = match (report.passed(), report.findings.len()) {
        (true, 0) => "clean".to_owned(),
        (true, count) => format!("passed, warnings: {count}"),
        (false, count) => format!("FAILED, findings: {count}"),
    };
    let findings = report.findings.iter().map(|one| format!("  {one}\n"));
    format!(
        "{name}: {profile}: {verdict}\n{}",
        findings.collect::<String>()
    )
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::named(text).ok_or_else(|| {
        let all: Vec<_> = Profile::all().map(|profile| profile.to_string()).collect();
        format!("there are the profiles {}", all.join(", "))
    })
}
