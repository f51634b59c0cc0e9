// SPDX-License-Identifier: MIT OR Apache-2.0
//! A register as an exact function of bench time, and the way back from a value to when it stood there.

use std::ops::Range;
use std::time::Duration;

use smgw_units::Nanos;

/// A register that counts up evenly: `offset + floor((t - epoch) * units / every)`, and `offset`
/// before the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EnergyLaw {
    epoch: Nanos,
    offset: i64,
    units: u64,
    every: u64,
}

impl EnergyLaw {
    /// `units` more with every `every` that passes; an `every` of zero counts as one nanosecond.
    pub fn new(epoch: Nanos, offset: i64, units: u64, every: Duration) -> Self {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            epoch,
            offset,
            units,
            every,
        }
    }

    /// One unit more every millisecond: 360 W at a scaler of -4 Wh, 3600 W at -3.
    pub fn per_millisecond(epoch: Nanos, offset: i64) -> Self {
        Self::new(epoch, offset, 1, Duration::from_millis(1))
    }

    /// A register that stands still.
    pub fn constant(value: i64) -> Self {
        Self::new(Nanos(0), value, 0, Duration::from_secs(1))
    }

    /// The value at `at`, in units of the register's last digit.
    pub fn value(&self, at: Nanos) -> i64 {
        let passed = u128::from(at.0.saturating_sub(self.epoch.0));
        let counted = passed * u128::from(self.units) / u128::from(self.every);
        self.offset
            .saturating_add(i64::try_from(counted).unwrap_or(i64::MAX))
    }

    /// The bench times at which the register showed `value`; `None` when it never did.
    pub fn instants(&self, value: i64) -> Option<Range<Nanos>> {
        let counted = u128::try_from(i128::from(value) - i128::from(self.offset)).ok()?;
        if self.units == 0 {
            return (counted == 0).then_some(Nanos(0)..Nanos(u64::MAX));
        }
        let reached = |count: u128| {
            let passed = (count * u128::from(self.every)).div_ceil(u128::from(self.units));
            let instant = u128::from(self.epoch.0) + passed;
            Nanos(u64::try_from(instant).unwrap_or(u64::MAX))
        };
        let start = if counted == 0 {
            Nanos(0)
        } else {
            reached(counted)
        };
        let end = reached(counted + 1);
        (start < end).then_some(start..end)
    }

    /// Units counted per hour: the power that goes with the register.
    pub fn units_per_hour(&self) -> i64 {
        let counted = u128::from(self.units) * 3_600_000_000_000 / u128::from(self.every);
        i64::try_from(counted).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_law_is_360_watts() {
        let law = EnergyLaw::per_millisecond(Nanos(5_000_000), 1_000);
        assert_eq!(law.value(Nanos(0)), 1_000);
        assert_eq!(law.value(Nanos(5_999_999)), 1_000);
        assert_eq!(law.value(Nanos(6_000_000)), 1_001);
        assert_eq!(
            law.instants(1_001),
            Some(Nanos(6_000_000)..Nanos(7_000_000))
        );
        assert_eq!(law.instants(1_000), Some(Nanos(0)..Nanos(6_000_000)));
        assert_eq!(law.instants(999), None);
        // 3.6 million units of 10^-4 Wh in an hour are 360 Wh.
        assert_eq!(law.units_per_hour(), 3_600_000);
    }

    proptest! {
        #[test]
        fn inverse_is_exact(
            epoch in 0u64..1 << 60,
            offset in any::<i32>(),
            units in 1u64..5_000,
            every in 1u64..10_000_000_000,
            at in 0u64..1 << 61,
        ) {
            let law = EnergyLaw::new(Nanos(epoch), offset.into(), units, Duration::from_nanos(every));
            let value = law.value(Nanos(at));
            let shown = law.instants(value).expect("the register shows it at `at`");
            prop_assert!(shown.contains(&Nanos(at)), "{value} {shown:?}");
            prop_assert_eq!(law.value(shown.start), value);
            prop_assert_eq!(law.value(Nanos(shown.end.0 - 1)), value);
            prop_assert!(law.value(shown.end) > value);
            prop_assert!(shown.start.0 == 0 || law.value(Nanos(shown.start.0 - 1)) < value);
        }
    }
}
