// SPDX-License-Identifier: MIT OR Apache-2.0
//! Worked examples of tariff use cases, with numbers one can check by hand (catalogue rows MET-05 to MET-14 and MET-20).

use std::fs;
use std::path::PathBuf;

use smgw_core::profile::EvaluationProfile;
use smgw_core::taf::{Effect, Evaluation, Finding, StateError, Trigger};
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, Obis, Unit, UtcNanos};

/// The example of a use case, with changes.
fn profile(taf: u8, changes: &[(&str, &str)]) -> EvaluationProfile {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../fixtures/profiles");
    let mut text = fs::read_to_string(root.join(format!("taf-{taf:02}.toml"))).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    toml::from_str(&text).unwrap()
}

fn at(text: &str) -> UtcNanos {
    let stamp: jiff::Timestamp = text.parse().unwrap();
    UtcNanos::from_seconds(stamp.as_second())
}

/// An evaluation with a clock of its own that goes from grid point to grid point.
struct Bench {
    evaluation: Evaluation,
    next: UtcNanos,
}

impl Bench {
    fn new(profile: EvaluationProfile, first: &str) -> Self {
        let next = at(first);
        let evaluation = Evaluation::new(profile, next);
        Self { evaluation, next }
    }

    /// What comes of an entry at the next grid point: a value in Wh, or none.
    fn point(&mut self, value: Option<i128>) -> Vec<Effect> {
        let value = value.map(|value| Decimal::new(value, 0));
        self.entry(value, CombinedStatus::of_value(1 << 2))
    }

    fn entry(&mut self, value: Option<Decimal>, status: CombinedStatus) -> Vec<Effect> {
        let profile = self.evaluation.profile().clone();
        let content = value.map_or(Content::Gap(GapReason::NoAnswer), |value| Content::Value {
            capture: self.next,
            value,
            unit: Unit::WATT_HOUR,
        });
        for input in profile.inputs() {
            let (obis, target) = (input.obis, self.next);
            let entry = Entry {
                obis,
                target,
                status,
                content,
            };
            self.evaluation.handle_entry(input.meter, &entry);
        }
        self.next.0 += i64::from(profile.registration_period()) * 1_000_000_000;
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.evaluation.poll_effect()).collect()
    }

    /// Registers by group E.
    fn registers(&self) -> Vec<(u8, i128)> {
        let value = |entry: &Entry| match entry.content {
            Content::Value { value, .. } => value.mantissa_at(0).unwrap(),
            Content::Gap(_) => panic!("a register without value"),
        };
        let registers = self.evaluation.registers();
        let register =
            |derived: &smgw_core::taf::Derived| (derived.entry.obis.0[4], value(&derived.entry));
        registers.iter().map(register).collect()
    }
}

fn deliveries(effects: &[Effect]) -> Vec<&smgw_core::taf::Delivery> {
    let mut found = Vec::new();
    for effect in effects {
        if let Effect::Delivery(delivery) = effect {
            found.push(delivery);
        }
    }
    found
}

/// TAF 2 on a Monday in June: high tariff from 06:00 to 22:00 of legal time, which is 04:00Z to 20:00Z.
#[test]
fn a_gap_without_switch_goes_to_the_step_and_one_with_switch_to_the_error_register() {
    let mut bench = Bench::new(profile(2, &[]), "2026-06-15T03:15:00Z");
    for value in [Some(100), Some(110), None, Some(140)] {
        bench.point(value);
    }
    // 03:15 to 04:00, all of it low tariff, although 03:45 is missing.
    assert_eq!(bench.registers(), [(1, 0), (2, 40), (63, 0), (0, 40)]);
    bench.point(Some(147));
    assert_eq!(bench.registers(), [(1, 7), (2, 40), (63, 0), (0, 47)]);
    // Until 20:15 nothing: the switch at 20:00 lies inside.
    bench.next = at("2026-06-15T20:15:00Z");
    bench.point(Some(1_000));
    assert_eq!(bench.registers(), [(1, 7), (2, 40), (63, 853), (0, 900)]);
    bench.point(Some(1_001));
    assert_eq!(bench.registers(), [(1, 7), (2, 41), (63, 853), (0, 901)]);
}

/// A switch exactly at the end of a gap is not inside of it, nor is one exactly at its beginning.
#[test]
fn switches_at_the_ends_of_a_gap_are_not_inside() {
    let mut bench = Bench::new(profile(2, &[]), "2026-06-15T04:00:00Z");
    bench.point(Some(0));
    bench.next = at("2026-06-15T20:00:00Z");
    bench.point(Some(500));
    assert_eq!(bench.registers(), [(1, 500), (2, 0), (63, 0), (0, 500)]);
}

