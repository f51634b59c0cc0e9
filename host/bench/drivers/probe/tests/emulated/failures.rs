// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cables pulled, wrong boards, lost emulators: every failure has a clear message, and the next run recovers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_probe::qemu::{Config, Qemu, StartError};
use bench_probe::virtual_probe::Unplug;
use bench_probe::{Board, BoardState, Error, Flashing, MPS2_AN385};

use crate::bench::{self, Rig};
use crate::{DATA, PATIENCE};

#[test]
fn a_probe_unplugged_while_flashing_leaves_the_board_unknown_and_the_next_run_recovers() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let board_name = rig.probe.selector().to_string();
    let known = BoardState::Known(image.build_id().clone());
    // How many commands flashing takes, to pull the cable at many places between the first and the last.
    let mut board = rig.attach();
    let before = rig.probe.answered();
    assert_eq!(board.flash(&image).unwrap(), Flashing::Flashed);
    let whole = rig.probe.answered() - before;
    drop(board);
    assert!(whole > 30, "{whole}");
    let moments = (1..12)
        .map(|part| Unplug::AfterCommands(whole * part / 12))
        .chain([Unplug::AfterBytes(3000), Unplug::AfterBytes(7001)]);
    for moment in moments {
        assert_eq!(rig.states.read(&board_name), known);
        let mut board = rig.attach();
        // Otherwise there would be nothing to flash.
        board.write(image.note().address, &[0; 16]).unwrap();
        rig.probe.unplug(moment);
        let error = board.flash(&image).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Flash { .. }), "{moment:?}: {text}");
        assert!(
            text.contains("marked unknown") && text.contains(&board_name),
            "{text}"
        );
        drop(board);
        assert_eq!(
            rig.states.read(&board_name),
            BoardState::Unknown,
            "{moment:?}"
        );
        // Nobody there as long as the cable is out.
        let absent = Board::attach(&rig.probe.selector(), &MPS2_AN385, &rig.states);
        assert!(matches!(absent, Err(Error::Attach { .. })), "{absent:?}");
        rig.probe.plug();
        let mut board = rig.attach();
        assert_eq!(
            board.flash(&image).unwrap(),
            Flashing::Flashed,
            "{moment:?}"
        );
        board.reset().unwrap();
        bench::rounds_pass(&mut board, &image);
    }
}

#[test]
fn an_unknown_board_is_flashed_even_when_the_note_is_there() {
    let Some(rig) = Rig::start() else { return };
    let Some(image) = bench::image() else { return };
    let mut board = rig.attach();
    board.flash(&image).unwrap();
    let name = rig.probe.selector().to_string();
    rig.states.write(&name, &BoardState::Unknown).unwrap();
    assert!(board.holds(&image).unwrap());
    assert_eq!(board.flash(&image).unwrap(), Flashing::Flashed);
}

#[test]
fn a_probe_unplugged_at_any_command_of_attaching_is_an_error_and_no_panic() {
    let Some(rig) = Rig::start() else { return };
    let before = rig.probe.answered();
    drop(rig.attach());
    let whole = rig.probe.answered() - before;
    for command in 0..whole {
        rig.probe.unplug(Unplug::AfterCommands(command.max(1)));
        match Board::attach(&rig.probe.selector(), &MPS2_AN385, &rig.states) {
            // The last commands are those of letting go.
            Ok(board) => drop(board),
            Err(error) => {
                let clear = matches!(error, Error::Attach { .. } | Error::Probe { .. });
                assert!(clear, "{command}: {error}");
            }
        }
        rig.probe.plug();
    }
    rig.attach().halt().unwrap();
}

#[test]
fn the_wrong_board_is_refused() {
    let Some(rig) = Rig::of("mps2-an386") else {
        return;
    };
    let error = Board::attach(&rig.probe.selector(), &MPS2_AN385, &rig.states).unwrap_err();
    let selector = rig.probe.selector();
    assert_eq!(
        error.to_string(),
        format!(
            "the board on the probe {selector} is no mps2-an385: CPUID.PARTNO is 0xc240, not 0xc230; correct the selector or the board's part"
        )
    );
}

