// SPDX-License-Identifier: MIT OR Apache-2.0
//! The value list machine against a model that looks at the whole history at once (catalogue rows
//! MET-01, MET-02, MET-03; detail specifications §10.1). Virtual time only.

use std::time::Duration;

use proptest::prelude::*;
use smgw_core::{
    CombinedStatus, Content, Entry, GapReason, Grid, Meter, Newest, Reading, Tolerance, ValueList,
};
use smgw_units::{Decimal, Obis, Unit, UtcNanos};

const MS: i64 = 1_000_000;

/// Target in nanoseconds, then capture time in seconds and mantissa, or why there is none.
type Plain = (i64, Result<(i64, i128), GapReason>);

#[derive(Clone, Copy, Debug)]
enum Event {
    Reading(i128),
    Fault(GapReason),
}

fn grid(period_s: u64) -> Grid {
    Grid::new(Duration::from_secs(period_s), Tolerance::ONE_PERCENT).unwrap()
}

fn reading(mantissa: i128) -> Reading {
    Reading {
        obis: Obis::IMPORT_TOTAL,
        value: Decimal::new(mantissa, -4),
        unit: Unit::WATT_HOUR,
        meter_status: 1 << 2,
    }
}

/// What each grid point must get, judged with the full history of stamped events in hand.
fn model(period_s: i64, start: i64, end: i64, history: &[(i64, Event)]) -> Vec<Plain> {
    let period = period_s * 1_000 * MS;
    let window = period / 100;
    let decided = |target: i64| target + window + (period / 4).min(2_000 * MS);
    let mut expected = Vec::new();
    let mut last_capture = i64::MIN;
    let mut target = (start.div_euclid(period) + 1) * period;
    let mut from = 0;
    while decided(target) <= end {
        let seen = |&&(at, _): &&(i64, Event)| at >= from && at < decided(target);
        let near = |at: i64| (at - target).abs() <= window;
        let capture = |at: i64| (at + 500 * MS).div_euclid(1_000 * MS);
        let mut best: Option<(i64, i128)> = None;
        let (mut inside, mut anywhere): (Vec<GapReason>, Vec<GapReason>) = (vec![], vec![]);
        for (at, event) in history.iter().filter(seen) {
            let reason = match event {
                Event::Reading(value) if near(*at) && capture(*at) > last_capture => {
                    if best.is_none_or(|(held, _)| (at - target).abs() < (held - target).abs()) {
                        best = Some((*at, *value));
                    }
                    continue;
                }
                Event::Reading(_) => GapReason::OffGrid,
                Event::Fault(reason) => *reason,
            };
            anywhere.push(reason);
            if near(*at) {
                inside.push(reason);
            }
        }
        // The link is down from a loss until anything else is heard.
        let mut down: Option<i64> = None;
        for (at, event) in history.iter().filter(|(at, _)| *at < decided(target)) {
            match (event, down) {
                (Event::Fault(GapReason::LinkLost), None) => down = Some(*at),
                (Event::Fault(GapReason::LinkLost), Some(_)) | (_, None) => {}
                (_, Some(since)) => {
                    if since <= target + window && *at >= target - window && *at >= from {
                        inside.push(GapReason::LinkLost);
                    }
                    down = None;
                }
            }
        }
        if down.is_some_and(|since| since <= target + window) {
            inside.push(GapReason::LinkLost);
        }
        expected.push((
            target,
            match best {
                Some((at, value)) => {
                    last_capture = capture(at);
                    Ok((last_capture, value))
                }
                None => Err(inside
                    .into_iter()
                    .max()
                    .or(anywhere.into_iter().max())
                    .unwrap_or(GapReason::NoTelegram)),
            },
        ));
        from = decided(target);
        target += period;
    }
    expected
}

fn plain(entry: &Entry) -> Plain {
    let content = match entry.content {
        Content::Value { capture, value, .. } => {
            assert_eq!(entry.status, CombinedStatus::of_value(1 << 2));
            assert_eq!(capture.0 % (1_000 * MS), 0, "capture time is second-exact");
            Ok((capture.seconds(), value.mantissa))
        }
        Content::Gap(reason) => {
            assert_eq!(entry.status, CombinedStatus::of_gap());
            Err(reason)
        }
    };
    (entry.target.0, content)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..1_000_000_i128).prop_map(Event::Reading),
        1 => prop::sample::select(vec![
            GapReason::BadTelegram,
            GapReason::NotAuthentic,
            GapReason::Replayed,
            GapReason::WrongMeter,
            GapReason::NoAnswer,
            GapReason::RegisterMissing,
            GapReason::LinkLost,
        ])
        .prop_map(Event::Fault),
    ]
}

