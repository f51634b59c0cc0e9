// SPDX-License-Identifier: MIT OR Apache-2.0
//! `discover`: what is attached, by identity and by location, ready to paste.
//!
//! Each PKCS#11 library is asked in a process of its own (`hsm tokens`), so that one that crashes is only a remark.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench_cases::module_tool::{own_program, run as run_command};
use bench_engine::{Deadline, ExitCode};
use bench_rig::discover::{MODULE_PATHS, Token, inventory};
use serde::Deserialize;

use crate::args::{DiscoverArgs, ListFormat};
use crate::failure::Failure;

/// A token as `hsm tokens` prints it.
#[derive(Deserialize)]
struct Listed {
    slot: u64,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
}

/// Runs the verb.
pub fn run(arguments: &DiscoverArgs) -> Result<ExitCode, Failure> {
    let mut modules: Vec<_> = MODULE_PATHS.iter().map(PathBuf::from).collect();
    modules.extend(arguments.module.iter().cloned());
    let found = inventory(&modules, tokens);
    print!(
        "{}",
        match arguments.format {
            ListFormat::Table => found.table(),
            ListFormat::Toml => found.toml(),
            ListFormat::Json => found.json(),
        }
    );
    Ok(ExitCode::Success)
}

fn tokens(module: &Path) -> Result<Vec<Token>, String> {
    let mut command = Command::new(own_program().map_err(|error| error.to_string())?);
    command.args(["hsm", "tokens", "--module"]).arg(module);
    let text = run_command(command, Deadline::after(Duration::from_secs(10)))
        .map_err(|error| error.to_string())?;
    let listed: Vec<Listed> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let token = |listed: Listed| Token {
        module: module.to_owned(),
        label: listed.label,
        serial: listed.serial,
        manufacturer: listed.manufacturer,
        model: listed.model,
        slot: listed.slot,
    };
    Ok(listed.into_iter().map(token).collect())
}
