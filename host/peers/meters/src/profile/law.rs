// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a register shows at which time: laws in whole digits of the register, exact at every instant.

/// A law; time is counted in nanoseconds since the meter began, values in units of the register's last digit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Law {
    /// Always the same.
    Constant(i64),
    /// `start + floor(t * step / every)`; a negative step counts down.
    Linear {
        /// Value at the beginning.
        start: i64,
        /// What one `every` adds.
        step: i64,
        /// Nanoseconds, not zero.
        every: u64,
    },
    /// A table, repeated for ever.
    Curve {
        /// Value at the beginning.
        start: i64,
        /// One entry per slot.
        slots: Vec<i64>,
        /// Nanoseconds of one slot, not zero.
        every: u64,
        /// Whether a slot's entry is added evenly over the slot (a register); otherwise it is shown as it is (a power).
        adds: bool,
        /// Whether the table begins at midnight UTC rather than with the meter.
        daily: bool,
    },
}

impl Law {
    /// The value `t` nanoseconds after the beginning, which lay `day` nanoseconds after midnight UTC.
    pub fn value(&self, t: u64, day: u64) -> i64 {
        let value = match self {
            Self::Constant(value) => i128::from(*value),
            Self::Linear { start, step, every } => {
                let counted = i128::from(t) * i128::from(*step);
                i128::from(*start) + counted.div_euclid(i128::from((*every).max(1)))
            }
            Self::Curve {
                start,
                slots,
                every,
                adds,
                daily,
            } => {
                let phase = if *daily { day } else { 0 };
                let every = (*every).max(1);
                let at = u128::from(t) + u128::from(phase);
                if *adds {
                    let since = added(slots, every, u128::from(phase));
                    added(slots, every, at)
                        .saturating_sub(since)
                        .saturating_add(i128::from(*start))
                } else {
                    let slot = (at / u128::from(every)) as usize % slots.len().max(1);
                    i128::from(*start) + slots.get(slot).map_or(0, |entry| i128::from(*entry))
                }
            }
        };
        value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// What the slots added from their beginning until `at`.
fn added(slots: &[i64], every: u64, at: u128) -> i128 {
    let count = slots.len().max(1) as u128;
    let slot = at / u128::from(every);
    let within = (at % u128::from(every)) as i128;
    let rounds = (slot / count) as i128;
    let index = (slot % count) as usize;
    let sum = |slots: &[i64]| slots.iter().map(|entry| i128::from(*entry)).sum::<i128>();
    let entry = slots.get(index).map_or(0, |entry| i128::from(*entry));
    rounds
        .saturating_mul(sum(slots))
        .saturating_add(sum(slots.get(..index).unwrap_or_default()))
        .saturating_add(entry.saturating_mul(within).div_euclid(i128::from(every)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn lines_go_up_and_down() {
        let up = Law::Linear {
            start: 100,
            step: 1,
            every: SECOND,
        };
        assert_eq!(
            [0, SECOND - 1, SECOND, 60 * SECOND].map(|t| up.value(t, 0)),
            [100, 100, 101, 160]
        );
        let down = Law::Linear {
            start: 100,
            step: -3,
            every: SECOND,
        };
        assert_eq!([0, 1, SECOND].map(|t| down.value(t, 0)), [100, 99, 97]);
    }

    #[test]
    fn a_curve_adds_evenly_or_shows_its_level() {
        let curve = |adds, daily| Law::Curve {
            start: 1_000,
            slots: vec![10, 0, 40],
            every: SECOND,
            adds,
            daily,
        };
        let energy = curve(true, false);
        let at = |law: &Law, tenths: u64| law.value(tenths * SECOND / 10, 2 * SECOND);
        assert_eq!(
            [0, 5, 10, 15, 20, 25, 30, 35].map(|t| at(&energy, t)),
            [1000, 1005, 1010, 1010, 1010, 1030, 1050, 1055]
        );
        let power = curve(false, false);
        assert_eq!(
            [0, 9, 10, 20, 30].map(|t| at(&power, t)),
            [1010, 1010, 1000, 1040, 1010]
        );
        // Begun within the third slot.
        let late = curve(true, true);
        assert_eq!(
            [0, 5, 10, 20].map(|t| at(&late, t)),
            [1000, 1020, 1040, 1050]
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_overflows(start: i64, step: i64, every in 1u64.., t: u64, slots: Vec<i64>, adds: bool, daily: bool, day: u64) {
            Law::Linear { start, step, every }.value(t, day);
            Law::Curve { start, slots, every, adds, daily }.value(t, day);
        }
    }
}
