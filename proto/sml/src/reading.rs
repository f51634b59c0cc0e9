// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exact readings out of a file: what a gateway keeps.

use smgw_units::{Decimal, Obis, Unit};

use crate::{File, ListEntry, Time};

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
    fn of(entry: &ListEntry<'_>, list_time: Option<Time>) -> Option<Self> {
        let mantissa = entry.value.as_ref()?.integer()?;
        Some(Self {
            obis: Obis(entry.name.try_into().ok()?),
            value: Decimal::new(mantissa, entry.scaler.unwrap_or(0)),
            unit: entry.unit.map_or(Unit::COUNT, Unit),
            status: entry.status,
            time: entry.time.or(list_time),
        })
    }
}

/// The numeric registers of all lists of `file`, in order. Ids, texts and absent values are left out.
pub fn readings<'f>(file: &'f File<'_>) -> impl Iterator<Item = Reading> + 'f {
    file.lists().flat_map(|list| {
        list.entries
            .iter()
            .filter_map(|entry| Reading::of(entry, list.sensor_time))
    })
}
