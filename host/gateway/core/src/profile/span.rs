// SPDX-License-Identifier: MIT OR Apache-2.0
//! How time spans of profiles are written: `900s`, `15min`, `24h`, `42d`.

use core::str::FromStr;
use core::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whole seconds, written with `s`, `min`, `h` or `d`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|symbol: char| symbol.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "s" => Some(1),
            "min" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        let count: Option<u64> = digits.parse().ok().filter(|count| *count > 0);
        count
            .zip(unit)
            .and_then(|(count, unit)| count.checked_mul(unit))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or("expected a time span such as \"900s\" (s, min, h, d)")
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_seconds() {
        for (text, seconds) in [
            ("900s", 900),
            ("15min", 900),
            ("24h", 86_400),
            ("42d", 3_628_800),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(Duration::from_secs(seconds))));
        }
        for text in [
            "",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "900",
            "900ms",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }
}
