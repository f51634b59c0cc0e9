// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock in virtual time: against the true time, against its rules one by one, and under value lists.

use std::time::Duration;

use proptest::prelude::*;
use smgw_core::clock::{
    ClockEvent, ClockSettings, Discipline, InvalidReason, TimeSample, Validity,
};
use smgw_core::{Grid, Newest, Tolerance, ValueList};
use smgw_units::{Nanos, Obis, UtcNanos};

const SECOND: u64 = 1_000_000_000;
const QUARTER: Duration = Duration::from_secs(900);
const NOON: UtcNanos = UtcNanos::from_seconds(1_800_000_000);
/// The monotonic clock at the start.
const START: Nanos = Nanos(7 * SECOND);

fn quarter() -> ClockSettings {
    ClockSettings::for_period(QUARTER)
}

fn after(seconds: u64) -> Nanos {
    Nanos(START.0 + seconds * SECOND)
}

/// The true time is noon at the start; the sample is off by `millis`.
fn sample(seconds: u64, millis: i64) -> TimeSample {
    TimeSample {
        at: after(seconds),
        utc: UtcNanos(NOON.0 + (seconds * SECOND) as i64 + millis * 1_000_000),
        uncertainty: Duration::from_millis(1),
    }
}

fn events(clock: &mut Discipline) -> Vec<ClockEvent> {
    std::iter::from_fn(|| clock.poll_event().map(|(_, event)| event)).collect()
}

/// A clock that was set right at the start.
fn running() -> Discipline {
    let mut clock = Discipline::new(quarter(), START, NOON);
    clock.handle_sample(sample(0, 0));
    events(&mut clock);
    clock
}

#[test]
fn the_first_sample_sets_an_invalid_clock() {
    let mut clock = Discipline::new(quarter(), START, UtcNanos(0));
    assert_eq!(clock.next_poll(), START);
    assert_eq!(clock.uncertainty(after(5)), None);
    assert_eq!(clock.validity(after(5)), Validity::Invalid);
    // Far more than 1000 s: that rule is for a clock that is synchronised.
    clock.handle_sample(sample(5, 0));
    assert_eq!(clock.validity(after(5)), Validity::Valid);
    assert_eq!(clock.utc(after(6)).signed_since(NOON), 6 * SECOND as i64);
    let by = NOON.0;
    assert_eq!(
        events(&mut clock),
        [ClockEvent::SetFirst { by }, ClockEvent::BecameValid]
    );
}

#[test]
fn a_valid_clock_ignores_jumps_beyond_1000_s_and_takes_those_below() {
    for sign in [1, -1] {
        let mut clock = running();
        clock.handle_sample(sample(60, sign * 1_001_000));
        let by = sign * 1_001 * SECOND as i64;
        assert_eq!(events(&mut clock), [ClockEvent::JumpIgnored { by }]);
        assert_eq!(clock.utc(after(60)), sample(60, 0).utc);
        assert_eq!(clock.validity(after(60)), Validity::Valid);

        let jump = sample(120, sign * 999_000);
        clock.handle_sample(jump);
        assert_eq!(clock.utc(after(120)), jump.utc);
        assert_eq!(clock.validity(after(120)), Validity::Invalid);
        let by = sign * 999 * SECOND as i64;
        let deviation = ClockEvent::BecameInvalid(InvalidReason::Deviation);
        assert_eq!(events(&mut clock), [ClockEvent::Stepped { by }, deviation]);
        // Confirmed.
        clock.handle_sample(sample(180, sign * 999_000));
        assert_eq!(clock.validity(after(180)), Validity::Valid);
        assert_eq!(events(&mut clock), [ClockEvent::BecameValid]);
    }
}

/// TIM-10: 27 s are 3 % of a quarter of an hour.
#[test]
fn a_deviation_beyond_3_percent_makes_time_invalid_exactly() {
    for (millis, valid) in [
        (26_000, true),
        (27_000, true),
        (27_001, false),
        (28_000, false),
    ] {
        for sign in [1, -1] {
            let mut clock = running();
            clock.handle_sample(sample(60, sign * millis));
            assert_eq!(
                clock.validity(after(60)) == Validity::Valid,
                valid,
                "{millis}"
            );
            assert_eq!(clock.utc(after(60)), sample(60, sign * millis).utc);
            let told = events(&mut clock);
            assert!(told.contains(&ClockEvent::Stepped {
                by: sign * millis * 1_000_000
            }));
            assert_eq!(told.len(), if valid { 1 } else { 2 });
            assert!(told.iter().all(|event| event.concerns_calibration()));
        }
    }
}

