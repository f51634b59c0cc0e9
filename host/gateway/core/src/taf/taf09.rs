// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 9, feed-in on demand: the newest power of a plant for recipients who ask (TR-03109-1; MET-12). An answer from before
//! the last two registration periods would not be current: it is a gap then.

use smgw_units::UtcNanos;

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::{Point, missing};
use crate::taf::state::State;
use crate::taf::{Finding, Trigger};

#[derive(Clone, Debug, Default)]
pub(crate) struct FeedIn {
    newest: Option<Entry>,
}

impl Machine for FeedIn {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        self.newest = Some(point.line(to.profile));
    }

    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        let Trigger::Request(recipient) = trigger else {
            return to.note(at, Finding::NotConcerned(trigger.clone()));
        };
        if !to.may_have(at, recipient) {
            return;
        }
        let period = i64::from(to.profile.registration_period()) * 1_000_000_000;
        let current = self
            .newest
            .filter(|line| at.0.saturating_sub(line.target.0) <= 2 * period);
        let none = || {
            let point = UtcNanos(at.0.div_euclid(period).saturating_mul(period));
            to.profile
                .inputs()
                .first()
                .map(|input| missing(input.obis, point))
        };
        if let Some(line) = current.or_else(none) {
            to.deliver_to(recipient.clone(), at, vec![line]);
        }
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
