// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each fault does to a reader, in virtual time: the line works before and after it, and no false value comes
//! through.

mod virtual_line;

use std::path::Path;
use std::time::Duration;

use smgw_meters::profile::{Profile, Protocol};
use smgw_meters::read::{Content, Counters, Options};
use smgw_meters::sim::{Fault, FaultRule, Simulator};
use smgw_units::{Decimal, UtcNanos};
use virtual_line::{EPOCH, VirtualLine};

const IMPORT: &str = "1-0:1.8.0*255";

fn profile(name: &str) -> Profile {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../../rigs/meters/{name}.toml"));
    Profile::load(&path).unwrap()
}

fn with(name: &str, faults: &[&str]) -> Profile {
    let mut profile = profile(name);
    profile.faults = faults
        .iter()
        .map(|fault| fault.parse::<FaultRule>().unwrap())
        .collect();
    profile
}

/// A reader that knows the protocol and the addresses, for `seconds`.
fn listen(profile: Profile, seconds: u64) -> VirtualLine {
    let options = Options {
        protocol: Some(profile.protocol),
        baud: Some(profile.line.baud),
        addresses: if profile.protocol == Protocol::Mbus {
            vec![5]
        } else {
            Vec::new()
        },
        interval: Duration::from_secs(1),
        patience: Duration::from_secs(3_600),
        ..Options::default()
    };
    let mut line = VirtualLine::new(profile, options, 11);
    line.run(Duration::from_secs(seconds), |_| false);
    line
}

fn counters(line: &VirtualLine) -> Counters {
    line.detector().counters()
}

/// The numbers of one register, in the order they came.
fn numbers(line: &VirtualLine, register: &str) -> Vec<Decimal> {
    let readings = line
        .heard()
        .telegrams
        .iter()
        .flat_map(|(telegram, _)| &telegram.readings);
    let named = readings.filter(|reading| reading.register == register);
    named
        .filter_map(|reading| match reading.value {
            Content::Number(number) => Some(number),
            Content::Text(_) => None,
        })
        .collect()
}

/// 360 W: each second 0.1 Wh, so a value tells when it was sensed.
fn assert_true_values(line: &VirtualLine) {
    let values = numbers(line, IMPORT);
    for value in &values {
        let counted = value.mantissa_at(-4).unwrap() - 123_456_780_000;
        assert!((0..=3_600_000).contains(&counted), "{value}");
    }
    assert!(
        values
            .windows(2)
            .all(|pair| pair[0].mantissa <= pair[1].mantissa),
        "{values:?}"
    );
}

#[test]
fn without_faults_every_push_is_read() {
    let line = listen(with("fnn-basic", &[]), 60);
    assert_eq!(counters(&line).telegrams, 59);
    assert_eq!(
        counters(&line).checksum_errors + counters(&line).incomplete + counters(&line).noise_bytes,
        0
    );
    assert_true_values(&line);
}

/// Faults that spoil every fourth telegram, and the counter that has to notice.
#[test]
fn spoiled_telegrams_are_counted_and_the_others_read() {
    type Noticed = fn(&Counters) -> u64;
    let cases: [(&str, Noticed); 7] = [
        ("bad-checksum@every:4", |counters| counters.checksum_errors),
        ("bit-flip@every:4", |counters| {
            counters.checksum_errors + counters.incomplete + counters.noise_bytes.min(1) * 20
        }),
        ("truncate@every:4", |counters| counters.incomplete),
        ("truncate=4@every:4", |counters| counters.incomplete),
        ("bad-length@every:4", |counters| counters.checksum_errors),
        ("wrong-baud@every:4", |counters| counters.noise_bytes / 284),
        ("vanish=2s@every:4", |counters| counters.incomplete),
    ];
    for (fault, noticed) in cases {
        let line = listen(with("fnn-basic", &[fault]), 60);
        let counters = counters(&line);
        let good = counters.telegrams;
        assert!((28..=45).contains(&good), "{fault}: {counters}");
        assert!(noticed(&counters) >= 10, "{fault}: {counters}");
        assert_true_values(&line);
    }
}

#[test]
fn what_surrounds_or_divides_a_telegram_does_not_spoil_it() {
    for fault in [
        "single-bytes",
        "gap=300ms",
        "garbage=9",
        "trailing=3",
        "merge@every:2",
        "late=400ms@every:3",
    ] {
        let line = listen(with("fnn-basic", &[fault]), 30);
        let read = line.heard().telegrams.len();
        assert!(
            (28..=30).contains(&read),
            "{fault}: {read} {}",
            counters(&line)
        );
        assert_true_values(&line);
    }
    // A longer gap is the end of the telegram.
    let line = listen(with("fnn-basic", &["gap=600ms"]), 30);
    assert_eq!(line.heard().telegrams.len(), 0);
    assert!(counters(&line).incomplete >= 28);
}