/// 27 s less the millisecond of the sample, at 50 ppm of true time, of which a slow oscillator shows less.
#[test]
fn without_answers_time_becomes_invalid_when_drift_may_have_reached_the_limit() {
    let mut clock = running();
    let lasts = (27_000 - 1) * (1_000_000 - 50) / 50 / 1_000;
    assert_eq!(clock.validity(after(lasts - 1)), Validity::Valid);
    assert_eq!(clock.validity(after(lasts + 1)), Validity::Invalid);
    clock.handle_time(after(lasts + 1));
    let lapsed = ClockEvent::BecameInvalid(InvalidReason::TooUncertain);
    assert_eq!(events(&mut clock), [lapsed]);
    // The first answer sets it, however far off.
    clock.handle_sample(sample(lasts + 2, 5_000_000));
    assert_eq!(clock.validity(after(lasts + 2)), Validity::Valid);
}

#[test]
fn small_corrections_are_spread_and_time_never_runs_backwards() {
    for sign in [1, -1] {
        let mut clock = running();
        clock.handle_sample(sample(100, sign * 400));
        let by = sign * 400_000_000;
        let Some((_, ClockEvent::Slewed { by: told })) = clock.poll_event() else {
            panic!("not spread");
        };
        // The clock's own interval reaches 6 ms towards the sample.
        assert!((told - by).abs() < 7_000_000, "{told}");
        let mut before = sample(99, 0).utc;
        for tenth in 0..900 {
            let at = Nanos(after(100).0 + tenth * SECOND / 10);
            let now = clock.utc(at);
            assert!(now > before);
            before = now;
        }
        // 400 ms at 0.5 % take 80 s.
        assert!(
            clock
                .utc(after(181))
                .signed_since(sample(181, sign * 400).utc)
                .abs()
                < 7_000_000
        );
        assert!(clock.uncertainty(after(101)).unwrap() > Duration::from_millis(380));
        assert!(clock.uncertainty(after(181)).unwrap() < Duration::from_millis(10));
    }
}

#[test]
fn a_slow_answer_does_not_make_a_good_clock_worse() {
    let mut clock = running();
    let before = clock.uncertainty(after(60)).unwrap();
    clock.handle_sample(TimeSample {
        uncertainty: Duration::from_millis(4_500),
        ..sample(60, 3_000)
    });
    assert_eq!(clock.utc(after(60)), sample(60, 0).utc);
    assert!(clock.uncertainty(after(60)).unwrap() <= before + Duration::from_nanos(1));
    assert_eq!(events(&mut clock), []);
}

/// TIM-08: a day with everything that can go wrong, polling as the clock wants.
#[test]
fn polls_are_a_minute_apart_and_back_off() {
    let mut clock = Discipline::new(quarter(), START, NOON);
    let (mut now, mut polls) = (START, Vec::new());
    let end = after(86_400);
    while now <= end {
        now = now.max(clock.next_poll());
        clock.polled(now);
        polls.push(now);
        let seconds = (now.0 - START.0) / SECOND;
        match polls.len() {
            // No answer for a while, then answers, then none again, then nonsense.
            1..=8 | 40..=45 => clock.handle_failure(Nanos(now.0 + 9 * SECOND)),
            50..=55 => clock.handle_sample(sample(seconds, 2_000_000)),
            _ => clock.handle_sample(sample(seconds, 0)),
        }
    }
    let gaps = polls
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0) / SECOND);
    let gaps: Vec<_> = gaps.collect();
    assert!(gaps.iter().all(|gap| (60..=900).contains(gap)), "{gaps:?}");
    assert_eq!(gaps[..9], [60, 120, 240, 480, 900, 900, 900, 900, 900]);
    assert_eq!(gaps[38..42], [900, 60, 120, 240]);
    assert!(polls.len() > 96);
}

/// Nothing anybody tells the clock makes it panic.
#[test]
fn extreme_instants_are_endured() {
    let extremes = [i64::MIN, -1, 0, i64::MAX];
    for start in extremes {
        for told in extremes {
            for at in [0, 1, u64::MAX] {
                let mut clock = Discipline::new(quarter(), Nanos(1), UtcNanos(start));
                for uncertainty in [Duration::ZERO, Duration::MAX] {
                    let (at, utc) = (Nanos(at), UtcNanos(told));
                    clock.handle_sample(TimeSample {
                        at,
                        utc,
                        uncertainty,
                    });
                    clock.polled(at);
                    let _ = (
                        clock.utc(Nanos(u64::MAX)),
                        clock.uncertainty(Nanos(u64::MAX)),
                    );
                    clock.handle_failure(Nanos(u64::MAX));
                }
            }
        }
    }
}

/// One thing that happens to the clock, some time after the one before.
#[derive(Clone, Copy, Debug)]
struct Step {
    wait: u64,
    /// Rate error of the oscillator from here on, in ppm.
    rate: i64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The server tells the truth; the ways there and back take this long.
    Honest { there: u64, back: u64 },
    /// Nothing comes.
    Silence,
    /// The server is off by this much, in milliseconds.
    Wrong(i64),
}

fn honest() -> impl Strategy<Value = What> {
    let way = prop_oneof![0..50_000_000u64, 0..4_000_000_000u64];
    (way.clone(), way).prop_map(|(there, back)| What::Honest { there, back })
}

