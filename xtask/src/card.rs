// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask card`: the emulated card in a reader of its own, for as long as one wants to look at it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::{Failure, cargo, workspace};

/// What the card is given unless the arguments say otherwise; below the target folder.
const KEPT: [(&str, &str); 2] = [("--pin-file", "card/pin"), ("--state", "card/state")];

/// Builds the card and hands over to it: Ctrl-C, standard input and exit code are the card's.
pub(crate) fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let root = workspace::root();
    cargo::run(&root, &["build", "-p", "hsm-card-emulator"])?;
    let target = cargo::target_directory(&root)?;
    let folder = target.join("card");
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::environment(format!("cannot make {}: {error}", folder.display()))
    })?;
    let mut command = Command::new(target.join("debug/smgw-card"));
    command.arg("--own-reader");
    for (option, file) in KEPT {
        if !given(&arguments, option) {
            announce(option, &target.join(file));
            command.arg(option).arg(target.join(file));
        }
    }
    let error = command.args(arguments).exec();
    Err(Failure::new(format!("cannot run smgw-card: {error}")))
}

fn given(arguments: &[String], option: &str) -> bool {
    arguments.iter().any(|argument| {
        argument
            .strip_prefix(option)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

fn announce(option: &str, path: &Path) {
    println!("card: {option} {}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_both_forms() {
        let arguments = ["--state=x", "--pin-file", "y", "--seed"].map(str::to_owned);
        assert!(given(&arguments, "--state") && given(&arguments, "--pin-file"));
        assert!(!given(&arguments, "--pin") && !given(&arguments, "--fault"));
    }
}
