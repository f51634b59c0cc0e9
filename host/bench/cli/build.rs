// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the program which revision it was built from, for the evidence it seals.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let revision = match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(head) => match git(&["status", "--porcelain", "--untracked-files=no"]).as_deref() {
            Some("") => head,
            _ => format!("{head}-dirty"),
        },
        None => "unknown".to_owned(),
    };
    println!("cargo::rustc-env=SMGW_BENCH_REVISION={revision}");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    }
}