fn history(what: impl Strategy<Value = What>) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![
        SECOND..100 * SECOND,
        SECOND..3_000 * SECOND,
        SECOND..500_000 * SECOND
    ];
    let step = (wait, -50i64..=50, what).prop_map(|(wait, rate, what)| Step { wait, rate, what });
    prop::collection::vec(step, 1..40)
}

/// The world: true time, and what a monotonic clock with rate errors shows.
struct World {
    truth: i64,
    shown: Nanos,
}

impl World {
    fn advance(&mut self, span: u64, rate: i64) {
        self.truth += span as i64;
        let shown = i128::from(span) * (1_000_000 + i128::from(rate)) / 1_000_000;
        self.shown = Nanos(self.shown.0 + shown as u64);
    }
}

/// Every event with when it came, and every time told.
type Told = (Vec<(Nanos, ClockEvent)>, Vec<UtcNanos>);

/// Runs a history and holds the clock to what it promises whatever the server does.
fn run(history: &[Step], mut look: impl FnMut(&Discipline, &World)) -> Told {
    let mut world = World {
        truth: NOON.0,
        shown: START,
    };
    let assumed = UtcNanos(NOON.0 - 77 * SECOND as i64);
    let mut clock = Discipline::new(quarter(), START, assumed);
    let (mut all, mut times) = (Vec::new(), Vec::new());
    for step in history {
        for _ in 0..7 {
            let before = clock.utc(world.shown);
            world.advance(step.wait / 7, step.rate);
            clock.handle_time(world.shown);
            assert!(clock.utc(world.shown) >= before, "time ran backwards");
            times.push(clock.utc(world.shown));
            look(&clock, &world);
        }
        let before = clock.utc(world.shown);
        match step.what {
            What::Silence => clock.handle_failure(world.shown),
            What::Wrong(millis) => clock.handle_sample(TimeSample {
                at: world.shown,
                utc: UtcNanos(world.truth + millis * 1_000_000),
                uncertainty: Duration::from_millis(5),
            }),
            What::Honest { there, back } => {
                let half = (there + back) / 2;
                clock.handle_sample(TimeSample {
                    at: world.shown,
                    utc: UtcNanos(world.truth - back as i64 + half as i64),
                    uncertainty: Duration::from_nanos(half + 2),
                });
            }
        }
        let moved = clock.utc(world.shown).signed_since(before);
        let mut stepped = 0;
        while let Some((at, event)) = clock.poll_event() {
            match event {
                ClockEvent::SetFirst { by } | ClockEvent::Stepped { by } => stepped += by,
                ClockEvent::Slewed { by } => assert!(by.unsigned_abs() <= SECOND / 2),
                ClockEvent::JumpIgnored { by } => assert!(by.unsigned_abs() > 1_000 * SECOND),
                _ => {}
            }
            all.push((at, event));
        }
        // What jumps is told, to the nanosecond.
        assert_eq!(moved, stepped);
        look(&clock, &world);
    }
    (all, times)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// With an honest server and an oscillator that keeps its promise, the truth never leaves the interval, and a valid
    /// time is off by no more than the limit.
    #[test]
    fn the_error_is_bounded(
        history in history(prop_oneof![3 => honest(), 1 => Just(What::Silence)])
    ) {
        let limit = quarter().limit;
        run(&history, |clock, world| {
            let error = clock.utc(world.shown).0.abs_diff(world.truth);
            if let Some(uncertainty) = clock.uncertainty(world.shown) {
                // Every step of the world rounds what its oscillator shows.
                let slack = Duration::from_nanos(1_000);
                assert!(Duration::from_nanos(error) <= uncertainty + slack);
            }
            if clock.validity(world.shown) == Validity::Valid {
                assert!(Duration::from_nanos(error) <= limit + Duration::from_nanos(1_000));
            }
        });
    }

    /// Whatever the server says: what [`run`] asserts, and the same again on a second run.
    #[test]
    fn the_rules_hold_with_any_server(
        history in history(prop_oneof![
            honest(),
            Just(What::Silence),
            (-60_000i64..60_000).prop_map(What::Wrong),
            (-2_000_000i64..2_000_000).prop_map(What::Wrong),
        ])
    ) {
        let look = |_: &Discipline, _: &World| ();
        prop_assert_eq!(run(&history, look), run(&history, look));
    }

    /// Steps in either direction make gaps in a value list, never the same target time twice (TIM-12).
    #[test]
    fn no_target_time_is_doubled(
        history in history(prop_oneof![
            honest(),
            (-900_000i64..900_000).prop_map(What::Wrong),
        ])
    ) {
        let grid = Grid::new(QUARTER, Tolerance::ONE_PERCENT).unwrap();
        let mut targets = Vec::new();
        let mut list = None;
        run(&history, |clock, world| {
            let now = clock.utc(world.shown);
            let list = list.get_or_insert_with(|| {
                ValueList::new(Obis::IMPORT_TOTAL, grid, now, Newest::default())
            });
            targets.extend(std::iter::from_fn(|| list.handle_time(now)).map(|entry| entry.target));
        });
        prop_assert!(targets.is_sorted_by(|a, b| a < b));
    }
}
