// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the meters of a line measure, and what their clocks make of the time.

use smgw_units::{Decimal, Nanos, Obis, UtcNanos};

use super::fault::{Fault, FaultPlan};
use crate::profile::{Profile, Register, Shows};

/// What a register showed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// Place of the register in its device.
    pub register: usize,
    /// Its code.
    pub obis: Option<Obis>,
    /// What it showed.
    pub shown: Shown,
}

/// What was shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// A number in the register's unit with its prefix.
    Number(Decimal),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The meter's own time.
    Clock(UtcNanos),
}

/// The world of a simulator.
pub(super) struct World {
    pub(super) profile: Profile,
    pub(super) faults: FaultPlan,
    epoch: Nanos,
    utc: UtcNanos,
    /// What faults set the clock by.
    stepped: i64,
}

const MILLION: i128 = 1_000_000;

impl World {
    pub(super) fn new(profile: Profile, epoch: Nanos, utc: UtcNanos, faults: FaultPlan) -> Self {
        let utc = profile.clock.start.unwrap_or(utc);
        Self {
            profile,
            faults,
            epoch,
            utc,
            stepped: 0,
        }
    }

    pub(super) const fn epoch(&self) -> Nanos {
        self.epoch
    }

    /// Nanoseconds between sensing and sending.
    pub(super) fn latency(&self) -> u64 {
        u64::try_from(self.profile.latency.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What goes wrong with the transmission of `at`.
    pub(super) fn draw(&mut self, at: Nanos, data: bool) -> Vec<Fault> {
        let faults = self.faults.draw(at, data);
        for fault in &faults {
            if let Fault::ClockStep(by) = fault {
                self.stepped = self.stepped.saturating_add(*by);
            }
        }
        faults
    }

    /// Nanoseconds the meter's own oscillator counted since the beginning.
    fn counted(&self, at: Nanos) -> i128 {
        let passed = i128::from(at.0.saturating_sub(self.epoch.0));
        passed * (MILLION + i128::from(self.profile.clock.drift_ppm)) / MILLION
    }

    /// Seconds the meter counted since the beginning.
    pub(super) fn seconds(&self, at: Nanos) -> u32 {
        u32::try_from(self.counted(at) / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// What the meter's clock shows.
    pub(super) fn clock(&self, at: Nanos) -> UtcNanos {
        let counted = self.counted(at);
        let steps = self.profile.clock.steps.iter();
        let due = steps
            .filter(|(when, _)| i128::from(*when) <= counted)
            .map(|(_, by)| i128::from(*by));
        let shown = i128::from(self.utc.0) + counted + due.sum::<i128>() + i128::from(self.stepped);
        UtcNanos(shown.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// The next instant after `after` at which the meter's oscillator reaches a multiple of the
    /// interval, counted from a multiple of UTC.
    pub(super) fn next_push(&self, after: Nanos) -> Nanos {
        let interval = i128::try_from(self.profile.interval.as_nanos())
            .unwrap_or(i128::MAX)
            .max(1);
        let utc = i128::from(self.utc.0);
        let index = (utc + self.counted(after)).div_euclid(interval) + 1;
        let counted = index.saturating_mul(interval).saturating_sub(utc);
        // Rounded up, so that counting until then reaches the multiple.
        let rate = (MILLION + i128::from(self.profile.clock.drift_ppm)).max(1);
        let passed = counted
            .saturating_mul(MILLION)
            .saturating_add(rate - 1)
            .div_euclid(rate);
        let instant = i128::from(self.epoch.0).saturating_add(passed);
        Nanos(u64::try_from(instant).unwrap_or(u64::MAX))
    }

    /// What a device shows of the sensing at `at`, with what faults make of it.
    pub(super) fn samples(&self, device: usize, at: Nanos, faults: &[Fault]) -> Vec<Sample> {
        let registers = self
            .profile
            .devices
            .get(device)
            .map_or(&[][..], |device| &device.registers);
        let missing = usize::from(faults.contains(&Fault::MissingRegister));
        let sample = |(index, register): (usize, &Register)| Sample {
            register: index,
            obis: register.obis,
            shown: self.shown(register, at, faults),
        };
        registers
            .iter()
            .enumerate()
            .skip(missing)
            .map(sample)
            .collect()
    }

    fn shown(&self, register: &Register, at: Nanos, faults: &[Fault]) -> Shown {
        match &register.shows {
            Shows::Number { law, roll_over } => {
                const DAY: i64 = 86_400_000_000_000;
                let day = self.utc.0.rem_euclid(DAY).unsigned_abs();
                let mut value = law.value(at.0.saturating_sub(self.epoch.0), day);
                for fault in faults {
                    if let Fault::Decrease(by) = fault {
                        value = value.saturating_sub(*by);
                    }
                }
                let value = i128::from(value);
                let value = roll_over.map_or(value, |roll_over| {
                    value.rem_euclid(i128::from(roll_over).max(1))
                });
                Shown::Number(Decimal::new(value, register.scaler))
            }
            Shows::Text(text) => Shown::Text(text.clone()),
            Shows::Bytes(bytes) => Shown::Bytes(bytes.clone()),
            Shows::Clock => Shown::Clock(self.clock(at)),
        }
    }
}
