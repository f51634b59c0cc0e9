// SPDX-License-Identifier: MIT OR Apache-2.0
//! The decision rule: guarded acceptance with guard band w = U (ISO/IEC 17025:2017 §7.8.6, ILAC-G8:09/2019).
//!
//! A pass is only stated when the whole interval value ± U keeps the limit, a fail only when the whole
//! interval violates it. Between the two the bench does not decide. A rig too coarse for the limit does not
//! judge at all.

use std::fmt;

/// The rule in the words a report prints.
pub const DECISION_RULE: &str = "Guarded acceptance with guard band w = U (expanded uncertainty, k = 2): pass if value + U keeps the limit, \
     fail if value − U violates it, otherwise inconclusive. No judgement is made when U exceeds a quarter of the \
     limit; above a tenth the result is flagged as marginal.";

/// What a value says about a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The limit is kept, uncertainty included.
    Pass {
        /// The value uses up more than 90 % of the limit, or U exceeds a tenth of it; never set for
        /// exact counts.
        marginal: bool,
    },
    /// The limit is violated, uncertainty included.
    Fail,
    /// The limit lies within value ± U.
    Inconclusive,
    /// The rig is too coarse for this limit, or a number is missing (not finite): a rig error.
    Unfit,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass { marginal: false } => "pass",
            Self::Pass { marginal: true } => "pass (marginal)",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive: the limit lies within value ± U",
            Self::Unfit => "unfit: the uncertainty is too large for this limit",
        })
    }
}

/// Whether a rig is fine enough for a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fitness {
    /// U is at most a tenth of the limit.
    Fit,
    /// U lies between a tenth and a quarter of the limit: judge, but warn.
    Coarse,
    /// U exceeds a quarter of the limit: do not judge.
    Unfit,
}

/// Compares the expanded uncertainty with the limit (or with the half width of a tolerance).
pub fn fitness(expanded: f64, limit: f64) -> Fitness {
    if !expanded.is_finite() || !limit.is_finite() || expanded < 0.0 {
        return Fitness::Unfit;
    }
    let limit = limit.abs();
    if expanded > limit / UNFIT_RATIO {
        Fitness::Unfit
    } else if expanded > limit / COARSE_RATIO {
        Fitness::Coarse
    } else {
        Fitness::Fit
    }
}

/// Judges "value shall not exceed `limit`". All three numbers share one unit; `expanded` is U (k = 2).
pub fn decide_upper(value: f64, expanded: f64, limit: f64) -> Decision {
    decide(value, expanded, None, Some(limit), limit.abs())
}

/// Judges "value shall be at least `limit`".
pub fn decide_lower(value: f64, expanded: f64, limit: f64) -> Decision {
    decide(value, expanded, Some(limit), None, limit.abs())
}

/// Judges "value shall lie from `lower` to `upper`"; the fitness of the rig is taken against half the
/// width of the interval.
pub fn decide_between(value: f64, expanded: f64, lower: f64, upper: f64) -> Decision {
    let half_width = (upper - lower) / 2.0;
    if half_width < 0.0 {
        return Decision::Unfit;
    }
    decide(value, expanded, Some(lower), Some(upper), half_width)
}

/// The rule itself. `scale` is what U is compared with; the inner band leaves a tenth of it free.
fn decide(
    value: f64,
    expanded: f64,
    lower: Option<f64>,
    upper: Option<f64>,
    scale: f64,
) -> Decision {
    let fitness = fitness(expanded, scale);
    if fitness == Fitness::Unfit || !value.is_finite() {
        return Decision::Unfit;
    }
    let (low, high) = (value - expanded, value + expanded);
    if lower.is_some_and(|limit| high < limit) || upper.is_some_and(|limit| low > limit) {
        return Decision::Fail;
    }
    if lower.is_some_and(|limit| low < limit) || upper.is_some_and(|limit| high > limit) {
        return Decision::Inconclusive;
    }
    let margin = scale / COARSE_RATIO;
    let near = lower.is_some_and(|limit| low < limit + margin)
        || upper.is_some_and(|limit| high > limit - margin);
    Decision::Pass {
        // An exact count (U = 0) sits where it sits: being at the limit is no warning.
        marginal: expanded > 0.0 && (near || fitness == Fitness::Coarse),
    }
}

