// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limit of a measurement as the results spell it: `<= 500`, `>= 9`, `== 0`, `0.99..1.01`.

use std::fmt;

use bench_timing::{Decision, decide_between, decide_lower, decide_upper};

/// A limit in the unit of its measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// `<= x` or `< x`.
    Upper(f64),
    /// `>= x` or `> x`.
    Lower(f64),
    /// `low..high`, both included.
    Between(f64, f64),
    /// `== x` or `= x`.
    Equal(f64),
}

impl Limit {
    /// Reads a limit; none when the text follows none of the forms. A unit behind the number is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let after = |mark: &str| text.strip_prefix(mark).and_then(number);
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (number(low)?, number(high.trim_start_matches('='))?);
            return (low <= high).then_some(Self::Between(low, high));
        }
        (after("<=")
            .or_else(|| after("≤"))
            .or_else(|| after("<"))
            .map(Self::Upper))
        .or_else(|| {
            after(">=")
                .or_else(|| after("≥"))
                .or_else(|| after(">"))
                .map(Self::Lower)
        })
        .or_else(|| after("==").or_else(|| after("=")).map(Self::Equal))
    }

    /// Applies the decision rule to a value with expanded uncertainty `expanded`, both in the unit of the limit.
    pub fn decide(self, value: f64, expanded: f64) -> Decision {
        match self {
            Self::Upper(limit) => decide_upper(value, expanded, limit),
            Self::Lower(limit) => decide_lower(value, expanded, limit),
            Self::Between(low, high) => decide_between(value, expanded, low, high),
            Self::Equal(wanted) => decide_between(value, expanded, wanted, wanted),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upper(limit) => write!(f, "<= {limit}"),
            Self::Lower(limit) => write!(f, ">= {limit}"),
            Self::Between(low, high) => write!(f, "{low}..{high}"),
            Self::Equal(limit) => write!(f, "== {limit}"),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    let text = text.split_whitespace().next()?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for limit in [
            Limit::Upper(500.0),
            Limit::Lower(-0.5),
            Limit::Between(0.99, 1.01),
            Limit::Equal(0.0),
        ] {
            assert_eq!(Limit::parse(&limit.to_string()), Some(limit));
        }
        assert_eq!(Limit::parse("≤ 500 ms"), Some(Limit::Upper(500.0)));
        assert_eq!(Limit::parse(" <3 "), Some(Limit::Upper(3.0)));
        for none in ["", "about 5", "<= x", "<= inf", "5..1", "..", "<="] {
            assert_eq!(Limit::parse(none), None, "{none}");
        }
    }
}
