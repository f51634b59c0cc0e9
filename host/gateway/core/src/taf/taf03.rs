// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 3, load variable tariff: the step of a registration period is that of its mean power (TR-03109-1). Over a gap nobody
//! knows whether the power stayed within a step, so its energy goes to the error register (assumption).

use core::cmp::Ordering;

use smgw_units::{Decimal, UtcNanos};

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::{Bounded, Quantity};
use crate::taf::exact;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;
use crate::taf::tariff::{Interval, Share, Tariff};

#[derive(Clone, Debug)]
pub(crate) struct LoadVariable {
    parameters: Bounded,
    tariff: Tariff,
}

impl LoadVariable {
    pub(crate) fn new(parameters: &Bounded, profile: &EvaluationProfile, start: UtcNanos) -> Self {
        Self {
            parameters: parameters.clone(),
            tariff: Tariff::new(profile, start, parameters.steps.len()),
        }
    }
}

impl Machine for LoadVariable {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let Bounded { steps, bounds } = &self.parameters;
        let period = i64::from(to.profile.registration_period());
        self.tariff
            .book(steps, point, to, |interval| share(interval, bounds, period));
    }

    fn registers(&self) -> Vec<Entry> {
        self.tariff.lines()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.tariff.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.tariff = State::take(from)?;
        self.tariff
            .fits(profile, self.parameters.steps.len())
            .then_some(())
    }
}

fn share(interval: &Interval, bounds: &[Quantity], period: i64) -> Option<Share> {
    let seconds = interval.to.seconds() - interval.from.seconds();
    if seconds != period {
        return Some(Share::Error);
    }
    // Energy by time against power, without dividing: both sides are energy in an hour, as often as there are seconds.
    let hourly: Decimal = exact::times(interval.energy, 3_600)?;
    let mut step = 0;
    for Quantity(bound) in bounds {
        if exact::compare(hourly, exact::times(*bound, seconds)?)? == Ordering::Less {
            break;
        }
        step += 1;
    }
    Some(Share::Step(step))
}
