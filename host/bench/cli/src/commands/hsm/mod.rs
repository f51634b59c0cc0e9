// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm`: a security module seen from outside, whatever plays it. `provision`, `sign` and `tokens` print JSON for
//! programs; the bench itself is their main caller, each call in a process of its own.

pub mod args;
mod info;
mod lint_cert;
mod provision;
mod selftest;
mod speed;
mod table;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use bench_cases::module_link::Serving;
use bench_cases::module_tool::{Signed, hex, unhex};
use bench_engine::ExitCode;
use hsm_api::{Fault, KeyId, ModuleError, Reason};
use hsm_link::Secret;
use serde_json::json;

pub use args::HsmCommand;
use args::ModuleArgs;

use crate::failure::{Failure, print_json_line};

/// Runs the verb.
pub fn run(command: &HsmCommand) -> Result<ExitCode, Failure> {
    match command {
        HsmCommand::Info { at, format } => info::run(at, *format),
        HsmCommand::Selftest(arguments) => selftest::run(arguments),
        HsmCommand::Provision(arguments) => provision::run(arguments),
        HsmCommand::Bench(arguments) => speed::run(arguments),
        HsmCommand::Sign { at, key, digest } => sign(at, key, digest),
        HsmCommand::Serve {
            at,
            secret_file,
            listen,
        } => serve(at, secret_file, *listen),
        HsmCommand::LintCert(arguments) => lint_cert::run(arguments),
        HsmCommand::Tokens { module } => tokens(module),
    }
}

fn tokens(module: &Path) -> Result<ExitCode, Failure> {
    let tokens: Vec<_> = hsm_pkcs11::tokens(module)
        .map_err(failed)?
        .into_iter()
        .map(|token| {
            json!({
                "slot": token.slot, "label": token.label, "serial": token.serial,
                "manufacturer": token.manufacturer, "model": token.model,
            })
        })
        .collect();
    print_json_line(&tokens)
}

fn sign(at: &ModuleArgs, key: &str, digest: &str) -> Result<ExitCode, Failure> {
    let digest = unhex(digest)
        .filter(|digest| digest.len() == 32)
        .ok_or_else(|| {
            Failure::new(
                ExitCode::Usage,
                "--digest takes the 64 hex digits of a SHA-256 digest",
            )
        })?;
    let signature = at
        .open(Some(1))?
        .sign_digest(&KeyId(key.to_owned()), &digest)
        .map_err(failed)?;
    print_json_line(&Signed {
        signature: hex(&signature),
    })
}

fn serve(at: &ModuleArgs, secret_file: &Path, listen: SocketAddr) -> Result<ExitCode, Failure> {
    let system =
        |error: std::io::Error| Failure::new(ExitCode::Setup, format!("{listen}: {error}"));
    let secret = Secret::read_file(secret_file).map_err(failed)?;
    let module = at.open(None)?;
    let listener = TcpListener::bind(listen).map_err(system)?;
    let served = hsm_link::serve(listener, module, secret).map_err(system)?;
    let address = served.address();
    print_json_line(&Serving { address })?;
    // Nothing is expected but the end.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    Ok(ExitCode::Success)
}

/// What the module said, who is at fault, and what to do about it.
pub fn failed(error: ModuleError) -> Failure {
    let help = HELP
        .iter()
        .find(|(reason, _)| *reason == error.reason())
        .map(|(_, help)| *help);
    let (code, otherwise) = match error.fault() {
        Fault::Caller => (
            ExitCode::Usage,
            "check the name of the key; `smgw-bench hsm info` lists what the module holds",
        ),
        Fault::Transport => (
            ExitCode::ResourceMissing,
            "check the library path and the token label; `smgw-bench discover` lists what is there",
        ),
        _ => (
            ExitCode::ResourceMissing,
            "the module refused; a wrong PIN is never tried twice",
        ),
    };
    Failure::with_help(code, error.to_string(), help.unwrap_or(otherwise))
}

const HELP: &[(Reason, &str)] = &[
    (
        Reason::PinRefused,
        "check the PIN before the next attempt; a module locks itself after a few wrong ones",
    ),
    (
        Reason::PinLocked,
        "unlock the PIN with the tools of the module's maker",
    ),
    (
        Reason::Memory,
        "remove keys or objects that nobody needs, or take a larger module",
    ),
    (
        Reason::WrongPhase,
        "`smgw-bench hsm info` shows the phase of life the module is in",
    ),
    (
        Reason::WrongResult,
        "do not use this module; `smgw-bench hsm selftest` tells more",
    ),
    (
        Reason::Gone,
        "put the token or card back, and look whether its reader is listed by `smgw-bench discover`",
    ),
];
