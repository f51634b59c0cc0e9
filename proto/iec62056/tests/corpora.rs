// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with dialogues and telegrams of real meters that other programs have read; they are not
//! part of the repository, see [`test_material::corpus`].

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use smgw_iec62056::{
    Bcc, Block, Event, Framer, Identification, Mode, Reader, Telegram, Transmit, guess_medium, p1,
    reader,
};
use smgw_units::Nanos;
use test_material::{corpus, files};

const GAP: Duration = Duration::from_millis(1500);

fn telegrams(set: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(set).into_iter();
    let read = |(name, path): (String, PathBuf)| (name, fs::read(path).unwrap());
    folder
        .flat_map(|folder| files(&folder, extension))
        .map(read)
        .collect()
}

fn hex(list: &Json) -> Vec<Vec<u8>> {
    let bytes = |hex: &Json| {
        let hex = hex.as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    list.as_array().unwrap().iter().map(bytes).collect()
}

/// The telegrams a listener hears, and the bytes that belong to none.
fn heard(stream: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut framer = Framer::new(GAP, 0x1_0000);
    let (mut telegrams, mut lost) = (Vec::new(), 0);
    let mut take = |event: Option<Event<'_>>| match event {
        Some(Event::Telegram {
            telegram, noise, ..
        }) => {
            telegrams.push(telegram.bytes.to_vec());
            lost += noise;
        }
        Some(Event::Discarded { bytes, .. }) => lost += bytes,
        None => {}
    };
    for (at, byte) in stream.iter().enumerate() {
        take(framer.push(*byte, Nanos(at as u64)));
    }
    take(framer.idle(Nanos(u64::MAX)));
    (telegrams, lost)
}

/// Compares a block with what another program made of it; how many values.
fn compare(name: &str, block: &Block<'_>, expected: &Json) -> usize {
    let expected = expected.as_object().unwrap();
    // The other program was told the medium of short codes; we guess it, where it was.
    let prefixed = expected.keys().any(|code| {
        code.contains(':') && block.sets().flatten().all(|set| !set.address.contains(':'))
    });
    let medium = prefixed.then(|| guess_medium(block.lines));
    let mut compared = 0;
    for (code, value) in expected {
        let raw = value["raw"].as_str().unwrap();
        // Some expectations in the record belong to another telegram than the recorded one.
        let first_part = raw.split(", ").next().unwrap();
        if !String::from_utf8_lossy(block.lines).contains(first_part) {
            println!("{name:40} {code} ({raw}) is not in the telegram");
            continue;
        }
        compared += 1;
        let sets: Vec<_> = block
            .sets()
            .flatten()
            .filter(|set| {
                let found = set.code().unwrap();
                let found = medium.map_or(found, |medium| found.with_medium(medium));
                found.to_string() == *code
            })
            .collect();
        // Where a code comes twice, the last one counts.
        let set = sets.last().unwrap_or_else(|| panic!("{name}: no {code}"));
        assert_eq!(set.raw(), raw, "{name} {code}");
        let first = set.values().next().unwrap();
        if let Some(text) = value["value"].as_str() {
            assert_eq!(first.to_string(), text, "{name} {code}");
        }
        if let Some(unit) = value["unit"].as_str() {
            assert_eq!(first.unit, Some(unit), "{name} {code}");
        }
    }
    compared
}

#[test]
fn dialogues_are_understood_by_a_listener() {
    for (name, text) in telegrams("d0-smartmeter-obis", "json") {
        let case: Json = serde_json::from_slice(&text).unwrap();
        let stream = hex(&case["meter_sends"]).concat();
        let (telegrams, lost) = heard(&stream);
        assert!(!telegrams.is_empty(), "{name}");
        let mut values = 0;
        for bytes in &telegrams {
            let telegram = Telegram::parse(bytes).unwrap();
            let manufacturer = case["expected_session"]["deviceManufacturer"].as_str();
            assert_eq!(Some(telegram.identification.manufacturer), manufacturer);
            assert!(telegram.block.sets().all(|set| set.is_ok()), "{name}");
            assert!(
                telegram
                    .block
                    .sets()
                    .flatten()
                    .all(|set| set.code().is_some()),
                "{name}"
            );
            values += compare(&name, &telegram.block, &case["expected_obis"]);
        }
        let block = Telegram::parse(&telegrams[0]).unwrap().block;
        println!(
            "{name:40} {} telegrams, {} sets, {values} compared, {:?}, {lost} bytes lost",
            telegrams.len(),
            block.sets().count(),
            block.bcc,
        );
    }
}

