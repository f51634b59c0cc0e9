// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 13, values for a display: every grid point one line, to the display of the consumer and over the WAN (TR-03109-1).

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::Effect;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::series::Series;

#[derive(Clone, Debug, Default)]
pub(crate) struct Display(Series);

impl Machine for Display {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let line = self.0.record(point, to);
        to.effects.push_back(Effect::Display(vec![line]));
    }

    fn registers(&self) -> Vec<Entry> {
        self.0.registers()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
    }

    fn restore(&mut self, from: &mut &[u8], _: &EvaluationProfile) -> Option<()> {
        self.0.restore(from)
    }
}
