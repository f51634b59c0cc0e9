// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lengths of time and instants as profiles write them: `900ms`, `15min`, `-1h`, `2026-10-25T00:59:50Z`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use smgw_units::UtcNanos;

/// A length of time of either sign, in nanoseconds; about 292 years at most.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct Span(pub i64);

impl Span {
    /// The length without sign.
    pub const fn length(self) -> Duration {
        Duration::from_nanos(self.0.unsigned_abs())
    }
}

/// Text that is no length of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a length of time; expected a number and a unit (ns us ms s min h d), such as \"900ms\" or \"-1h\""
)]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        if text.chars().all(char::is_whitespace) {
            return Err(SpanError);
        }
        let days = text
            .strip_suffix('d')
            .and_then(|days| days.parse::<i64>().ok());
        if let Some(days) = days {
            return days
                .checked_mul(86_400_000_000_000)
                .map(Self)
                .ok_or(SpanError);
        }
        let length: SignedDuration = text.parse().map_err(|_| SpanError)?;
        i64::try_from(length.as_nanos())
            .map(Self)
            .map_err(|_| SpanError)
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", SignedDuration::from_nanos(self.0))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number and a unit, as in 900ms, 15min or -1h.",
        })
    }
}

/// An instant of UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Instant(pub UtcNanos);

/// Text that is no instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an instant; expected date, time and zone, such as \"2026-10-25T00:59:50Z\"")]
pub struct InstantError;

impl TryFrom<String> for Instant {
    type Error = InstantError;

    fn try_from(text: String) -> Result<Self, InstantError> {
        let instant: Timestamp = text.parse().map_err(|_| InstantError)?;
        i64::try_from(instant.as_nanosecond())
            .map(|nanos| Self(UtcNanos(nanos)))
            .map_err(|_| InstantError)
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "An instant with its zone, as in 2026-10-25T00:59:50Z.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_either_sign_are_read_and_others_refused() {
        for (text, nanos) in [
            ("900ms", 900_000_000),
            ("15min", 900_000_000_000),
            ("-1h", -3_600_000_000_000),
            ("1.5s", 1_500_000_000),
            ("2d", 172_800_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(nanos)), "{text}");
        }
        for text in ["", "900", "s", "1 fortnight", "99999999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError), "{text}");
        }
    }

    #[test]
    fn instants_need_a_zone() {
        let of = |text: &str| Instant::try_from(text.to_owned());
        assert_eq!(
            of("1970-01-01T00:00:01Z"),
            Ok(Instant(UtcNanos(1_000_000_000)))
        );
        assert_eq!(of("1970-01-01T01:00:00+01:00"), Ok(Instant(UtcNanos(0))));
        assert_eq!(of("1970-01-01T00:00:01"), Err(InstantError));
    }
}
