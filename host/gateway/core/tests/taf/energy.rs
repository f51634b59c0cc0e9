// SPDX-License-Identifier: MIT OR Apache-2.0
//! Models of the use cases that count energy without steps: TAF 8 and TAF 12.

use smgw_core::profile::EvaluationProfile;
use smgw_core::profile::evaluation::UseCase;
use smgw_core::taf::{Finding, Trigger};
use smgw_core::{Content, Entry};
use smgw_units::{Unit, UtcNanos};

use crate::history::{Outcome, Seen};
use crate::plain::{
    Between, Good, between, closes, decimal, decreased, ends, good, rolled_over, thousandths,
};

fn goods(seen: &[Seen]) -> Vec<(i64, Good)> {
    let point = |seen: &Seen| match seen {
        Seen::Point(target, parts) => good(parts).map(|good| (target.seconds(), good)),
        _ => None,
    };
    seen.iter().filter_map(point).collect()
}

pub fn taf8(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf8(parameters) = profile.use_case() else {
        panic!("not TAF 8");
    };
    let mut outcome = Outcome::default();
    let goods = goods(seen);
    let period = i64::from(profile.registration_period());
    let ends = ends(profile, start, goods.last().map_or(0, |(at, _)| *at));
    // Power of each good point with one right before it, of the billing period that is open.
    let mut powers: Vec<(i128, &Good, i64)> = Vec::new();
    for (index, (at, new)) in goods.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| &goods[index]);
        let target = UtcNanos::from_seconds(*at);
        if let Some((since, old)) = before {
            match between(profile, old, new) {
                Between::Energy {
                    energy,
                    rolled_over: over,
                } => {
                    over.iter()
                        .for_each(|index| outcome.find(target, rolled_over(profile, *index)));
                    if at - since == period {
                        powers.push((energy * 3_600 / i128::from(period), new, *at));
                    }
                }
                Between::Decreased(index) => outcome.find(target, decreased(profile, index)),
                Between::UnitChanged => outcome.find(target, Finding::UnitChanged),
            }
        }
        if closes(&ends, before.map(|(at, _)| *at), *at) {
            let line = |obis| {
                move |(power, good, at): &(i128, &Good, i64)| Entry {
                    obis,
                    target: UtcNanos::from_seconds(*at),
                    status: good.status,
                    content: Content::Value {
                        capture: good.capture,
                        value: decimal(*power),
                        unit: Unit(good.unit.0 - 3),
                    },
                }
            };
            // Sorting is stable: of equal powers the earlier one comes first.
            let mut rising = powers.clone();
            rising.sort_by_key(|(power, ..)| *power);
            let mut falling = powers.clone();
            falling.sort_by_key(|(power, ..)| -*power);
            let minima = rising
                .iter()
                .take(parameters.minima.into())
                .map(line(parameters.minimum));
            let maxima = falling
                .iter()
                .take(parameters.maxima.into())
                .map(line(parameters.maximum));
            let lines: Vec<Entry> = minima.chain(maxima).collect();
            lines.iter().for_each(|line| outcome.derive(line));
            outcome.deliver_all(profile, target, &lines);
            powers.clear();
        }
    }
    outcome
}

pub fn taf12(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf12(parameters) = profile.use_case() else {
        panic!("not TAF 12");
    };
    let mut outcome = Outcome::default();
    let goods = goods(seen);
    let ends = ends(profile, start, goods.last().map_or(0, |(at, _)| *at));
    let (warning, mut left) = (
        thousandths(parameters.warning.0),
        thousandths(parameters.credit.0),
    );
    let tolerance = i64::from(parameters.tolerance) * 1_000_000_000;
    // Since when nothing is left, whether the warning was given, whether power is off.
    let (mut empty_since, mut warned, mut off) = (None, false, false);
    let mut count = 0_usize;
    for event in seen {
        let now = match event {
            Seen::Point(target, parts) => {
                let Some(new) = good(parts) else { continue };
                let before = count.checked_sub(1).map(|index| &goods[index]);
                count += 1;
                if let Some((_, old)) = before {
                    match between(profile, old, &new) {
                        Between::Energy {
                            energy,
                            rolled_over: over,
                        } => {
                            over.iter().for_each(|index| {
                                outcome.find(*target, rolled_over(profile, *index))
                            });
                            left -= energy;
                        }
                        Between::Decreased(index) => {
                            outcome.find(*target, decreased(profile, index))
                        }
                        Between::UnitChanged => outcome.find(*target, Finding::UnitChanged),
                    }
                }
                let line = Entry {
                    obis: parameters.available,
                    target: *target,
                    status: new.status,
                    content: Content::Value {
                        capture: new.capture,
                        value: decimal(left),
                        unit: new.unit,
                    },
                };
                outcome.derive(&line);
                if closes(&ends, before.map(|(at, _)| *at), target.seconds()) {
                    outcome.deliver_all(profile, *target, &[line]);
                }
                *target
            }
            Seen::Trigger(at, Trigger::Credit(credit)) => {
                left += thousandths(*credit);
                outcome.find(*at, Finding::Credited(*credit));
                *at
            }
            Seen::Trigger(..) => continue,
            Seen::Time(now) => {
                if empty_since.is_some_and(|since: UtcNanos| since.0 + tolerance <= now.0) && !off {
                    off = true;
                    outcome.find(*now, Finding::SwitchedOff);
                    outcome.signals.push("closed false".into());
                }
                continue;
            }
        };
        if left <= warning && !warned {
            outcome.find(now, Finding::CreditLow);
            outcome
                .signals
                .push(format!("warning {:?}", decimal(left).normalized()));
        }
        warned = left <= warning;
        if left > 0 {
            empty_since = None;
            if off {
                off = false;
                outcome.find(now, Finding::SwitchedOn);
                outcome.signals.push("closed true".into());
            }
        } else {
            if empty_since.is_none() {
                empty_since = Some(now);
                outcome.find(now, Finding::CreditUsedUp);
            }
            if empty_since.is_some_and(|since| since.0 + tolerance <= now.0) && !off {
                off = true;
                outcome.find(now, Finding::SwitchedOff);
                outcome.signals.push("closed false".into());
            }
        }
    }
    outcome
}
