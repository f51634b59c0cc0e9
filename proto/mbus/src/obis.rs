// SPDX-License-Identifier: MIT OR Apache-2.0
//! From M-Bus records to OBIS codes, for the basic registers of each medium.
//!
//! | device type | quantity | OBIS | |
//! |---|---|---|---|
//! | 02 electricity | energy | `1-0:1.8.T*255`, backward (VIFE 3C) `1-0:2.8.T*255` | total: T = 0 |
//! | 02 electricity | power | `1-0:1.7.0*255`, backward `1-0:2.7.0*255` | |
//! | 03 gas | volume | `7-0:3.0.T*255`, at base conditions (VIFE 3E) `7-0:3.2.T*255` | |
//! | 04, 0C, 0D heat | energy | `6-0:1.0.T*255` | |
//! | 04, 0C, 0D heat | volume | `6-0:2.0.T*255` | |
//! | 04, 0C, 0D heat | power | `6-0:8.0.0*255` | |
//! | 0A, 0B cooling | energy, volume, power | as heat with A = 5 | |
//! | 06, 15 warm or hot water | volume | `9-0:1.0.T*255` | |
//! | 07, 16 cold water | volume | `8-0:1.0.T*255` | |
//!
//! T is the record's tariff. Only present values (storage 0, instantaneous, subunit 0) map. The codes
//! of electricity are those FNN meters send; the others follow IEC 62056-61 and EN 13757-1 from
//! memory and await a check against the printed tables.

use smgw_units::{Decimal, Obis, Unit};

use crate::{Extension, Function, Measure, Quantity, Record};

/// A record as a register: its code, its exact value and the DLMS unit; `None` for everything the
/// table does not list, and for values that say they are none.
pub fn reading(medium: u8, record: &Record<'_>) -> Option<(Obis, Decimal, Unit)> {
    if record.storage != 0 || record.subunit != 0 || record.function != Function::Instantaneous {
        return None;
    }
    let mut backward = false;
    let mut base_conditions = false;
    for extension in record.vib.combinable() {
        match extension {
            Extension::Backward => backward = true,
            Extension::BaseConditions => base_conditions = true,
            Extension::Forward | Extension::PowerOfTen(_) | Extension::Uncorrected => {}
            // Whatever else an extension says, the value is no plain register any more.
            _ => return None,
        }
    }
    let tariff = u8::try_from(record.tariff).ok()?;
    let direction = if backward { 2 } else { 1 };
    let thermal = |medium| match record.vib.quantity {
        Quantity::Energy => Some([medium, 0, 1, 0, tariff, 255]),
        Quantity::Volume => Some([medium, 0, 2, 0, tariff, 255]),
        Quantity::Power if tariff == 0 => Some([medium, 0, 8, 0, 0, 255]),
        _ => None,
    };
    let groups = match (medium, record.vib.quantity) {
        (0x02, Quantity::Energy) => [1, 0, direction, 8, tariff, 255],
        (0x02, Quantity::Power) if tariff == 0 => [1, 0, direction, 7, 0, 255],
        (0x03, Quantity::Volume) => [7, 0, 3, if base_conditions { 2 } else { 0 }, tariff, 255],
        (0x04 | 0x0c | 0x0d, _) => thermal(6)?,
        (0x0a | 0x0b, _) => thermal(5)?,
        (0x06 | 0x15, Quantity::Volume) => [9, 0, 1, 0, tariff, 255],
        (0x07 | 0x16, Quantity::Volume) => [8, 0, 1, 0, tariff, 255],
        _ => return None,
    };
    let (unit, power) = match record.vib.measure {
        Measure::None => return None,
        measure => measure.dlms()?,
    };
    let value = record.decimal().filter(|_| record.is_valid())?;
    let exponent = value.exponent.checked_add(power)?;
    Some((Obis(groups), Decimal::new(value.mantissa, exponent), unit))
}