/// Easter Monday and Christmas are low tariff all day; the day after is not.
#[test]
fn special_days_go_before_week_days() {
    for (day, high) in [
        ("2026-04-06", 0),
        ("2026-04-07", 16 * 4),
        ("2026-12-25", 0),
        ("2026-12-28", 28 + 22),
    ] {
        let midnight = at(&format!("{day}T00:00:00Z")).0
            - if day < "2026-10" { 7_200 } else { 3_600 } * 1_000_000_000;
        let mut bench = Bench::new(profile(2, &[]), "2026-01-01T00:00:00Z");
        bench.next = UtcNanos(midnight);
        for quarter in 0..=96 {
            bench.point(Some(quarter));
        }
        // Winter days have their high tariff from 06:00 to 13:00 and from 16:00 to 21:30.
        assert_eq!(bench.registers()[..2], [(1, high), (2, 96 - high)], "{day}");
    }
}

#[test]
fn a_decreasing_register_is_believed_only_where_it_can_roll_over() {
    let mut bench = Bench::new(profile(2, &[]), "2026-06-15T00:00:00Z");
    bench.point(Some(999_999_990));
    let effects = bench.point(Some(15));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Finding {
            finding: Finding::RolledOver { .. },
            ..
        }
    )));
    assert_eq!(bench.registers(), [(1, 0), (2, 25), (63, 0), (0, 25)]);
    // From 15 to 10 would be nearly once around.
    let effects = bench.point(Some(10));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Finding {
            finding: Finding::Decreased { .. },
            ..
        }
    )));
    let total = bench.evaluation.registers().pop().unwrap();
    assert_eq!(
        total.entry.status.gateway >> 12 & 1,
        1,
        "the total's line is flagged"
    );
    bench.point(Some(13));
    assert_eq!(bench.registers(), [(1, 0), (2, 28), (63, 0), (0, 28)]);
}

/// Exactly a tenth of the register over the top is the most that is believed.
#[test]
fn a_roll_over_is_plausible_up_to_a_tenth_of_the_register() {
    for (after, believed) in [(50_000_000, 100_000_000), (50_000_001, 0)] {
        let mut bench = Bench::new(profile(2, &[]), "2026-06-15T00:00:00Z");
        bench.point(Some(950_000_000));
        bench.point(Some(after));
        assert_eq!(bench.registers()[3], (0, believed));
    }
}

#[test]
fn what_does_not_fit_is_told_and_never_wraps() {
    let mut bench = Bench::new(profile(2, &[("digits = 9", "")]), "2026-06-15T00:00:00Z");
    bench.point(Some(1));
    let absurd = Some(Decimal::new(i128::MAX, 3));
    let effects = bench.entry(absurd, CombinedStatus::of_value(0));
    assert!(
        matches!(
            effects[..],
            [Effect::Finding {
                finding: Finding::Overflow,
                ..
            }]
        ),
        "{effects:?}"
    );
    let state = bench.evaluation.save();
    bench.evaluation = Evaluation::restore(bench.evaluation.profile().clone(), &state).unwrap();
    bench.point(Some(5));
    assert_eq!(bench.registers(), [(1, 0), (2, 4), (63, 0), (0, 4)]);
    let total = bench.evaluation.registers().pop().unwrap();
    assert_eq!(
        total.entry.status.gateway >> 8 & 1,
        1,
        "the registers are marked as faulty"
    );
}

#[test]
fn values_that_are_not_fit_for_billing_are_as_good_as_none() {
    let good = CombinedStatus::of_value(1 << 2);
    let fatal = CombinedStatus {
        gateway: good.gateway | 1 << 8,
        ..good
    };
    let tampered = CombinedStatus {
        meter: 1 << 2 | 1 << 9,
        ..good
    };
    for bad in [good.with_time_invalid(), fatal, tampered] {
        let mut bench = Bench::new(profile(2, &[]), "2026-06-15T00:00:00Z");
        bench.point(Some(0));
        assert_eq!(bench.entry(Some(Decimal::new(500, 0)), bad), []);
        bench.point(Some(7));
        assert_eq!(bench.registers(), [(1, 0), (2, 7), (63, 0), (0, 7)]);
    }
}

