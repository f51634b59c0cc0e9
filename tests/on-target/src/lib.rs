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

/// The CMSDK watchdog's control register: zero as long as it sleeps.
pub const WATCHDOG_CONTROL: u32 = 0x4000_8008;

/// How long the firmware may take for anything. Far more than it needs on a machine at its limits.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

/// RTT's control block: an identifier, numbers of channels up and down, and then the channels.
const RTT_ID: u32 = 16;
const RTT_HEADER: u32 = 24;
const RTT_CHANNEL: u32 = 24;

/// Fields of an RTT channel, by address: where its buffer is, its size, where the writer and the reader are.
struct Ring {
    fields: [u32; 4],
}

const WRITTEN: usize = 2;
const READ: usize = 3;

impl Ring {
    fn at(channel: u32) -> Self {
        Self {
            fields: [4, 8, 12, 16].map(|offset| channel + offset),
        }
    }
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
        let address = self.address(symbol);
        self.word(address)
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
        let address = self.address(symbol);
        self.await_word(address, wanted)
    }

    /// Waits until the word at an address is as wanted.
    pub fn await_word(&mut self, address: u32, wanted: impl Fn(u32) -> bool) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let word = self.word(address);
            if wanted(word) {
                return word;
            }
            assert!(Instant::now() < deadline, "{address:#x} stays {word:#x}");
            thread::sleep(POLL);
        }
    }

    /// Reads memory while the firmware runs.
    pub fn read(&mut self, address: u32, into: &mut [u8]) {
        self.controls.read(address, into).expect("memory");
    }

    /// What the firmware has written to an up channel of RTT since the last time.
    pub fn receive(&mut self, channel: u32) -> Vec<u8> {
        let ring = Ring::at(self.rtt() + RTT_HEADER + channel * RTT_CHANNEL);
        let [buffer, size, written, read] = ring.fields.map(|field| self.word(field));
        let mut bytes = Vec::new();
        let mut at = read;
        while at != written {
            let end = if at < written { written } else { size };
            let mut part = vec![0; (end - at) as usize];
            self.read(buffer + at, &mut part);
            bytes.extend(part);
            at = end % size;
        }
        self.set_word(ring.fields[READ], at);
        bytes
    }

    /// Writes to a down channel of RTT, waiting for room while there is none.
    pub fn send(&mut self, channel: u32, bytes: &[u8]) {
        let block = self.rtt();
        let up_channels = self.word(block + RTT_ID);
        let ring = Ring::at(block + RTT_HEADER + (up_channels + channel) * RTT_CHANNEL);
        let deadline = Instant::now() + PATIENCE;
        for byte in bytes {
            loop {
                let [buffer, size, written, read] = ring.fields.map(|field| self.word(field));
                if (written + 1) % size != read {
                    self.controls
                        .write(buffer + written, &[*byte])
                        .expect("memory");
                    self.set_word(ring.fields[WRITTEN], (written + 1) % size);
                    break;
                }
                assert!(Instant::now() < deadline, "nobody reads channel {channel}");
                thread::sleep(POLL);
            }
        }
    }

    /// Waits until the firmware has brought up RTT: the address of its control block.
    fn rtt(&mut self) -> u32 {
        let address = self.image.rtt().expect("the image has RTT");
        let address = u32::try_from(address).expect("a 32-bit image");
        let deadline = Instant::now() + PATIENCE;
        let mut id = [0; 10];
        while &id != b"SEGGER RTT" {
            assert!(Instant::now() < deadline, "RTT does not come up");
            self.read(address, &mut id);
        }
        address
    }

    fn word(&mut self, address: u32) -> u32 {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set_word(&mut self, address: u32, word: u32) {
        self.controls
            .write(address, &word.to_le_bytes())
            .expect("memory");
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
