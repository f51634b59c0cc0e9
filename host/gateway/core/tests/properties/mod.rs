// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_core::profile::EvaluationProfile;
use smgw_core::taf::{Evaluation, Trigger};
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, Unit, UtcNanos};

/// A profile that is taken is written as it was read, and can be worked with.
pub fn profile(text: &[u8]) {
    let Ok(text) = core::str::from_utf8(text) else {
        return;
    };
    let Ok(profile) = toml::from_str::<EvaluationProfile>(text) else {
        return;
    };
    let again = toml::to_string(&profile).expect("what was read can be written");
    assert_eq!(
        toml::from_str::<EvaluationProfile>(&again).as_ref(),
        Ok(&profile)
    );
    let (from, _) = profile.validity();
    exercise(&mut Evaluation::new(profile, from));
}

/// A state that is taken is written as it was read, and can be gone on from. The use case it names picks the example of
/// a profile that it is read for.
pub fn state_of_example(state: &[u8]) {
    let example = state
        .get(1)
        .and_then(|taf| EXAMPLES.get(usize::from(*taf).wrapping_sub(1)));
    let profile = toml::from_str(example.unwrap_or(&EXAMPLES[0])).expect("the examples are tested");
    let Ok(mut evaluation) = Evaluation::restore(profile, state) else {
        return;
    };
    assert_eq!(evaluation.save(), state);
    exercise(&mut evaluation);
}

/// Values from the ordinary to the absurd, at points from the first to the last there can be.
fn exercise(evaluation: &mut Evaluation) {
    let profile = evaluation.profile().clone();
    let period = i64::from(profile.registration_period()) * 1_000_000_000;
    let (from, to) = profile.validity();
    let base = (from.0 / period).saturating_add(1).saturating_mul(period);
    let last = to.0 / period * period;
    let year = 366 * 86_400_000_000_000 / period * period;
    let points = [
        base,
        base + period,
        base + 5 * period,
        base.saturating_add(year),
        last - period,
        last,
    ];
    let values = [
        Decimal::new(5, 0),
        Decimal::new(123_456, -3),
        Decimal::new(i128::MAX, 0),
        Decimal::new(1, i8::MAX),
        Decimal::new(i128::MIN, i8::MIN),
        Decimal::new(-7, i8::MIN),
    ];
    for (point, value) in points.into_iter().zip(values) {
        let at = UtcNanos(point);
        let anybody = || "operator".parse().expect("a name");
        for trigger in [
            Trigger::Event(anybody()),
            Trigger::Request(anybody()),
            Trigger::Control(anybody()),
            Trigger::Credit(value),
        ] {
            evaluation.handle_event(at, &trigger);
        }
        for input in profile.inputs() {
            let content = match value.mantissa {
                -7 => Content::Gap(GapReason::OffGrid),
                _ => Content::Value {
                    capture: at,
                    value,
                    unit: Unit::WATT_HOUR,
                },
            };
            let entry = Entry {
                obis: input.obis,
                target: at,
                status: CombinedStatus::of_value(1 << 2),
                content,
            };
            evaluation.handle_entry(input.meter, &entry);
        }
        evaluation.handle_time(UtcNanos(point.saturating_add(3 * period)));
        let _ = evaluation.next_deadline();
        while evaluation.poll_effect().is_some() {}
    }
    let state = evaluation.save();
    let restored =
        Evaluation::restore(profile, &state).expect("what was saved can be gone on from");
    assert_eq!(restored.registers(), evaluation.registers());
}

/// An example of each use case.
const EXAMPLES: [&str; 14] = [
    include_str!("../../../../../fixtures/profiles/taf-01.toml"),
    include_str!("../../../../../fixtures/profiles/taf-02.toml"),
    include_str!("../../../../../fixtures/profiles/taf-03.toml"),
    include_str!("../../../../../fixtures/profiles/taf-04.toml"),
    include_str!("../../../../../fixtures/profiles/taf-05.toml"),
    include_str!("../../../../../fixtures/profiles/taf-06.toml"),
    include_str!("../../../../../fixtures/profiles/taf-07.toml"),
    include_str!("../../../../../fixtures/profiles/taf-08.toml"),
    include_str!("../../../../../fixtures/profiles/taf-09.toml"),
    include_str!("../../../../../fixtures/profiles/taf-10.toml"),
    include_str!("../../../../../fixtures/profiles/taf-11.toml"),
    include_str!("../../../../../fixtures/profiles/taf-12.toml"),
    include_str!("../../../../../fixtures/profiles/taf-13.toml"),
    include_str!("../../../../../fixtures/profiles/taf-14.toml"),
];
