// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm`: one PKCS#11 call sequence per process. Prints JSON for programs; the bench itself is the main caller.

use std::path::Path;

use bench_cases::module_tool::{Provisioned, Signed, hex, unhex};
use bench_engine::ExitCode;
use hsm_api::{Curve, Fault, KeyId, KeyUsage, ModuleError, SecurityModule};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_pki::CertificateRequest;
use serde_json::json;

use crate::args::{HsmCommand, KeyArgs};
use crate::failure::{Failure, print_json_line};

/// Runs the verb.
pub fn run(command: &HsmCommand) -> Result<ExitCode, Failure> {
    match command {
        HsmCommand::Tokens { module } => tokens(module),
        HsmCommand::Provision { key, common_name } => provision(key, common_name),
        HsmCommand::Sign { key, digest } => sign(key, digest),
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

fn provision(at: &KeyArgs, common_name: &str) -> Result<ExitCode, Failure> {
    let module = open(at)?;
    let key = KeyId(at.key.clone());
    // A key that is there already is used as it is: a real token keeps its key over many runs.
    let public = match module.public_key(&key) {
        Ok(public) => public,
        Err(error) if error.fault() == Fault::Caller => module
            .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
            .map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    let request = CertificateRequest::new(common_name);
    let certificate = hsm_pki::self_signed(&module, &key, &request)
        .map_err(|error| Failure::new(ExitCode::ResourceMissing, error.to_string()))?;
    print_json_line(&Provisioned {
        point: hex(&public.point),
        certificate: hsm_pki::to_pem(&certificate),
    })
}

fn sign(at: &KeyArgs, digest: &str) -> Result<ExitCode, Failure> {
    let digest = unhex(digest)
        .filter(|digest| digest.len() == 32)
        .ok_or_else(|| {
            Failure::new(
                ExitCode::Usage,
                "--digest takes the 64 hex digits of a SHA-256 digest",
            )
        })?;
    let signature = open(at)?
        .sign_digest(&KeyId(at.key.clone()), &digest)
        .map_err(failed)?;
    print_json_line(&Signed {
        signature: hex(&signature),
    })
}

fn open(at: &KeyArgs) -> Result<Pkcs11Module, Failure> {
    let pin = Pin::read_file(&at.pin_file).map_err(|error| {
        Failure::new(
            ExitCode::Setup,
            format!("{}: {error}", at.pin_file.display()),
        )
    })?;
    let token = TokenSelector::Label(at.token.clone());
    Pkcs11Module::open(Pkcs11Config {
        sessions: 1,
        ..Pkcs11Config::new(&at.module, token, pin)
    })
    .map_err(failed)
}

fn failed(error: ModuleError) -> Failure {
    let (code, help) = match error.fault() {
        Fault::Caller => (ExitCode::Usage, "check the key label"),
        Fault::Transport => (
            ExitCode::ResourceMissing,
            "check the library path and the token label; `smgw-bench discover` lists what is there",
        ),
        _ => (
            ExitCode::ResourceMissing,
            "the module refused; a wrong PIN is never tried twice",
        ),
    };
    Failure::with_help(code, error.to_string(), help)
}
