// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulated board as tests see it: an image that runs, cells in its memory by their symbols, and a power switch.
//!
//! It panics freely: a test whose board fails has failed.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bench_probe::Image;
use bench_probe::qemu::{Config, Controls, Network, Qemu, is_installed};
use bench_probe::virtual_probe::cortex_m::Machine;
use tempfile::TempDir;

/// The board of all images here.
pub const BOARD: &str = "mps2-an385";

/// How long the firmware may take for anything. Far more than it needs on a machine at its limits.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a cell is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(1);

/// An image of the board; says visibly that the test is skipped when the image or the emulator is absent.
pub fn image(name: &str) -> Option<Image> {
    let path = test_material::firmware(BOARD, name)?;
    if !is_installed() {
        println!("SKIPPED: qemu-system-arm absent, `cargo xtask setup` installs it");
        return None;
    }
    Some(Image::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A board with power.
#[derive(Debug)]
pub struct Target {
    image: Image,
    qemu: Qemu,
    controls: Controls,
    _sockets: TempDir,
}

impl Target {
    /// Gives power to a board with this image. The PSRAM lies in the file, if there is one.
    pub fn start(image: &Image, psram: Option<&Path>, network: Network) -> Self {
        let sockets = TempDir::new().expect("a directory for sockets");
        let config = Config {
            psram: psram.map(Path::to_owned),
            network,
            ..Config::mps2_an385(sockets.path())
        };
        let (qemu, mut controls) = Qemu::start(config).expect("the emulator starts");
        for segment in image.segments() {
            let address = u32::try_from(segment.address).expect("a 32-bit image");
            controls.write(address, &segment.bytes).expect("memory");
        }
        controls.reset().expect("the board can be reset");
        controls.go().expect("the board runs");
        Self {
            image: image.clone(),
            qemu,
            controls,
            _sockets: sockets,
        }
    }

    /// The word behind a symbol, read while the firmware runs.
    pub fn cell(&mut self, symbol: &str) -> u32 {
        let mut bytes = [0; 4];
        let address = self.address(symbol);
        self.controls.read(address, &mut bytes).expect("memory");
        u32::from_le_bytes(bytes)
    }

    /// Writes the word behind a symbol while the firmware runs.
    pub fn set_cell(&mut self, symbol: &str, word: u32) {
        let address = self.address(symbol);
        self.controls
            .write(address, &word.to_le_bytes())
            .expect("memory");
    }

    /// Waits until the word behind a symbol is as wanted.
    pub fn await_cell(&mut self, symbol: &str, wanted: impl Fn(u32) -> bool) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let word = self.cell(symbol);
            if wanted(word) {
                return word;
            }
            assert!(Instant::now() < deadline, "{symbol} stays {word:#x}");
            thread::sleep(POLL);
        }
    }

    /// Reads memory while the firmware runs.
    pub fn read(&mut self, address: u32, into: &mut [u8]) {
        self.controls.read(address, into).expect("memory");
    }

    /// Kills the board.
    pub fn cut_power(mut self) {
        self.qemu.kill();
    }

    fn address(&self, symbol: &str) -> u32 {
        let address = self.image.symbol(symbol);
        let address = address.unwrap_or_else(|| panic!("the image has no {symbol}"));
        u32::try_from(address).expect("a 32-bit image")
    }
}
