// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 5, event variable tariff: events begin steps, from the next grid point on (TR-03109-1). Of several events before a
//! grid point the last one counts.

use smgw_units::UtcNanos;

use crate::list::Entry;
use crate::profile::evaluation::EventVariable as Parameters;
use crate::profile::{EvaluationProfile, ProfileName};
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::{State, state};
use crate::taf::tariff::{Share, Tariff};
use crate::taf::{Finding, Trigger, grid_point};

#[derive(Clone, Debug)]
pub(crate) struct EventVariable {
    parameters: Parameters,
    state: Events,
}

#[derive(Clone, Debug)]
struct Events {
    tariff: Tariff,
    /// The step that holds, counted from 0.
    step: u8,
    /// Whether another one held somewhere since the newest point that counted.
    changed: bool,
    /// Grid points from which on other steps hold, ascending.
    coming: Vec<(UtcNanos, u8)>,
    /// Newest grid point that was told of.
    told: UtcNanos,
}

state!(Events {
    tariff,
    step,
    changed,
    coming,
    told
});

impl EventVariable {
    pub(crate) fn new(
        parameters: &Parameters,
        profile: &EvaluationProfile,
        start: UtcNanos,
    ) -> Self {
        Self {
            parameters: parameters.clone(),
            state: Events {
                tariff: Tariff::new(profile, start, parameters.steps.len()),
                step: parameters.default_step.saturating_sub(1),
                changed: false,
                coming: Vec::new(),
                told: UtcNanos(i64::MIN),
            },
        }
    }
}

impl Events {
    /// Begins all steps that are due before `target`.
    fn go_to(&mut self, target: UtcNanos) {
        let due = self
            .coming
            .partition_point(|(effective, _)| *effective < target);
        let base = self.tariff.base();
        for (effective, step) in self.coming.drain(..due) {
            let inside = base.is_some_and(|base| effective > base);
            self.changed |= inside && step != self.step;
            self.step = step;
        }
        self.told = target;
    }
}

impl Machine for EventVariable {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let state = &mut self.state;
        state.go_to(point.target);
        let share = || match state.changed {
            true => Share::Error,
            false => Share::Step(state.step.into()),
        };
        state
            .tariff
            .book(&self.parameters.steps, point, to, |_| Some(share()));
        if state.tariff.base() == Some(point.target) {
            state.changed = false;
        }
    }

    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        let known = |name: &ProfileName| {
            self.parameters
                .events
                .iter()
                .find(|event| event.id == *name)
        };
        let event = match trigger {
            Trigger::Event(name) => known(name),
            _ => None,
        };
        let Some(event) = event else {
            return to.note(at, Finding::NotConcerned(trigger.clone()));
        };
        let state = &mut self.state;
        // What is told too late begins with the newest point there is.
        let effective = grid_point(at, to.profile.registration_period()).max(state.told);
        state.coming.retain(|(other, _)| *other != effective);
        let place = state
            .coming
            .partition_point(|(other, _)| *other < effective);
        state
            .coming
            .insert(place, (effective, event.step.saturating_sub(1)));
        if state.coming.len() > MOST_COMING {
            // Without any point for so long only the error register is left for what lies between.
            let (_, step) = state.coming.remove(0);
            state.changed |= step != state.step;
            state.step = step;
        }
        let event = event.id.clone();
        to.note(at, Finding::StepBegun { event, effective });
    }

    fn registers(&self) -> Vec<Entry> {
        self.state.tariff.lines()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.state.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.state = State::take(from)?;
        let steps = self.parameters.steps.len();
        let known = |step: u8| usize::from(step) < steps;
        let fits = self.state.tariff.fits(profile, steps)
            && known(self.state.step)
            && self.state.coming.iter().all(|(_, step)| known(*step))
            && self.state.coming.is_sorted();
        fits.then_some(())
    }
}

/// Steps that may be waiting for a grid point.
const MOST_COMING: usize = 64;
