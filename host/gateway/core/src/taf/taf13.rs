// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 13, values for a display: every grid point one line, to the display of the consumer and over the WAN (TR-03109-1).

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::Effect;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;

#[derive(Clone, Debug, Default)]
pub(crate) struct Display {
    newest: Option<Entry>,
}

impl Machine for Display {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let line = point.line(to.profile);
        to.record(line);
        to.effects.push_back(Effect::Display(vec![line]));
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