#[test]
fn taf_1_lets_one_value_out_each_month() {
    let mut bench = Bench::new(profile(1, &[]), "2026-01-15T00:00:00Z");
    let mut sent = Vec::new();
    while bench.next <= at("2026-04-02T00:00:00Z") {
        let value = bench.next.seconds().into();
        for effect in bench.point(Some(value)) {
            if let Effect::Delivery(delivery) = effect {
                let lines: Vec<_> = delivery.lines.iter().map(|line| line.target).collect();
                sent.extend(lines);
            }
        }
    }
    // Midnight of legal time: winter, winter, summer.
    assert_eq!(
        sent,
        [
            "2026-01-31T23:00:00Z",
            "2026-02-28T23:00:00Z",
            "2026-03-31T22:00:00Z"
        ]
        .map(at)
    );
}

#[test]
fn taf_4_splits_exactly_at_the_bound() {
    let mut bench = Bench::new(profile(4, &[]), "2026-06-15T00:00:00Z");
    for value in [Some(0), Some(99_990), None, Some(100_030)] {
        bench.point(value);
    }
    assert_eq!(
        bench.registers(),
        [(1, 100_000), (2, 30), (63, 0), (0, 100_030)]
    );
}

#[test]
fn taf_5_begins_steps_at_the_next_grid_point() {
    let mut bench = Bench::new(profile(5, &[]), "2026-06-15T00:00:00Z");
    let event = |name: &str| Trigger::Event(name.parse().unwrap());
    bench.point(Some(0));
    bench
        .evaluation
        .handle_event(at("2026-06-15T00:01:00Z"), &event("wind"));
    let told = bench.effects();
    assert!(
        matches!(&told[..], [Effect::Finding { finding: Finding::StepBegun { effective, .. }, .. }]
        if *effective == at("2026-06-15T00:15:00Z")),
        "{told:?}"
    );
    bench.point(Some(10));
    bench.point(Some(30));
    assert_eq!(bench.registers(), [(1, 10), (2, 20), (63, 0), (0, 30)]);
}

#[test]
fn taf_6_keeps_42_days_and_sends_only_to_whom_it_may() {
    let mut bench = Bench::new(profile(6, &[]), "2026-03-01T04:00:00Z");
    let mut expired = Vec::new();
    for day in 0..60 {
        // 06:00 of legal time is 05:00Z until the end of March, and 04:00Z then.
        for hour in [4, 5] {
            bench.next = UtcNanos(
                at("2026-03-01T00:00:00Z").0 + (day * 86_400 + hour * 3_600) * 1_000_000_000,
            );
            for effect in bench.point(Some(day.into())) {
                match effect {
                    Effect::Derived(_) => {}
                    Effect::Expired { before } => expired.push(before),
                    other => panic!("nothing is sent unasked: {other:?}"),
                }
            }
        }
    }
    assert_eq!(bench.registers().len(), 42);
    assert_eq!(expired.len(), 18);
    assert_eq!(expired[17], at("2026-03-19T05:00:00Z"));
    let ask = |bench: &mut Bench, who: &str| {
        let now = at("2026-04-29T20:00:00Z");
        bench
            .evaluation
            .handle_event(now, &Trigger::Request(who.parse().unwrap()));
        let effects = bench.effects();
        deliveries(&effects)
            .iter()
            .map(|delivery| delivery.lines.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut bench, "operator"), [42]);
    assert_eq!(ask(&mut bench, "stranger"), []);
}

/// 92 and 100 quarter hours reach the recipient of a load profile on the days when clocks change.
#[test]
fn taf_7_sends_days_of_legal_time() {
    let alone = [(
        "[[input]]\nmeter = \"1smb0000000002\"\nobis = \"1-0:1.8.0*255\"\nsign = \"-\"\n",
        "",
    )];
    for (first, end, quarters) in [
        ("2026-03-28T23:15:00Z", "2026-03-29T22:00:00Z", 92),
        ("2026-10-24T22:15:00Z", "2026-10-25T23:00:00Z", 100),
        ("2026-07-01T22:15:00Z", "2026-07-02T22:00:00Z", 96),
    ] {
        let mut bench = Bench::new(profile(7, &alone), first);
        let mut due = Vec::new();
        for quarter in 0..quarters + 1 {
            let effects = bench.point(Some(quarter));
            due.extend(deliveries(&effects).iter().map(|delivery| delivery.due));
        }
        let end = UtcNanos(at(end).0 + 600 * 1_000_000_000);
        let on_day = due.iter().filter(|due| **due == end).count();
        // Two recipients; the last point is of the next day.
        assert_eq!(
            (due.len() / 2, on_day / 2),
            (quarters as usize + 1, quarters as usize),
            "{first}"
        );
    }
}

