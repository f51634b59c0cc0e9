// SPDX-License-Identifier: MIT OR Apache-2.0
//! Models of the use cases that pass readings on: TAF 1, 6, 7, 9, 10, 11, 13 and 14.

use smgw_core::profile::EvaluationProfile;
use smgw_core::profile::evaluation::{Every, UseCase};
use smgw_core::taf::{Finding, Trigger};
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::UtcNanos;

use crate::history::{Outcome, Seen, text};
use crate::plain::{berlin, closes, end_of_day, ends, good, instant, line, thousandths, wall};

fn last(seen: &[Seen]) -> i64 {
    let point = |seen: &Seen| match seen {
        Seen::Point(target, _) => target.seconds(),
        _ => 0,
    };
    seen.iter().map(point).max().unwrap_or(0)
}

fn not_concerned(outcome: &mut Outcome, seen: &[Seen], concerned: fn(&Trigger) -> bool) {
    for event in seen {
        if let Seen::Trigger(at, trigger) = event
            && !concerned(trigger)
        {
            outcome.find(*at, Finding::NotConcerned(trigger.clone()));
        }
    }
}

/// When a line of a series is sent, before the plan's delay.
fn due(profile: &EvaluationProfile, target: UtcNanos) -> UtcNanos {
    match profile.send_plan().every {
        Every::Day => UtcNanos::from_seconds(end_of_day(target.seconds())),
        Every::BillingPeriod => {
            let start = UtcNanos::from_seconds(target.seconds() - 1);
            // The first end after the second before the point.
            let ends = ends(profile, profile.validity().0, target.seconds() + 1);
            let unbounded = ends.iter().find(|end| **end > start.seconds());
            UtcNanos::from_seconds(*unbounded.unwrap())
        }
        _ => target,
    }
}

pub fn taf1(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let mut outcome = Outcome::default();
    let ends = ends(profile, start, last(seen));
    let mut before = None;
    for event in seen {
        if let Seen::Point(target, parts) = event
            && good(parts).is_some()
        {
            if closes(&ends, before, target.seconds()) {
                let line = line(profile, *target, parts);
                outcome.derive(&line);
                outcome.deliver_all(profile, *target, &[line]);
            }
            before = Some(target.seconds());
        }
    }
    outcome
}

pub fn taf6(profile: &EvaluationProfile, _: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf6(parameters) = profile.use_case() else {
        panic!("not TAF 6");
    };
    let hour: i8 = parameters.day_start[..2].parse().unwrap();
    let zone = berlin();
    // The date whose billing day a second lies in.
    let day = |second: i64| {
        let date = wall(&zone, second).date();
        let begun = instant(&zone, date.at(hour, 0, 0, 0)) <= second;
        if begun {
            date
        } else {
            date.yesterday().unwrap()
        }
    };
    let begins =
        |second: i64| instant(&zone, wall(&zone, second).date().at(hour, 0, 0, 0)) == second;
    let mut outcome = Outcome::default();
    let mut kept: Vec<Entry> = Vec::new();
    for event in seen {
        let now = match event {
            Seen::Point(at, _) | Seen::Trigger(at, _) | Seen::Time(at) => at.seconds(),
        };
        let age = |line: &Entry| {
            day(now)
                .since(day(line.target.seconds()))
                .unwrap()
                .get_days()
        };
        let count = kept.len();
        kept.retain(|line| age(line) < 42);
        if kept.len() < count {
            let mut oldest = day(now);
            for _ in 0..41 {
                oldest = oldest.yesterday().unwrap();
            }
            let before = UtcNanos::from_seconds(instant(&zone, oldest.at(hour, 0, 0, 0)));
            outcome.signals.push(format!("expired {before}"));
        }
        match event {
            Seen::Point(target, parts) if begins(target.seconds()) => {
                let line = line(profile, *target, parts);
                outcome.derive(&line);
                kept.push(line);
            }
            Seen::Trigger(at, Trigger::Request(who)) if profile.recipients().contains(who) => {
                outcome.find(*at, Finding::Requested(who.clone()));
                outcome.deliver(who.as_str(), *at, &kept);
            }
            Seen::Trigger(at, Trigger::Request(who)) => {
                outcome.find(*at, Finding::RequestRefused(who.clone()));
            }
            _ => {}
        }
    }
    outcome
}

/// TAF 7 and TAF 14.
pub fn taf7(profile: &EvaluationProfile, _: UtcNanos, seen: &[Seen]) -> Outcome {
    let mut outcome = Outcome::default();
    for event in seen {
        if let Seen::Point(target, parts) = event {
            let line = line(profile, *target, parts);
            outcome.derive(&line);
            outcome.deliver_all(profile, due(profile, *target), &[line]);
        }
    }
    not_concerned(&mut outcome, seen, |_| false);
    outcome
}

