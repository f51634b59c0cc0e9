// SPDX-License-Identifier: MIT OR Apache-2.0
//! Simulated meters on pseudo terminals, read by our reader, and their telegrams read by libraries that are none of ours.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smgw_meters::profile::{Identity, NamedUnit, Profile, Protocol};
use smgw_meters::read::{self, Content, Options, PortError, Report, Telegram};
use smgw_meters::sim::{Pty, Shown, play};
use smgw_meters::{Detector, Player, Simulator, Transmission};
use smgw_peers::meters::Clock;
use smgw_units::{Decimal, Nanos, UtcNanos};

fn profile(name: &str) -> Profile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(format!("../../../rigs/meters/{name}.toml"));
    Profile::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

const UTC: UtcNanos = UtcNanos(1_790_000_000_000_000_000);

fn options(profile: &Profile) -> Options {
    let mut options = Options {
        protocol: Some(profile.protocol),
        baud: Some(profile.line.baud),
        patience: Duration::from_secs(30),
        interval: Duration::from_millis(500),
        ..Options::default()
    };
    for device in &profile.devices {
        match device.identity {
            Identity::Mbus { address, .. } => options.addresses.push(address),
            Identity::Wmbus { key, .. } => options.key = key,
            Identity::Lmn { station, .. } => options.addresses.push(station),
            _ => {}
        }
    }
    options
}

/// Reads until a round ended; gives its telegrams.
fn read_round(path: &Path, options: Options) -> Result<Vec<Telegram>, PortError> {
    let mut detector = Detector::new(options, Clock::now());
    let end = Clock::now() + Duration::from_secs(60);
    let mut telegrams = Vec::new();
    let stop = || Clock::now() >= end;
    read::port(path, &mut detector, &stop, &mut |_, report| {
        match report {
            Report::Telegram(telegram) => telegrams.push(telegram),
            Report::RoundEnded => return false,
            _ => {}
        }
        true
    })?;
    Ok(telegrams)
}

/// Numbers in units without prefix, with every digit.
fn sent_numbers(profile: &Profile, transmission: &Transmission) -> Vec<Decimal> {
    let numbers = transmission
        .samples
        .iter()
        .filter_map(|sample| match sample.shown {
            Shown::Number(number) => Some((sample, number)),
            _ => None,
        });
    numbers
        .map(|(sample, number)| {
            let own = |device: &&smgw_meters::profile::Device| {
                device
                    .registers
                    .get(sample.register)
                    .is_some_and(|own| own.obis == sample.obis)
            };
            let device = profile.devices.iter().find(own).unwrap();
            let prefix = device.registers[sample.register].unit.prefix;
            Decimal::new(number.mantissa, number.exponent + prefix).normalized()
        })
        .collect()
}

fn read_numbers(telegram: &Telegram) -> Vec<Decimal> {
    let numbers = telegram
        .readings
        .iter()
        .filter_map(|reading| match reading.value {
            Content::Number(number) => Some((number, &reading.unit)),
            Content::Text(_) => None,
        });
    numbers
        .map(|(number, unit)| {
            let prefix = NamedUnit::parse(unit).map_or(0, |unit| unit.prefix);
            Decimal::new(number.mantissa, number.exponent + prefix).normalized()
        })
        .collect()
}

#[test]
fn every_meter_that_ships_is_read_over_its_line_exactly() {
    let names = [
        "fnn-basic",
        "holley",
        "heat",
        "mbus-two",
        "d0",
        "d0-push",
        "p1",
        "water-oms",
        "sml-pull",
        "lmn-wired",
    ];
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let profile = profile(name);
                let player = Player::start(profile.clone(), UTC, 1, None).unwrap();
                let telegrams = read_round(player.path(), options(&profile));
                let telegrams = telegrams.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(
                    telegrams.len() >= profile.devices.len(),
                    "{name}: {telegrams:?}"
                );
                // What the reader has, the player has handed over; it may note that a moment later.
                let end = Clock::now() + Duration::from_secs(5);
                for telegram in &telegrams {
                    let read = read_numbers(telegram);
                    assert!(!read.is_empty(), "{name}");
                    let noted = || {
                        player
                            .sent()
                            .iter()
                            .any(|sent| sent_numbers(&profile, sent) == read)
                    };
                    while !noted() {
                        assert!(
                            Clock::now() < end,
                            "{name}: nobody sent {read:?}: {:?}",
                            player.sent()
                        );
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
}

#[test]
fn a_port_that_vanishes_in_mid_frame_is_lost_and_comes_back_under_its_link() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("meter");
    let mut profile = profile("fnn-basic");
    profile.interval = Duration::from_millis(500);
    profile.faults = vec!["vanish=200ms@at:1s".parse().unwrap()];
    let options = options(&profile);
    let mut simulator = Simulator::new(profile, Clock::now(), UTC, 1);
    let mut pty = Pty::open(simulator.line(), Some(link.clone()), None).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stop = || done.load(Ordering::Acquire);
            play(&mut simulator, &mut pty, &stop, &mut |_, _, _| true).unwrap();
        });
        let outcome = {
            let mut detector = Detector::new(options.clone(), Clock::now());
            let end = Clock::now() + Duration::from_secs(30);
            read::port(
                &link,
                &mut detector,
                &|| Clock::now() >= end,
                &mut |_, _| true,
            )
        };
        let end = Clock::now() + Duration::from_secs(30);
        let mut again = Err(PortError::Lost(String::new()));
        while again.is_err() && Clock::now() < end {
            again = read_round(&link, options.clone());
        }
        done.store(true, Ordering::Release);
        assert!(matches!(outcome, Err(PortError::Lost(_))), "{outcome:?}");
        assert_eq!(again.unwrap().len(), 1);
    });
    drop(pty);
    assert!(!link.is_symlink(), "the link goes with the meter");
}

