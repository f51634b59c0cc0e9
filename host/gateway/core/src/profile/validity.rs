// SPDX-License-Identifier: MIT OR Apache-2.0
//! From when to when a profile counts: for the grid points in a half-open span (catalogue row ADM-03).

use serde::{Deserialize, Serialize};
use smgw_units::UtcNanos;

use super::refusal::Refused;
use super::written::instant;

/// A span of grid points: `from` included, `to` not.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "RawValidity", into = "RawValidity")]
pub struct Validity {
    from: Option<UtcNanos>,
    to: Option<UtcNanos>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawValidity {
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    from: Option<UtcNanos>,
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    to: Option<UtcNanos>,
}

impl Validity {
    /// The span from `from` on up to before `to`.
    ///
    /// # Errors
    /// When it would be empty.
    pub fn new(from: Option<UtcNanos>, to: Option<UtcNanos>) -> Result<Self, Refused> {
        match (from, to) {
            (Some(from), Some(to)) if from >= to => {
                Err(Refused::new("validity ends before it begins"))
            }
            _ => Ok(Self { from, to }),
        }
    }

    /// The first instant that counts.
    pub fn from(self) -> Option<UtcNanos> {
        self.from
    }

    /// The first instant that no longer counts.
    pub fn to(self) -> Option<UtcNanos> {
        self.to
    }

    /// Whether the grid point counts.
    pub fn covers(self, point: UtcNanos) -> bool {
        self.from.is_none_or(|from| from <= point) && self.to.is_none_or(|to| point < to)
    }

    /// What lies in both; `None` when nothing does.
    #[must_use]
    pub fn within(self, other: Self) -> Option<Self> {
        let to = match (self.to, other.to) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        Self::new(self.from.max(other.from), to).ok()
    }

    pub(super) fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<RawValidity> for Validity {
    type Error = Refused;

    fn try_from(raw: RawValidity) -> Result<Self, Refused> {
        Self::new(raw.from, raw.to)
    }
}

impl From<Validity> for RawValidity {
    fn from(validity: Validity) -> Self {
        Self {
            from: validity.from,
            to: validity.to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_its_first_second_and_ends_before_its_last() {
        let at = UtcNanos::from_seconds;
        let validity = Validity::new(Some(at(900)), Some(at(1_800))).unwrap();
        for (second, counts) in [(899, false), (900, true), (1_799, true), (1_800, false)] {
            assert_eq!(validity.covers(at(second)), counts, "{second}");
        }
        let later = Validity::new(Some(at(1_000)), None).unwrap();
        assert_eq!(
            validity.within(later),
            Validity::new(Some(at(1_000)), Some(at(1_800))).ok()
        );
        assert_eq!(
            validity.within(Validity::new(Some(at(1_800)), None).unwrap()),
            None
        );
        assert!(Validity::new(Some(at(1)), Some(at(1))).is_err());
    }
}
