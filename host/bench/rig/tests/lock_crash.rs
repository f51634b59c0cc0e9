// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock outlives nothing: not even a holder killed without warning leaves one behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bench_rig::LockDirSetting;
use bench_rig::lock::{Holder, LockDir, LockError, LockKey};

const DIRECTORY: &str = "SMGW_BENCH_TEST_LOCK_DIR";

fn keys() -> BTreeSet<LockKey> {
    [
        LockKey::new("usb:0403:6001:A50285BI:if0"),
        LockKey::new("rig:lab"),
    ]
    .into()
}

fn holder(run: &str) -> Holder {
    Holder::this_process(run, "2026-11-21T20:00:00Z")
}

#[test]
#[ignore = "the other process of `a_killed_holder_frees_the_rig`, which starts it"]
fn the_holder() {
    let directory = std::env::var_os(DIRECTORY)
        .map(PathBuf::from)
        .expect("started by the other test");
    let locks = LockDir::resolve(&LockDirSetting::At(directory));
    let _held = locks.acquire(&keys(), &holder("killed")).expect("free");
    println!("\nheld");
    // Until killed, or until the other test ends in whatever way.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_killed_holder_frees_the_rig() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut child = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", "the_holder", "--ignored", "--nocapture"])
        .env(DIRECTORY, scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test starts once more");
    let output = child.stdout.take().expect("piped");
    let held = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .any(|line| line == "held");
    assert!(held, "the other process ended without the locks");

    let locks = LockDir::resolve(&LockDirSetting::At(scratch.path().to_owned()));
    match locks.acquire(&keys(), &holder("too early")) {
        Err(LockError::Busy {
            holder: Some(holder),
            ..
        }) => {
            assert_eq!((holder.pid, holder.run.as_str()), (child.id(), "killed"));
        }
        other => panic!("expected a busy rig, got {other:?}"),
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let now = locks.acquire(&keys(), &holder("heir"));
    assert!(now.is_ok(), "{now:?}");
}
