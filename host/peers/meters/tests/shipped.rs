// SPDX-License-Identifier: MIT OR Apache-2.0
//! The profiles that ship: they load, their schema is current, and read back they show exactly what they say.

mod virtual_line;

use std::path::{Path, PathBuf};
use std::time::Duration;

use smgw_meters::profile::{self, Identity, NamedUnit, Profile, Shows};
use smgw_meters::read::{Content, Options};
use smgw_meters::sim::Shown;
use smgw_units::Decimal;
use virtual_line::{Heard, VirtualLine};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../rigs/meters")
}

fn profiles() -> Vec<Profile> {
    let files = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let toml = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut profiles: Vec<_> = toml
        .map(|path| Profile::load(&path).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(profiles.len() >= 8);
    profiles
}

#[test]
fn the_committed_schema_is_the_one_of_this_build() {
    let path = folder().join("../schema/meter-1.json");
    let current = profile::json_schema();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is not current; UPDATE=1 writes it",
        path.display()
    );
}

/// What a reader that knows nothing beforehand makes of each meter.
#[test]
fn a_reader_that_knows_nothing_finds_each_meter_and_reads_exactly_its_values() {
    for profile in profiles() {
        let name = profile.name.clone();
        let key = profile
            .devices
            .iter()
            .find_map(|device| match device.identity {
                Identity::Wmbus { key, .. } => key,
                _ => None,
            });
        let options = Options {
            key,
            ..Options::default()
        };
        let mut line = VirtualLine::new(profile.clone(), options, 1);
        // A bus with several devices is searched address by address: 250 of them, some 0.5 s each.
        line.run(Duration::from_secs(240), |heard| {
            heard.readings() >= profile_numbers(&profile)
        });
        check(&name, &profile, line.heard());
    }
}

fn profile_numbers(profile: &Profile) -> usize {
    profile
        .devices
        .iter()
        .map(|device| device.registers.len())
        .sum()
}

fn check(name: &str, profile: &Profile, heard: &Heard) {
    assert!(
        heard.readings() >= profile_numbers(profile),
        "{name}: {heard:?}"
    );
    let read: Vec<_> = heard
        .telegrams
        .iter()
        .flat_map(|(telegram, _)| &telegram.readings)
        .collect();
    for device in &profile.devices {
        for register in &device.registers {
            let label = register.obis.map(|obis| obis.to_string());
            let named: Vec<_> = read
                .iter()
                .filter(|reading| {
                    label
                        .as_ref()
                        .is_none_or(|label| reading.register == *label)
                })
                .collect();
            assert!(!named.is_empty(), "{name}: {label:?} was not read");
            if let Shows::Text(text) = &register.shows {
                assert!(
                    named
                        .iter()
                        .any(|reading| reading.value == Content::Text(text.clone())),
                    "{name}: {text}"
                );
            }
        }
    }
    // Every number that was sent was read, digit by digit, and nothing else.
    let mut sent: Vec<Decimal> = Vec::new();
    for transmission in heard
        .sent
        .iter()
        .filter(|transmission| heard.was_read(transmission))
    {
        for sample in &transmission.samples {
            let device = profile.devices.iter().find(|device| {
                device
                    .registers
                    .get(sample.register)
                    .is_some_and(|register| register.obis == sample.obis)
            });
            let prefix = device
                .and_then(|device| device.registers.get(sample.register))
                .map_or(0, |register| register.unit.prefix);
            if let Shown::Number(number) = sample.shown {
                sent.push(Decimal::new(number.mantissa, number.exponent + prefix).normalized());
            }
        }
    }
    let numbers: Vec<Decimal> = read
        .iter()
        .filter_map(|reading| match reading.value {
            Content::Number(number) => {
                let unit = NamedUnit::parse(&reading.unit);
                let prefix = unit.map_or(0, |unit| unit.prefix);
                Some(Decimal::new(number.mantissa, number.exponent + prefix).normalized())
            }
            Content::Text(_) => None,
        })
        .collect();
    assert_eq!(numbers, sent, "{name}");
}
