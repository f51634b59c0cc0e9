// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask rehearse`: set up, build, and hand over to `smgw-bench run`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{self, Installing};
use crate::{Failure, cargo, firmware, target, workspace};

/// The programs a rehearsal runs; the gateway with its seeded defects, so that `--defect` works.
const BUILD: [&str; 9] = [
    "build",
    "-p",
    "smgw",
    "-p",
    "hsm-card-emulator",
    "-p",
    "smgw-bench",
    "--features",
    "smgw/defects",
];

/// What a rig file says of a gateway on an emulated board.
const TARGET: &str = "\"qemu-arm64\"";

/// What it says of boards that are flashed, and which firmware these need; all when it depends on the probe's chip.
const BOARDS: [(&str, Option<&str>); 2] =
    [("\"mps2-an385\"", Some("mps2-an385")), ("\"probe\"", None)];

#[derive(Debug, Eq, PartialEq)]
struct Arguments {
    rig: Option<String>,
    report_dir: Option<String>,
    installing: Installing,
    passed_on: Vec<String>,
}

/// Rehearses; on success this process becomes `smgw-bench`, whose exit code and signals are then its own.
pub(crate) fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let arguments = parse(arguments)?;
    let root = workspace::root();
    let here = std::env::current_dir().unwrap_or_else(|_| root.clone());
    let rig = arguments
        .rig
        .map_or_else(|| root.join("rigs/virtual.toml"), |rig| here.join(rig));
    if !rig.is_file() {
        let message = format!("there is no rig file {}", rig.display());
        return Err(Failure { message, code: 106 });
    }
    setup::run(arguments.installing)?;
    cargo::run(&root, &BUILD)?;
    // The rig file is read by `smgw-bench`; a word of it is enough to know what has to be built.
    let text = std::fs::read_to_string(&rig).unwrap_or_default();
    if text.contains(TARGET) {
        target::build(&root, arguments.installing)?;
    }
    for (word, board) in BOARDS {
        if text.contains(word) {
            firmware::build(&root, board, arguments.installing)?;
            if wants_defect(&arguments.passed_on) {
                firmware::build_defects(&root, board, arguments.installing)?;
            }
        }
    }
    let report_dir = arguments
        .report_dir
        .map_or_else(|| root.join("runs"), |dir| here.join(dir));
    let program = cargo::target_directory(&root)?.join("debug/smgw-bench");
    hand_over(&root, &program, &rig, &report_dir, &arguments.passed_on)
}

fn hand_over(
    root: &Path,
    program: &Path,
    rig: &Path,
    report_dir: &Path,
    passed_on: &[String],
) -> Result<(), Failure> {
    let shown = |path: &Path| {
        path.strip_prefix(root)
            .map_or(path.to_owned(), PathBuf::from)
    };
    let (rig, report_dir) = (shown(rig), shown(report_dir));
    println!(
        "xtask: smgw-bench run --rig {} --report-dir {}",
        rig.display(),
        report_dir.display()
    );
    let error = Command::new(program)
        .current_dir(root)
        .args(["run", "--rig"])
        .arg(rig)
        .arg("--report-dir")
        .arg(report_dir)
        .args(passed_on)
        .exec();
    Err(Failure::new(format!(
        "cannot run {}: {error}",
        program.display()
    )))
}

/// Whether the bench is told of a defect, which may be the board's.
fn wants_defect(passed_on: &[String]) -> bool {
    let named = |argument: &String| argument == "--defect" || argument.starts_with("--defect=");
    passed_on.iter().any(named)
}

fn parse(arguments: Vec<String>) -> Result<Arguments, Failure> {
    let mut parsed = Arguments {
        rig: None,
        report_dir: None,
        installing: Installing::Allowed,
        passed_on: Vec::new(),
    };
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        match name {
            "--rig" => parsed.rig = Some(value(name, inline, &mut rest)?),
            "--report-dir" => parsed.report_dir = Some(value(name, inline, &mut rest)?),
            "--no-install" if inline.is_none() => parsed.installing = Installing::Forbidden,
            "--" => parsed.passed_on.extend(rest.by_ref()),
            _ => parsed.passed_on.push(argument),
        }
    }
    Ok(parsed)
}

fn value(
    name: &str,
    inline: Option<String>,
    rest: &mut impl Iterator<Item = String>,
) -> Result<String, Failure> {
    match inline.or_else(|| rest.next()) {
        Some(value) if !value.is_empty() && !value.starts_with("--") => Ok(value),
        _ => Err(Failure::usage(format!("`{name}` needs a path"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, u8> {
        parse(line.split_whitespace().map(str::to_owned).collect()).map_err(|failure| failure.code)
    }

    #[test]
    fn own_arguments_are_taken_and_the_rest_is_passed_on() {
        let expected = Arguments {
            rig: Some("my.toml".to_owned()),
            report_dir: Some("out".to_owned()),
            installing: Installing::Forbidden,
            passed_on: ["-E", "iface(cls)", "--seed=7"].map(str::to_owned).to_vec(),
        };
        let line = "--rig my.toml -E iface(cls) --report-dir=out --no-install --seed=7";
        assert_eq!(parsed(line), Ok(expected));
    }

    #[test]
    fn a_path_must_follow() {
        for line in ["--rig", "--rig --no-install", "--report-dir="] {
            assert_eq!(parsed(line), Err(2), "{line}");
        }
    }
}
