// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a tariff with steps (TAF 2 to 5 of TR-03109-1): one per step, the total and the error register.
//!
//! Invariant: the steps and the error register add up to the total, always. The registers begin with zero and are never
//! set back; a billing period is the difference of two of its closings (assumption).

use smgw_units::{Decimal, Obis, Unit, UtcNanos};

use crate::list::{Content, Entry};
use crate::profile::EvaluationProfile;
use crate::status::CombinedStatus;
use crate::taf::closing::Closing;
use crate::taf::machine::Context;
use crate::taf::point::{Counting, FATAL, Point, WARNING};
use crate::taf::progress::{Base, Way, way};
use crate::taf::state::state;
use crate::taf::{Finding, exact};

/// Energy between two points that count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) from: UtcNanos,
    pub(crate) to: UtcNanos,
    pub(crate) energy: Decimal,
}

/// Where the energy of an interval belongs.
pub(crate) enum Share {
    /// To a step, counted from 0.
    Step(usize),
    /// To all steps, as much as said to each.
    Split(Vec<Decimal>),
    /// Nobody can tell.
    Error,
}

#[derive(Clone, Debug)]
pub(crate) struct Tariff {
    base: Option<Base>,
    /// Steps, then error register, then total.
    registers: Vec<Decimal>,
    /// Newest line of each register.
    lines: Vec<Entry>,
    closing: Closing,
    faulty: bool,
}

state!(Tariff {
    base,
    registers,
    lines,
    closing,
    faulty
});

impl Tariff {
    pub(crate) fn new(profile: &EvaluationProfile, start: UtcNanos, steps: usize) -> Self {
        Self {
            base: None,
            registers: vec![exact::ZERO; steps + 2],
            lines: Vec::new(),
            closing: Closing::new(profile, start),
            faulty: false,
        }
    }

    pub(crate) fn fits(&self, profile: &EvaluationProfile, steps: usize) -> bool {
        Base::fits(&self.base, profile)
            && self.registers.len() == steps + 2
            && (self.lines.is_empty() || self.lines.len() == steps + 2)
    }

    pub(crate) fn base(&self) -> Option<UtcNanos> {
        self.base.as_ref().map(|base| base.target)
    }

    pub(crate) fn lines(&self) -> Vec<Entry> {
        self.lines.clone()
    }

    /// Takes a point and puts the energy since the one before where `share` says. Returns the interval if there is one.
    pub(crate) fn book(
        &mut self,
        steps: &[Obis],
        point: &Point,
        to: &mut Context<'_>,
        share: impl FnOnce(&Interval) -> Option<Share>,
    ) -> Option<Interval> {
        let counting = point.counting()?;
        let error = steps.len();
        let total = error + 1;
        let mut changed = vec![false; total + 1];
        let mut warning = 0;
        let mut booked = None;
        match way(&self.base, &counting, to.profile) {
            Way::First => changed.fill(true),
            Way::Energy {
                from,
                energy,
                rolled_over,
            } => {
                let interval = Interval {
                    from,
                    to: point.target,
                    energy,
                };
                let Some(registers) = share(&interval).and_then(|share| self.with(share, energy))
                else {
                    self.overflow(point, to);
                    return None;
                };
                to.rolled_over(point.target, &rolled_over);
                for (index, value) in registers {
                    if let (Some(register), Some(changed)) =
                        (self.registers.get_mut(index), changed.get_mut(index))
                    {
                        *register = value;
                        *changed = true;
                    }
                }
                booked = Some(interval);
            }
            Way::Overflow => {
                self.overflow(point, to);
                return None;
            }
            broken => {
                to.broken(point.target, &broken);
                warning = WARNING;
                changed[total] = true;
            }
        }
        self.base = Some(Base::at(point.target, &counting));
        let closes = self.closing.closes(to.profile, point.target);
        if closes {
            changed.fill(true);
        }
        self.write(steps, point.target, &counting, &changed, warning, to);
        if closes {
            to.deliver(point.target, self.lines());
        }
        booked
    }

    /// The registers that change, with their new values; `None` if any does not fit.
    fn with(&self, share: Share, energy: Decimal) -> Option<Vec<(usize, Decimal)>> {
        let total = self.registers.len() - 1;
        let shares = match share {
            Share::Step(step) => vec![(step, energy)],
            Share::Split(parts) => parts.into_iter().enumerate().collect(),
            Share::Error => vec![(total - 1, energy)],
        };
        let nothing = |(_, part): &(usize, Decimal)| part.mantissa == 0;
        // A split leaves the steps alone that get nothing of it.
        let only = shares.len() == 1;
        shares
            .into_iter()
            .filter(|share| only || !nothing(share))
            .chain([(total, energy)])
            .map(|(index, part)| Some((index, exact::add(*self.registers.get(index)?, part)?)))
            .collect()
    }

    fn overflow(&mut self, point: &Point, to: &mut Context<'_>) {
        self.faulty = true;
        to.note(point.target, Finding::Overflow);
    }

    fn write(
        &mut self,
        steps: &[Obis],
        target: UtcNanos,
        counting: &Counting,
        changed: &[bool],
        warning: u32,
        to: &mut Context<'_>,
    ) {
        let fault = if self.faulty { FATAL } else { 0 };
        let status = CombinedStatus {
            gateway: counting.status.gateway | warning | fault,
            meter: counting.status.meter,
        };
        let line = |(obis, value): (Obis, &Decimal)| Entry {
            obis,
            target,
            status,
            content: content(counting.capture, *value, counting.unit),
        };
        let new: Vec<Entry> = names(steps).zip(&self.registers).map(line).collect();
        if self.lines.len() != new.len() {
            self.lines.clone_from(&new);
        }
        for ((held, new), changed) in self.lines.iter_mut().zip(new).zip(changed) {
            if *changed {
                *held = new;
                to.derive(new);
            }
        }
    }
}

pub(crate) fn content(capture: UtcNanos, value: Decimal, unit: Unit) -> Content {
    Content::Value {
        capture,
        value,
        unit,
    }
}

/// Names of the registers: the steps, the error register `1-0:1.8.63` and the total `1-0:1.8.0` of the same quantity.
fn names(steps: &[Obis]) -> impl Iterator<Item = Obis> + '_ {
    let first = steps.first().copied().unwrap_or(Obis::IMPORT_TOTAL);
    let rate = move |rate: u8| {
        let Obis([a, b, c, d, _, f]) = first;
        Obis([a, b, c, d, rate, f])
    };
    steps.iter().copied().chain([rate(63), rate(0)])
}