#[test]
fn dialogues_are_held_by_a_reader() {
    for (name, text) in telegrams("d0-smartmeter-obis", "json") {
        let case: Json = serde_json::from_slice(&text).unwrap();
        let session = &case["expected_session"];
        let expected_sends = hex(&case["master_sends"]);
        let mode = match session["commMode"].as_str() {
            _ if expected_sends.is_empty() => Some(Mode::D),
            // The other program was told this mode against the identification.
            Some("A") => Some(Mode::A),
            _ => None,
        };
        let request = expected_sends.iter().find(|bytes| bytes.starts_with(b"/?"));
        let address = request.and_then(|line| smgw_iec62056::requested(line));
        let mut reader = Reader::new(reader::Config {
            address: address.unwrap_or_default().into(),
            wake_up: expected_sends
                .first()
                .is_some_and(|bytes| bytes.starts_with(&[0])),
            mode,
            // The check of several dialogues is a dummy; take it as it is.
            retries: 0,
            ..reader::Config::default()
        });
        let mut now = Nanos(0);
        let mut meter = hex(&case["meter_sends"]).into_iter();
        let (mut sent, mut speeds, mut events) = (Vec::new(), Vec::new(), Vec::new());
        reader.start(now);
        loop {
            while let Some(action) = reader.poll_transmit(now) {
                match action {
                    Transmit::Bytes(bytes) if bytes.starts_with(&[0]) => {}
                    Transmit::Bytes(bytes) => sent.push(bytes),
                    Transmit::Baud(baud) => speeds.push(baud.0),
                }
            }
            events.extend(std::iter::from_fn(|| reader.poll_event()));
            // The identification needs a request, the data a choice in modes C and E.
            let due = match events.last() {
                _ if mode == Some(Mode::D) => 0,
                Some(reader::Event::Identified { mode, .. }) if *mode >= Mode::C => 2,
                _ => 1,
            };
            let chunk = (sent.len() >= due).then(|| meter.next()).flatten();
            if let Some(chunk) = chunk {
                for byte in chunk {
                    now = now + Duration::from_millis(1);
                    reader.handle_input(now, byte);
                }
            } else if let Some(timeout) = reader.poll_timeout() {
                now = timeout;
                reader.handle_timeout(now);
            } else {
                break;
            }
        }
        let mut readouts = 0;
        for event in &events {
            match event {
                reader::Event::Identified { line, mode: found } => {
                    let identification = Identification::parse(line).unwrap();
                    assert_eq!(
                        Some(identification.manufacturer),
                        session["deviceManufacturer"].as_str()
                    );
                    if let Some(mode) = session["commMode"].as_str() {
                        assert_eq!(format!("{found:?}"), mode, "{name}");
                    }
                    if let Some(baud) = session["commBaudrateChangeover"].as_str() {
                        assert_eq!(
                            identification.speed().unwrap().0.to_string(),
                            baud,
                            "{name}"
                        );
                    }
                }
                reader::Event::Readout { block, .. } => {
                    readouts += 1;
                    compare(&name, &Block::parse(block), &case["expected_obis"]);
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(readouts > 0, "{name}: {events:?}");
        // The wake-up and cut sign-ons of the record are not compared.
        for expected in expected_sends
            .iter()
            .filter(|bytes| bytes.len() > 1 && bytes[0] != 0)
        {
            assert!(
                sent.contains(expected),
                "{name}: {expected:?} not among {sent:?}"
            );
        }
        println!("{name:40} {readouts} readouts at {speeds:?}");
    }
}

#[test]
fn p1_telegrams_check_out() {
    println!("{:32} {:>5} {:>8}", "telegram", "sets", "devices");
    let mut checked = 0;
    for (name, bytes) in telegrams("p1-dsmr_parser", "txt") {
        let (telegrams, lost) = heard(&bytes);
        let [telegram] = &telegrams[..] else {
            panic!("{name}: {} telegrams", telegrams.len());
        };
        let telegram = Telegram::parse(telegram).unwrap();
        let crc = telegram.crc();
        let tail = telegram.block.tail.len();
        let expected = match tail {
            0 => p1::Crc::Absent,
            4 => p1::Crc::Good,
            _ => p1::Crc::GoodUnpadded,
        };
        assert_eq!(crc, expected, "{name}");
        checked += usize::from(tail > 0);
        assert_eq!(telegram.block.bcc, Bcc::Absent);
        for set in telegram.block.sets() {
            let set = set.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(set.code().is_some(), "{name}: {}", set.address);
        }
        let devices = p1::devices(&telegram.block);
        println!(
            "{name:32} {:5} {:8} {crc:?}, {lost} bytes behind it",
            telegram.block.sets().count(),
            devices.len(),
        );
        for device in &devices {
            println!("    {device:?}");
        }
        let read = |channel: u8| {
            let device = devices.iter().find(|device| device.channel == channel)?;
            Some((
                device.kind?,
                device.value?.number()?.to_string(),
                device.value?.unit?,
            ))
        };
        let failures = p1::power_failures(&telegram.block).count();
        match name.as_str() {
            "TELEGRAM_V5" => assert_eq!(read(1), Some((3, "0.107".into(), "m3"))),
            "TELEGRAM_V4_2" => {
                assert_eq!(read(1), Some((3, "981.443".into(), "m3")));
                assert_eq!(failures, 3);
            }
            "TELEGRAM_FLUVIUS_V171" => {
                assert_eq!(read(1), Some((3, "112.384".into(), "m3")));
                assert_eq!(read(2), Some((7, "872.234".into(), "m3")));
            }
            "TELEGRAM_UNPADDED_CRC" => assert_eq!(read(1), Some((4, "240.860".into(), "GJ"))),
            _ => {}
        }
        no_damaged_telegram_passes(telegram.bytes);
    }
    println!("{checked} with a checksum");
}

/// Every byte changed in turn: the checksum no longer holds, or there is no telegram.
fn no_damaged_telegram_passes(bytes: &[u8]) {
    if Telegram::parse(bytes).unwrap().crc() == p1::Crc::Absent {
        return;
    }
    let end = bytes.iter().rposition(|byte| *byte == b'!').unwrap();
    for at in 0..=end {
        for bit in [0, 3, 7] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            for found in heard(&damaged).0 {
                let crc = Telegram::parse(&found).unwrap().crc();
                assert!(
                    matches!(crc, p1::Crc::Wrong { .. } | p1::Crc::Absent),
                    "{at} {bit}"
                );
            }
        }
    }
}