#[test]
fn a_flood_of_ten_megabytes_is_survived() {
    let line = listen(with("fnn-basic", &["flood=10MB@at:5s"]), 12);
    assert!(counters(&line).bytes > 10_000_000);
    assert!(line.heard().telegrams.len() >= 10);
    assert_true_values(&line);
}

#[test]
fn a_silent_meter_leaves_a_hole_and_invents_nothing() {
    let line = listen(with("fnn-basic", &["silent@every:2"]), 60);
    assert_eq!(line.heard().telegrams.len(), 30);
    let line = listen(with("fnn-basic", &["silent"]), 60);
    assert_eq!(
        (line.heard().telegrams.len(), counters(&line).bytes),
        (0, 0)
    );
}

#[test]
fn falsified_telegrams_are_what_they_say() {
    let line = listen(with("fnn-basic", &["duplicate@every:2"]), 20);
    let values = numbers(&line, IMPORT);
    let again = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!((values.len(), again), (19, 9));

    let line = listen(with("fnn-basic", &["wrong-id@every:2"]), 20);
    let strange = line
        .heard()
        .telegrams
        .iter()
        .filter(|(telegram, _)| telegram.meter != "0a01534d420000000001")
        .count();
    assert_eq!(strange, 9);

    let line = listen(with("fnn-basic", &["missing-register"]), 20);
    assert!(
        line.heard()
            .telegrams
            .iter()
            .all(|(telegram, _)| telegram.readings.len() == 6)
    );

    let line = listen(with("fnn-basic", &["decrease=50000@at:10s"]), 20);
    let values = numbers(&line, IMPORT);
    assert_eq!(
        values
            .windows(2)
            .filter(|pair| pair[1].mantissa < pair[0].mantissa)
            .count(),
        1
    );
}

#[test]
fn late_answers_keep_the_values_of_the_right_instant() {
    for (fault, late) in [("late=3.4s", 3_400), ("late=9.1s", 9_100)] {
        let mut profile = with("fnn-basic", &[fault]);
        profile.interval = Duration::from_secs(15);
        let line = listen(profile, 100);
        assert!(line.heard().sent.len() >= 6);
        for sent in &line.heard().sent {
            let utc_of_sensing =
                1_790_000_000_000_000_000 + i128::from(sent.sampled_at.0 - EPOCH.0);
            assert_eq!(
                utc_of_sensing % 15_000_000_000,
                0,
                "sensed at the grid point"
            );
            assert_eq!(
                sent.due.saturating_since(sent.sampled_at),
                Duration::from_millis(late)
            );
        }
    }
}

#[test]
fn mbus_answers_that_are_spoiled_once_are_asked_for_again() {
    for fault in [
        "bad-checksum",
        "bad-length",
        "bad-stop",
        "truncate",
        "collision",
        "bit-flip",
        "wrong-baud",
        "silent",
    ] {
        let line = listen(with("heat", &[&format!("{fault}@every:3")]), 30);
        let counters = counters(&line);
        assert!(counters.telegrams >= 20, "{fault}: {counters}");
        let energies = numbers(&line, "6-0:1.0.0*255");
        assert!(
            energies
                .iter()
                .all(|value| value.same_value(Decimal::new(12_345, 3))),
            "{fault}: {energies:?}"
        );
    }
}

#[test]
fn mbus_meters_that_never_answer_well_are_told_apart() {
    let report = |fault: &str| {
        let line = listen(with("heat", &[fault]), 10);
        (line.heard().telegrams.len(), counters(&line))
    };
    // The search ends when the only address was tried in vain.
    let (telegrams, counted) = report("silent");
    assert_eq!((telegrams, counted.bytes), (0, 0));
    let (telegrams, counted) = report("no-ack");
    assert_eq!((telegrams, counted.bytes), (0, 0));
    let (telegrams, counted) = report("bad-checksum");
    assert_eq!(telegrams, 0);
    assert!(counted.bytes > 0);
    for harmless in [
        "echo",
        "busy",
        "early",
        "garbage=1",
        "trailing=1",
        "single-bytes=1ms",
        "gap=20ms",
    ] {
        let (telegrams, counted) = report(harmless);
        assert!(telegrams >= 8, "{harmless}: {telegrams} {counted}");
    }
}

