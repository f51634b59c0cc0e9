// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::path::Path;
use std::time::Duration;

use smgw_meters::profile::{Profile, Protocol};
use smgw_meters::read::{Action, Detector, Options, Report, Table};
use smgw_meters::sim::Simulator;
use smgw_units::{Nanos, UtcNanos};

const EPOCH: Nanos = Nanos(1_000_000_000_000);

/// A profile is refused with mistakes that lie in its text, or can be played.
pub fn profile(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut profile = match Profile::parse(Path::new("any.toml"), text) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                assert!(problem.span.end <= text.len(), "{problem:?}");
                assert!(!problem.message.is_empty());
            }
            return;
        }
    };
    assert!(!profile.devices.is_empty());
    // Faults may be floods; they have tests of their own.
    profile.faults.clear();
    let mut simulator = Simulator::new(profile, EPOCH, UtcNanos(0), 1);
    let mut last = EPOCH;
    for _ in 0..4 {
        let Some(due) = simulator.poll_timeout() else {
            break;
        };
        assert!(due >= last, "a simulator never goes back");
        last = due;
        simulator.poll_transmit(due);
    }
}

/// Two bytes say what the reader knows, the others what comes off the line: lengths in two bytes, and so many bytes in
/// answer to the next request, if there is one. No more telegrams than bytes, counters that add
/// up, an end when nothing was found.
pub fn detector(data: &[u8]) {
    telegrams(data);
}

/// The same; gives how many telegrams were read.
pub fn telegrams(data: &[u8]) -> usize {
    let [protocol, address, line @ ..] = data else {
        return 0;
    };
    let options = Options {
        protocol: Protocol::ALL.get(usize::from(*protocol)).copied(),
        addresses: Some(*address)
            .filter(|address| *address > 0)
            .into_iter()
            .collect(),
        secondary: *address == 0xff,
        interval: Duration::from_secs(3_600),
        ..Options::default()
    };
    let mut detector = Detector::new(options, EPOCH);
    let mut table = Table::default();
    let mut telegrams = 0;
    let mut now = EPOCH;
    let mut rest = line;
    while let [high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (answer, behind) = tail.split_at(length.min(tail.len()));
        rest = behind;
        now = wait_for_request(&mut detector, now);
        for byte in answer {
            now = now + Duration::from_micros(100);
            detector.handle_input(now, *byte);
            detector.handle_timeout(now);
            telegrams += collect(&mut detector, &mut table, now);
        }
        assert!(detector.counters().bytes <= line.len() as u64);
        assert!(detector.counters().noise_bytes <= 2 * line.len() as u64);
    }
    assert!(telegrams <= line.len());
    // Left alone it asks in vain, and comes to an end unless it found somebody before.
    for _ in 0..5_000 {
        act(&mut detector, now);
        let due = detector.poll_timeout().filter(|_| !detector.found());
        let Some(due) = due else { break };
        now = now.max(due);
        detector.handle_timeout(now);
        collect(&mut detector, &mut table, now);
    }
    assert!(detector.found() || detector.ended());
    table.print(now, detector.counters(), 80);
    telegrams
}

/// Lets a moment pass, until the reader asks for something.
fn wait_for_request(detector: &mut Detector, start: Nanos) -> Nanos {
    let end = start + Duration::from_millis(400);
    let mut now = start;
    while !act(detector, now) {
        match detector.poll_timeout().filter(|due| *due <= end) {
            Some(due) if due > now => now = due,
            _ => break,
        }
        detector.handle_timeout(now);
    }
    now
}

/// Whether something was sent.
fn act(detector: &mut Detector, now: Nanos) -> bool {
    let mut actions = 0;
    let mut sent = false;
    while let Some(action) = detector.poll_action(now) {
        if let Action::Send(bytes) = action {
            assert!(!bytes.is_empty());
            sent = true;
        }
        actions += 1;
        assert!(actions < 100, "it does not stop acting");
    }
    sent
}

fn collect(detector: &mut Detector, table: &mut Table, now: Nanos) -> usize {
    let mut telegrams = 0;
    while let Some(report) = detector.poll_report() {
        if let Report::Telegram(telegram) = report {
            telegrams += 1;
            serde_json::to_string(&telegram).expect("numbers and text");
            table.update(&telegram, now);
        }
    }
    telegrams
}

const ASKED: [&str; 5] = [
    include_str!("../../../../../rigs/meters/heat.toml"),
    include_str!("../../../../../rigs/meters/mbus-two.toml"),
    include_str!("../../../../../rigs/meters/sml-pull.toml"),
    include_str!("../../../../../rigs/meters/lmn-wired.toml"),
    include_str!("../../../../../fixtures/fuzz/meter_profile/d0_mode_b"),
];

/// The first byte names a meter that waits to be asked, the others are asked: it answers in the order of time, and
/// never more often than it was spoken to.
pub fn asked(data: &[u8]) {
    let [name, line @ ..] = data else { return };
    let text = ASKED[usize::from(*name) % ASKED.len()];
    let profile = Profile::parse(Path::new("asked.toml"), text).expect("it ships");
    let devices = profile.devices.len();
    let mut simulator = Simulator::new(profile, EPOCH, UtcNanos(0), 1);
    let mut now = EPOCH;
    let mut answers = 0;
    for byte in line {
        now = now + Duration::from_millis(1);
        simulator.handle_input(now, *byte);
        while let Some(due) = simulator.poll_timeout().filter(|due| *due <= now) {
            answers += usize::from(simulator.poll_transmit(due).is_some());
            assert!(answers <= 4 * devices * line.len());
        }
    }
}
