// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware says, and what is left of it.

use bench_probe::{LogDecoder, LogLine};
use probe_rs::{CoreDump, RegisterValue};

use crate::bench::{self, Rig};
use crate::{DATA, PATIENCE, PC};

fn said(line: &LogLine) -> (Option<&'static str>, &str) {
    (line.level, line.text.as_str())
}

#[test]
fn the_log_comes_with_levels_while_the_core_runs() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    for _ in 0..2 {
        board.reset().unwrap();
        let lines = board
            .await_log(PATIENCE, |line| line.level == Some("error"))
            .unwrap();
        // The board itself may speak first.
        let own = lines.iter().skip_while(|line| line.level.is_some());
        assert_eq!(
            own.map(said).collect::<Vec<_>>(),
            [
                (None, "selftest started"),
                (Some("debug"), "debug 0xd"),
                (Some("info"), "info one"),
                (Some("warn"), "warn -2"),
                (Some("error"), "error (3, [4, 5])"),
            ],
        );
        let starts = lines.iter().filter(|line| line.level.is_none());
        assert_eq!(starts.count(), 1, "nothing of the run before: {lines:?}");
        let first = lines
            .iter()
            .all(|line| line.timestamp.as_deref() == Some("0"));
        assert!(first, "before the first round: {lines:?}");
        let place = lines[lines.len() - 1].place.as_deref().unwrap();
        assert!(place.contains("selftest.rs:"), "{place}");
    }
    // What the probe writes into memory is answered in the log.
    let input = image.symbol("SELFTEST_INPUT").unwrap() as u32;
    for number in [1, 4_000_000_000] {
        board.write_word(input, number).unwrap();
        let expected = format!("input {number}");
        board
            .await_log(PATIENCE, |line| line.text == expected)
            .unwrap();
    }
    bench::rounds_pass(&mut board, &image);
    assert_eq!(board.damaged_logs(), 0);
}

#[test]
fn a_firmware_that_does_not_speak_is_told_with_its_last_words() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    board.reset().unwrap();
    board
        .await_log(PATIENCE, |line| line.text.starts_with("debug"))
        .unwrap();
    board.halt().unwrap();
    board.logs().unwrap();
    let error = board.await_log(std::time::Duration::ZERO, |_| true);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("its last words: none"), "{error}");
}

#[test]
fn a_damaged_log_is_counted_and_the_next_entry_read() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    board.reset().unwrap();
    bench::rounds_pass(&mut board, &image);
    let raw = board.receive(0).unwrap();
    let mut decoder = LogDecoder::new(image.elf()).unwrap().unwrap();
    let whole: Vec<LogLine> = raw.iter().flat_map(|byte| decoder.push(&[*byte])).collect();
    let last = whole.last().map(said);
    assert_eq!(
        last,
        Some((Some("error"), "error (3, [4, 5])")),
        "byte by byte"
    );
    for dice in 0..3000 {
        let before = decoder.damaged();
        let damaged = test_material::mutate(&raw, &[0xff, 0], dice);
        let lines = decoder.push(&damaged);
        let zeros = damaged.iter().filter(|byte| **byte == 0).count();
        assert!(lines.len() as u64 + decoder.damaged() - before <= zeros as u64);
        // Whatever came before, what follows the next mark is read.
        decoder.push(&[0]);
        assert_eq!(decoder.push(&raw), whole);
    }
}

#[test]
fn a_core_dump_holds_registers_and_memory() {
    let Some(rig) = Rig::start() else { return };
    let mut board = rig.attach();
    board.halt().unwrap();
    board.write(DATA + 0x1000, b"evidence").unwrap();
    board
        .on_core("writing a register", |core| {
            core.write_core_reg(PC, 0x2468u32)
        })
        .unwrap();
    let path = rig.folder.path().join("core");
    board.core_dump(&path).unwrap();
    let dump = CoreDump::load(&path).unwrap();
    let evidence = dump.data.iter().any(|(range, bytes)| {
        range.start == DATA && bytes.len() == 4 << 20 && bytes[0x1000..].starts_with(b"evidence")
    });
    assert!(
        evidence,
        "{:x?}",
        dump.data.iter().map(|(range, _)| range).collect::<Vec<_>>()
    );
    let pc = dump.registers.iter().find(|(id, _)| id.0 == PC).unwrap();
    assert_eq!(*pc.1, RegisterValue::U32(0x2468));
}
