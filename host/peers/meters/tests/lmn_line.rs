// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters on a wired LMN, found and read by a gateway in virtual time, with everything that goes wrong on such a line.

mod virtual_line;

use std::path::Path;
use std::time::Duration;

use smgw_hdlc::{Control, Frame, Profile as Layout};
use smgw_meters::profile::{Discovery, Identity, Profile};
use smgw_meters::read::{Content, Counters, Options, Report};
use smgw_sml::{Body, Message, Quirks, messages};
use virtual_line::VirtualLine;

const FIRST: &str = "0a01534d420000000007";
const SECOND: &str = "0a07534d420000000008";
const IMPORT: &str = "1-0:1.8.0*255";

fn profile() -> Profile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../rigs/meters/lmn-wired.toml");
    Profile::load(&path).unwrap()
}

fn with(fault: &str) -> Profile {
    let mut profile = profile();
    profile.faults = vec![fault.parse().unwrap()];
    profile
}

fn options(profile: &Profile, addresses: &[u8]) -> Options {
    Options {
        protocol: Some(profile.protocol),
        addresses: addresses.to_vec(),
        interval: Duration::from_secs(1),
        ..Options::default()
    }
}

fn run(profile: Profile, addresses: &[u8], seconds: u64) -> VirtualLine {
    let options = options(&profile, addresses);
    let mut line = VirtualLine::new(profile, options, 3);
    line.run(Duration::from_secs(seconds), |_| false);
    line
}

/// How often each meter was read.
fn reads(line: &VirtualLine) -> [usize; 2] {
    [FIRST, SECOND].map(|meter| {
        let telegrams = line.heard().telegrams.iter();
        telegrams
            .filter(|(telegram, _)| telegram.meter == meter)
            .count()
    })
}

fn counters(line: &VirtualLine) -> Counters {
    line.detector().counters()
}

fn troubles(line: &VirtualLine) -> Vec<&str> {
    let reports = line.heard().reports.iter();
    reports
        .filter_map(|report| match report {
            Report::Trouble(what) => Some(what.as_str()),
            _ => None,
        })
        .collect()
}

/// 360 W: each second 0.1 Wh, so a value tells when it was sensed.
fn assert_true_values(line: &VirtualLine) {
    let mut last = 0;
    let telegrams = line.heard().telegrams.iter();
    let readings = telegrams.flat_map(|(telegram, _)| &telegram.readings);
    for reading in readings.filter(|reading| reading.register == IMPORT) {
        let Content::Number(value) = reading.value else {
            panic!("{reading:?}")
        };
        let counted = value.mantissa_at(-4).unwrap() - 123_456_780_000;
        assert!((last..=3_600_000).contains(&counted), "{value}");
        assert_eq!(
            (reading.unit.as_str(), reading.status),
            ("Wh", Some(0x1c_0104))
        );
        last = counted;
    }
}

#[test]
fn meters_nobody_named_are_found_by_asking_every_address() {
    let line = run(profile(), &[], 60);
    let [first, second] = reads(&line);
    assert!(first >= 20 && second >= 20, "{first} {second}");
    assert_eq!(troubles(&line), [""; 0]);
    assert_true_values(&line);
}

#[test]
fn only_the_stations_that_are_named_are_read() {
    let line = run(profile(), &[4], 20);
    let [first, second] = reads(&line);
    assert!(first == 0 && second >= 10, "{first} {second}");
}

/// The list first, then the registers it names, each by a request of its own in one file.
#[test]
fn registers_are_asked_for_one_by_one_in_one_file() {
    let line = run(profile(), &[3], 5);
    let answers: Vec<Vec<u32>> = line
        .heard()
        .sent
        .iter()
        .filter(|sent| sent.data)
        .map(|sent| {
            let bytes = sent.bytes();
            let frame = Frame::decode(&Layout::LMN, &bytes).unwrap();
            assert!(matches!(frame.control, Control::Information { .. }));
            let tag = |message: Message<'_>| match message.body {
                Body::ParameterResponse(answer) => {
                    assert_eq!(answer.path.iter().next().unwrap(), answer.tree.name);
                    0x501
                }
                body => body.tag(),
            };
            messages(frame.info, Quirks::ALL)
                .map(|message| tag(message.unwrap()))
                .collect()
        })
        .collect();
    assert_eq!(answers[0], [0x101, 0x701, 0x201]);
    assert!(answers.len() >= 3);
    for answer in &answers[1..] {
        assert_eq!(*answer, [0x101, 0x501, 0x501, 0x501, 0x201]);
    }
}