/// Stamps that crowd around grid points, where the decisions are.
fn stamp(period_s: i64) -> impl Strategy<Value = i64> {
    let period = period_s * 1_000;
    prop_oneof![
        0..12 * period,
        (0..12_i64, -3 * period / 100..=3 * period / 100)
            .prop_map(move |(point, off)| point * period + off),
        (0..12_i64, prop::sample::select(vec![-1, 0, 1]))
            .prop_map(move |(point, side)| point * period + side * period / 100),
    ]
    .prop_map(|ms| ms.max(0) * MS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_the_model(
        (period_s, start, mut history) in prop::sample::select(vec![1_i64, 2, 5, 60, 900]).prop_flat_map(|period| (
            Just(period),
            0..2 * period * 1_000,
            prop::collection::vec((stamp(period), event()), 0..60),
        )),
    ) {
        let start = start * MS;
        history.retain(|(at, _)| *at >= start);
        history.sort_by_key(|(at, _)| *at);
        let end = 13 * period_s * 1_000 * MS;

        let mut list = ValueList::new(
            Obis::IMPORT_TOTAL, grid(period_s as u64), UtcNanos(start), Newest::default(),
        );
        let mut got = Vec::new();
        for (at, event) in &history {
            got.extend(std::iter::from_fn(|| list.handle_time(UtcNanos(*at))));
            match event {
                Event::Reading(value) => list.observe(reading(*value), UtcNanos(*at)),
                Event::Fault(reason) => list.fault(*reason, UtcNanos(*at)),
            }
        }
        got.extend(std::iter::from_fn(|| list.handle_time(UtcNanos(end))));
        let got: Vec<_> = got.iter().map(plain).collect();
        prop_assert_eq!(got, model(period_s, start, end, &history));
    }

    /// Whatever the clock does: targets and capture times rise strictly, and no value is invented.
    #[test]
    fn rises_strictly_under_any_clock(
        steps in prop::collection::vec((-40_000..60_000_i64, any::<bool>()), 0..200),
    ) {
        let mut now = 1_000_000 * MS;
        let mut list = ValueList::new(Obis::IMPORT_TOTAL, grid(5), UtcNanos(now), Newest::default());
        let (mut target, mut capture) = (i64::MIN, i64::MIN);
        let mut told = Vec::new();
        for (index, (step_ms, with_reading)) in steps.into_iter().enumerate() {
            now += step_ms * MS;
            for entry in std::iter::from_fn(|| list.handle_time(UtcNanos(now))) {
                prop_assert!(entry.target.0 > target);
                target = entry.target.0;
                if let Content::Value { capture: at, value, .. } = entry.content {
                    prop_assert!(at.0 > capture);
                    prop_assert!(told.contains(&value.mantissa));
                    capture = at.0;
                }
            }
            if with_reading {
                told.push(index as i128);
                list.observe(reading(index as i128), UtcNanos(now));
            }
        }
    }
}

#[test]
fn starts_with_the_first_grid_point_after_the_start() {
    let mid_period = UtcNanos::from_seconds(1_000);
    let list = ValueList::new(Obis::IMPORT_TOTAL, grid(900), mid_period, Newest::default());
    assert_eq!(
        list.next_deadline(),
        Some(UtcNanos::from_seconds(1_800 + 9 + 2))
    );
}

#[test]
fn goes_on_after_what_the_store_holds() {
    let held = Newest {
        target: Some(UtcNanos::from_seconds(2_700)),
        capture: Some(UtcNanos::from_seconds(2_702)),
    };
    // The clock stepped back over the restart: 2700 is not decided a second time.
    let list = ValueList::new(
        Obis::IMPORT_TOTAL,
        grid(900),
        UtcNanos::from_seconds(2_000),
        held,
    );
    assert_eq!(
        list.next_deadline(),
        Some(UtcNanos::from_seconds(3_600 + 9 + 2))
    );
}

#[test]
fn a_wrong_clock_does_not_fill_the_store() {
    let start = UtcNanos::from_seconds(900);
    let mut list = ValueList::new(Obis::IMPORT_TOTAL, grid(900), start, Newest::default());
    let far = UtcNanos::from_seconds(900 * 1_000_000 + 300);
    let entries: Vec<_> = std::iter::from_fn(|| list.handle_time(far)).collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        list.next_deadline(),
        Some(UtcNanos::from_seconds(900 * 1_000_001 + 11))
    );
}

#[test]
fn a_telegram_without_a_register_leaves_a_gap_in_that_list_only() {
    let power: Obis = "1-0:16.7.0".parse().unwrap();
    let start = UtcNanos::from_seconds(1);
    let mut meter = Meter::new(
        "1smb0000000001".parse().unwrap(),
        &[Obis::IMPORT_TOTAL, power],
        grid(5),
        start,
        |_| Newest::default(),
    );
    assert_eq!(
        meter.telegram(&[reading(7)], UtcNanos::from_seconds(5)),
        [power]
    );
    let entries = meter.handle_time(UtcNanos::from_seconds(8));
    let contents: Vec<_> = entries
        .iter()
        .map(|entry| (entry.obis, plain(entry).1))
        .collect();
    assert_eq!(
        contents,
        [
            (Obis::IMPORT_TOTAL, Ok((5, 7))),
            (power, Err(GapReason::RegisterMissing))
        ]
    );
    let names: Vec<_> = meter.logical_names().map(|name| name.to_string()).collect();
    assert_eq!(
        names,
        [
            "0100010800ff.1smb0000000001.sm",
            "0100100700ff.1smb0000000001.sm"
        ]
    );
}

#[test]
fn a_closed_list_ends_before_its_end_and_the_next_one_begins_with_it() {
    let at = UtcNanos::from_seconds;
    let list = |start| ValueList::new(Obis::IMPORT_TOTAL, grid(900), at(start), Newest::default());
    let (mut old, mut new) = (list(1), list(1_799));
    old.close(at(1_800));
    let (mut of_old, mut of_new) = (Vec::new(), Vec::new());
    for second in [905, 1_795, 2_695, 3_000] {
        for (list, given) in [(&mut old, &mut of_old), (&mut new, &mut of_new)] {
            given.extend(std::iter::from_fn(|| list.handle_time(at(second))));
            list.observe(reading(second.into()), at(second));
        }
    }
    let targets = |given: &[Entry]| {
        given
            .iter()
            .map(|entry| entry.target.seconds())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (targets(&of_old), targets(&of_new)),
        (vec![900], vec![1_800, 2_700])
    );
    assert!(old.is_finished() && old.next_deadline().is_none());
    assert!(
        of_new
            .iter()
            .all(|entry| matches!(entry.content, Content::Value { .. }))
    );
}
