// SPDX-License-Identifier: MIT OR Apache-2.0
//! Power cuts at every kind of moment: a traced writer's disk is rebuilt without what was not synced, whole or torn, and
//! the store opened on it. That the emulation has teeth a writer shows that does not sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use crate::trace::{self, Disk, Step};
use crate::{again, number, random, store_in, writer};

const CALLS: &str = "trace=openat,lseek,write,pwrite64,ftruncate,fsync,fdatasync,unlink";

/// The steps of a writer, `None` without strace.
fn steps(careless: bool) -> Option<Vec<Step>> {
    let tracer = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !tracer.is_ok_and(|status| status.success()) {
        println!("SKIPPED: strace is missing or may not trace (Debian: strace)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = store_in(folder.path());
    let output = folder.path().join("trace");
    let writer = again("writer::writes");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-xx", "-s", "1048576", "-e", CALLS, "-o"])
        .arg(&output)
        .arg(writer.get_program())
        .args(writer.get_args())
        .env("SMGW_WRITER_STORE", &path)
        .env("SMGW_WRITER_BATCHES", "120")
        .stdout(Stdio::null());
    if careless {
        command.env("SMGW_WRITER_CARELESS", "1");
    }
    assert!(command.status().unwrap().success());
    assert_eq!(writer::check(&path).unwrap(), 120);
    let steps = trace::read(&std::fs::read_to_string(&output).unwrap(), &path);
    let acknowledged = steps
        .iter()
        .filter(|step| matches!(step, Step::Acknowledged(_)))
        .count();
    assert_eq!(acknowledged, 120, "the trace shows every acknowledgement");
    Some(steps)
}

/// What is wrong after a power cut that leaves of the unsynced what `survives` says.
fn loss(disk: &Disk, acknowledged: i64, survives: impl FnMut() -> bool) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    disk.cut(folder.path(), survives);
    let path = store_in(folder.path());
    match catch_unwind(AssertUnwindSafe(|| writer::check(&path))) {
        Ok(Ok(kept)) if (acknowledged..=acknowledged + 1).contains(&kept) => None,
        Ok(Ok(kept)) => Some(format!("{kept} kept")),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("not whole".into()),
    }
}

#[test]
fn nothing_acknowledged_is_lost_to_a_power_cut() {
    let Some(steps) = steps(false) else {
        return;
    };
    let cuts = number("SMGW_POWER_CUTS", 400) as usize;
    let mut random = random();
    let (mut disk, mut acknowledged) = (Disk::default(), 0);
    let (mut done, mut dirty) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        disk.apply(step);
        if let Step::Acknowledged(number) = step {
            acknowledged = *number;
        }
        // The beginning step by step, then as many as asked for.
        if number > 60 && random.usize(0..steps.len()) >= cuts {
            continue;
        }
        done += 1;
        dirty += usize::from(disk.is_dirty());
        // Nothing, everything, or any sectors of what was not synced.
        let share = [0.0, 1.0, random.f64(), random.f64()][random.usize(0..4)];
        let lost = loss(&disk, acknowledged, || random.f64() < share);
        assert_eq!(
            lost, None,
            "cut behind step {number} ({acknowledged} acknowledged, share {share})"
        );
    }
    println!(
        "{done} power cuts over {} steps, {dirty} with something unsynced",
        steps.len()
    );
    assert!(dirty > 0, "the emulation never had anything to lose");
}

#[test]
fn the_emulation_catches_a_writer_that_does_not_sync() {
    let Some(steps) = steps(true) else {
        return;
    };
    let (mut disk, mut acknowledged) = (Disk::default(), 0);
    let found = steps.iter().filter_map(|step| {
        disk.apply(step);
        let Step::Acknowledged(number) = step else {
            return None;
        };
        acknowledged = *number;
        loss(&disk, acknowledged, || false)
    });
    let found = found.take(1).last();
    println!("caught: {found:?}");
    assert!(found.is_some());
}