#[test]
fn a_stuck_frame_count_bit_brings_new_data_for_a_repeat() {
    let ask = |profile: Profile| {
        let mut simulator = Simulator::new(profile, EPOCH, UtcNanos(0), 1);
        let mut at = EPOCH;
        let mut answers = Vec::new();
        for _ in 0..2 {
            for byte in [0x10, 0x7b, 5, 0x80, 0x16] {
                at = at + Duration::from_millis(5);
                simulator.handle_input(at, byte);
            }
            at = simulator.poll_timeout().unwrap();
            answers.push(simulator.poll_transmit(at).unwrap().bytes());
            at = at + Duration::from_secs(1);
        }
        answers
    };
    let good = ask(profile("heat"));
    assert_eq!(good[0], good[1]);
    let stuck = ask(with("heat", &["stuck-counter"]));
    assert_ne!(stuck[0], stuck[1]);
}

#[test]
fn telegrams_by_radio_with_a_wrong_code_or_an_old_counter_are_refused() {
    let listen = |fault: &str| {
        let profile = with("water-oms", &[fault]);
        let key = Some(std::array::from_fn(|index| index as u8));
        let options = Options {
            protocol: Some(Protocol::Wmbus),
            baud: Some(profile.line.baud),
            key,
            patience: Duration::from_secs(3_600),
            ..Options::default()
        };
        let mut line = VirtualLine::new(profile, options, 11);
        line.run(Duration::from_secs(41), |_| false);
        (line.heard().telegrams.len(), counters(&line).refused)
    };
    assert_eq!(listen("wrong-mac@every:2"), (5, 5));
    assert_eq!(listen("stale-counter@every:2"), (5, 5));
    let (read, _) = listen("bit-flip@every:2");
    assert!((5..=6).contains(&read));
}

/// Registers and clocks, without a reader.
mod course {
    use super::*;
    use smgw_meters::sim::Shown;

