// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical units by their DLMS code (IEC 62056-6-2).

use core::fmt;

/// A DLMS unit code; codes without a symbol here print as `unit <code>`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Unit(pub u8);

impl Unit {
    /// Count without dimension.
    pub const COUNT: Self = Self(255);
    /// Joule.
    pub const JOULE: Self = Self(25);
    /// Watt.
    pub const WATT: Self = Self(27);
    /// Watt hour.
    pub const WATT_HOUR: Self = Self(30);
    /// Cubic metre.
    pub const CUBIC_METRE: Self = Self(13);

    /// The printed symbol, if this table knows the code.
    pub const fn symbol(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "a",
            2 => "mo",
            3 => "wk",
            4 => "d",
            5 => "h",
            6 => "min",
            7 => "s",
            8 => "°",
            9 => "°C",
            13 => "m³",
            14 => "m³ (corrected)",
            15 => "m³/h",
            19 => "l",
            20 => "kg",
            22 => "N",
            23 => "Pa",
            24 => "bar",
            25 => "J",
            26 => "J/h",
            27 => "W",
            28 => "VA",
            29 => "var",
            30 => "Wh",
            31 => "VAh",
            32 => "varh",
            33 => "A",
            34 => "C",
            35 => "V",
            44 => "Hz",
            56 => "%",
            255 => "",
            _ => return None,
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol() {
            Some(symbol) => f.write_str(symbol),
            None => write!(f, "unit {}", self.0),
        }
    }
}