#[test]
fn a_port_another_process_has_is_refused_with_its_name() {
    let player = Player::start(profile("fnn-basic"), UTC, 1, None).unwrap();
    let holder = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(player.path())
        .unwrap();
    let mut other = Command::new("cat")
        .stdin(Stdio::from(holder))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let outcome = read_round(player.path(), Options::default());
    other.kill().unwrap();
    other.wait().unwrap();
    match outcome {
        Err(PortError::Busy {
            owner: Some((id, _)),
            ..
        }) => assert_eq!(id, other.id()),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn a_port_that_is_not_there_is_missing() {
    let outcome = read_round(Path::new("/dev/no-such-port"), Options::default());
    assert!(matches!(outcome, Err(PortError::Missing(_))), "{outcome:?}");
}

#[test]
fn who_stays_silent_is_told_what_to_look_at() {
    let mut silent = profile("fnn-basic");
    silent.faults = vec!["silent".parse().unwrap()];
    let player = Player::start(silent, UTC, 1, None).unwrap();
    let options = Options {
        protocol: Some(Protocol::SmlPush),
        baud: Some(9_600),
        patience: Duration::from_millis(100),
        ..Options::default()
    };
    let mut detector = Detector::new(options, Clock::now());
    let mut advice = Vec::new();
    read::port(player.path(), &mut detector, &|| false, &mut |_, report| {
        if let Report::NothingFound(found) = report {
            advice = found;
        }
        true
    })
    .unwrap();
    assert!(
        advice.iter().any(|line| line.contains("not one byte")),
        "{advice:?}"
    );
}

/// A Python that has the library, or none, which is said.
fn python(library: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let named = std::env::var_os("SMGW_BENCH_PYTHON").map(PathBuf::from);
    let known = [
        root.join("target/python/bin/python3"),
        PathBuf::from("python3"),
    ];
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command
            .args(["-c", &format!("import {library}")])
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = named.into_iter().chain(known).find(has);
    if found.is_none() {
        println!("SKIPPED: foreign decoder {library}: no Python has it");
    }
    found
}

/// What the foreign decoder prints about a telegram.
fn decode(library: &str, arguments: &[&str], telegram: &[u8]) -> Option<Vec<(String, String)>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/decode.py");
    let mut child = Command::new(python(library)?)
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let hex: String = telegram.iter().map(|byte| format!("{byte:02x}")).collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(hex.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{library} refuses the telegram");
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| {
        line.rsplit_once(' ')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    Some(text.lines().filter_map(pair).collect())
}

/// The first telegram a meter pushes, or answers to these bytes with.
fn telegram(profile: Profile, request: &[u8]) -> Transmission {
    let epoch = Nanos(1_000_000_000_000);
    let mut simulator = Simulator::new(profile, epoch, UTC, 1);
    for (index, byte) in request.iter().enumerate() {
        simulator.handle_input(epoch + Duration::from_millis(5 * index as u64), *byte);
    }
    let due = simulator.poll_timeout().unwrap();
    simulator.poll_transmit(due).unwrap()
}

#[test]
fn smllib_reads_the_same_numbers() {
    for (name, arguments) in [
        ("fnn-basic", &["sml", "x25"]),
        ("holley", &["sml", "kermit"]),
    ] {
        let sent = telegram(profile(name), &[]);
        let Some(read) = decode("smllib", arguments, &sent.bytes()) else {
            return;
        };
        let numbers = sent
            .samples
            .iter()
            .filter_map(|sample| match &sample.shown {
                Shown::Number(number) => {
                    Some((sample.obis.unwrap().to_string(), number.to_string()))
                }
                _ => None,
            });
        assert_eq!(read, numbers.collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn dsmr_parser_reads_the_same_numbers() {
    let sent = telegram(profile("p1"), &[]);
    let Some(read) = decode("dsmr_parser", &["p1"], &sent.bytes()) else {
        return;
    };
    let value = |name: &str| {
        read.iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("ELECTRICITY_USED_TARIFF_1"), Some("123.456"));
    assert_eq!(value("ELECTRICITY_DELIVERED_TARIFF_1"), Some("7.000"));
    assert_eq!(value("CURRENT_ELECTRICITY_USAGE"), Some("1.193"));
    assert_eq!(value("EQUIPMENT_IDENTIFIER"), Some("534D42303031"));
}

#[test]
fn py_meter_bus_reads_the_same_numbers() {
    let request = [0x10, 0x5b, 5, 0x60, 0x16];
    let sent = telegram(profile("heat"), &request);
    let Some(read) = decode("meterbus", &["mbus"], &sent.bytes()) else {
        return;
    };
    let values: Vec<_> = read
        .iter()
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .collect();
    // Wh, m3, W, m3/h, °C, °C; the library gives binary fractions.
    let expected = [12_345_000.0, 987.654, 4_200.0, 0.321, 65.3, 41.2];
    assert_eq!(values.len(), expected.len(), "{read:?}");
    for (value, expected) in values.iter().zip(expected) {
        assert!((value - expected).abs() < 1e-9 * expected, "{read:?}");
    }
}