    fn meter(extra: &str, register: &str) -> Profile {
        let text = format!(
            "schema = \"smgw-bench.meter/1\"\n[meter]\nsummary = \"s\"\nprotocol = \"sml-push\"\n{extra}\n[[device]]\nid = \
             \"1smb0000000001\"\n[[device.register]]\nobis = \"{IMPORT}\"\nunit = \"Wh\"\n{register}\n"
        );
        Profile::parse(Path::new("test.toml"), &text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn simulator(profile: Profile) -> Simulator {
        Simulator::new(profile, EPOCH, UtcNanos::from_seconds(1_790_000_000), 1)
    }

    fn number(simulator: &Simulator, seconds: u64) -> i128 {
        match &simulator.samples(0, EPOCH + Duration::from_secs(seconds))[0].shown {
            Shown::Number(number) => number.mantissa,
            shown => panic!("{shown:?}"),
        }
    }

    fn clock(simulator: &Simulator, seconds: u64) -> i64 {
        match &simulator.samples(0, EPOCH + Duration::from_secs(seconds))[0].shown {
            Shown::Clock(now) => now.0.div_euclid(1_000_000_000),
            shown => panic!("{shown:?}"),
        }
    }

    #[test]
    fn a_register_rolls_over_and_counts_down() {
        let rolls = simulator(meter(
            "",
            "roll-over = 1000\nlaw = { start = 990, step = 5, every = \"1s\" }",
        ));
        assert_eq!(
            [0, 1, 2, 3].map(|second| number(&rolls, second)),
            [990, 995, 0, 5]
        );
        let falls = simulator(meter(
            "",
            "law = { start = 100, step = -7, every = \"1s\" }",
        ));
        assert_eq!(
            [0, 1, 2].map(|second| number(&falls, second)),
            [100, 93, 86]
        );
    }

    #[test]
    fn clocks_drift_and_are_set() {
        const START: i64 = 1_790_000_000;
        let drifts = simulator(meter("[clock]\ndrift-ppm = 50", "clock = true").without_unit());
        assert_eq!(clock(&drifts, 100_000), START + 100_005);
        let fast = simulator(meter("[clock]\ndrift-ppm = 50000", "clock = true").without_unit());
        assert_eq!(clock(&fast, 1_000), START + 1_050);
        let set = "[clock]\nstep = [{ at = \"10s\", by = \"1h\" }, { at = \"20s\", by = \"-2h\" }]";
        let set = simulator(meter(set, "clock = true").without_unit());
        assert_eq!(
            [9, 10, 20].map(|second| clock(&set, second) - START),
            [9, 3_610, -3_580]
        );
    }

    #[test]
    fn a_fast_meter_pushes_more_often() {
        let count = |ppm: i32| {
            let mut simulator = simulator(meter(
                &format!("[clock]\ndrift-ppm = {ppm}"),
                "law = { constant = 1 }",
            ));
            let end = EPOCH + Duration::from_secs(1_000);
            let mut count = 0;
            while let Some(due) = simulator.poll_timeout().filter(|due| *due <= end) {
                assert!(simulator.poll_transmit(due).is_some());
                count += 1;
            }
            count
        };
        assert_eq!([0, 50_000, -50_000].map(count), [1_000, 1_050, 950]);
    }

    #[test]
    fn the_instants_that_confuse_clocks_are_reached() {
        // End of summer time, midnight, year's end: the clock's text is what the world says, second by second.
        for (start, seconds) in [
            ("2026-10-25T00:59:58Z", 1_792_889_998),
            ("2026-12-31T22:59:58Z", 1_798_757_998),
        ] {
            let profile =
                meter(&format!("[clock]\nstart = \"{start}\""), "clock = true").without_unit();
            let simulator = simulator(profile);
            for second in 0..5 {
                assert_eq!(
                    clock(&simulator, second),
                    seconds + second as i64,
                    "{start}"
                );
            }
        }
    }

    #[test]
    fn a_fault_sets_the_clock_for_good() {
        let profile = {
            let mut profile = meter("", "clock = true").without_unit();
            profile.faults = vec!["clock-step=-1h@at:3s".parse().unwrap()];
            profile
        };
        let mut simulator = simulator(profile);
        let mut shown = Vec::new();
        for _ in 0..6 {
            let due = simulator.poll_timeout().unwrap();
            let sent = simulator.poll_transmit(due).unwrap();
            match &sent.samples[0].shown {
                Shown::Clock(now) => shown.push(now.0 / 1_000_000_000 - 1_790_000_000),
                shown => panic!("{shown:?}"),
            }
        }
        assert_eq!(shown, [1, 2, 3 - 3_600, 4 - 3_600, 5 - 3_600, 6 - 3_600]);
    }

    trait WithoutUnit {
        fn without_unit(self) -> Self;
    }

    impl WithoutUnit for Profile {
        /// A clock has none.
        fn without_unit(mut self) -> Self {
            self.devices[0].registers[0].unit = smgw_meters::profile::NamedUnit::none();
            self
        }
    }
}

#[test]
fn every_fault_has_its_row_in_the_documentation() {
    let page = include_str!("../../../../docs/meters.md");
    for kind in Fault::TABLE {
        let measure = if kind.default.is_empty() {
            String::new()
        } else {
            format!("={}", kind.default)
        };
        let row = format!(
            "| `{}{measure}` | {} | {} | {} |",
            kind.name, kind.on, kind.does, kind.expect
        );
        assert!(page.contains(&row), "docs/meters.md lacks\n{row}");
    }
}

#[test]
fn mistakes_in_a_profile_are_told_with_line_and_remedy() {
    let good = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../rigs/meters/heat.toml"),
    )
    .unwrap();
    let told = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let text = good.replacen(from, to, 1);
        let error = Profile::parse(Path::new("heat.toml"), &text).unwrap_err();
        let problem = &error.problems()[0];
        (
            error.line(problem),
            problem.message.clone(),
            problem.help.clone(),
        )
    };
    let (line, message, help) = told("delay =", "dealy =");
    assert_eq!(line, 8);
    assert!(
        message.contains("dealy") && help.contains("delay"),
        "{message} {help}"
    );
    let (line, message, help) = told("medium = 4", "");
    assert_eq!(line, 10);
    assert!(
        message.contains("secondary address") && help.contains("medium"),
        "{message} {help}"
    );
    for (from, to, word) in [
        ("meter/1", "meter/9", "smgw-bench.meter/1"),
        ("\"mbus\"", "\"mbsu\"", "mbus"),
        ("delay = \"20ms\"", "delay = \"soon\"", "schema"),
        ("delay = \"20ms\"", "delay = \"-1s\"", "sign"),
        ("delay = \"20ms\"", "interval = \"1s\"", "interval"),
        ("address = 5", "", "address = 1"),
        ("unit = \"kWh\"", "unit = \"kwh\"", "Wh"),
        ("obis = \"6-0:1.0.0*255\"", "obis = \"6.1\"", "A-B:C.D.E*F"),
        ("law = { constant = 12345 }", "", "law"),
        (
            "law = { constant = 12345 }",
            "law = { step = 1 }",
            "constant",
        ),
        (
            "scaler = -3\nlaw = { constant = 987654 }",
            "scaler = 9\nlaw = { constant = 987654 }",
            "vib",
        ),
        ("vib = \"5e\"", "vib = \"5\"", "two digits"),
    ] {
        let (_, message, help) = told(from, to);
        assert!(
            message.contains(word) || help.contains(word),
            "{to}: {message}; {help}"
        );
    }
    let fault = |line: &str| {
        let error = Profile::parse(Path::new("heat.toml"), &format!("{good}\n{line}")).unwrap_err();
        error.to_string()
    };
    assert!(fault("[[fault]]\nname = \"slient\"").contains("silent"));
    assert!(fault("[[fault]]\nname = \"late\"\nvalue = \"x\"").contains("late=3.4s"));
    assert!(fault("[[fault]]\nname = \"late\"\nevery = 0").contains("probability"));
}
