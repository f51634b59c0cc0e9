// SPDX-License-Identifier: MIT OR Apache-2.0
//! Uncertainty budgets in the terms of JCGM 100 (GUM): contributions, combined and expanded uncertainty.

use std::fmt;

use serde::Serialize;

/// How a contribution is distributed, which fixes the divisor that turns it into a standard uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The value is a standard deviation already (type A, or a certificate divided by its k).
    Normal,
    /// The value is the half width of an interval in which every point is equally likely.
    Rectangular,
    /// The value is a high quantile of an observed delay. It is treated as a rectangular half width:
    /// delays have long tails, so the divisor of a bell curve would flatter the rig.
    Quantile,
}

impl Shape {
    /// What the value is divided by.
    pub fn divisor(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Rectangular | Self::Quantile => 3.0_f64.sqrt(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Rectangular => "rectangular",
            Self::Quantile => "quantile as rectangular",
        })
    }
}

/// One contribution to a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Term {
    /// Where it comes from, e.g. `read path jitter`.
    pub name: String,
    /// Magnitude in the unit of the budget.
    pub value: f64,
    /// How it is distributed.
    pub shape: Shape,
    /// `value / divisor` is the standard uncertainty.
    pub divisor: f64,
}

impl Term {
    /// The standard uncertainty of this contribution, in the unit of the budget.
    pub fn standard(&self) -> f64 {
        self.value / self.divisor
    }
}

/// A budget of uncorrelated contributions with sensitivity one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Unit of every value, e.g. `ms`.
    pub unit: String,
    /// The contributions.
    pub terms: Vec<Term>,
}

impl Budget {
    /// An empty budget.
    pub fn new(unit: impl Into<String>) -> Self {
        Self {
            unit: unit.into(),
            terms: Vec::new(),
        }
    }

    /// Adds a contribution; its sign does not matter.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: f64, shape: Shape) -> Self {
        self.terms.push(Term {
            name: name.into(),
            value: value.abs(),
            shape,
            divisor: shape.divisor(),
        });
        self
    }

    /// Combined standard uncertainty u_c: root of the sum of squares.
    pub fn combined(&self) -> f64 {
        self.terms
            .iter()
            .map(|term| term.standard().powi(2))
            .sum::<f64>()
            .sqrt()
    }

    /// Expanded uncertainty U = k · u_c with k = 2.
    pub fn expanded(&self) -> f64 {
        COVERAGE_FACTOR * self.combined()
    }

    /// The budget of the difference of two values that each carry this budget without correlation.
    #[must_use]
    pub fn of_difference(&self) -> Self {
        let mut both = self.clone();
        both.terms.extend(self.terms.iter().cloned());
        both
    }
}

impl fmt::Display for Budget {
    /// The statement a report prints, in the wording of the GUM.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expanded uncertainty U = {:.3} {unit} (standard uncertainty u_c = {:.3} {unit} multiplied by the coverage \
             factor k = 2, about 95 % coverage for a normal distribution)",
            self.expanded(),
            self.combined(),
            unit = self.unit
        )
    }
}

/// The coverage factor of every expanded uncertainty in the bench.
const COVERAGE_FACTOR: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_of_a_serial_arrival_stamp() {
        // Bias 0.2, jitter 0.3, USB poll ±0.5 rectangular, reference 0.1, drift 0.05 (all ms).
        let budget = Budget::new("ms")
            .with("read path bias", 0.2, Shape::Normal)
            .with("read path jitter", -0.3, Shape::Normal)
            .with("USB poll", 0.5, Shape::Rectangular)
            .with("reference offset", 0.1, Shape::Normal)
            .with("drift between syncs", 0.05, Shape::Normal);
        assert!((budget.combined() - 0.475_219).abs() < 1e-6);
        assert!((budget.expanded() - 0.950_438).abs() < 1e-6);
        assert!(
            (budget.of_difference().combined() - budget.combined() * 2.0_f64.sqrt()).abs() < 1e-9
        );
        assert_eq!(
            budget.to_string(),
            "expanded uncertainty U = 0.950 ms (standard uncertainty u_c = 0.475 ms multiplied by the coverage factor \
             k = 2, about 95 % coverage for a normal distribution)"
        );
    }

    #[test]
    fn an_empty_budget_claims_nothing() {
        assert_eq!(Budget::new("ms").expanded(), 0.0);
    }
}
