// SPDX-License-Identifier: MIT OR Apache-2.0
//! What TAF 7, 13 and 14 have in common: a line for every grid point, gaps as gaps (TR-03109-1).

use crate::list::Entry;
use crate::taf::machine::Context;
use crate::taf::point::Point;
use crate::taf::state::State;

#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    newest: Option<Entry>,
}

impl Series {
    /// Records the line of a grid point.
    pub(crate) fn record(&mut self, point: &Point, to: &mut Context<'_>) -> Entry {
        let line = point.line(to.profile);
        to.record(line);
        self.newest = Some(line);
        line
    }

    pub(crate) fn registers(&self) -> Vec<Entry> {
        self.newest.into_iter().collect()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        self.newest.put(out);
    }

    pub(crate) fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.newest = State::take(from)?;
        Some(())
    }
}
