// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modes A to D of IEC 62056-21: played, found by a reader that knows nothing, and read at the speed of each.

mod virtual_line;

use std::path::Path;
use std::time::Duration;

use smgw_meters::Player;
use smgw_meters::profile::{Profile, ProfileError, Protocol};
use smgw_meters::read::{self, Detector, Options, Report, Telegram};
use smgw_peers::meters::Clock;
use smgw_units::UtcNanos;
use virtual_line::VirtualLine;

fn meter(mode: &str, identification: &str, more: &str) -> Result<Profile, ProfileError> {
    let text = format!(
        "schema = \"smgw-bench.meter/1\"\n[meter]\nsummary = \"s\"\nprotocol = \"d0\"\nmode = \"{mode}\"\n{more}\n\
         [[device]]\nidentification = \"{identification}\"\n[[device.register]]\nobis = \"1-0:1.8.0*255\"\n\
         unit = \"kWh\"\nscaler = -3\nlaw = {{ constant = 1234567 }}\n"
    );
    Profile::parse(Path::new("d0.toml"), &text)
}

/// Mode, identification, and the speed its readout comes at: 300 Bd in mode A, 2400 Bd as the fourth character of the
/// others tells, 2400 Bd from the beginning in mode D.
const MODES: [(&str, &str, u32); 4] = [
    ("A", "SMB.METER", 300),
    ("B", "SMBCMETER", 2_400),
    ("C", "SMB3METER", 2_400),
    ("D", "SMB3METER", 2_400),
];

fn assert_read(mode: &str, telegram: &Telegram) {
    let [reading] = &telegram.readings[..] else {
        panic!("{mode}: {telegram:?}")
    };
    let shown = (
        reading.register.as_str(),
        reading.value.to_string(),
        reading.unit.as_str(),
    );
    assert_eq!(
        shown,
        ("1-0:1.8.0*255", "1234.567".to_owned(), "kWh"),
        "{mode}"
    );
}

#[test]
fn a_reader_that_knows_nothing_finds_every_mode() {
    for (mode, identification, speed) in MODES {
        let profile = meter(mode, identification, "").unwrap_or_else(|error| panic!("{error}"));
        let spoken = if mode == "D" {
            Protocol::D0Push
        } else {
            Protocol::D0
        };
        assert_eq!(profile.protocol, spoken);
        let mut line = VirtualLine::new(profile, Options::default(), 1);
        line.run(Duration::from_secs(120), |heard| heard.telegrams.len() >= 2);
        assert!(
            line.heard().telegrams.len() >= 2,
            "{mode}: {:?}",
            line.heard().reports
        );
        for (telegram, _) in &line.heard().telegrams {
            assert_read(mode, telegram);
            assert_eq!(telegram.protocol, spoken, "{mode}");
        }
        let sent = line.heard().sent.iter().filter(|sent| sent.data);
        assert!(sent.clone().count() >= 2);
        for sent in sent {
            assert_eq!(sent.line.baud, speed, "{mode}");
        }
    }
}

/// The same over pseudo terminals, where bytes at another speed are garbage.
#[test]
fn every_mode_is_read_over_a_line() {
    std::thread::scope(|scope| {
        for (mode, identification, _) in MODES {
            scope.spawn(move || {
                let profile = meter(mode, identification, "").unwrap();
                let options = Options {
                    protocol: Some(profile.protocol),
                    baud: Some(profile.line.baud),
                    patience: Duration::from_secs(30),
                    ..Options::default()
                };
                let player = Player::start(profile, UtcNanos(0), 1, None).unwrap();
                let mut detector = Detector::new(options, Clock::now());
                let end = Clock::now() + Duration::from_secs(60);
                let mut read = None;
                let stop = || Clock::now() >= end;
                read::port(player.path(), &mut detector, &stop, &mut |_, report| {
                    if let Report::Telegram(telegram) = report {
                        read = Some(telegram);
                    }
                    read.is_none()
                })
                .unwrap();
                assert_read(
                    mode,
                    &read.unwrap_or_else(|| panic!("{mode}: nothing read")),
                );
            });
        }
    });
}

#[test]
fn a_mode_the_identification_does_not_tell_is_a_mistake_with_its_remedy() {
    for (mode, identification, remedy) in [
        ("A", "SMB3METER", "no digit"),
        ("B", "SMB3METER", "a letter from A"),
        ("C", "SMBCMETER", "a digit from 0"),
    ] {
        let error = meter(mode, identification, "").unwrap_err();
        let problems = error.problems();
        assert!(
            problems.iter().any(|problem| problem.help.contains(remedy)),
            "{problems:?}"
        );
    }
    // Only mode D pushes, and so has an interval.
    assert!(meter("D", "SMB3METER", "interval = \"2s\"").is_ok());
    assert!(meter("C", "SMB3METER", "interval = \"2s\"").is_err());
    assert!(meter("E", "SMB3METER", "").is_err());
}
