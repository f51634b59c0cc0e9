// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits on the fields of evaluation profiles (TR-03109-1), each refusal naming its field.

use core::ops::RangeInclusive;

use smgw_units::Obis;

use crate::profile::evaluation::{EvaluationError, Quantity};

pub(super) type Check = Result<(), EvaluationError>;

pub(super) fn refuse(field: impl Into<String>, reason: impl ToString) -> EvaluationError {
    EvaluationError {
        field: field.into(),
        reason: reason.to_string(),
    }
}

pub(super) fn count(field: &str, count: usize, allowed: RangeInclusive<usize>) -> Check {
    if allowed.contains(&count) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(refuse(
        field,
        format!("expected {least} to {most}, found {count}"),
    ))
}

/// A number that arithmetic with registers cannot take out of range.
pub(super) fn quantity(field: &str, quantity: Quantity) -> Check {
    let fits = quantity.0.mantissa.unsigned_abs() < 1_000_000_000_000_000_000;
    fits.then_some(())
        .ok_or_else(|| refuse(field, "expected at most 18 digits"))
}

/// The same, and not below zero.
pub(super) fn amount(field: &str, amount: Quantity) -> Check {
    quantity(field, amount)?;
    let fits = amount.0.mantissa >= 0;
    fits.then_some(())
        .ok_or_else(|| refuse(field, "expected no negative number"))
}

pub(super) fn ascending(field: &str, bounds: &[Quantity]) -> Check {
    // 18 digits at the finest of 18 places fit 128 bits.
    let at_finest = |bound: &Quantity| bound.0.mantissa_at(-18);
    let rises = bounds
        .windows(2)
        .all(|pair| at_finest(&pair[0]) < at_finest(&pair[1]));
    rises
        .then_some(())
        .ok_or_else(|| refuse(field, "expected ascending numbers"))
}

/// Registers of tariff steps: of one quantity, with group E from 1 to 62; 63 is the error register, 0 the total.
pub(super) fn obis_steps(field: &str, steps: &[Obis]) -> Check {
    count(field, steps.len(), 1..=62)?;
    let quantity = |Obis([a, b, c, d, _, f]): &Obis| (*a, *b, *c, *d, *f);
    for (index, step) in steps.iter().enumerate() {
        let Obis([.., rate, _]) = step;
        if !(1..=62).contains(rate) {
            let reason = format!("{step} is no tariff register; expected group E from 1 to 62");
            return Err(refuse(field, reason));
        }
        if steps.first().map(quantity) != Some(quantity(step)) {
            return Err(refuse(
                field,
                format!("{step} is a register of another quantity"),
            ));
        }
        if steps.iter().take(index).any(|other| other == step) {
            return Err(refuse(field, format!("{step} is there twice")));
        }
    }
    Ok(())
}
