// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 14, high-frequency values for value-added services: a series like TAF 7 on a finer grid of its own (TR-03109-1; MET-14).

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::series::Series;

#[derive(Clone, Debug, Default)]
pub(crate) struct HighFrequency(Series);

impl Machine for HighFrequency {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        self.0.record(point, to);
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
