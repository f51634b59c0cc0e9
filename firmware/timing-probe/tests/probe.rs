// SPDX-License-Identifier: MIT OR Apache-2.0
//! The probe with a timer and pins that the test plays.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use proptest::prelude::*;
use timing_probe::{
    Capture, Command, Edge, Line, LineReader, Probe, PulseOutput, Refusal, Reply, STAMPS_AT_ONCE,
    Stamp,
};

/// Timer and output, shared with the test.
#[derive(Clone, Debug, Default)]
struct Bench(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    counter: u32,
    edges: VecDeque<Edge>,
    pulses: Option<(u32, u32)>,
}

impl Bench {
    /// Time passes, with an edge at its end.
    fn edge_after(&self, counts: u32, missed: u32) {
        let mut state = self.0.borrow_mut();
        state.counter = state.counter.wrapping_add(counts);
        let edge = Edge {
            counter: state.counter,
            rising: state.edges.len().is_multiple_of(2),
            missed,
        };
        state.edges.push_back(edge);
    }
}

impl Capture for Bench {
    const HERTZ: u32 = 16_000_000;

    fn counter(&mut self) -> u32 {
        self.0.borrow().counter
    }

    fn next_edge(&mut self) -> Option<Edge> {
        self.0.borrow_mut().edges.pop_front()
    }
}

impl PulseOutput for Bench {
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal> {
        let mut state = self.0.borrow_mut();
        match (state.pulses, period) {
            (Some(_), _) => Err(Refusal::Busy),
            (_, 0) => Err(Refusal::Range),
            _ => {
                state.pulses = Some((count, period));
                Ok(())
            }
        }
    }
}

type Played<const N: usize> = Probe<Bench, Bench, N>;

fn probe<const N: usize>() -> (Played<N>, Bench) {
    let bench = Bench::default();
    (Probe::new(bench.clone(), bench.clone()), bench)
}

fn say<const N: usize>(probe: &mut Played<N>, bytes: &[u8]) -> Vec<Reply> {
    let mut reader = LineReader::default();
    let mut replies = Vec::new();
    for byte in bytes {
        probe.input(*byte, |line| {
            for byte in line {
                if let Some(text) = reader.push(*byte) {
                    replies.push(Reply::parse(text.unwrap()).unwrap());
                }
            }
        });
    }
    replies
}

fn ask<const N: usize>(probe: &mut Played<N>, command: Command) -> Vec<Reply> {
    say(probe, Line::new(&command).bytes())
}

#[test]
fn stamps_are_numbered_and_extended_over_turns_of_the_counter() {
    let (mut probe, bench) = probe::<8>();
    bench.edge_after(100, 0);
    assert_eq!(ask(&mut probe, Command::Start), [Reply::Done]);
    let mut expected = Vec::new();
    let mut ticks = 100;
    for number in 0..6 {
        bench.edge_after(0x7000_0000, 0);
        probe.poll();
        ticks += 0x7000_0000;
        expected.push(Reply::Stamp(Stamp {
            number,
            ticks,
            rising: true,
        }));
    }
    assert!(ticks > 2 << 32);
    expected.push(Reply::End { next: 6, lost: 0 });
    assert_eq!(ask(&mut probe, Command::Read { from: 0 }), expected);
    // Asked again, it says the same: a line may have been lost.
    assert_eq!(ask(&mut probe, Command::Read { from: 0 }), expected);
    assert_eq!(ask(&mut probe, Command::Read { from: 4 }), expected[4..]);
    assert_eq!(ask(&mut probe, Command::Now), [Reply::Now { ticks }]);
}

#[test]
fn a_full_ring_and_a_slow_timer_are_counted() {
    let (mut probe, bench) = probe::<4>();
    ask(&mut probe, Command::Start);
    for _ in 0..6 {
        bench.edge_after(10, 0);
    }
    let replies = ask(&mut probe, Command::Read { from: 0 });
    assert_eq!(replies.len(), 5);
    assert_eq!(replies[4], Reply::End { next: 6, lost: 2 });
    bench.edge_after(10, 3);
    let replies = ask(&mut probe, Command::Read { from: 6 });
    let stamp = Stamp {
        number: 9,
        ticks: 70,
        rising: true,
    };
    assert_eq!(
        replies,
        [Reply::Stamp(stamp), Reply::End { next: 10, lost: 5 }]
    );
}

