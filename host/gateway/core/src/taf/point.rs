// SPDX-License-Identifier: MIT OR Apache-2.0
//! Brings the entries of all inputs of a profile together, grid point by grid point (TAF 1 to 14 of TR-03109-1).

use smgw_units::{Decimal, Obis, Unit, UtcNanos};

use crate::list::{Content, Entry, GapReason};
use crate::profile::EvaluationProfile;
use crate::profile::evaluation::Sign;
use crate::status::CombinedStatus;
use crate::taf::exact;
use crate::taf::state::state;

/// What all inputs say of a grid point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) target: UtcNanos,
    /// In the order of the inputs; `None` where an input said nothing at all.
    pub(crate) parts: Vec<Option<Entry>>,
}

state!(Point { target, parts });

/// Values of all inputs at a point, fit for billing.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    pub(crate) values: Vec<Decimal>,
    pub(crate) unit: Unit,
    pub(crate) capture: UtcNanos,
    pub(crate) status: CombinedStatus,
}

/// Waits for all inputs of a point.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Newest grid point each input has told of.
    heard: Vec<Option<UtcNanos>>,
    /// Points some inputs have not told of yet, oldest first.
    open: Vec<Point>,
    /// Newest point that is done; nothing up to it is taken again.
    done: UtcNanos,
}

state!(Join { heard, open, done });

impl Join {
    /// Takes points from `start` on.
    pub(crate) fn new(inputs: usize, start: UtcNanos) -> Self {
        Self {
            heard: vec![None; inputs],
            open: Vec::new(),
            done: UtcNanos(start.0.saturating_sub(1)),
        }
    }

    /// Whether a state that was read can be this profile's.
    pub(crate) fn fits(&self, inputs: usize) -> bool {
        let rises = self
            .open
            .windows(2)
            .all(|pair| pair[0].target < pair[1].target);
        rises
            && self.heard.len() == inputs
            && self
                .open
                .iter()
                .all(|point| point.parts.len() == inputs && point.target > self.done)
    }

    /// An entry of an input. Entries that are older than what this input or the evaluation has seen are not taken.
    pub(crate) fn take(&mut self, input: usize, entry: &Entry) {
        let inputs = self.heard.len();
        let Some(heard) = self.heard.get_mut(input) else {
            return;
        };
        if entry.target <= self.done || heard.is_some_and(|heard| entry.target <= heard) {
            return;
        }
        *heard = Some(entry.target);
        let at = self
            .open
            .partition_point(|point| point.target < entry.target);
        if self
            .open
            .get(at)
            .is_none_or(|point| point.target != entry.target)
        {
            let parts = vec![None; inputs];
            let target = entry.target;
            self.open.insert(at, Point { target, parts });
        }
        if let Some(part) = self
            .open
            .get_mut(at)
            .and_then(|point| point.parts.get_mut(input))
        {
            *part = Some(*entry);
        }
    }

    /// The next point of which every input has told, or that is older than `patience`.
    pub(crate) fn next(&mut self, patience: Option<UtcNanos>) -> Option<Point> {
        let target = self.open.first()?.target;
        let told = |heard: &Option<UtcNanos>| heard.is_some_and(|heard| heard >= target);
        let ready =
            self.heard.iter().all(told) || patience.is_some_and(|patience| target <= patience);
        ready.then(|| {
            self.done = target;
            self.open.remove(0)
        })
    }

    /// The oldest point that waits for an input.
    pub(crate) fn waiting(&self) -> Option<UtcNanos> {
        self.open.first().map(|point| point.target)
    }
}

impl Point {
    /// The values, when all inputs have one that is fit for billing, in one unit.
    pub(crate) fn counting(&self) -> Option<Counting> {
        let mut counting: Option<Counting> = None;
        for part in &self.parts {
            let part = part.as_ref().filter(|part| fit_for_billing(part.status))?;
            let Content::Value {
                capture,
                value,
                unit,
            } = part.content
            else {
                return None;
            };
            match &mut counting {
                Some(counting) if counting.unit == unit => {
                    counting.values.push(value);
                    counting.capture = counting.capture.max(capture);
                    counting.status = merged(counting.status, part.status);
                }
                Some(_) => return None,
                None => {
                    let (values, status) = (vec![value], part.status);
                    counting = Some(Counting {
                        values,
                        unit,
                        capture,
                        status,
                    });
                }
            }
        }
        counting
    }

