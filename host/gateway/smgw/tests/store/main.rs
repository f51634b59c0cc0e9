// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store against sudden death: SIGKILL at random instants, power cuts that lose what was not synced, a full disk
//! (catalogue rows MET-19, LOG-01).
//!
//! `SMGW_KILLS` and `SMGW_POWER_CUTS` say how often, `SMGW_SEED` with which seed; the seed is printed.

mod full_disk;
mod kill;
mod power_cut;
mod trace;
mod writer;

use std::path::Path;
use std::process::{Command, Stdio};

/// This program again, as the test `name` and nothing else.
fn again(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            name,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The seed of this run, printed.
fn random() -> fastrand::Rng {
    let seed = number("SMGW_SEED", fastrand::u64(..));
    println!("SMGW_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// The number of an acknowledgement in a line of the writer.
fn acknowledged(line: &str) -> Option<i64> {
    let (_, number) = line.split_once("ack ")?;
    number.trim().parse().ok()
}

fn store_in(folder: &Path) -> std::path::PathBuf {
    folder.join("values.sqlite")
}
