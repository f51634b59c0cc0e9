// SPDX-License-Identifier: MIT OR Apache-2.0
//! probe-rs, as it is, against the virtual probe in front of QEMU: what a real probe and board would be asked to do.

mod bench;
mod failures;
mod watching;

use std::time::Duration;

use bench_probe::{Flashing, MPS2_AN385};
use probe_rs::{Core, CoreStatus, HaltReason};

use bench::Rig;

/// Within which an emulated core does what it is told, on a machine at its limits.
const PATIENCE: Duration = Duration::from_secs(30);

const CODE: u64 = 0;
const DATA: u64 = 0x2000_0000;
const PSRAM: u64 = 0x2100_0000;
const PC: u16 = 15;
const XPSR: u16 = 16;

#[test]
fn registers_are_read_and_written_while_halted() {
    let Some(rig) = Rig::start() else { return };
    let mut board = rig.attach();
    let result = board.on_core("testing registers", |core| {
        core.halt(PATIENCE)?;
        for register in (0..=12).chain([14]) {
            core.write_core_reg(register, 0x1000_0000 + u32::from(register))?;
        }
        core.write_core_reg(PC, 0x1234u32)?;
        (0..=12)
            .chain([14, PC])
            .map(|register| core.read_core_reg::<u32>(register))
            .collect::<Result<Vec<_>, _>>()
    });
    let expected: Vec<u32> = (0..=12)
        .chain([14])
        .map(|n| 0x1000_0000 + n)
        .chain([0x1234])
        .collect();
    assert_eq!(result.unwrap(), expected);
}

#[test]
fn memory_is_the_same_from_both_sides_of_every_boundary() {
    let Some(rig) = Rig::start() else { return };
    let mut board = rig.attach();
    // Longer than one command of the probe, not a multiple of a word, and at an odd address.
    let bytes: Vec<u8> = (0..10_001u32).map(|n| (n * 7 + n / 251) as u8).collect();
    for address in [CODE + 0x1001, DATA + 3, PSRAM + 0xff_0001] {
        board.write(address, &bytes).unwrap();
        let mut found = vec![0; bytes.len()];
        board.read(address, &mut found).unwrap();
        assert_eq!(found, bytes, "{address:#x}");
    }
    board.write_word(0x4002_8000, 1).unwrap();
    assert_eq!(
        board.read_word(0x4002_8000).unwrap() & 1,
        1,
        "a device register: the LEDs"
    );
}

#[test]
fn an_empty_board_locks_up_and_is_halted_again() {
    let Some(rig) = Rig::start() else { return };
    let mut board = rig.attach();
    let result = board.on_core("testing lock-up", |core| {
        core.reset()?;
        let locked = core.status()?;
        core.halt(PATIENCE)?;
        Ok((locked, core.status()?.is_halted()))
    });
    assert_eq!(result.unwrap(), (CoreStatus::LockedUp, true));
}

#[test]
fn an_image_is_flashed_once_and_runs() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    assert_eq!(board.flash(&image).unwrap(), Flashing::Flashed);
    assert_eq!(board.verify(&image).unwrap(), None);
    board.reset().unwrap();
    bench::rounds_pass(&mut board, &image);
    // The second time nothing is written and the firmware runs on.
    let before = rig.probe.answered();
    assert_eq!(board.flash(&image).unwrap(), Flashing::AlreadyThere);
    assert!(rig.probe.answered() - before < 20, "only the note is read");
    bench::rounds_pass(&mut board, &image);
    drop(board);
    // Neither does another session write.
    let mut board = rig.attach();
    assert_eq!(board.flash(&image).unwrap(), Flashing::AlreadyThere);
}

#[test]
fn memory_that_changed_is_found_and_written_again() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    let last = image
        .segments()
        .iter()
        .max_by_key(|segment| segment.bytes.len())
        .unwrap();
    let at = last.address + last.bytes.len() as u64 - 1;
    board
        .write(at, &[!last.bytes[last.bytes.len() - 1]])
        .unwrap();
    assert_eq!(board.verify(&image).unwrap(), Some(at));
    // The note still stands, so the build id alone says that the image is there; without it, it is not.
    assert_eq!(board.flash(&image).unwrap(), Flashing::AlreadyThere);
    board.write(image.note().address + 16, &[0; 4]).unwrap();
    assert_eq!(board.flash(&image).unwrap(), Flashing::Flashed);
    assert_eq!(board.verify(&image).unwrap(), None);
}

