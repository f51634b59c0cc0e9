// SPDX-License-Identifier: MIT OR Apache-2.0
//! Models of the tariffs with steps: TAF 2 to 5. Each says where the energy between two good points belongs; what all
//! share is adding it up.

use jiff::civil::Date;
use smgw_core::profile::EvaluationProfile;
use smgw_core::profile::evaluation::{Bounded, UseCase};
use smgw_core::taf::{Finding, Trigger};
use smgw_core::{Content, Entry};
use smgw_units::{Obis, UtcNanos};

use crate::history::{Outcome, Seen};
use crate::plain::{
    Between, berlin, between, closes, decimal, decreased, ends, good, rolled_over, thousandths,
    wall,
};

/// Energy from one good point to the next one, in seconds and thousandths, and where in what was seen it ends.
struct Piece {
    from: i64,
    to: i64,
    energy: i128,
    index: usize,
}

/// What each register gets of a piece: steps, then the error register.
type Shares = Vec<i128>;

fn whole(piece: &Piece, steps: usize, step: Option<usize>) -> Shares {
    let mut shares = vec![0; steps + 1];
    shares[step.unwrap_or(steps)] = piece.energy;
    shares
}

/// `share` gets the pieces so far as well. Registers that a piece concerns get a line, if it is by nothing.
fn tariff(
    profile: &EvaluationProfile,
    start: UtcNanos,
    seen: &[Seen],
    steps: &[Obis],
    mut share: impl FnMut(&[Piece], &Piece) -> (Shares, Option<usize>),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut names = steps.to_vec();
    for rate in [63, 0] {
        let mut obis = steps[0];
        obis.0[4] = rate;
        names.push(obis);
    }
    let mut registers = vec![0; names.len()];
    let mut newest: Vec<Option<Entry>> = vec![None; names.len()];
    let mut pieces: Vec<Piece> = Vec::new();
    let mut before: Option<(i64, _)> = None;
    let last = seen
        .iter()
        .map(|seen| {
            if let Seen::Point(at, _) = seen {
                at.seconds()
            } else {
                0
            }
        })
        .max();
    let ends = ends(profile, start, last.unwrap_or(0));
    for (index, event) in seen.iter().enumerate() {
        let Seen::Point(target, parts) = event else {
            continue;
        };
        let Some(new) = good(parts) else { continue };
        let at = target.seconds();
        let mut touched = vec![false; names.len()];
        let mut status = new.status;
        match &before {
            None => touched.fill(true),
            Some((from, old)) => match between(profile, old, &new) {
                Between::Energy {
                    energy,
                    rolled_over: over,
                } => {
                    over.iter()
                        .for_each(|index| outcome.find(*target, rolled_over(profile, *index)));
                    let piece = Piece {
                        from: *from,
                        to: at,
                        energy,
                        index,
                    };
                    let (shares, even_nothing) = share(&pieces, &piece);
                    for (register, part) in shares.iter().enumerate() {
                        registers[register] += part;
                        touched[register] = *part != 0 || even_nothing == Some(register);
                    }
                    *registers.last_mut().unwrap() += energy;
                    *touched.last_mut().unwrap() = true;
                    pieces.push(piece);
                }
                broken => {
                    match broken {
                        Between::Decreased(index) => {
                            outcome.find(*target, decreased(profile, index))
                        }
                        _ => outcome.find(*target, Finding::UnitChanged),
                    }
                    status.gateway |= 1 << 12;
                    *touched.last_mut().unwrap() = true;
                }
            },
        }
        let closing = closes(&ends, before.as_ref().map(|(at, _)| *at), at);
        for (register, obis) in names.iter().enumerate() {
            if touched[register] || closing {
                let line = Entry {
                    obis: *obis,
                    target: *target,
                    status,
                    content: Content::Value {
                        capture: new.capture,
                        value: decimal(registers[register]),
                        unit: new.unit,
                    },
                };
                outcome.derive(&line);
                newest[register] = Some(line);
            }
        }
        if closing {
            let lines: Vec<Entry> = newest.iter().flatten().copied().collect();
            outcome.deliver_all(profile, *target, &lines);
        }
        let (total, parts) = registers.split_last().unwrap();
        assert_eq!(
            parts.iter().sum::<i128>(),
            *total,
            "steps and error register add up"
        );
        before = Some((at, new));
    }
    outcome
}

pub fn taf2(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf2(schedule) = profile.use_case() else {
        panic!("not TAF 2");
    };
    let zone = berlin();
    let of_year = |date: Date| format!("{:02}-{:02}", date.month(), date.day());
    let step_at = |second: i64| {
        let wall = wall(&zone, second);
        let (date, time) = (wall.date(), wall.time().to_string());
        let special = |text: String| {
            schedule
                .special_day
                .iter()
                .find(|day| day.date == text)
                .map(|day| &day.day)
        };
        let of_season = || {
            let text = of_year(date);
            let mut season = schedule.season.last();
            for candidate in &schedule.season {
                if candidate.start <= text {
                    season = Some(candidate);
                }
            }
            let week = match season {
                Some(season) => schedule
                    .week_profile
                    .iter()
                    .find(|week| week.name == season.week),
                None => schedule.week_profile.first(),
            };
            week.map(|week| &week.days[date.weekday().to_monday_zero_offset() as usize])
        };
        let day = special(date.to_string())
            .or_else(|| special(of_year(date)))
            .or_else(of_season);
        let day = day.unwrap_or(&schedule.day_profile[0].name);
        let day = schedule
            .day_profile
            .iter()
            .find(|profile| profile.name == *day)
            .unwrap();
        let mut step = schedule.default_step;
        for (at, next) in &day.switches {
            // Both are written as HH:MM:SS.
            if *at <= time {
                step = *next;
            }
        }
        usize::from(step) - 1
    };
    let period = i64::from(profile.registration_period());
    let steps = schedule.steps.len();
    tariff(profile, start, seen, &schedule.steps, |_, piece| {
        let step = step_at(piece.from);
        let mut inside = (piece.from..piece.to).step_by(period as usize);
        let same = inside.all(|second| step_at(second) == step);
        let step = same.then_some(step);
        (whole(piece, steps, step), step.or(Some(steps)))
    })
}

