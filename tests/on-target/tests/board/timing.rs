// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timing probe generates pulses and stamps their edges, asked over RTT as a lab would.

use std::time::{Duration, Instant};

use bench_probe::qemu::Network;
use on_target::{Target, image};
use timing_probe::{Command, Line, LineReader, Reply, Stamp};

/// How long the firmware may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

const COMMANDS: u32 = 0;
const REPLIES: u32 = 1;

/// Asks and gives all replies up to the one that ends the answer.
fn ask(target: &mut Target, command: Command) -> Vec<Reply> {
    target.send(COMMANDS, Line::new(&command).bytes());
    let deadline = Instant::now() + PATIENCE;
    let mut reader = LineReader::default();
    let mut replies = Vec::new();
    loop {
        for byte in target.receive(REPLIES) {
            if let Some(line) = reader.push(byte) {
                let text = line.expect("a whole line");
                replies.push(Reply::parse(text).expect("a known reply"));
            }
        }
        match replies.last() {
            None | Some(Reply::Stamp(_)) => {
                assert!(Instant::now() < deadline, "no answer to {command}")
            }
            Some(_) => return replies,
        }
    }
}

#[test]
fn pulses_are_stamped() {
    const PULSES: u32 = 40;
    let Some(image) = image("timing-probe") else {
        return;
    };
    let mut target = Target::start(&image, None, Network::None);
    let info = ask(&mut target, Command::Info);
    let [Reply::Info { hertz, .. }] = info[..] else {
        panic!("{info:?}");
    };
    assert_eq!(ask(&mut target, Command::Start), [Reply::Done]);
    let pulse = Command::Pulse {
        count: PULSES,
        period: hertz / 500,
    };
    assert_eq!(ask(&mut target, pulse), [Reply::Done]);
    let edges = u64::from(PULSES) * 2;
    let mut stamps: Vec<Stamp> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while (stamps.len() as u64) < edges {
        assert!(Instant::now() < deadline, "only {} stamps", stamps.len());
        let from = stamps.last().map_or(0, |stamp| stamp.number + 1);
        for reply in ask(&mut target, Command::Read { from }) {
            match reply {
                Reply::Stamp(stamp) => stamps.push(stamp),
                Reply::End { lost, .. } => assert_eq!(lost, 0),
                other => panic!("{other:?}"),
            }
        }
    }
    // No more edges than two of each pulse.
    let end = ask(&mut target, Command::Read { from: edges });
    assert_eq!(
        end,
        [Reply::End {
            next: edges,
            lost: 0
        }]
    );
    for (number, stamp) in (0..).zip(&stamps) {
        assert_eq!((stamp.number, stamp.rising), (number, number % 2 == 0));
    }
    let in_order = stamps.windows(2).all(|pair| pair[0].ticks < pair[1].ticks);
    assert!(in_order, "{stamps:?}");
    let now = ask(&mut target, Command::Now);
    assert!(matches!(now[..], [Reply::Now { ticks }] if ticks > stamps[stamps.len() - 1].ticks));
    // A train that is over is no obstacle to the next one.
    assert_eq!(ask(&mut target, pulse), [Reply::Done]);
    target.cut_power();
}
