// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controllable system without usable settings says so and stays as it is, so that they can be written.

use std::path::{Path, PathBuf};

use bench_probe::qemu::{Config, Network, Qemu};
use bench_probe::virtual_probe::VirtualProbe;
use bench_probe::{Board, Image, LogLine, MPS2_AN385, StateDir};
use on_target::{PATIENCE, WATCHDOG_CONTROL, image};
use smgw_cls::settings::{self, Settings};
use smgw_flash_store::Store;
use smgw_flash_store::memory::Memory;
use smgw_socks::ConnectName;

/// The board's clock: the low word of its milliseconds.
const CLOCK: &str = "SMGW_MILLISECONDS";

/// The board is watched for so many of its milliseconds. A start takes a few.
const WATCHED_MS: u32 = 2_000;

/// FPGAIO LEDs; bit 0 is the relay.
const LEDS: u32 = 0x4002_8000;

/// The partition, as the board divides it.
const SECTOR: usize = 4096;
const SECTORS: usize = 32;
const SLOTS: u32 = 8;

/// The same bytes in each run, without any order (SplitMix64).
fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x736d_6777_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A partition that holds this value.
fn holding(value: &[u8]) -> Vec<u8> {
    let mut store = Store::open(Memory::<4, SECTOR>::erased(SECTORS), SLOTS).expect("a layout");
    store.replace(value).expect("room");
    store.into_flash().bytes().to_vec()
}

/// Settings that are sound but for the certificate, which is none.
fn without_certificate() -> Vec<u8> {
    let settings = Settings {
        server_name: ConnectName::parse(b"emt.example").expect("a name"),
        network: settings::Network {
            address: [10, 0, 3, 20].into(),
            prefix: 24,
            router: None,
        },
        proxy: std::net::SocketAddrV4::new([10, 0, 3, 2].into(), 8443),
        certificate: b"no certificate".to_vec(),
        key: settings::PrivateKey {
            curve: settings::KeyCurve::BrainpoolP256r1,
            scalar: vec![1; 32].into(),
        },
        gateway_certificate: b"no certificate either".to_vec(),
        limits: settings::Limits::default(),
        back_off: settings::BackOff::default(),
    };
    settings.encode().expect("settings").to_vec()
}

/// Flashes the image and, if there is one, the partition; gives what the board complains of after it was left alone.
fn complaint(image: &Image, partition: Option<&[u8]>) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    let (_qemu, _probe, mut board) = plugged(folder.path());
    board.flash(image).expect("flashing");
    if let Some(bytes) = partition {
        let place = MPS2_AN385.settings.expect("the board has a partition");
        board.program(place.address, bytes).expect("programming");
    }
    board.reset().expect("reset");
    let complains = |line: &LogLine| line.level == Some("error");
    let mut log = board.await_log(PATIENCE, complains).expect("a log");
    // A board that starts anew again and again never gets so far.
    let clock = image.symbol(CLOCK).expect("the image has a clock");
    let clock = u32::try_from(clock).expect("a 32-bit image");
    let deadline = std::time::Instant::now() + PATIENCE;
    while board.read_word(clock).expect("memory") < WATCHED_MS {
        assert!(
            std::time::Instant::now() < deadline,
            "the clock does not get there: {log:?}"
        );
        log.extend(board.logs().expect("a log"));
    }
    log.extend(board.logs().expect("a log"));
    // It would start the board anew much later than we look.
    assert_eq!(board.read_word(WATCHDOG_CONTROL).expect("memory"), 0);
    assert_eq!(board.read_word(LEDS).expect("memory") & 1, 0, "the relay");
    let complaints: Vec<&LogLine> = log.iter().filter(|line| complains(line)).collect();
    let [complaint] = complaints[..] else {
        panic!("{log:?}");
    };
    complaint.text.clone()
}

/// A board with an erased partition, and a debug probe.
fn plugged(folder: &Path) -> (Qemu, VirtualProbe, Board) {
    let inside = |name: &str| -> PathBuf { folder.join(name) };
    let (qemu, controls) = Qemu::start(Config {
        psram: Some(inside("psram")),
        network: Network::User {
            options: vec!["restrict=yes".to_owned()],
            mac: "52:54:00:10:03:14".to_owned(),
        },
        ..Config::mps2_an385(folder)
    })
    .expect("the emulator starts");
    let probe = VirtualProbe::start(controls).expect("the probe starts");
    let states = StateDir::new(inside("states"));
    let board = Board::attach(&probe.selector(), &MPS2_AN385, &states).expect("attaching");
    (qemu, probe, board)
}

#[test]
fn board_without_settings_says_so_and_stays() {
    let Some(image) = image("cls") else {
        return;
    };
    let none = "cannot start: the board has no settings";
    assert_eq!(complaint(&image, None), none);
    let erased = vec![0xff; SECTORS * SECTOR];
    assert_eq!(complaint(&image, Some(&erased)), none);
    // Nothing of this is a value that the store ever finished.
    let random = random_bytes(SECTORS * SECTOR);
    assert_eq!(complaint(&image, Some(&random)), none);
}

#[test]
fn board_with_broken_settings_says_so_and_stays() {
    let Some(image) = image("cls") else {
        return;
    };
    // A whole value, but not settings; the reason is the decoder's own.
    let value = random_bytes(500);
    let reason = Settings::decode(&value).expect_err("no settings");
    let said = complaint(&image, Some(&holding(&value)));
    assert_eq!(said, format!("cannot start: {reason}"));
    // Settings, but nobody can start with them.
    let said = complaint(&image, Some(&holding(&without_certificate())));
    assert!(said.starts_with("cannot start: "), "{said}");
}
