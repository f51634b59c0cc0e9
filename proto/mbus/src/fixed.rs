// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fixed data structure of 1997 (EN 1434-3 §6.2, CI 73): two counters of four bytes.

use smgw_units::Decimal;

use crate::value::{bcd, integer};
use crate::{Error, Measure, Quantity};

/// The fixed data structure of 1997: two counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FixedData {
    /// Identification number, BCD, least significant byte first.
    pub id: [u8; 4],
    /// Access number.
    pub access: u8,
    /// Status; bits 0 and 1 say how the counters are coded.
    pub status: u8,
    /// Device type in the coding of 1997 (4 bits).
    pub medium: u8,
    /// The two counters.
    pub counters: [Counter; 2],
}

/// One counter of the fixed structure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counter {
    /// Its number; `None` when its digits are none.
    pub value: Option<i64>,
    /// Unit code of 1997 (6 bits).
    pub unit_code: u8,
    /// Its bytes as sent.
    pub bytes: [u8; 4],
}

/// A counter with its meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FixedReading {
    /// What it measures.
    pub quantity: Quantity,
    /// In which unit.
    pub measure: Measure,
    /// Its number in that unit; `None` when its digits are none, and for times and dates.
    pub value: Option<Decimal>,
    /// It is a stored value of a fixed date, or a historic one, not the present one.
    pub historic: bool,
}

impl FixedData {
    /// Reads the 16 bytes behind CI 73.
    ///
    /// # Errors
    /// [`Error::ShortHeader`] and [`Error::TruncatedData`].
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let (&[i0, i1, i2, i3, access, status, t1, t2], rest) =
            data.split_first_chunk::<8>().ok_or(Error::ShortHeader)?;
        let (&first, rest) = rest.split_first_chunk::<4>().ok_or(Error::TruncatedData)?;
        let (&second, _) = rest.split_first_chunk::<4>().ok_or(Error::TruncatedData)?;
        let counter = |bytes: [u8; 4], unit: u8| Counter {
            value: if status & BINARY == 0 {
                bcd(&bytes)
            } else {
                integer(&bytes)
            },
            unit_code: unit & 0x3f,
            bytes,
        };
        Ok(Self {
            id: [i0, i1, i2, i3],
            access,
            status,
            medium: t1 >> 6 | t2 >> 6 << 2,
            counters: [counter(first, t1), counter(second, t2)],
        })
    }

    /// The 16 bytes behind CI 73; counters as their bytes.
    pub fn encode(&self) -> [u8; 16] {
        let [i0, i1, i2, i3] = self.id;
        let [first, second] = self.counters;
        let [a0, a1, a2, a3] = first.bytes;
        let [b0, b1, b2, b3] = second.bytes;
        [
            i0,
            i1,
            i2,
            i3,
            self.access,
            self.status,
            first.unit_code & 0x3f | self.medium << 6,
            second.unit_code & 0x3f | self.medium >> 2 << 6,
            a0,
            a1,
            a2,
            a3,
            b0,
            b1,
            b2,
            b3,
        ]
    }

    /// The two counters with their meaning. The unit "same but historic" is that of the other counter.
    pub fn readings(&self) -> [FixedReading; 2] {
        let [first, second] = self.counters;
        let stored = self.status & STORED != 0;
        let reading = |counter: Counter, other: Counter| {
            let historic = counter.unit_code == SAME_HISTORIC;
            let code = if historic {
                other.unit_code
            } else {
                counter.unit_code
            };
            let (quantity, measure, exponent) = meaning(code);
            let number = |value| Decimal::new(i128::from(value), exponent);
            let counts = !matches!(quantity, Quantity::Date | Quantity::DateTime);
            FixedReading {
                quantity,
                measure,
                value: counter.value.filter(|_| counts).map(number),
                historic: stored || historic,
            }
        };
        [reading(first, second), reading(second, first)]
    }

    /// The device type as newer headers code it. Codes 9 to F of 1997 name second kinds of gas, heat,
    /// hot water, water and heat cost allocators (assumed).
    pub const fn device_type(&self) -> u8 {
        match self.medium {
            0x0a => 0x03,
            0x0b => 0x04,
            0x0c => 0x06,
            0x0d => 0x07,
            0x0e => 0x08,
            medium @ 0..=8 => medium,
            _ => 0x0f,
        }
    }
}

/// Unit codes of 1997: nine powers of ten each.
const fn meaning(code: u8) -> (Quantity, Measure, i8) {
    match code {
        0x00 => (Quantity::DateTime, Measure::None, 0),
        0x01 => (Quantity::Date, Measure::None, 0),
        0x02..=0x0a => (Quantity::Energy, Measure::WattHour, power_of(code, 0x02)),
        0x0b..=0x13 => (Quantity::Energy, Measure::Joule, power_of(code, 0x0b) + 3),
        0x14..=0x1c => (Quantity::Power, Measure::Watt, power_of(code, 0x14)),
        0x1d..=0x25 => (
            Quantity::Power,
            Measure::JoulePerHour,
            power_of(code, 0x1d) + 3,
        ),
        0x26..=0x2e => (
            Quantity::Volume,
            Measure::CubicMetre,
            power_of(code, 0x26) - 6,
        ),
        0x2f..=0x37 => (
            Quantity::VolumeFlow,
            Measure::CubicMetrePerHour,
            power_of(code, 0x2f) - 6,
        ),
        0x38 => (Quantity::FlowTemperature, Measure::Celsius, -3),
        0x39 => (Quantity::HeatCostAllocation, Measure::HeatCostUnit, 0),
        0x3f => (Quantity::Dimensionless, Measure::None, 0),
        _ => (Quantity::Reserved, Measure::None, 0),
    }
}

const fn power_of(code: u8, first: u8) -> i8 {
    (code - first) as i8
}

const BINARY: u8 = 1;
const STORED: u8 = 2;
const SAME_HISTORIC: u8 = 0x3e;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_1997() {
        assert_eq!(meaning(0x0d), (Quantity::Energy, Measure::Joule, 5));
        assert_eq!(meaning(0x0e), (Quantity::Energy, Measure::Joule, 6));
        assert_eq!(meaning(0x29), (Quantity::Volume, Measure::CubicMetre, -3));
        assert_eq!(meaning(0x3a).0, Quantity::Reserved);
    }
}