    /// The sum of the inputs as a line: the entry itself where there is one input, a gap where any has no value.
    pub(crate) fn line(&self, profile: &EvaluationProfile) -> Entry {
        let obis = profile
            .inputs()
            .first()
            .map_or(Obis::IMPORT_TOTAL, |input| input.obis);
        let mut sum: Option<(UtcNanos, Decimal, Unit)> = None;
        let mut status = CombinedStatus {
            gateway: 0,
            meter: 0,
        };
        let mut gap = None;
        for (part, input) in self.parts.iter().zip(profile.inputs()) {
            let part = part.unwrap_or(missing(input.obis, self.target));
            status = merged(status, part.status);
            match part.content {
                Content::Gap(reason) => gap = gap.max(Some(reason)),
                Content::Value {
                    capture,
                    value,
                    unit,
                } => {
                    let signed = match input.sign {
                        Sign::Plus => Some(value),
                        Sign::Minus => exact::subtract(exact::ZERO, value),
                    };
                    let added = match (sum, signed) {
                        (None, Some(value)) => Some((capture, value, unit)),
                        (Some((before, held, of)), Some(value)) if of == unit => {
                            exact::add(held, value).map(|sum| (before.max(capture), sum, unit))
                        }
                        _ => None,
                    };
                    if added.is_none() {
                        status.gateway |= FATAL;
                        gap = gap.max(Some(GapReason::BadTelegram));
                    }
                    sum = added.or(sum);
                }
            }
        }
        let content = match (gap, sum) {
            (None, Some((capture, value, unit))) => Content::Value {
                capture,
                value,
                unit,
            },
            (gap, _) => {
                status.gateway |= CombinedStatus::NO_VALUE;
                Content::Gap(gap.unwrap_or(GapReason::NoTelegram))
            }
        };
        Entry {
            obis,
            target: self.target,
            status,
            content,
        }
    }
}

/// The line of an input that said nothing of a point.
pub(crate) fn missing(obis: Obis, target: UtcNanos) -> Entry {
    Entry {
        obis,
        target,
        status: CombinedStatus::of_gap(),
        content: Content::Gap(GapReason::NoTelegram),
    }
}

/// Everything that either of both says.
fn merged(a: CombinedStatus, b: CombinedStatus) -> CombinedStatus {
    CombinedStatus {
        gateway: a.gateway | b.gateway,
        meter: a.meter | b.meter,
    }
}

/// Whether bills may be made from a value: not when gateway or meter call it fatal, the time was not valid, somebody
/// tampered with the meter, or it says itself that it is not for billing (DS §15; mapping of TRuDI: PTB status 3 and 4).
pub(crate) fn fit_for_billing(status: CombinedStatus) -> bool {
    let wired = status.gateway & WIRELESS == 0 && status.meter & WIRED_METER != 0;
    let meter = if wired { status.meter } else { 0 };
    status.gateway & (NOT_FOR_BILLING | FATAL | CombinedStatus::TIME_INVALID | TAMPERED) == 0
        && meter & (MAGNETIC | MECHANICAL | METER_FATAL) == 0
}

const NOT_FOR_BILLING: u32 = 1 << 1;
pub(crate) const FATAL: u32 = 1 << 8;
pub(crate) const WARNING: u32 = 1 << 12;
const TAMPERED: u32 = 1 << 14;
pub(crate) const THRESHOLD: u32 = 1 << 16;
const WIRELESS: u32 = 1 << 17;
const WIRED_METER: u32 = 1 << 2;
const MAGNETIC: u32 = 1 << 9;
const MECHANICAL: u32 = 1 << 10;
const METER_FATAL: u32 = 1 << 17;