#[test]
fn a_breakpoint_stops_the_core_at_its_address_again_and_again() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    let round = image.symbol("selftest_round").unwrap() & !1;
    let halted_there = |core: &mut Core<'_>| {
        core.wait_for_core_halted(PATIENCE)?;
        Ok::<_, probe_rs::Error>((core.status()?, core.read_core_reg::<u32>(PC)?))
    };
    board
        .on_core("setting a breakpoint", |core| core.set_hw_breakpoint(round))
        .unwrap();
    board.reset().unwrap();
    for _ in 0..3 {
        let (status, pc) = board
            .on_core("awaiting the breakpoint", halted_there)
            .unwrap();
        assert!(
            matches!(status, CoreStatus::Halted(HaltReason::Breakpoint(_))),
            "{status:?}"
        );
        assert_eq!(u64::from(pc), round);
        board.run().unwrap();
    }
    board
        .on_core("clearing a breakpoint", |core| {
            core.wait_for_core_halted(PATIENCE)?;
            core.clear_hw_breakpoint(round)?;
            core.run()
        })
        .unwrap();
    bench::rounds_pass(&mut board, &image);
    // Set while the core runs.
    let (_, pc) = board
        .on_core("setting a breakpoint", |core| {
            core.set_hw_breakpoint(round)?;
            halted_there(core)
        })
        .unwrap();
    assert_eq!(u64::from(pc), round);
}

#[test]
fn a_step_executes_one_instruction() {
    let Some(rig) = Rig::start() else { return };
    let mut board = rig.attach();
    // movs r0, #42; movs r1, #43; b .
    board
        .write(DATA, &[0x2a, 0x20, 0x2b, 0x21, 0xfe, 0xe7])
        .unwrap();
    let result = board.on_core("stepping", |core| {
        core.halt(PATIENCE)?;
        core.write_core_reg(XPSR, 1u32 << 24)?;
        core.write_core_reg(0, 0u32)?;
        core.write_core_reg(1, 0u32)?;
        core.write_core_reg(PC, DATA as u32)?;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let pc = core.step()?.pc;
            let registers = [core.read_core_reg::<u32>(0)?, core.read_core_reg(1)?];
            seen.push((pc - DATA, registers, core.status()?));
        }
        Ok(seen)
    });
    let step = CoreStatus::Halted(HaltReason::Step);
    assert_eq!(
        result.unwrap(),
        [(2, [42, 0], step), (4, [42, 43], step), (4, [42, 43], step)]
    );
}

#[test]
fn a_reset_starts_at_the_reset_vector() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    let (mut vectors, starts) = ([0; 8], |word: [u8; 4]| u32::from_le_bytes(word));
    board.read(CODE, &mut vectors).unwrap();
    let [stack, reset] = [0, 4].map(|at| starts(vectors[at..at + 4].try_into().unwrap()));
    board.reset().unwrap();
    bench::rounds_pass(&mut board, &image);
    board.reset_and_halt().unwrap();
    let registers = board.on_core("reading registers", |core| {
        Ok([core.read_core_reg::<u32>(13)?, core.read_core_reg(PC)?])
    });
    assert_eq!(registers.unwrap(), [stack, reset & !1]);
    board.run().unwrap();
    bench::rounds_pass(&mut board, &image);
}

#[test]
fn a_released_core_runs_without_debug() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    let round = image.symbol("selftest_round").unwrap() & !1;
    board
        .on_core("setting a breakpoint", |core| core.set_hw_breakpoint(round))
        .unwrap();
    board.reset_and_halt().unwrap();
    board.release().unwrap();
    let answered = rig.probe.answered();
    let mut board = rig.attach();
    assert!(rig.probe.answered() > answered);
    bench::rounds_pass(&mut board, &image);
    assert_eq!(board.part(), &MPS2_AN385);
}
