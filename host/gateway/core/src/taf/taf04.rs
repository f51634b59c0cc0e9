// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 4, consumption variable tariff: the energy of a billing period fills one step after the other (TR-03109-1).
//!
//! An interval that passes a bound is split there exactly, also over a gap, because only amounts matter; energy of a gap
//! across the end of a billing period goes to the error register (assumptions).

use core::cmp::Ordering;

use smgw_units::{Decimal, UtcNanos};

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::{Bounded, Quantity};
use crate::taf::exact;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::{State, state};
use crate::taf::tariff::{Share, Tariff};

#[derive(Clone, Debug)]
pub(crate) struct ConsumptionVariable {
    parameters: Bounded,
    state: Amounts,
}

#[derive(Clone, Debug)]
struct Amounts {
    tariff: Tariff,
    /// Beginning and end of the billing period, in seconds.
    period: (i64, i64),
    /// Energy in it.
    used: Decimal,
}

state!(Amounts {
    tariff,
    period,
    used
});

impl ConsumptionVariable {
    pub(crate) fn new(parameters: &Bounded, profile: &EvaluationProfile, start: UtcNanos) -> Self {
        let tariff = Tariff::new(profile, start, parameters.steps.len());
        Self {
            parameters: parameters.clone(),
            state: Amounts {
                tariff,
                period: (0, 0),
                used: exact::ZERO,
            },
        }
    }
}

impl Machine for ConsumptionVariable {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let Bounded { steps, bounds } = &self.parameters;
        let state = &mut self.state;
        // The period that the interval begins in; it is the interval's if it ends there, too.
        if let Some(from) = state.tariff.base() {
            let (start, end) = state.period;
            if !(start..end).contains(&from.seconds()) {
                let (first, _) = to.profile.validity();
                let period = to
                    .profile
                    .billing()
                    .period_of(to.profile.zone(), first, from);
                state.period = (period.start, period.end);
                state.used = exact::ZERO;
            }
        }
        let (end, used) = (state.period.1, state.used);
        let booked = state.tariff.book(steps, point, to, |interval| {
            if interval.to.seconds() > end {
                return Some(Share::Error);
            }
            let after = exact::add(used, interval.energy)?;
            split(bounds, used, after).map(Share::Split)
        });
        if let Some(interval) = booked.filter(|interval| interval.to.seconds() <= end) {
            state.used = exact::add(used, interval.energy).unwrap_or(used);
        }
    }

    fn registers(&self) -> Vec<Entry> {
        self.state.tariff.lines()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.state.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.state = State::take(from)?;
        self.state
            .tariff
            .fits(profile, self.parameters.steps.len())
            .then_some(())
    }
}

/// What of the way from `before` to `after` lies in each step.
fn split(bounds: &[Quantity], before: Decimal, after: Decimal) -> Option<Vec<Decimal>> {
    let mut parts = Vec::with_capacity(bounds.len() + 1);
    let (mut from, mut to) = (before, after);
    // From the highest step down: what lies above a bound is the step's, the rest is left for the steps below.
    for Quantity(bound) in bounds.iter().rev() {
        let above = exact::subtract(larger(to, *bound)?, larger(from, *bound)?)?;
        parts.push(above);
        (from, to) = (smaller(from, *bound)?, smaller(to, *bound)?);
    }
    parts.push(exact::subtract(to, from)?);
    parts.reverse();
    Some(parts)
}

fn larger(a: Decimal, b: Decimal) -> Option<Decimal> {
    Some(if exact::compare(a, b)? == Ordering::Less {
        b
    } else {
        a
    })
}

fn smaller(a: Decimal, b: Decimal) -> Option<Decimal> {
    Some(if exact::compare(a, b)? == Ordering::Less {
        a
    } else {
        b
    })
}
