// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of cargo and what its metadata says about our packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Failure;

/// When a dependency is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// A dependency as the manifest names it.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// A package of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Directory relative to the workspace, with forward slashes.
    pub(crate) directory: String,
    pub(crate) licence: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// The cargo that runs us.
pub(crate) fn command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs cargo with its output on the terminal.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), Failure> {
    println!("xtask: cargo {}", arguments.join(" "));
    let status = command(root)
        .args(arguments)
        .status()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cargo {} failed",
        arguments.first().unwrap_or(&"")
    )))
}

/// The packages of the workspace.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let metadata = metadata(root)?;
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(packages
        .iter()
        .map(|package| package_of(root, package))
        .collect())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, Failure> {
    let metadata = metadata(root)?;
    let directory = metadata["target_directory"].as_str();
    directory
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("cargo does not tell its target directory"))
}

/// What cargo says about the workspace in a directory, without dependencies.
pub(crate) fn metadata(root: &Path) -> Result<Value, Failure> {
    let output = command(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(format!("cargo metadata failed: {message}")));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}")))
}

fn package_of(root: &Path, package: &Value) -> Package {
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
    let directory = manifest.parent().unwrap_or(&manifest);
    let directory = directory.strip_prefix(root).unwrap_or(directory);
    let dependencies = package["dependencies"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Package {
        name: package["name"].as_str().unwrap_or_default().to_owned(),
        directory: directory.to_string_lossy().replace('\\', "/"),
        licence: package["license"].as_str().map(str::to_owned),
        dependencies: dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                kind: match dependency["kind"].as_str() {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                },
            })
            .collect(),
    }
}
