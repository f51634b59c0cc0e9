// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 7, load profile: every grid point one line, gaps as gaps; tariffs are made outside (TR-03109-1; MET-10).

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;

#[derive(Clone, Debug, Default)]
pub(crate) struct LoadProfile {
    newest: Option<Entry>,
}

impl Machine for LoadProfile {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let line = point.line(to.profile);
        to.record(line);
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