#[test]
fn edges_at_rest_are_no_stamps_but_keep_the_time() {
    let (mut probe, bench) = probe::<4>();
    for _ in 0..10 {
        bench.edge_after(0x6000_0000, 0);
        probe.poll();
    }
    ask(&mut probe, Command::Start);
    bench.edge_after(1, 0);
    ask(&mut probe, Command::Stop);
    bench.edge_after(1, 0);
    let stamp = Stamp {
        number: 0,
        ticks: 0x6000_0000 * 10 + 1,
        rising: true,
    };
    let expected = [Reply::Stamp(stamp), Reply::End { next: 1, lost: 0 }];
    assert_eq!(ask(&mut probe, Command::Read { from: 0 }), expected);
}

#[test]
fn long_answers_come_in_parts() {
    let (mut probe, bench) = probe::<40>();
    ask(&mut probe, Command::Start);
    for _ in 0..40 {
        bench.edge_after(1, 0);
    }
    let mut from = 0;
    let mut seen = Vec::new();
    while from < 40 {
        let replies = ask(&mut probe, Command::Read { from });
        assert!(replies.len() <= STAMPS_AT_ONCE + 1);
        for reply in replies {
            if let Reply::Stamp(stamp) = reply {
                seen.push(stamp.number);
                from = stamp.number + 1;
            }
        }
    }
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[test]
fn pulses_are_begun_or_refused() {
    let (mut probe, bench) = probe::<1>();
    let pulse = |count, period| Command::Pulse { count, period };
    let refused = |refusal| [Reply::Refused(refusal)];
    assert_eq!(ask(&mut probe, pulse(3, 0)), refused(Refusal::Range));
    assert_eq!(ask(&mut probe, pulse(3, 16_000)), [Reply::Done]);
    assert_eq!(bench.0.borrow().pulses, Some((3, 16_000)));
    assert_eq!(ask(&mut probe, pulse(1, 1)), refused(Refusal::Busy));
    let info = Reply::Info {
        hertz: 16_000_000,
        capacity: 1,
    };
    assert_eq!(ask(&mut probe, Command::Info), [info]);
}

#[test]
fn nonsense_is_refused_with_its_reason() {
    let (mut probe, _bench) = probe::<1>();
    assert_eq!(
        say(&mut probe, b"start*00\n"),
        [Reply::Refused(Refusal::Damaged)]
    );
    for text in [
        "begin",
        "start now",
        "read",
        "read -1",
        "read +1",
        "read 18446744073709551616",
        "pulse 1",
        "info ",
        "",
    ] {
        let line = Line::new(&text);
        let expected = match text {
            "" => Refusal::Damaged,
            _ => Refusal::Unknown,
        };
        assert_eq!(
            say(&mut probe, line.bytes()),
            [Reply::Refused(expected)],
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn replies_are_read_as_they_were_written(number: u64, ticks: u64, rising: bool, small: u32, choice in 0..5_usize) {
        let replies = [
            Reply::Info { hertz: small, capacity: !small },
            Reply::Now { ticks },
            Reply::Stamp(Stamp { number, ticks, rising }),
            Reply::End { next: number, lost: ticks },
            Reply::Refused(Refusal::Busy),
        ];
        let line = Line::new(&replies[choice]);
        let mut reader = LineReader::default();
        let mut read = None;
        for byte in line.bytes() {
            read = read.or(reader.push(*byte).map(|text| Reply::parse(text.unwrap())));
        }
        prop_assert_eq!(read, Some(Some(replies[choice])));
    }

    #[test]
    fn stamps_are_the_instants_of_the_edges(steps in prop::collection::vec(0..0x8000_0000_u32, 1..50)) {
        let (mut probe, bench) = probe::<64>();
        ask(&mut probe, Command::Start);
        let mut instants = Vec::new();
        for step in &steps {
            bench.edge_after(*step, 0);
            probe.poll();
            instants.push(instants.last().copied().unwrap_or(0) + u64::from(*step));
        }
        let mut seen = Vec::new();
        while seen.len() < steps.len() {
            for reply in ask(&mut probe, Command::Read { from: seen.len() as u64 }) {
                if let Reply::Stamp(stamp) = reply {
                    seen.push(stamp.ticks);
                }
            }
        }
        prop_assert_eq!(seen, instants);
    }
}