/// One meter has an address, the other takes one by chance; both tell their device ids before any link is there.
#[test]
fn meters_are_found_by_slots_within_a_second() {
    let mut profile = profile();
    profile.layout.discovery = Discovery::Slots;
    if let Identity::Lmn { station, .. } = &mut profile.devices[1].identity {
        *station = 0;
    }
    let options = options(&profile, &[]);
    let mut line = VirtualLine::new(profile, options, 3);
    line.run(Duration::from_secs(5), |heard| heard.telegrams.len() >= 2);
    let found = line
        .heard()
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Meter(what) => Some(what.as_str()),
            _ => None,
        });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|what| what.len());
    assert!(
        found.iter().any(|what| what.ends_with(": 1SMB0000000007")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|what| what.ends_with(": 7SMB0000000008")),
        "{found:?}"
    );
    assert!(reads(&line).iter().all(|count| *count >= 1));
}

/// Faults that spoil every third answer, and the counter that has to notice: the link asks again, nothing is lost.
#[test]
fn spoiled_answers_are_asked_for_again() {
    type Noticed = fn(&Counters) -> u64;
    let cases: [(&str, Noticed); 9] = [
        ("wrong-hcs@every:3", |counters| counters.checksum_errors),
        ("bad-checksum@every:3", |counters| counters.checksum_errors),
        ("bad-length@every:3", |counters| {
            counters.checksum_errors + counters.incomplete
        }),
        ("bad-stop@every:3", |counters| counters.incomplete),
        ("truncate@every:3", |counters| counters.incomplete),
        ("bit-flip@every:3", |counters| {
            counters.checksum_errors + counters.incomplete + counters.noise_bytes
        }),
        ("duplicate-address@every:3", |counters| {
            counters.checksum_errors
        }),
        ("garbage=9@every:3", |counters| counters.noise_bytes / 9),
        ("silent@every:30", |_| 10),
    ];
    for (fault, noticed) in cases {
        let line = run(with(fault), &[3, 4], 30);
        let counters = counters(&line);
        let [first, second] = reads(&line);
        assert!(
            first >= 18 && second >= 18,
            "{fault}: {first} {second} {counters}"
        );
        assert!(noticed(&counters) >= 5, "{fault}: {counters}");
        assert_true_values(&line);
    }
}

#[test]
fn a_meter_that_never_answers_well_ends_the_search_without_a_value() {
    for fault in [
        "wrong-hcs",
        "bad-checksum",
        "silent",
        "duplicate-address",
        "no-ack",
    ] {
        let line = run(with(fault), &[3], 20);
        assert_eq!(reads(&line), [0, 0], "{fault}");
        assert!(line.detector().ended(), "{fault}");
    }
}

#[test]
fn a_meter_that_falls_silent_is_told_and_the_other_goes_on() {
    let mut profile = profile();
    let options = options(&profile, &[3, 4]);
    profile.faults = vec!["late=9.1s@at:10s".parse().unwrap()];
    let mut line = VirtualLine::new(profile, options, 3);
    line.run(Duration::from_secs(60), |_| false);
    assert!(
        troubles(&line)
            .iter()
            .any(|what| what.contains("does not answer any more")),
        "{:?}",
        troubles(&line)
    );
    let late = line.heard().reports.iter().rev().take(20);
    let again = late
        .filter(|report| matches!(report, Report::Telegram(_)))
        .count();
    assert!(again >= 5, "both are read again at the end");
    assert_true_values(&line);
}

/// Two meters with one address: their acknowledgements are equal and merge, their data collide.
#[test]
fn two_meters_with_one_address_are_never_believed() {
    let mut profile = profile();
    if let Identity::Lmn { station, .. } = &mut profile.devices[1].identity {
        *station = 3;
    }
    let line = run(profile, &[3], 20);
    assert_eq!(reads(&line), [0, 0]);
    assert!(counters(&line).checksum_errors + counters(&line).incomplete > 0);
}
