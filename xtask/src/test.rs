// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: set up, build the protocol crates for a microcontroller, the firmware of all boards and the
//! gateway's board, build and run all tests with the programs they start, and check the rules of the house.
//!
//! A test that cannot run where it is prints one line `SKIPPED: reason` and returns. Such lines are collected from the
//! output of passing tests and shown at the end, so that nothing is left out in silence.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::setup::{self, Installing};
use crate::{Failure, cargo, check, embedded, firmware, sizes, target, workspace};

/// Runs everything continuous integration checks.
pub(crate) fn run(installing: Installing) -> Result<(), Failure> {
    let root = workspace::root();
    setup::run(installing)?;
    let python = setup::python(&root, installing);
    check()?;
    format(&root)?;
    embedded::build(&root, installing)?;
    let images = firmware::build(&root, None, installing)?;
    firmware::build_defects(&root, None, installing)?;
    sizes::compare(&root, &images)?;
    target::build(&root, installing)?;
    let mut outcome = Outcome::default();
    let applications = firmware::applications(&root)?;
    let mut on_host = vec!["test", "--no-fail-fast"];
    on_host.extend(applications.iter().flat_map(|name| ["-p", name]));
    on_host.extend(["--", "--show-output"]);
    tests(&root.join("firmware"), &on_host, None, &mut outcome)?;
    tests(&root, &ALL_TESTS, python.as_deref(), &mut outcome)?;
    println!(
        "\ntest: {} passed, {} failed, {} skipped",
        outcome.passed,
        outcome.failed,
        outcome.skipped.len()
    );
    for skipped in &outcome.skipped {
        println!("test: {skipped}");
    }
    match outcome.failing {
        false => Ok(()),
        true => Err(Failure::new("tests failed")),
    }
}

/// Names the directory of firmware images to the tests that run them: `BOARD/NAME.elf`.
const FIRMWARE_VARIABLE: &str = "SMGW_BENCH_FIRMWARE";

/// Names the directory of the gateway's board to the tests that boot it.
const BOARD_VARIABLE: &str = "SMGW_BENCH_ARM64";

fn format(root: &Path) -> Result<(), Failure> {
    let available = cargo::command(root).args(["fmt", "--version"]).output();
    if !available.is_ok_and(|output| output.status.success()) {
        println!("test: rustfmt is not installed, formatting is not checked");
        return Ok(());
    }
    for workspace in [root, &root.join("firmware")] {
        cargo::run(workspace, &["fmt", "--all", "--check"])?;
    }
    Ok(())
}

const ALL_TESTS: [&str; 7] = [
    "test",
    "--workspace",
    "--no-fail-fast",
    "--features",
    "smgw/defects",
    "--",
    "--show-output",
];

/// Runs the tests of a workspace and adds what they say.
fn tests(
    workspace: &Path,
    arguments: &[&str],
    python: Option<&Path>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    println!("xtask: cargo {}", arguments.join(" "));
    let mut command = cargo::command(workspace);
    if let Some(python) = python {
        command.env(setup::PYTHON_VARIABLE, python);
    }
    let mut child = command
        .env(FIRMWARE_VARIABLE, firmware::directory(&workspace::root())?)
        .env(BOARD_VARIABLE, target::directory(&workspace::root())?)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if outcome.take(&line) {
                println!("{line}");
            }
        }
    }
    let status = child
        .wait()
        .map_err(|error| Failure::new(format!("cargo went missing: {error}")))?;
    outcome.failing |= !status.success();
    Ok(())
}

/// What the tests said.
#[derive(Debug, Default)]
struct Outcome {
    failing: bool,
    passed: u64,
    failed: u64,
    /// `SKIPPED: reason (test)`.
    skipped: Vec<String>,
    in_successes: bool,
    test: String,
}

impl Outcome {
    /// Takes one line of output; whether it is worth showing. What passing tests print is not.
    fn take(&mut self, line: &str) -> bool {
        let ends = line.starts_with("failures:") || line.starts_with("test result:");
        if line == "successes:" {
            self.in_successes = true;
        } else if ends {
            self.in_successes = false;
        }
        if let Some(counts) = line.strip_prefix("test result:") {
            self.passed += count_before(counts, " passed");
            self.failed += count_before(counts, " failed");
        }
        if let Some(test) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.split(' ').next())
        {
            test.clone_into(&mut self.test);
        }
        if self.in_successes && line.trim_start().starts_with("SKIPPED:") {
            self.skipped
                .push(format!("{} ({})", line.trim(), self.test));
        }
        !self.in_successes
    }
}

/// The number right before `word`.
fn count_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test corpora ... ok
test good ... ok
test bad ... FAILED

successes:

---- corpora stdout ----
SKIPPED: corpora absent

---- good stdout ----
chatter

successes:
    corpora
    good

failures:

---- bad stdout ----
panicked: SKIPPED: is only a word here

failures:
    bad

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn output_is_counted_and_chatter_left_out() {
        let mut outcome = Outcome::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| outcome.take(line)).collect();
        assert_eq!((outcome.passed, outcome.failed), (2, 1));
        assert_eq!(outcome.skipped, ["SKIPPED: corpora absent (corpora)"]);
        assert!(shown.iter().any(|line| line.contains("panicked")));
        assert!(!shown.contains(&"chatter"));
    }
}