pub fn taf13(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let mut outcome = taf7(profile, start, seen);
    for event in seen {
        if let Seen::Point(target, parts) = event {
            let shown = text(&line(profile, *target, parts));
            outcome.signals.push(format!("display {:?}", [shown]));
        }
    }
    outcome
}

pub fn taf9(profile: &EvaluationProfile, _: UtcNanos, seen: &[Seen]) -> Outcome {
    let mut outcome = Outcome::default();
    let period = i64::from(profile.registration_period()) * 1_000_000_000;
    for (index, event) in seen.iter().enumerate() {
        let Seen::Trigger(at, Trigger::Request(who)) = event else {
            continue;
        };
        if !profile.recipients().contains(who) {
            outcome.find(*at, Finding::RequestRefused(who.clone()));
            continue;
        }
        outcome.find(*at, Finding::Requested(who.clone()));
        let newest = seen[..index].iter().rev().find_map(|event| match event {
            Seen::Point(target, parts) => Some(line(profile, *target, parts)),
            _ => None,
        });
        let line = match newest {
            Some(line) if at.0 - line.target.0 <= 2 * period => line,
            _ => Entry {
                obis: profile.inputs()[0].obis,
                target: UtcNanos(at.0 / period * period),
                status: CombinedStatus::of_gap(),
                content: Content::Gap(GapReason::NoTelegram),
            },
        };
        outcome.deliver(who.as_str(), *at, &[line]);
    }
    outcome
}

pub fn taf10(profile: &EvaluationProfile, _: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf10(parameters) = profile.use_case() else {
        panic!("not TAF 10");
    };
    let mut outcome = Outcome::default();
    let mut history: Vec<Vec<Entry>> = Vec::new();
    for event in seen {
        let Seen::Point(target, parts) = event else {
            continue;
        };
        let whole = parts.iter().zip(profile.inputs()).map(|(part, input)| {
            part.unwrap_or(Entry {
                obis: input.obis,
                target: *target,
                status: CombinedStatus::of_gap(),
                content: Content::Gap(GapReason::NoTelegram),
            })
        });
        let mut lines: Vec<Entry> = whole.collect();
        // Beyond at this point; `None` where there is no value.
        let beyond = |lines: &[Entry], obis, above: Option<i128>, below: Option<i128>| {
            lines
                .iter()
                .find(|line| line.obis == obis)
                .and_then(|line| match line.content {
                    Content::Value { value, .. } => {
                        let value = thousandths(value);
                        Some(
                            above.is_some_and(|above| value > above)
                                || below.is_some_and(|below| value < below),
                        )
                    }
                    Content::Gap(_) => None,
                })
        };
        let mut crossed = false;
        for threshold in &parameters.thresholds {
            let bound = |bound: Option<smgw_core::profile::evaluation::Quantity>| {
                bound.map(|bound| thousandths(bound.0))
            };
            let (above, below) = (bound(threshold.above), bound(threshold.below));
            let now = beyond(&lines, threshold.obis, above, below) == Some(true);
            let mut earlier = history
                .iter()
                .rev()
                .filter_map(|lines| beyond(lines, threshold.obis, above, below));
            crossed |= now && !earlier.next().unwrap_or(false);
        }
        history.push(lines.clone());
        if crossed {
            lines
                .iter_mut()
                .for_each(|line| line.status.gateway |= 1 << 16);
        }
        lines.iter().for_each(|line| outcome.derive(line));
        let due = if crossed {
            *target
        } else {
            due(profile, *target)
        };
        outcome.deliver_all(profile, due, &lines);
    }
    outcome
}

pub fn taf11(profile: &EvaluationProfile, _: UtcNanos, seen: &[Seen]) -> Outcome {
    let mut outcome = Outcome::default();
    let period = i64::from(profile.registration_period()) * 1_000_000_000;
    // Where each control action is answered: at the first point at or after its grid point.
    let mut answered = vec![false; seen.len()];
    let mut newest = i64::MIN;
    for (index, event) in seen.iter().enumerate() {
        match event {
            Seen::Point(target, _) => newest = target.0,
            Seen::Trigger(at, Trigger::Control(action)) => {
                let mut effective = (at.0 + period - 1) / period * period;
                if effective <= newest {
                    effective = newest + period;
                }
                let finding = Finding::Controlled {
                    action: action.clone(),
                    effective: UtcNanos(effective),
                };
                outcome.find(*at, finding);
                let answer = seen.iter().enumerate().skip(index).find(
                    |(_, event)| matches!(event, Seen::Point(target, _) if target.0 >= effective),
                );
                if let Some((answer, _)) = answer {
                    answered[answer] = true;
                }
            }
            _ => {}
        }
    }
    for (event, answered) in seen.iter().zip(answered) {
        if let (Seen::Point(target, parts), true) = (event, answered) {
            let line = line(profile, *target, parts);
            outcome.derive(&line);
            outcome.deliver_all(profile, due(profile, *target), &[line]);
        }
    }
    outcome
}
