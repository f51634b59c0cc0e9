// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several M-Bus slaves on one line: told apart by their secondary addresses (EN 13757-7 §8.4), and their rates.

mod virtual_line;

use std::path::Path;
use std::time::Duration;

use smgw_mbus::{Command, Frame};
use smgw_meters::Simulator;
use smgw_meters::profile::Profile;
use smgw_meters::read::{Options, Report};
use smgw_units::{Nanos, UtcNanos};
use virtual_line::{EPOCH, VirtualLine};

/// Slaves by primary address, number, and the value of their only register.
fn bus(slaves: &[(u8, &str, i64)]) -> Profile {
    let mut text = String::from(
        "schema = \"smgw-bench.meter/1\"\n[meter]\nsummary = \"s\"\nprotocol = \"mbus\"\n",
    );
    for (address, number, value) in slaves {
        text.push_str(&format!(
            "[[device]]\naddress = {address}\nnumber = \"{number}\"\nmanufacturer = \"SMB\"\nversion = 3\nmedium = 7\n\
             [[device.register]]\nunit = \"m3\"\nscaler = -3\nlaw = {{ constant = {value} }}\n"
        ));
    }
    Profile::parse(Path::new("bus.toml"), &text).unwrap_or_else(|error| panic!("{error}"))
}

fn run(profile: Profile, options: Options) -> VirtualLine {
    let options = Options {
        protocol: Some(profile.protocol),
        baud: Some(profile.line.baud),
        ..options
    };
    let mut line = VirtualLine::new(profile, options, 1);
    line.run(Duration::from_secs(120), |heard| {
        heard.reports.contains(&Report::RoundEnded)
    });
    line
}

fn meters(line: &VirtualLine) -> Vec<&str> {
    let reports = line.heard().reports.iter();
    reports
        .filter_map(|report| match report {
            Report::Meter(what) => Some(what.as_str()),
            _ => None,
        })
        .collect()
}

fn values(line: &VirtualLine) -> Vec<String> {
    let telegrams = line.heard().telegrams.iter();
    let readings = telegrams.flat_map(|(telegram, _)| &telegram.readings);
    readings.map(|reading| reading.value.to_string()).collect()
}

/// The same primary address three times: only the search can tell them apart.
#[test]
fn slaves_under_one_primary_address_are_told_apart_by_secondary_address() {
    let slaves = [(1, "11112222", 1), (1, "11112229", 2), (1, "33334444", 3)];
    for secondary in [false, true] {
        let options = Options {
            secondary,
            ..Options::default()
        };
        let line = run(bus(&slaves), options);
        let found = meters(&line);
        assert_eq!(found.len(), 3, "{found:?}");
        for ((_, number, _), found) in slaves.iter().zip(found) {
            let expected =
                format!("secondary address {number}: manufacturer SMB, version 3, type 07 (water)");
            assert_eq!(found, expected);
        }
        assert_eq!(values(&line), ["0.001", "0.002", "0.003"]);
    }
}

#[test]
fn a_slave_that_is_alone_needs_no_search() {
    let line = run(bus(&[(7, "12345678", 4)]), Options::default());
    assert_eq!(meters(&line), [""; 0]);
    assert_eq!(values(&line), ["0.004"]);
}

#[test]
fn those_found_are_read_again_in_the_next_round() {
    let options = Options {
        secondary: true,
        ..Options::default()
    };
    let mut line = run(bus(&[(1, "11112222", 1), (2, "33334444", 3)]), options);
    line.run(Duration::from_secs(20), |heard| heard.telegrams.len() >= 4);
    assert_eq!(values(&line), ["0.001", "0.003", "0.001", "0.003"]);
}

#[test]
fn a_slave_takes_the_rate_it_is_told_behind_its_acknowledgement() {
    let mut simulator = Simulator::new(bus(&[(1, "11112222", 1)]), EPOCH, UtcNanos(0), 1);
    let mut now = EPOCH;
    let mut say = |simulator: &mut Simulator, bytes: &[u8]| {
        for byte in bytes {
            now = now + simulator.line().characters(1);
            simulator.handle_input(now, *byte);
        }
        now = simulator.poll_timeout().unwrap_or(Nanos(0));
        let answer = simulator.poll_transmit(now).unwrap();
        now = answer.end(now);
        answer
    };
    let command = Command::SetBaud(9_600).frame(1, true).unwrap();
    let acknowledged = say(&mut simulator, &command);
    assert_eq!(acknowledged.bytes(), Frame::Ack.encode().unwrap());
    assert_eq!(acknowledged.line.baud, 2_400);
    assert_eq!(simulator.line().baud, 9_600);
    let reset = [0x10, 0x40, 1, 0x41, 0x16];
    assert_eq!(say(&mut simulator, &reset).line.baud, 9_600);
}