pub fn taf3(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf3(Bounded { steps, bounds }) = profile.use_case() else {
        panic!("not TAF 3");
    };
    let period = i64::from(profile.registration_period());
    tariff(profile, start, seen, steps, |_, piece| {
        let known = piece.to - piece.from == period;
        let reached = |bound: i128| piece.energy * 3_600 >= bound * i128::from(period);
        let step = bounds
            .iter()
            .filter(|bound| reached(thousandths(bound.0)))
            .count();
        let step = known.then_some(step);
        (whole(piece, steps.len(), step), step.or(Some(steps.len())))
    })
}

pub fn taf4(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf4(Bounded { steps, bounds }) = profile.use_case() else {
        panic!("not TAF 4");
    };
    // All ends of billing periods since the profile is valid, but not the end of its validity.
    let (valid_from, valid_to) = profile.validity();
    let last = seen
        .iter()
        .map(|seen| {
            if let Seen::Point(at, _) = seen {
                at.seconds()
            } else {
                0
            }
        })
        .max();
    let mut ends = ends(profile, valid_from, last.unwrap_or(0));
    ends.retain(|end| *end < valid_to.seconds());
    let one_period = |from: i64, to: i64| !ends.iter().any(|end| from < *end && *end < to);
    let same_period = |a: i64, b: i64| !ends.iter().any(|end| (a < *end) != (b < *end));
    tariff(profile, start, seen, steps, |earlier, piece| {
        if !one_period(piece.from, piece.to) {
            return (whole(piece, steps.len(), None), Some(steps.len()));
        }
        let of_period = |other: &&Piece| {
            same_period(other.from, piece.from) && one_period(other.from, other.to)
        };
        let used: i128 = earlier
            .iter()
            .filter(of_period)
            .map(|other| other.energy)
            .sum();
        // How much of an amount lies in each step, amounts below zero in the first.
        let filled = |amount: i128| -> Vec<i128> {
            let mut low = i128::MIN;
            let highs = bounds
                .iter()
                .map(|bound| thousandths(bound.0))
                .chain([i128::MAX]);
            highs
                .map(|high| {
                    let part = amount.min(high).max(low) - low.max(0).min(high);
                    low = high;
                    part
                })
                .collect()
        };
        let (old, new) = (filled(used), filled(used + piece.energy));
        let mut shares: Vec<i128> = new.iter().zip(&old).map(|(new, old)| new - old).collect();
        shares.push(0);
        let only = bounds.is_empty().then_some(0);
        (shares, only)
    })
}

pub fn taf5(profile: &EvaluationProfile, start: UtcNanos, seen: &[Seen]) -> Outcome {
    let UseCase::Taf5(parameters) = profile.use_case() else {
        panic!("not TAF 5");
    };
    let period = i64::from(profile.registration_period()) * 1_000_000_000;
    // From which grid point on which step holds, and where in what was seen that became known.
    let mut begins: Vec<(i64, usize, usize)> = Vec::new();
    let mut findings = Vec::new();
    let mut newest = i64::MIN;
    for (index, event) in seen.iter().enumerate() {
        match event {
            Seen::Point(target, _) => newest = target.0,
            Seen::Trigger(at, trigger) => {
                let event = match trigger {
                    Trigger::Event(name) => {
                        parameters.events.iter().find(|event| event.id == *name)
                    }
                    _ => None,
                };
                let Some(event) = event else {
                    findings.push((*at, Finding::NotConcerned(trigger.clone())));
                    continue;
                };
                let effective = ((at.0 + period - 1) / period * period).max(newest);
                begins.push((effective, usize::from(event.step) - 1, index));
                let effective = UtcNanos(effective);
                findings.push((
                    *at,
                    Finding::StepBegun {
                        event: event.id.clone(),
                        effective,
                    },
                ));
            }
            Seen::Time(_) => {}
        }
    }
    let steps = parameters.steps.len();
    let mut outcome = tariff(profile, start, seen, &parameters.steps, |_, piece| {
        // The step that holds from a grid point on, as far as was known when the piece ended: the last one told of.
        let step_at = |second: i64| {
            let begun = |(at, _, index): &&(i64, usize, usize)| {
                *at <= second * 1_000_000_000 && *index < piece.index
            };
            let newest = begins
                .iter()
                .filter(begun)
                .max_by_key(|(at, _, index)| (*at, *index));
            newest.map_or(usize::from(parameters.default_step) - 1, |(_, step, _)| {
                *step
            })
        };
        let step = step_at(piece.from);
        let mut inside = (piece.from..piece.to).step_by((period / 1_000_000_000) as usize);
        let step = inside.all(|second| step_at(second) == step).then_some(step);
        (whole(piece, steps, step), step.or(Some(steps)))
    });
    // Findings about events are where they are among those about registers.
    outcome.findings.extend(
        findings
            .iter()
            .map(|(at, finding)| format!("{at} {finding:?}")),
    );
    outcome
}
