// SPDX-License-Identifier: MIT OR Apache-2.0
//! Durations as they are written in files: a whole number and a unit, `900s`, `100ms`, `15min`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A duration read from a file. Never negative, at most about 584 years.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

/// The text is not a whole number with a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a duration is a whole number and a unit (ns us ms s min h d), as in \"900s\" or \"15min\""
)]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(SpanError)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| SpanError)?;
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(SpanError)?;
        let nanos = number.checked_mul(*factor).ok_or(SpanError)?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in UNITS {
            let factor = u128::from(factor);
            if nanos.is_multiple_of(factor) {
                return write!(f, "{}{name}", nanos / factor);
            }
        }
        write!(f, "{nanos}ns")
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A whole number and a unit, as in 900s, 100ms or 15min.",
            "pattern": "^[0-9]+(ns|us|ms|s|min|h|d)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_durations() {
        for (text, nanos) in [
            ("900s", 900_000_000_000),
            ("15min", 900_000_000_000),
            ("100ms", 100_000_000),
            ("0us", 0),
            ("2d", 172_800_000_000_000),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Span(Duration::from_nanos(nanos))),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "",
            "900",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1m",
            "99999999999999999999s",
            "999999d9",
        ] {
            assert_eq!(text.parse::<Span>(), Err(SpanError), "{text}");
        }
        assert_eq!("18446744073709551615d".parse::<Span>(), Err(SpanError));
    }

    proptest::proptest! {
        #[test]
        fn printed_durations_read_back(nanos in 0..u64::MAX) {
            let span = Span(Duration::from_nanos(nanos));
            proptest::prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
