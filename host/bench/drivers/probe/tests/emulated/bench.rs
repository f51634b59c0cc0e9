// SPDX-License-Identifier: MIT OR Apache-2.0
//! An emulated board on a virtual probe, for one test.

use std::time::Instant;

use bench_probe::qemu::{self, Config, Qemu};
use bench_probe::virtual_probe::VirtualProbe;
use bench_probe::{Board, Image, MPS2_AN385, StateDir};
use tempfile::TempDir;

use crate::PATIENCE;

/// Everything of one board.
pub struct Rig {
    pub probe: VirtualProbe,
    pub qemu: Qemu,
    pub states: StateDir,
    pub folder: TempDir,
}

impl Rig {
    /// The usual board; says visibly that the test is skipped where there is no QEMU.
    pub fn start() -> Option<Self> {
        Self::of("mps2-an385")
    }

    /// Another of QEMU's boards.
    pub fn of(machine: &str) -> Option<Self> {
        if !qemu::is_installed() {
            println!("SKIPPED: {}", qemu::StartError::Absent);
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            machine: machine.to_owned(),
            ..Config::mps2_an385(folder.path().join("run"))
        };
        let (qemu, controls) = Qemu::start(config).unwrap();
        Some(Self {
            probe: VirtualProbe::start(controls).unwrap(),
            qemu,
            states: StateDir::new(folder.path().join("states")),
            folder,
        })
    }

    pub fn attach(&self) -> Board {
        Board::attach(&self.probe.selector(), &MPS2_AN385, &self.states).unwrap()
    }
}

/// The firmware made for these tests; says visibly that the test is skipped when it is not built.
pub fn image() -> Option<Image> {
    let path = test_material::firmware("mps2-an385", "selftest")?;
    Some(Image::read(&path).unwrap())
}

/// Watches the firmware count, without halting it.
pub fn rounds_pass(board: &mut Board, image: &Image) {
    let cell = image.symbol("SELFTEST_ROUNDS").unwrap() as u32;
    let deadline = Instant::now() + PATIENCE;
    let first = board.read_word(cell).unwrap();
    while board.read_word(cell).unwrap() <= first {
        assert!(Instant::now() < deadline, "the firmware stands still");
    }
}
