// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 11, control of loads and generators: when it was and the reading of the next grid point (TR-03109-1).

use smgw_units::UtcNanos;

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::{State, state};
use crate::taf::{Finding, Trigger, grid_point};

#[derive(Clone, Debug)]
pub(crate) struct Control {
    /// Grid points whose reading is wanted, ascending.
    wanted: Vec<UtcNanos>,
    /// Newest grid point that was told of.
    told: UtcNanos,
    newest: Option<Entry>,
}

state!(Control {
    wanted,
    told,
    newest
});

impl Default for Control {
    fn default() -> Self {
        Self {
            wanted: Vec::new(),
            told: UtcNanos(i64::MIN),
            newest: None,
        }
    }
}

impl Machine for Control {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        self.told = point.target;
        let due = self
            .wanted
            .partition_point(|wanted| *wanted <= point.target);
        if due > 0 {
            self.wanted.drain(..due);
            let line = point.line(to.profile);
            to.record(line);
            self.newest = Some(line);
        }
    }

    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        let Trigger::Control(action) = trigger else {
            return to.note(at, Finding::NotConcerned(trigger.clone()));
        };
        // What is told too late gets the next reading there will be.
        let period = to.profile.registration_period();
        let next = UtcNanos(self.told.0.saturating_add(1));
        let effective = grid_point(at.max(next), period);
        let place = self.wanted.partition_point(|wanted| *wanted < effective);
        if self.wanted.get(place) != Some(&effective) && self.wanted.len() < MOST_WANTED {
            self.wanted.insert(place, effective);
        }
        let action = action.clone();
        to.note(at, Finding::Controlled { action, effective });
    }

    fn registers(&self) -> Vec<Entry> {
        self.newest.into_iter().collect()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], _: &EvaluationProfile) -> Option<()> {
        *self = State::take(from)?;
        let fits = self.wanted.is_sorted() && self.wanted.len() <= MOST_WANTED;
        fits.then_some(())
    }
}

/// Grid points that may be waited for while there are none.
const MOST_WANTED: usize = 64;