/// U above this part of the limit: no judgement. The 4:1 ratio is laboratory custom.
const UNFIT_RATIO: f64 = 4.0;
/// U above this part of the limit: warn. Also the width of the inner band.
const COARSE_RATIO: f64 = 10.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_zones_of_an_upper_limit() {
        let judge = |value| decide_upper(value, 50.0, 500.0);
        assert_eq!(judge(100.0), Decision::Pass { marginal: false });
        assert_eq!(judge(400.0), Decision::Pass { marginal: false });
        assert_eq!(judge(400.1), Decision::Pass { marginal: true });
        assert_eq!(judge(450.0), Decision::Pass { marginal: true });
        assert_eq!(judge(450.1), Decision::Inconclusive);
        assert_eq!(judge(550.0), Decision::Inconclusive);
        assert_eq!(judge(550.1), Decision::Fail);
        assert_eq!(
            decide_upper(10.0, 51.0, 500.0),
            Decision::Pass { marginal: true },
            "a coarse rig is flagged"
        );
        assert_eq!(decide_upper(10.0, 125.1, 500.0), Decision::Unfit);
    }

    #[test]
    fn counts_without_uncertainty_may_have_limit_zero() {
        assert_eq!(
            decide_upper(0.0, 0.0, 0.0),
            Decision::Pass { marginal: false }
        );
        assert_eq!(decide_upper(1.0, 0.0, 0.0), Decision::Fail);
        assert_eq!(
            decide_lower(1.0, 0.0, 1.0),
            Decision::Pass { marginal: false }
        );
    }

    #[test]
    fn a_number_that_is_none_is_never_judged() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(decide_upper(bad, 1.0, 100.0), Decision::Unfit);
            assert_eq!(decide_upper(1.0, bad, 100.0), Decision::Unfit);
            assert_eq!(decide_upper(1.0, 1.0, bad), Decision::Unfit);
            assert_eq!(decide_between(1.0, 1.0, bad, 2.0), Decision::Unfit);
        }
        assert_eq!(decide_upper(1.0, -1.0, 100.0), Decision::Unfit);
        assert_eq!(decide_between(1.0, 0.0, 2.0, 1.0), Decision::Unfit);
    }

    /// Position on the way from kept to violated.
    fn rank(decision: Decision) -> u8 {
        match decision {
            Decision::Pass { marginal: false } => 0,
            Decision::Pass { marginal: true } => 1,
            Decision::Inconclusive => 2,
            Decision::Fail => 3,
            Decision::Unfit => 4,
        }
    }

    proptest! {
        #[test]
        fn a_larger_value_is_never_better_against_an_upper_limit(
            a in -1e6..1e6, b in -1e6..1e6, u in 0.0..1e5, limit in 1.0..1e6,
        ) {
            let (small, large) = if a <= b { (a, b) } else { (b, a) };
            prop_assert!(rank(decide_upper(small, u, limit)) <= rank(decide_upper(large, u, limit)));
            prop_assert!(rank(decide_lower(small, u, limit)) >= rank(decide_lower(large, u, limit)));
        }

        #[test]
        fn a_verdict_holds_for_every_true_value_within_the_uncertainty(
            value in -1e3..1e3, u in 0.0..250.0, limit in 1.0..1e3, at in -1.0..1.0,
        ) {
            let truth = value + at * u;
            match decide_upper(value, u, limit) {
                Decision::Pass { .. } => prop_assert!(truth <= limit + 1e-9),
                Decision::Fail => prop_assert!(truth > limit - 1e-9),
                _ => {}
            }
        }

        #[test]
        fn more_uncertainty_never_turns_a_doubt_into_a_judgement(
            value in 0.0..1e3, u in 0.0..100.0, more in 0.0..100.0, limit in 1.0..1e3,
        ) {
            let (fine, coarse) = (decide_upper(value, u, limit), decide_upper(value, u + more, limit));
            if fine == Decision::Inconclusive {
                prop_assert!(matches!(coarse, Decision::Inconclusive | Decision::Unfit));
            }
            if matches!(fine, Decision::Pass { .. }) {
                prop_assert_ne!(coarse, Decision::Fail);
            }
        }

        #[test]
        fn an_interval_is_both_of_its_limits(
            value in -1e3..1e3, u in 0.0..1e2, low in -500.0..0.0, width in 1.0..900.0,
        ) {
            let decision = decide_between(value, u, low, low + width);
            if let Decision::Pass { .. } = decision {
                prop_assert!(value - u >= low && value + u <= low + width);
            }
            if decision == Decision::Fail {
                prop_assert!(value + u < low || value - u > low + width);
            }
        }
    }
}
