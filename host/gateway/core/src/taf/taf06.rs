// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 6, meter readings on demand: the reading at the beginning of each billing day, kept for 42 days, sent only to
//! recipients who ask (TR-03109-1; MET-09). A beginning without a value is kept as a gap.

use smgw_units::UtcNanos;

use crate::calendar::{Span, time_of_day};
use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::OnDemand as Parameters;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::state::State;
use crate::taf::{Effect, Finding, Trigger};

#[derive(Clone, Debug)]
pub(crate) struct OnDemand {
    /// Second of the day at which a billing day begins.
    start: i64,
    profile: EvaluationProfile,
    /// At most one for each of the last 42 billing days, oldest first.
    kept: Vec<Entry>,
    /// The billing day that was asked for last; only remembered.
    day: Span,
}

impl OnDemand {
    pub(crate) fn new(parameters: &Parameters, profile: &EvaluationProfile) -> Self {
        Self {
            start: time_of_day(&parameters.day_start).unwrap_or(0),
            profile: profile.clone(),
            kept: Vec::new(),
            day: Span { start: 0, end: 0 },
        }
    }

    /// The billing day `second` lies in.
    fn day_of(&mut self, second: i64) -> Span {
        if !(self.day.start..self.day.end).contains(&second) {
            self.day = self.profile.zone().day_from(self.start, second);
        }
        self.day
    }

    /// Removes what is older than 42 days at `second`.
    fn expire(&mut self, second: i64, to: &mut Context<'_>) {
        let zone = self.profile.zone().clone();
        let number = |start: i64| zone.day_number(UtcNanos(start.saturating_mul(1_000_000_000)));
        let Some(oldest) = self.kept.first() else {
            return;
        };
        // 42 days are at least so long, whatever the clocks do.
        if second
            < oldest
                .target
                .seconds()
                .saturating_add((KEPT_DAYS - 1) * 86_400)
        {
            return;
        }
        let today = number(self.day_of(second).start);
        let stays = |line: &Entry| number(line.target.seconds()) > today - KEPT_DAYS;
        let before = self.kept.len();
        self.kept.retain(stays);
        if self.kept.len() < before {
            let first = zone.time_on(zone.date_of_day(today - KEPT_DAYS + 1), self.start);
            let before = UtcNanos(first.saturating_mul(1_000_000_000));
            to.effects.push_back(Effect::Expired { before });
        }
    }
}

impl Machine for OnDemand {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let second = point.target.seconds();
        self.expire(second, to);
        if self.day_of(second).start == second {
            let line = point.line(to.profile);
            self.kept.push(line);
            to.derive(line);
        }
    }

    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        let Trigger::Request(recipient) = trigger else {
            return to.note(at, Finding::NotConcerned(trigger.clone()));
        };
        self.expire(at.seconds(), to);
        if to.may_have(at, recipient) {
            to.deliver_to(recipient.clone(), at, self.kept.clone());
        }
    }

    fn time(&mut self, now: UtcNanos, to: &mut Context<'_>) {
        self.expire(now.seconds(), to);
    }

    fn registers(&self) -> Vec<Entry> {
        self.kept.clone()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.kept.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], _: &EvaluationProfile) -> Option<()> {
        self.kept = State::take(from)?;
        let rises = self
            .kept
            .windows(2)
            .all(|pair| pair[0].target < pair[1].target);
        (rises && self.kept.len() <= KEPT_DAYS as usize).then_some(())
    }
}

/// Days a reading is kept.
const KEPT_DAYS: i64 = 42;
