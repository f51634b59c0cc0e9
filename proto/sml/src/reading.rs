// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exact readings out of a file: what a gateway keeps.

use smgw_units::{Decimal, Obis, Unit};

use crate::status::POWER;
use crate::{File, ListEntry, ListResponse, Quirk, Quirks, Time};

/// One numeric register of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Which register.
    pub obis: Obis,
    /// Its value, every digit the meter sent.
    pub value: Decimal,
    /// In which unit; a count when the meter names none.
    pub unit: Unit,
    /// Status word of the register.
    pub status: Option<u64>,
    /// When the value was valid by the meter's own time: of the register, else of its list.
    pub time: Option<Time>,
}

impl Reading {
    /// The register of one entry, if it is numeric; `list_time` counts when the entry has none of its own.
    pub fn of(entry: &ListEntry<'_>, list_time: Option<Time>) -> Option<Self> {
        let mantissa = entry.value.as_ref()?.integer()?;
        Some(Self {
            obis: Obis(entry.name.try_into().ok()?),
            value: Decimal::new(mantissa, entry.scaler.unwrap_or(0)),
            unit: match entry.unit {
                Some(0) | None => Unit::COUNT,
                Some(unit) => Unit(unit),
            },
            status: entry.status.map(|status| status.value),
            time: entry.time.or(list_time),
        })
    }
}

impl<'a> ListResponse<'a> {
    /// The numeric registers in order: as sent, unless `quirks` has a correction. Ids, texts and absent
    /// values are left out.
    pub fn readings(&self, quirks: Quirks) -> impl Iterator<Item = Reading> + use<'a> {
        let time = self.sensor_time;
        let wrapped = quirks
            .tolerates(Quirk::WrappedPower)
            .then(|| self.wrapped_power())
            .flatten();
        self.entries.iter().filter_map(move |entry| {
            let mut reading = Reading::of(&entry, time)?;
            if let Some(wrapped) = wrapped.filter(|_| reading.obis == Obis(POWER)) {
                reading.value.mantissa = i128::from(wrapped.meant);
            }
            Some(reading)
        })
    }
}

/// The numeric registers of all lists of `file` as they were sent, in order. Ids, texts and absent values
/// are left out.
pub fn readings<'f>(file: &'f File<'_>) -> impl Iterator<Item = Reading> + 'f {
    file.lists().flat_map(|list| list.readings(Quirks::NONE))
}
