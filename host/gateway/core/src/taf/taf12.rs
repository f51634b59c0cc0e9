// SPDX-License-Identifier: MIT OR Apache-2.0
//! TAF 12, prepaid tariff: what is left of what was paid for, a warning, a tolerance period and the breakers (TR-03109-1).
//! A credit counts at once (assumption).

use core::cmp::Ordering;

use smgw_units::{Decimal, UtcNanos};

use crate::list::Entry;
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::{Prepaid as Parameters, Quantity};
use crate::taf::closing::Closing;
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Point;
use crate::taf::progress::{Base, Way, way};
use crate::taf::state::{State, state};
use crate::taf::tariff::content;
use crate::taf::{Effect, Finding, Trigger, exact};

#[derive(Clone, Debug)]
pub(crate) struct Prepaid {
    parameters: Parameters,
    state: Account,
}

#[derive(Clone, Debug)]
struct Account {
    base: Option<Base>,
    available: Decimal,
    closing: Closing,
    newest: Option<Entry>,
    warned: bool,
    /// When the tolerance period ends.
    tolerated: Option<UtcNanos>,
    off: bool,
}

state!(Account {
    base,
    available,
    closing,
    newest,
    warned,
    tolerated,
    off
});

impl Prepaid {
    pub(crate) fn new(
        parameters: &Parameters,
        profile: &EvaluationProfile,
        start: UtcNanos,
    ) -> Self {
        let Quantity(available) = parameters.credit;
        Self {
            parameters: parameters.clone(),
            state: Account {
                base: None,
                available,
                closing: Closing::new(profile, start),
                newest: None,
                warned: false,
                tolerated: None,
                off: false,
            },
        }
    }

    /// Draws the consequences of what is available at `at`.
    fn judge(&mut self, at: UtcNanos, to: &mut Context<'_>) {
        let state = &mut self.state;
        let Quantity(warning) = self.parameters.warning;
        let low = exact::compare(state.available, warning) != Some(Ordering::Greater);
        if low && !state.warned {
            to.note(at, Finding::CreditLow);
            let available = state.available;
            to.effects.push_back(Effect::Warning { available });
        }
        state.warned = low;
        let used_up = state.available.mantissa <= 0;
        if used_up && state.tolerated.is_none() && !state.off {
            let tolerance = i64::from(self.parameters.tolerance) * 1_000_000_000;
            state.tolerated = Some(UtcNanos(at.0.saturating_add(tolerance)));
            to.note(at, Finding::CreditUsedUp);
        }
        if !used_up {
            state.tolerated = None;
            if state.off {
                state.off = false;
                to.note(at, Finding::SwitchedOn);
                self.switch(true, to);
            }
        }
        self.end_tolerance(at, to);
    }

    fn end_tolerance(&mut self, now: UtcNanos, to: &mut Context<'_>) {
        if self.state.tolerated.is_some_and(|end| end <= now) {
            self.state.tolerated = None;
            self.state.off = true;
            to.note(now, Finding::SwitchedOff);
            self.switch(false, to);
        }
    }

    fn switch(&self, closed: bool, to: &mut Context<'_>) {
        let ids = self.parameters.breakers.clone();
        to.effects.push_back(Effect::Breakers { ids, closed });
    }
}

impl Machine for Prepaid {
    fn point(&mut self, point: &Point, to: &mut Context<'_>) {
        let Some(counting) = point.counting() else {
            return;
        };
        match way(&self.state.base, &counting, to.profile) {
            Way::First => {}
            Way::Energy {
                energy,
                rolled_over,
                ..
            } => {
                let Some(available) = exact::subtract(self.state.available, energy) else {
                    return to.note(point.target, Finding::Overflow);
                };
                to.rolled_over(point.target, &rolled_over);
                self.state.available = available;
            }
            Way::Overflow => return to.note(point.target, Finding::Overflow),
            broken => to.broken(point.target, &broken),
        }
        self.state.base = Some(Base::at(point.target, &counting));
        let line = Entry {
            obis: self.parameters.available,
            target: point.target,
            status: counting.status,
            content: content(counting.capture, self.state.available, counting.unit),
        };
        to.derive(line);
        self.state.newest = Some(line);
        if self.state.closing.closes(to.profile, point.target) {
            to.deliver(point.target, vec![line]);
        }
        self.judge(point.target, to);
    }

    fn trigger(&mut self, at: UtcNanos, trigger: &Trigger, to: &mut Context<'_>) {
        let Trigger::Credit(credit) = trigger else {
            return to.note(at, Finding::NotConcerned(trigger.clone()));
        };
        let Some(available) = exact::add(self.state.available, *credit) else {
            return to.note(at, Finding::Overflow);
        };
        self.state.available = available;
        to.note(at, Finding::Credited(*credit));
        self.judge(at, to);
    }

    fn time(&mut self, now: UtcNanos, to: &mut Context<'_>) {
        self.end_tolerance(now, to);
    }

    fn deadline(&self) -> Option<UtcNanos> {
        self.state.tolerated
    }

    fn registers(&self) -> Vec<Entry> {
        self.state.newest.into_iter().collect()
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.state.put(out);
    }

    fn restore(&mut self, from: &mut &[u8], profile: &EvaluationProfile) -> Option<()> {
        self.state = State::take(from)?;
        Base::fits(&self.state.base, profile).then_some(())
    }
}
