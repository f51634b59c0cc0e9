// SPDX-License-Identifier: MIT OR Apache-2.0
//! How values without a form of their own are written down in profiles (TR-03109-1): as text.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smgw_units::UtcNanos;

/// Values that are written as text.
pub(crate) mod text {
    use super::*;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        let refused = |error| serde::de::Error::custom(format_args!("{error}"));
        text.parse().map_err(refused)
    }
}

/// Lists of values that are written as text.
pub(crate) mod texts {
    use super::*;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?;
        let parse = |text: &String| text.parse().map_err(serde::de::Error::custom);
        texts.iter().map(parse).collect()
    }
}

/// Instants, second-exact.
pub(crate) mod instant {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<UtcNanos>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<UtcNanos>, D::Error> {
        let text = String::deserialize(from)?;
        let stamp = text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond);
        let nanos = stamp.and_then(|nanos| i64::try_from(nanos).ok());
        let whole = nanos.filter(|nanos| nanos % 1_000_000_000 == 0 && *nanos >= 0);
        whole.map(|nanos| Some(UtcNanos(nanos))).ok_or_else(|| {
            let reason = "not an instant; expected whole seconds like 2026-01-01T00:00:00Z, from 1970 to 2262";
            serde::de::Error::custom(reason)
        })
    }
}
