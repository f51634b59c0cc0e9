// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench NAME`: runs a benchmark, which prints a table and writes `target/bench/NAME.json`.

use crate::{Failure, cargo, workspace};

/// Every benchmark, what it compares, and the packages whose programs it starts. Each is a program of its name in
/// `tests/performance`.
const BENCHMARKS: [(&str, &str, &[&str]); 3] = [
    (
        "core",
        "meter-days through value lists and tariff use cases beside the reference models, and signatures",
        &[],
    ),
    (
        "hsm",
        "signing, agreeing and TLS by security modules beside raw cryptoki and openssl speed",
        &["hsm-card-emulator"],
    ),
    (
        "metering",
        "SML and M-Bus decoding beside sml-rs and m-bus-parser",
        &[],
    ),
];

/// Runs the benchmark the first argument names; further arguments are passed on to it.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, passed_on)) = arguments.split_first() else {
        return Err(refused(format!("which benchmark? {}", listed())));
    };
    let Some((.., needed)) = BENCHMARKS.iter().find(|(known, ..)| known == name) else {
        let listed = listed();
        return Err(refused(format!("there is no benchmark `{name}`. {listed}")));
    };
    let root = workspace::root();
    for package in *needed {
        cargo::run(&root, &["build", "--release", "-p", package])?;
    }
    let mut command = vec![
        "run",
        "--release",
        "-p",
        "smgw-performance",
        "--bin",
        name,
        "--",
    ];
    command.extend(passed_on.iter().map(String::as_str));
    cargo::run(&root, &command)
}

fn listed() -> String {
    let rows = BENCHMARKS.map(|(name, purpose, _)| format!("\n  {name:12}{purpose}"));
    format!("There are:{}", rows.concat())
}

fn refused(message: String) -> Failure {
    Failure { message, code: 2 }
}
