// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exact decimals: an integer mantissa and a power of ten, so that no digit of a meter is ever lost.

use core::cmp::Ordering;
use core::fmt;

/// `mantissa * 10^exponent`. Two decimals of equal value but different exponent are *not* equal by
/// `==`; use [`Decimal::same_value`] to compare values.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Decimal {
    /// Signed integer digits.
    pub mantissa: i128,
    /// Power of ten, the meter's "scaler".
    pub exponent: i8,
}

impl Decimal {
    /// `mantissa * 10^exponent`.
    pub const fn new(mantissa: i128, exponent: i8) -> Self {
        Self { mantissa, exponent }
    }

    /// The same value with the smallest mantissa: trailing zeros moved into the exponent.
    pub fn normalized(self) -> Self {
        let Self {
            mut mantissa,
            mut exponent,
        } = self;
        if mantissa == 0 {
            return Self::new(0, 0);
        }
        while mantissa % 10 == 0 && exponent < i8::MAX {
            mantissa /= 10;
            exponent += 1;
        }
        Self::new(mantissa, exponent)
    }

    /// Whether both denote the same number.
    pub fn same_value(self, other: Self) -> bool {
        self.normalized() == other.normalized()
    }

    /// The mantissa this value has at `exponent`, if that is exact and fits.
    pub fn mantissa_at(self, exponent: i8) -> Option<i128> {
        let shift = i32::from(self.exponent) - i32::from(exponent);
        let power = 10i128.checked_pow(shift.unsigned_abs());
        match shift.cmp(&0) {
            Ordering::Equal => Some(self.mantissa),
            Ordering::Greater => self.mantissa.checked_mul(power?),
            Ordering::Less => {
                let power = power?;
                (self.mantissa % power == 0).then_some(self.mantissa / power)
            }
        }
    }
}

impl fmt::Display for Decimal {
    /// Plain decimal notation where it stays readable, `<mantissa>e<exponent>` otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mantissa, exponent } = *self;
        match exponent {
            _ if mantissa == 0 && exponent >= 0 => f.write_str("0"),
            0 => write!(f, "{mantissa}"),
            1..=12 => {
                write!(f, "{mantissa}{:0width$}", 0, width = exponent as usize)
            }
            -18..=-1 => {
                let power = 10u128.pow(u32::from(exponent.unsigned_abs()));
                let digits = mantissa.unsigned_abs();
                let sign = if mantissa < 0 { "-" } else { "" };
                let width = usize::from(exponent.unsigned_abs());
                write!(f, "{sign}{}.{:0width$}", digits / power, digits % power)
            }
            _ => write!(f, "{mantissa}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn prints_without_losing_digits() {
        assert_eq!(Decimal::new(123_456, -4).to_string(), "12.3456");
        assert_eq!(Decimal::new(-5, -1).to_string(), "-0.5");
        assert_eq!(Decimal::new(42, 3).to_string(), "42000");
        assert_eq!(Decimal::new(7, 40).to_string(), "7e40");
        assert_eq!(Decimal::new(0, 5).to_string(), "0");
    }

    #[test]
    fn compares_by_value_on_demand() {
        assert!(Decimal::new(1_200, -2).same_value(Decimal::new(12, 0)));
        assert_eq!(Decimal::new(12, 0).mantissa_at(-2), Some(1_200));
        assert_eq!(Decimal::new(125, -2).mantissa_at(-1), None);
    }
}
