// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 10, state of the grid: all registers at every grid point, pseudonymously, and at once with status bit 16 when a value
//! crosses a bound (TR-03109-1; DS §15; MET-13). Coming back within the bounds sends nothing of its own (assumption).

use core::cmp::Ordering;

use smgw_units::Decimal;

use crate::list::{Content, Entry};
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::{GridState as Parameters, Quantity, Threshold};
use crate::taf::exact;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::{Point, THRESHOLD, missing};
use crate::taf::state::State;

#[derive(Clone, Debug)]
pub(crate) struct GridState {
    thresholds: Vec<Threshold>,
    /// Of each threshold, whether the newest value is beyond it.
    beyond: Vec<bool>,
    newest: Vec<Entry>,
}

impl GridState {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            thresholds: parameters.thresholds.clone(),
            beyond: vec![false; parameters.thresholds.len()],
            newest: Vec::new(),
        }
    }

    /// Whether any value goes beyond a bound that none went beyond before.
    fn crosses(&mut self, lines: &[Entry]) -> bool {
        let mut crosses = false;
        for (threshold, was) in self.thresholds.iter().zip(&mut self.beyond) {
            let values = lines
                .iter()
                .filter(|line| line.obis == threshold.obis)
                .filter_map(value);
            // Without a value nothing is known: what was so stays so.
            let is = values
                .map(|value| beyond(threshold, value))
                .reduce(|a, b| a || b);
            let is = is.unwrap_or(*was);
            crosses |= is && !*was;
            *was = is;
        }
        crosses
    }
}

impl Machine for GridState {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let parts = point.parts.iter().zip(to.profile.inputs());
        let line = |(part, input): (&Option<Entry>, &crate::profile::evaluation::Input)| {
            part.unwrap_or(missing(input.obis, point.target))
        };
        let mut lines: Vec<Entry> = parts.map(line).collect();
        let crosses = self.crosses(&lines);
        if crosses {
            for line in &mut lines {
                line.status.gateway |= THRESHOLD;
            }
        }
        for line in &lines {
            to.derive(*line);
        }
        if crosses {
            to.deliver(point.target, lines.clone());
        } else {
            to.deliver_by_plan(point.target, &lines);
        }
        self.newest = lines;
    }

    fn registers(&self) -> Vec<Entry> {
        self.newest.clone()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.beyond.put(out);
        self.newest.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.beyond = State::take(from)?;
        self.newest = State::take(from)?;
        let fits = self.beyond.len() == self.thresholds.len()
            && self.newest.len() <= profile.inputs().len();
        fits.then_some(())
    }
}

fn value(line: &Entry) -> Option<Decimal> {
    match line.content {
        Content::Value { value, .. } => Some(value),
        Content::Gap(_) => None,
    }
}

fn beyond(threshold: &Threshold, value: Decimal) -> bool {
    let on = |bound: &Option<Quantity>, side: Ordering| {
        bound.is_some_and(|Quantity(bound)| exact::compare(value, bound) == Some(side))
    };
    on(&threshold.above, Ordering::Greater) || on(&threshold.below, Ordering::Less)
}
