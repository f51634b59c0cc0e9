// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exact arithmetic with register values (DS §8: at least 13 integer and 6 decimal digits); `None` where 128 bits are too
//! few, never a wrong digit.

use core::cmp::Ordering;

use smgw_units::Decimal;

pub(crate) const ZERO: Decimal = Decimal::new(0, 0);

/// The sum, at the finer of both exponents.
pub(crate) fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    if a.mantissa == 0 || b.mantissa == 0 {
        return Some(if a.mantissa == 0 { b } else { a });
    }
    let exponent = a.exponent.min(b.exponent);
    let sum = a
        .mantissa_at(exponent)?
        .checked_add(b.mantissa_at(exponent)?)?;
    Some(Decimal::new(sum, exponent))
}

/// `a - b`.
pub(crate) fn subtract(a: Decimal, b: Decimal) -> Option<Decimal> {
    add(a, Decimal::new(b.mantissa.checked_neg()?, b.exponent))
}

/// So many times the value.
pub(crate) fn times(a: Decimal, factor: i64) -> Option<Decimal> {
    Some(Decimal::new(
        a.mantissa.checked_mul(factor.into())?,
        a.exponent,
    ))
}

/// Which is larger.
pub(crate) fn compare(a: Decimal, b: Decimal) -> Option<Ordering> {
    match (a.mantissa.signum(), b.mantissa.signum()) {
        (a, b) if a != b => Some(a.cmp(&b)),
        _ => Some(subtract(a, b)?.mantissa.cmp(&0)),
    }
}
