// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 8, extreme values: the smallest and largest mean powers of a registration period in each billing period
//! (TR-03109-1; MET-11). A period next to a gap has no power of its own; of equal powers the earlier one counts.

use core::cmp::Ordering;

use smgw_units::{Unit, UtcNanos};

use crate::list::{Content, Entry};
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::Extremes as Parameters;
use crate::taf::closing::Closing;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::progress::{Base, Way, way};
use crate::taf::state::{State, state};
use crate::taf::tariff::content;
use crate::taf::{Finding, exact};

#[derive(Clone, Debug)]
pub(crate) struct Extremes {
    parameters: Parameters,
    state: Ranks,
}

#[derive(Clone, Debug)]
struct Ranks {
    base: Option<Base>,
    /// Smallest first.
    minima: Vec<Entry>,
    /// Largest first.
    maxima: Vec<Entry>,
    closing: Closing,
}

state!(Ranks {
    base,
    minima,
    maxima,
    closing
});

impl Extremes {
    pub(crate) fn new(
        parameters: &Parameters,
        profile: &EvaluationProfile,
        start: UtcNanos,
    ) -> Self {
        Self {
            parameters: parameters.clone(),
            state: Ranks {
                base: None,
                minima: Vec::new(),
                maxima: Vec::new(),
                closing: Closing::new(profile, start),
            },
        }
    }

    fn lines(&self) -> Vec<Entry> {
        [self.state.minima.as_slice(), &self.state.maxima].concat()
    }
}

impl Machine for Extremes {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let Some(counting) = point.counting() else {
            return;
        };
        let period = i64::from(to.profile.registration_period());
        match way(&self.state.base, &counting, to.profile) {
            Way::First => {}
            Way::Energy {
                from,
                energy,
                rolled_over,
            } => {
                to.rolled_over(point.target, &rolled_over);
                let adjacent = point.target.seconds() - from.seconds() == period;
                let power = exact::times(energy, 3_600 / period);
                if let Some(power) = power.filter(|_| adjacent) {
                    let line = |obis| Entry {
                        obis,
                        target: point.target,
                        status: counting.status,
                        content: content(counting.capture, power, power_unit(counting.unit)),
                    };
                    let Parameters {
                        minima,
                        maxima,
                        minimum,
                        maximum,
                    } = self.parameters;
                    rank(
                        &mut self.state.minima,
                        line(minimum),
                        minima,
                        Ordering::Less,
                    );
                    rank(
                        &mut self.state.maxima,
                        line(maximum),
                        maxima,
                        Ordering::Greater,
                    );
                } else if adjacent {
                    return to.note(point.target, Finding::Overflow);
                }
            }
            Way::Overflow => return to.note(point.target, Finding::Overflow),
            broken => to.broken(point.target, &broken),
        }
        self.state.base = Some(Base::at(point.target, &counting));
        if self.state.closing.closes(to.profile, point.target) {
            let lines = self.lines();
            for line in &lines {
                to.derive(*line);
            }
            to.deliver(point.target, lines);
            self.state.minima.clear();
            self.state.maxima.clear();
        }
    }

    fn registers(&self) -> Vec<Entry> {
        self.lines()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.state.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.state = State::take(from)?;
        let fits = Base::fits(&self.state.base, profile)
            && self.state.minima.len() <= self.parameters.minima.into()
            && self.state.maxima.len() <= self.parameters.maxima.into();
        fits.then_some(())
    }
}

/// Puts a line after all that are as extreme, and keeps the first `most`.
fn rank(ranks: &mut Vec<Entry>, line: Entry, most: u8, before: Ordering) {
    let power = |line: &Entry| match line.content {
        Content::Value { value, .. } => Some(value),
        Content::Gap(_) => None,
    };
    let Some(new) = power(&line) else { return };
    let place = ranks.iter().position(|held| {
        let held = power(held).and_then(|held| exact::compare(new, held));
        held == Some(before)
    });
    ranks.insert(place.unwrap_or(ranks.len()), line);
    ranks.truncate(most.into());
}

/// The unit of energy per hour (IEC 62056-6-2); what has no such unit keeps its own.
fn power_unit(energy: Unit) -> Unit {
    Unit(match energy.0 {
        13 => 15,
        30 => 27,
        31 => 28,
        32 => 29,
        other => other,
    })
}
