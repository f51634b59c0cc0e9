// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the models have in common: values as integers of a thousandth, legal time by the time zone library.

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use smgw_core::calendar::Billing;
use smgw_core::profile::EvaluationProfile;
use smgw_core::profile::evaluation::Sign;
use smgw_core::taf::Finding;
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, Unit, UtcNanos};

/// All random values are multiples of this.
pub const FINEST: i8 = -3;

pub fn decimal(thousandths: i128) -> Decimal {
    Decimal::new(thousandths, FINEST)
}

pub fn thousandths(value: Decimal) -> i128 {
    value
        .mantissa_at(FINEST)
        .expect("worlds have values of thousandths")
}

/// Values of all inputs, in thousandths.
pub struct Good {
    pub values: Vec<i128>,
    pub unit: Unit,
    pub capture: UtcNanos,
    pub status: CombinedStatus,
}

/// The values of a point if a bill may be made of them.
pub fn good(parts: &[Option<Entry>]) -> Option<Good> {
    let mut values = Vec::new();
    let mut units = Vec::new();
    let mut captures = Vec::new();
    let mut status = CombinedStatus {
        gateway: 0,
        meter: 0,
    };
    for part in parts {
        let part = (*part)?;
        let Content::Value {
            capture,
            value,
            unit,
        } = part.content
        else {
            return None;
        };
        // Gateway: not for billing, fatal, time invalid, tampered. Wired meter: magnetic, mechanical, fatal.
        for bit in [1, 8, 9, 14] {
            if part.status.gateway >> bit & 1 == 1 {
                return None;
            }
        }
        let wired = part.status.gateway >> 17 & 1 == 0 && part.status.meter >> 2 & 1 == 1;
        for bit in [9, 10, 17] {
            if wired && part.status.meter >> bit & 1 == 1 {
                return None;
            }
        }
        values.push(thousandths(value));
        units.push(unit);
        captures.push(capture);
        status.gateway |= part.status.gateway;
        status.meter |= part.status.meter;
    }
    let one_unit = units.iter().all(|unit| *unit == units[0]);
    one_unit.then(|| Good {
        values,
        unit: units[0],
        capture: *captures.iter().max().unwrap(),
        status,
    })
}

/// The sum of the inputs of a point, or why there is none.
pub fn line(profile: &EvaluationProfile, target: UtcNanos, parts: &[Option<Entry>]) -> Entry {
    let obis = profile.inputs()[0].obis;
    let mut gateway = 0;
    let mut meter = 0;
    let mut gaps = Vec::new();
    let mut sum = 0;
    let mut newest = UtcNanos(i64::MIN);
    let mut units = Vec::new();
    for (part, input) in parts.iter().zip(profile.inputs()) {
        let Some(part) = part else {
            gaps.push(GapReason::NoTelegram);
            gateway |= 0b101 | 1 << 13;
            continue;
        };
        gateway |= part.status.gateway;
        meter |= part.status.meter;
        match part.content {
            Content::Gap(reason) => gaps.push(reason),
            Content::Value {
                capture,
                value,
                unit,
            } => {
                let sign = if input.sign == Sign::Plus { 1 } else { -1 };
                sum += sign * thousandths(value);
                newest = newest.max(capture);
                units.push(unit);
            }
        }
    }
    if units.iter().any(|unit| *unit != units[0]) {
        gaps.push(GapReason::BadTelegram);
        gateway |= 1 << 8;
    }
    let content = match gaps.iter().max() {
        Some(reason) => {
            gateway |= 1 << 13;
            Content::Gap(*reason)
        }
        None => Content::Value {
            capture: newest,
            value: decimal(sum),
            unit: units[0],
        },
    };
    Entry {
        obis,
        target,
        status: CombinedStatus { gateway, meter },
        content,
    }
}

/// What became known between two good points.
pub enum Between {
    Energy {
        energy: i128,
        rolled_over: Vec<usize>,
    },
    Decreased(usize),
    UnitChanged,
}

pub fn between(profile: &EvaluationProfile, old: &Good, new: &Good) -> Between {
    if old.unit != new.unit {
        return Between::UnitChanged;
    }
    let mut energy = 0;
    let mut rolled_over = Vec::new();
    for (index, input) in profile.inputs().iter().enumerate() {
        let (before, after) = (old.values[index], new.values[index]);
        let mut advance = after - before;
        if advance < 0 {
            let Some(digits) = input.digits else {
                return Between::Decreased(index);
            };
            let whole = 10i128.pow(digits.into()) * 1_000;
            advance += whole;
            if before >= whole || after < 0 || advance * 10 > whole {
                return Between::Decreased(index);
            }
            rolled_over.push(index);
        }
        energy += if input.sign == Sign::Plus {
            advance
        } else {
            -advance
        };
    }
    Between::Energy {
        energy,
        rolled_over,
    }
}

pub fn decreased(profile: &EvaluationProfile, index: usize) -> Finding {
    let input = &profile.inputs()[index];
    Finding::Decreased {
        meter: input.meter,
        obis: input.obis,
    }
}

pub fn rolled_over(profile: &EvaluationProfile, index: usize) -> Finding {
    let input = &profile.inputs()[index];
    Finding::RolledOver {
        meter: input.meter,
        obis: input.obis,
    }
}

pub fn berlin() -> TimeZone {
    TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap()
}

pub fn wall(zone: &TimeZone, second: i64) -> DateTime {
    zone.to_datetime(Timestamp::from_second(second).unwrap())
}

pub fn instant(zone: &TimeZone, wall: DateTime) -> i64 {
    wall.to_zoned(zone.clone()).unwrap().timestamp().as_second()
}

/// The ends of billing periods, one after the other, from the one that `start` lies in until after `last`.
pub fn ends(profile: &EvaluationProfile, start: UtcNanos, last: i64) -> Vec<i64> {
    let zone = berlin();
    let (from, to) = profile.validity();
    let start = start.max(from).seconds();
    let anchor = wall(&zone, from.seconds()).date();
    let mut ends = Vec::new();
    let mut boundary = 0;
    for count in 0.. {
        boundary = match profile.billing() {
            Billing::Months(months) => {
                let date = anchor
                    .first_of_month()
                    .checked_add((count * i64::from(months)).months())
                    .unwrap();
                instant(&zone, date.at(0, 0, 0, 0))
            }
            Billing::Days(days) => {
                let date = anchor
                    .checked_add((count * i64::from(days)).days())
                    .unwrap();
                instant(&zone, date.at(0, 0, 0, 0))
            }
            Billing::Seconds(seconds) if count == 0 => {
                start / i64::from(seconds) * i64::from(seconds)
            }
            Billing::Seconds(seconds) => boundary + i64::from(seconds),
        };
        if boundary >= start {
            ends.push(boundary.min(to.seconds()));
        }
        if boundary > last {
            return ends;
        }
    }
    unreachable!()
}

/// Whether `target` is the first of these points at or after the end of a billing period.
pub fn closes(ends: &[i64], before: Option<i64>, target: i64) -> bool {
    ends.iter()
        .any(|end| *end <= target && before.is_none_or(|before| *end > before))
}

/// The end of the day or billing period a point belongs to, for series that are sent then.
pub fn end_of_day(target: i64) -> i64 {
    let zone = berlin();
    let tomorrow = |date: Date| date.tomorrow().unwrap().at(0, 0, 0, 0);
    instant(&zone, tomorrow(wall(&zone, target - 1).date()))
}
