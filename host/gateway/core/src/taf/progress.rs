// SPDX-License-Identifier: MIT OR Apache-2.0
//! From cumulative registers to the energy between two points (TAF 2 to 5, 8 and 12 of TR-03109-1).
//!
//! A register that decreases is believed only where the profile says how many digits it has, both readings fit them and
//! the way over the top is at most a tenth of the register (assumption); else the energy of the interval is unknown,
//! and what follows is counted from the new reading.

use core::cmp::Ordering;

use smgw_units::{Decimal, Unit, UtcNanos};

use crate::profile::EvaluationProfile;
use crate::profile::evaluation::{Input, Sign};
use crate::taf::exact;
use crate::taf::point::Counting;
use crate::taf::state::state;

/// The newest point that counted.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) target: UtcNanos,
    values: Vec<Decimal>,
    unit: Unit,
}

state!(Base {
    target,
    values,
    unit
});

/// What lies between the newest point and the next one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Way {
    /// There was no point yet.
    First,
    /// Energy since `from`; the inputs that rolled over.
    Energy {
        from: UtcNanos,
        energy: Decimal,
        rolled_over: Vec<usize>,
    },
    /// This input decreased.
    Decreased(usize),
    /// The meters changed their unit.
    UnitChanged,
    /// The numbers do not fit.
    Overflow,
}

impl Base {
    pub(crate) fn at(target: UtcNanos, counting: &Counting) -> Self {
        Self {
            target,
            values: counting.values.clone(),
            unit: counting.unit,
        }
    }

    /// Whether a state that was read can be this profile's.
    pub(crate) fn fits(base: &Option<Self>, profile: &EvaluationProfile) -> bool {
        base.as_ref()
            .is_none_or(|base| base.values.len() == profile.inputs().len())
    }
}

/// The way from `base` to the next values.
pub(crate) fn way(base: &Option<Base>, next: &Counting, profile: &EvaluationProfile) -> Way {
    let Some(base) = base else {
        return Way::First;
    };
    if base.unit != next.unit {
        return Way::UnitChanged;
    }
    let mut energy = exact::ZERO;
    let mut rolled_over = Vec::new();
    let inputs = profile
        .inputs()
        .iter()
        .zip(base.values.iter().zip(&next.values));
    for (index, (input, (old, new))) in inputs.enumerate() {
        let advanced = match advance(input, *old, *new) {
            Some(Advance::Plain(advanced)) => advanced,
            Some(Advance::RolledOver(advanced)) => {
                rolled_over.push(index);
                advanced
            }
            Some(Advance::Decreased) => return Way::Decreased(index),
            None => return Way::Overflow,
        };
        let sum = match input.sign {
            Sign::Plus => exact::add(energy, advanced),
            Sign::Minus => exact::subtract(energy, advanced),
        };
        let Some(sum) = sum else {
            return Way::Overflow;
        };
        energy = sum;
    }
    Way::Energy {
        from: base.target,
        energy,
        rolled_over,
    }
}

enum Advance {
    Plain(Decimal),
    RolledOver(Decimal),
    Decreased,
}

fn advance(input: &Input, old: Decimal, new: Decimal) -> Option<Advance> {
    let difference = exact::subtract(new, old)?;
    if difference.mantissa >= 0 {
        return Some(Advance::Plain(difference));
    }
    let Some(digits) = input.digits else {
        return Some(Advance::Decreased);
    };
    let modulus = Decimal::new(10i128.checked_pow(digits.into())?, 0);
    let over_the_top = exact::add(difference, modulus)?;
    let below = |value| Some(exact::compare(value, modulus)? == Ordering::Less);
    let plausible = below(old)?
        && new.mantissa >= 0
        && exact::compare(exact::times(over_the_top, 10)?, modulus)? != Ordering::Greater;
    Some(if plausible {
        Advance::RolledOver(over_the_top)
    } else {
        Advance::Decreased
    })
}
