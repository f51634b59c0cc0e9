// SPDX-License-Identifier: MIT OR Apache-2.0
//! The power is cut at every flash change of a replacement of the settings; the board finds the old or the new ones.

use std::fs;
use std::path::Path;

use bench_probe::Image;
use bench_probe::qemu::Network;
use on_target::{Target, image};
use smgw_flash_store::Store;
use smgw_flash_store::memory::Memory;

const ALLOWED: &str = "SMGW_TORTURE_ALLOWED";
const DONE: &str = "SMGW_TORTURE_DONE";
const FOUND: &str = "SMGW_TORTURE_FOUND";

/// What the cell holds before the firmware knows, and what it says when it found no value or a broken one.
const UNKNOWN: u32 = 0;
const NOTHING: u32 = u32::MAX;
const BROKEN: u32 = u32::MAX - 1;

/// The partition, as the board divides it.
const SECTOR: usize = 4096;
const SECTORS: usize = 32;
const SLOTS: u32 = 8;

/// A replacement: an erasure in four steps, 76 words of value, 8 of the head.
const CHANGES: u32 = 4 + 76 + 8;

/// The number of the value in the file behind the PSRAM, as the host's own store finds it; zero for none.
fn on_host(psram: &Path) -> u32 {
    let mut bytes = fs::read(psram).expect("the emulator's file");
    bytes.truncate(SECTORS * SECTOR);
    let mut store = Store::open(Memory::<4, SECTOR>::holding(bytes), SLOTS).expect("a layout");
    let mut buffer = vec![0; store.capacity()];
    let value = store.read(&mut buffer).expect("memory can be read");
    value.map_or(0, |value| {
        u32::from_le_bytes(*value.first_chunk().expect("values begin with their number"))
    })
}

/// Gives power: the board, and the number of the value that it finds; zero for none.
fn start(image: &Image, psram: &Path) -> (Target, u32) {
    let mut target = Target::start(image, Some(psram), Network::None);
    match target.await_cell(FOUND, |found| found != UNKNOWN) {
        BROKEN => panic!("a mix or an error"),
        NOTHING => (target, 0),
        number => (target, number),
    }
}

#[test]
fn settings_survive_a_power_cut_at_every_change() {
    let Some(image) = image("store-torture") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let psram = folder.path().join("psram");
    // The value before is written in peace: there is an old one from here on.
    let (mut target, found) = start(&image, &psram);
    assert_eq!(found, 0, "the fresh file holds nothing");
    target.set_cell(ALLOWED, CHANGES);
    target.await_cell(DONE, |done| done == CHANGES);
    target.cut_power();
    let mut held = 1;
    // From each start the next replacement goes one change further, over what the one before left torn.
    for changes in 0..=CHANGES {
        let (mut target, found) = start(&image, &psram);
        assert_eq!(found, held, "after {changes} changes");
        assert_eq!(on_host(&psram), held, "after {changes} changes");
        target.set_cell(ALLOWED, changes);
        target.await_cell(DONE, |done| done == changes);
        target.cut_power();
        let now = on_host(&psram);
        let written = now == held + 1;
        assert!(written || now == held, "{now} after {changes} changes");
        assert_eq!(written, changes == CHANGES, "{changes} changes");
        held = now;
    }
    let (target, found) = start(&image, &psram);
    assert_eq!(found, held);
    target.cut_power();
    assert_eq!(held, 2);
}

/// Power cuts that nothing is synchronised with: the board writes as fast as it can.
#[test]
fn settings_survive_power_cuts_at_any_moment() {
    let Some(image) = image("store-torture") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let psram = folder.path().join("psram");
    let mut before = 0;
    for round in 1..=10 {
        let (mut target, found) = start(&image, &psram);
        assert!(
            found >= before,
            "{found} in round {round}, but {before} was there"
        );
        target.set_cell(ALLOWED, u32::MAX);
        // Over several turns of the ring.
        let enough = CHANGES * SLOTS * round;
        let done = target.await_cell(DONE, |done| done >= enough);
        target.cut_power();
        let now = on_host(&psram);
        assert!(
            now >= found + done / CHANGES,
            "{now} after {done} changes from {found}"
        );
        before = now;
    }
}
