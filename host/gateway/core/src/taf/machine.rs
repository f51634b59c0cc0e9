// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machines of all tariff use cases have in common: what goes in, and where what comes out is put
//! (TAF 1 to 14 of TR-03109-1).

use std::collections::VecDeque;

use smgw_units::UtcNanos;

use crate::calendar::Span;
use crate::list::Entry;
use crate::profile::evaluation::Every;
use crate::profile::{EvaluationProfile, ProfileName};
use crate::taf::point::Point;
use crate::taf::progress::Way;
use crate::taf::{Delivery, Derived, Effect, Finding, Trigger};

/// The machine of one use case.
pub(crate) trait Machine: Send {
    /// The next grid point, oldest first.
    fn point(&mut self, point: &Point, to: &mut Context<'_>);

    /// Something happened.
    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        to.note(at, Finding::NotConcerned(trigger.clone()));
    }

    /// Time has passed.
    fn time(&mut self, _now: UtcNanos, _to: &mut Context<'_>) {}

    /// When it wants to be told the time.
    fn deadline(&self) -> Option<UtcNanos> {
        None
    }

    /// The registers as they are.
    fn registers(&self) -> Vec<Entry>;

    /// Writes its state.
    fn save(&self, out: &mut Vec<u8>);

    /// Takes a state over, if it can be of this profile.
    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()>;
}

/// What a machine works with.
pub(crate) struct Context<'a> {
    pub(crate) profile: &'a EvaluationProfile,
    pub(crate) effects: &'a mut VecDeque<Effect>,
    /// The span the send plan was asked for last; only remembered.
    pub(crate) sending: &'a mut Span,
}

impl Context<'_> {
    pub(crate) fn note(&mut self, at: UtcNanos, finding: Finding) {
        self.effects.push_back(Effect::Finding { at, finding });
    }

    pub(crate) fn derive(&mut self, entry: Entry) {
        let profile = self.profile.name().clone();
        self.effects
            .push_back(Effect::Derived(Derived { profile, entry }));
    }

    /// A line of a series: kept, and sent by plan.
    pub(crate) fn record(&mut self, line: Entry) {
        self.derive(line);
        self.deliver_by_plan(line.target, &[line]);
    }

    /// Sends lines to all recipients at the end of what the send plan says; what has the same time is one sending.
    pub(crate) fn deliver_by_plan(&mut self, target: UtcNanos, lines: &[Entry]) {
        let due = match self.profile.send_plan().every {
            Every::RegistrationPeriod => target,
            Every::Day | Every::BillingPeriod => self.end_of_span(target),
            Every::Never => return,
        };
        self.deliver(due, lines.to_vec());
    }

    /// Sends lines to all recipients, unless the send plan forbids it.
    pub(crate) fn deliver(&mut self, due: UtcNanos, lines: Vec<Entry>) {
        let plan = self.profile.send_plan();
        if plan.every == Every::Never {
            return;
        }
        let delay = i64::from(plan.delay) * 1_000_000_000;
        for recipient in self.profile.recipients() {
            self.deliver_to(
                recipient.clone(),
                UtcNanos(due.0.saturating_add(delay)),
                lines.clone(),
            );
        }
    }

    pub(crate) fn deliver_to(&mut self, recipient: ProfileName, due: UtcNanos, lines: Vec<Entry>) {
        self.effects.push_back(Effect::Delivery(Delivery {
            profile: self.profile.name().clone(),
            recipient,
            due,
            lines,
            pseudonymous: self.profile.pseudonymous(),
        }));
    }

    /// Whether somebody may have what he asks for.
    pub(crate) fn may_have(&mut self, at: UtcNanos, recipient: &ProfileName) -> bool {
        let known = self.profile.recipients().contains(recipient);
        let finding = match known {
            true => Finding::Requested(recipient.clone()),
            false => Finding::RequestRefused(recipient.clone()),
        };
        self.note(at, finding);
        known
    }

    pub(crate) fn rolled_over(&mut self, at: UtcNanos, inputs: &[usize]) {
        for input in inputs
            .iter()
            .filter_map(|index| self.profile.inputs().get(*index))
        {
            let (meter, obis) = (input.meter, input.obis);
            self.effects.push_back(Effect::Finding {
                at,
                finding: Finding::RolledOver { meter, obis },
            });
        }
    }

    pub(crate) fn broken(&mut self, at: UtcNanos, way: &Way) {
        let decreased = |index: &usize| self.profile.inputs().get(*index);
        let finding = match way {
            Way::Decreased(index) => decreased(index).map(|input| Finding::Decreased {
                meter: input.meter,
                obis: input.obis,
            }),
            Way::UnitChanged => Some(Finding::UnitChanged),
            _ => None,
        };
        if let Some(finding) = finding {
            self.note(at, finding);
        }
    }

    /// The end of the day or billing period that a grid point closes or lies in: a point at midnight is the day before's.
    fn end_of_span(&mut self, target: UtcNanos) -> UtcNanos {
        let second = UtcNanos(target.0.saturating_sub(1));
        if !(self.sending.start..self.sending.end).contains(&second.seconds()) {
            let (zone, (from, to)) = (self.profile.zone(), self.profile.validity());
            *self.sending = match self.profile.send_plan().every {
                Every::BillingPeriod => {
                    // The end of the profile's validity ends the last one.
                    let period = self.profile.billing().period_of(zone, from, second);
                    Span {
                        end: period.end.min(to.seconds()),
                        ..period
                    }
                }
                _ => {
                    let (start, end) = zone.day_of(zone.date(second));
                    Span { start, end }
                }
            };
        }
        UtcNanos(self.sending.end.saturating_mul(1_000_000_000))
    }
}
