// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 2, time variable tariff: the energy goes to the step that held, or to the error register where the step changed
//! while nothing was known (TR-03109-1; MET-06, MET-07, MET-08).

use smgw_units::{Obis, UtcNanos};

use crate::calendar::{RawSchedule, Steps};
use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;
use crate::taf::tariff::{Share, Tariff};

#[derive(Clone, Debug)]
pub(crate) struct TimeVariable {
    registers: Vec<Obis>,
    steps: Option<Steps>,
    tariff: Tariff,
}

impl TimeVariable {
    pub(crate) fn new(raw: &RawSchedule, profile: &EvaluationProfile, start: UtcNanos) -> Self {
        let zone = profile.zone().clone();
        Self {
            registers: raw.steps.clone(),
            steps: profile
                .schedule()
                .map(|schedule| Steps::new(schedule.clone(), zone)),
            tariff: Tariff::new(profile, start, raw.steps.len()),
        }
    }
}

impl Machine for TimeVariable {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let steps = &self.steps;
        self.tariff.book(&self.registers, point, to, |interval| {
            let step = steps.as_ref()?.throughout(interval.from, interval.to);
            Some(step.map_or(Share::Error, Share::Step))
        });
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
            .fits(profile, self.registers.len())
            .then_some(())
    }
}
