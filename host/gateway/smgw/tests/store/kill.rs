// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGKILL at random instants: what was acknowledged is there, once, and the log books hold together.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::{acknowledged, again, number, random, store_in, writer};

/// Lives per store file, so that checks stay quick and a file is also created, grown and closed under fire.
const LIVES: u64 = 20;

/// A folder in memory where there is one: a killed process loses nothing the operating system has, and syncing takes time.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let kills = number("SMGW_KILLS", 500);
    let mut random = random();
    let mut acknowledgements = 0;
    let started = Instant::now();
    let mut folder = memory();
    let mut before = 0;
    for life in 0..kills {
        if life % LIVES == 0 {
            folder = memory();
            before = 0;
        }
        let path = store_in(folder.path());
        let mut child = again("writer::writes")
            .env("SMGW_WRITER_STORE", &path)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = before;
        // Some die while they open the store, the others at some moment behind some batch.
        let batches = random.u64(0..6);
        let pause = random.u64(0..if batches == 0 { 30_000 } else { 4_000 });
        for _ in 0..batches {
            let acknowledged = lines.by_ref().find_map(|line| acknowledged(&line.unwrap()));
            last = acknowledged.expect("the writer goes on until it is killed");
        }
        std::thread::sleep(Duration::from_micros(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        // What stood in the pipe was acknowledged too.
        last = lines
            .map_while(Result::ok)
            .filter_map(|line| acknowledged(&line))
            .last()
            .unwrap_or(last);
        let kept = writer::check(&path).unwrap();
        assert!(
            (last..=last + 1).contains(&kept),
            "life {life}: {last} acknowledged, {kept} kept"
        );
        acknowledgements += kept - before;
        before = kept;
    }
    println!(
        "{kills} kills, {acknowledgements} batches, {:.1} s",
        started.elapsed().as_secs_f64()
    );
}
