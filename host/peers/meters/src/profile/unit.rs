// SPDX-License-Identifier: MIT OR Apache-2.0
//! Units as profiles write them, and what each protocol makes of them.

use smgw_units::Unit;

/// A unit with its prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedUnit {
    /// As written, e.g. `kWh`; empty for a count.
    pub name: String,
    /// DLMS code of the unit without prefix.
    pub code: Unit,
    /// Power of ten of the prefix.
    pub prefix: i8,
}

impl NamedUnit {
    /// A count.
    pub fn none() -> Self {
        Self {
            name: String::new(),
            code: Unit::COUNT,
            prefix: 0,
        }
    }

    /// The unit of that name, with or without one of the prefixes m, k, M, G.
    pub fn parse(name: &str) -> Option<Self> {
        let plain = |name: &str| {
            NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, code)| Unit(*code))
        };
        let named = |code, prefix| Self {
            name: name.to_owned(),
            code,
            prefix,
        };
        if let Some(code) = plain(name) {
            return Some(named(code, 0));
        }
        PREFIXES.iter().find_map(|(letter, power)| {
            let code = plain(name.strip_prefix(*letter)?)?;
            Some(named(code, *power))
        })
    }

    /// The M-Bus value information block (EN 13757-3 tables 10 and 12) whose last digit is `10^scaler` of this unit;
    /// `None` where the table has no such step.
    pub fn vib(&self, scaler: i8) -> Option<Vec<u8>> {
        let power = scaler.checked_add(self.prefix)?;
        // Code of the unit, first VIF (behind FD for the second group), power of ten of the first, number of steps.
        const PRIMARY: [(u8, u8, i8, i8); 8] = [
            (30, 0x00, -3, 8),
            (25, 0x08, 0, 8),
            (13, 0x10, -6, 8),
            (20, 0x18, -3, 8),
            (27, 0x28, -3, 8),
            (26, 0x30, 0, 8),
            (15, 0x38, -6, 8),
            (9, 0x58, -3, 4),
        ];
        const EXTENDED: [(u8, u8, i8, i8); 2] = [(35, 0x40, -9, 16), (33, 0x50, -12, 16)];
        let vif = |table: &[(u8, u8, i8, i8)]| {
            let (_, first, lowest, steps) =
                *table.iter().find(|(code, ..)| *code == self.code.0)?;
            let step = power.checked_sub(lowest)?;
            (0..steps)
                .contains(&step)
                .then(|| first + step.unsigned_abs())
        };
        vif(&PRIMARY)
            .map(|vif| vec![vif])
            .or_else(|| vif(&EXTENDED).map(|vif| vec![0xfd, vif]))
    }
}

/// Every name without prefix.
pub const NAMES: [(&str, u8); 18] = [
    ("Wh", 30),
    ("W", 27),
    ("VAh", 31),
    ("VA", 28),
    ("varh", 32),
    ("var", 29),
    ("V", 35),
    ("A", 33),
    ("Hz", 44),
    ("deg", 8),
    ("degC", 9),
    ("J/h", 26),
    ("J", 25),
    ("m3/h", 15),
    ("m3", 13),
    ("kg", 20),
    ("s", 7),
    ("h", 5),
];
const PREFIXES: [(&str, i8); 4] = [("m", -3), ("k", 3), ("M", 6), ("G", 9)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_blocks_follow_from_the_name() {
        let vib = |name: &str, scaler| NamedUnit::parse(name).unwrap().vib(scaler);
        assert_eq!(vib("Wh", 3), Some(vec![0x06]));
        assert_eq!(vib("kWh", 0), Some(vec![0x06]));
        assert_eq!(vib("MJ", 0), Some(vec![0x0e]));
        assert_eq!(vib("m3", -3), Some(vec![0x13]));
        assert_eq!(vib("W", 0), Some(vec![0x2b]));
        assert_eq!(vib("m3/h", -3), Some(vec![0x3b]));
        assert_eq!(vib("degC", -1), Some(vec![0x5a]));
        assert_eq!(vib("V", -1), Some(vec![0xfd, 0x48]));
        assert_eq!(vib("A", -3), Some(vec![0xfd, 0x59]));
        assert_eq!(vib("Wh", 5), None);
        assert_eq!(vib("Hz", 0), None);
        assert_eq!(NamedUnit::parse("kilowatthours"), None);
        assert_eq!(NamedUnit::parse("m3").unwrap().prefix, 0);
    }
}