#[test]
fn each_of_several_probes_leads_to_its_own_board() {
    let (Some(one), Some(two)) = (Rig::start(), Rig::start()) else {
        return;
    };
    let mut boards = [one.attach(), two.attach()];
    for (board, name) in boards.iter_mut().zip([b"one", b"two"]) {
        board.write(DATA, name).unwrap();
    }
    for (board, name) in boards.iter_mut().zip([b"one", b"two"]) {
        let mut found = [0; 3];
        board.read(DATA, &mut found).unwrap();
        assert_eq!(&found, name);
    }
    // A probe in use is not shared.
    let busy = Board::attach(&one.probe.selector(), &MPS2_AN385, &one.states);
    let error = busy.unwrap_err().to_string();
    assert!(error.contains("no other program uses the probe"), "{error}");
}

#[test]
fn an_emulator_that_died_is_an_error() {
    let Some(mut rig) = Rig::start() else { return };
    let mut board = rig.attach();
    rig.qemu.kill();
    let error = board.read_word(0x2000_0000).unwrap_err();
    assert!(matches!(error, Error::Probe { .. }), "{error}");
}

#[test]
fn nonsense_is_answered_and_the_probe_lives_on() {
    let Some(rig) = Rig::start() else { return };
    let mut host = TcpStream::connect(rig.probe.address()).unwrap();
    host.write_all(b"noise+ !#!GA#!ZZ#!HM00#!HM000023000040e0000000000001ff#")
        .unwrap();
    let mut answers = vec![0; "&N0#&Ksmgw-bench virtual probe#&N0#&P0#".len()];
    host.read_exact(&mut answers).unwrap();
    assert_eq!(
        String::from_utf8(answers).unwrap(),
        "&N0#&Ksmgw-bench virtual probe#&N0#&P0#"
    );
    drop(host);
    rig.attach().halt().unwrap();
}

#[test]
fn psram_outlives_a_killed_board() {
    if !bench_probe::qemu::is_installed() {
        return println!("SKIPPED: {}", StartError::Absent);
    }
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        psram: Some(folder.path().join("psram")),
        ..Config::mps2_an385(folder.path())
    };
    for round in [0u8, 1] {
        let (mut qemu, mut controls) = Qemu::start(config.clone()).unwrap();
        use bench_probe::virtual_probe::cortex_m::Machine;
        let mut found = [0];
        controls.read(0x2100_0042, &mut found).unwrap();
        assert_eq!(found, [round * 7]);
        controls.write(0x2100_0042, &[7]).unwrap();
        qemu.kill();
    }
}

#[test]
fn a_board_that_qemu_does_not_know_is_told() {
    if !bench_probe::qemu::is_installed() {
        return println!("SKIPPED: {}", StartError::Absent);
    }
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        machine: "no-such-board".to_owned(),
        ..Config::mps2_an385(folder.path())
    };
    let error = Qemu::start(config).unwrap_err();
    assert!(
        error.to_string().contains("unsupported machine type"),
        "{error}"
    );
    let long = Config::mps2_an385(folder.path().join("l".repeat(100)));
    assert!(matches!(Qemu::start(long), Err(StartError::Path(_))));
}

/// Makes this test program the owner of a board when it runs itself.
const OWNER_VARIABLE: &str = "BENCH_PROBE_TEST_OWNER";

#[test]
fn qemu_dies_with_an_owner_that_is_killed() {
    if std::env::var_os(OWNER_VARIABLE).is_some() {
        let rig = Rig::start().unwrap();
        println!("\nqemu={}", rig.qemu.id());
        loop {
            thread::park();
        }
    }
    if !bench_probe::qemu::is_installed() {
        return println!("SKIPPED: {}", StartError::Absent);
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("failures::qemu_dies_with_an_owner_that_is_killed")
        .env(OWNER_VARIABLE, "own")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let qemu: u32 = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("qemu=")?.parse().ok())
        .unwrap();
    assert!(runs(qemu));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while runs(qemu) {
        assert!(Instant::now() < deadline, "QEMU outlives its owner");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is QEMU and no zombie.
fn runs(process: u32) -> bool {
    let line = fs::read(Path::new("/proc").join(process.to_string()).join("cmdline"));
    line.is_ok_and(|line| line.starts_with(b"qemu-system-arm"))
}