#[test]
fn taf_10_sets_bit_16_when_a_bound_is_crossed() {
    let mut bench = Bench::new(
        profile(
            10,
            &[(
                "[[use-case.taf-10.thresholds]]\nobis = \"1-0:14",
                "[[use-case.taf-10.thresholds]]\nobis = \"1-0:32",
            )],
        ),
        "2026-06-15T00:00:00Z",
    );
    let mut flags = Vec::new();
    for voltage in [230, 254, 255, 230, 206] {
        let effects = bench.point(Some(voltage));
        let delivery = deliveries(&effects)[0];
        assert!(delivery.pseudonymous && delivery.lines.len() == 2);
        flags.push(
            delivery
                .lines
                .iter()
                .all(|line| line.status.gateway >> 16 & 1 == 1),
        );
    }
    assert_eq!(flags, [false, true, false, false, true]);
}

#[test]
fn taf_12_warns_tolerates_and_switches() {
    let mut bench = Bench::new(profile(12, &[]), "2026-06-15T00:00:00Z");
    bench.point(Some(0));
    let effects = bench.point(Some(15_000));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Warning { .. }))
    );
    bench.point(Some(20_000));
    let off = bench.evaluation.next_deadline();
    assert_eq!(
        off,
        Some(at("2026-06-16T00:30:00Z")),
        "a day after nothing was left"
    );
    bench.evaluation.handle_time(UtcNanos(off.unwrap().0 - 1));
    assert_eq!(bench.effects(), []);
    bench.evaluation.handle_time(off.unwrap());
    assert!(matches!(
        bench.effects()[..],
        [_, Effect::Breakers { closed: false, .. }]
    ));
    let credit = Trigger::Credit(Decimal::new(10, 3));
    bench
        .evaluation
        .handle_event(at("2026-06-16T08:00:00Z"), &credit);
    assert!(matches!(
        bench.effects()[..],
        [_, _, Effect::Breakers { closed: true, .. }]
    ));
}

#[test]
fn derived_lists_are_named_by_register_and_profile() {
    let mut bench = Bench::new(profile(2, &[]), "2026-06-15T00:00:00Z");
    bench.point(Some(0));
    let names: Vec<String> = bench
        .evaluation
        .registers()
        .iter()
        .map(|derived| derived.logical_name().to_string())
        .collect();
    let expected = [
        "0100010801ff",
        "0100010802ff",
        "010001083fff",
        "0100010800ff",
    ];
    assert_eq!(
        names,
        expected.map(|obis| format!("{obis}.household.taf2.sm"))
    );
}

#[test]
fn a_state_of_another_profile_is_refused() {
    let state = Evaluation::new(profile(2, &[]), UtcNanos(0)).save();
    let restore = |taf: u8, state: &[u8]| Evaluation::restore(profile(taf, &[]), state).map(drop);
    assert_eq!(restore(2, &state), Ok(()));
    assert_eq!(restore(3, &state), Err(StateError::NotOfProfile));
    assert_eq!(restore(2, &state[1..]), Err(StateError::Version(2)));
    assert_eq!(
        restore(2, &state[..state.len() - 1]),
        Err(StateError::NotOfProfile)
    );
    assert_eq!(restore(2, &[]), Err(StateError::NotOfProfile));
    let mut longer = state;
    longer.push(0);
    assert_eq!(restore(2, &longer), Err(StateError::NotOfProfile));
}

/// An input that falls silent does not hold up the others for ever.
#[test]
fn a_silent_input_is_waited_for_two_periods() {
    let mut evaluation = Evaluation::new(profile(7, &[]), at("2026-06-15T00:00:00Z"));
    let meter = evaluation.profile().inputs()[0].meter;
    let target = at("2026-06-15T00:00:00Z");
    let entry = Entry {
        obis: Obis::IMPORT_TOTAL,
        target,
        status: CombinedStatus::of_value(1 << 2),
        content: Content::Value {
            capture: target,
            value: Decimal::new(1, 0),
            unit: Unit::WATT_HOUR,
        },
    };
    evaluation.handle_entry(meter, &entry);
    assert_eq!(evaluation.next_deadline(), Some(at("2026-06-15T00:30:00Z")));
    evaluation.handle_time(at("2026-06-15T00:29:59Z"));
    assert_eq!(evaluation.poll_effect(), None);
    evaluation.handle_time(at("2026-06-15T00:30:00Z"));
    let Some(Effect::Derived(line)) = evaluation.poll_effect() else {
        panic!("a line");
    };
    assert_eq!(line.entry.content, Content::Gap(GapReason::NoTelegram));
    assert_eq!(evaluation.next_deadline(), None);
}
