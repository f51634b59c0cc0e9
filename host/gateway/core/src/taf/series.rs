// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 7, load profile; TAF 13, values for a display; TAF 14, high-frequency values: every grid point one line, gaps as
//! gaps, each on the grid of its profile; tariffs are made outside (TR-03109-1; MET-10, MET-14).

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::Effect;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;

#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    newest: Option<Entry>,
    displayed: bool,
}

impl Series {
    /// A series that also goes to the display of the consumer.
    pub(crate) fn displayed() -> Self {
        Self {
            newest: None,
            displayed: true,
        }
    }
}

impl Machine for Series {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let line = point.line(to.profile);
        to.record(line);
        if self.displayed {
            to.effects.push_back(Effect::Display(vec![line]));
        }
        self.newest = Some(line);
    }

    fn registers(&self) -> Vec<Entry> {
        self.newest.into_iter().collect()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.newest.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], _: &EvaluationProfile) -> Option<()> {
        self.newest = State::take(from)?;
        Some(())
    }
}
