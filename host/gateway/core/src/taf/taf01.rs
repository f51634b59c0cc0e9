// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 1, data-sparing tariff: the register at the end of each billing period and nothing else (TR-03109-1; MET-05).

use smgw_units::UtcNanos;

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::closing::Closing;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::{State, state};

#[derive(Clone, Debug)]
pub(crate) struct DataSparing {
    closing: Closing,
    newest: Option<Entry>,
}

state!(DataSparing { closing, newest });

impl DataSparing {
    pub(crate) fn new(profile: &EvaluationProfile, start: UtcNanos) -> Self {
        Self {
            closing: Closing::new(profile, start),
            newest: None,
        }
    }
}

impl Machine for DataSparing {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let line = point.line(to.profile);
        let counts =
            point.counting().is_some() && line.status.gateway & crate::taf::point::FATAL == 0;
        if counts && self.closing.closes(to.profile, point.target) {
            to.derive(line);
            to.deliver(point.target, vec![line]);
            self.newest = Some(line);
        }
    }

    fn registers(&self) -> Vec<Entry> {
        self.newest.into_iter().collect()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], _: &EvaluationProfile) -> Option<()> {
        *self = State::take(from)?;
        Some(())
    }
}
