// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a bad network does to a frame: loss, delay, jitter, reordering, duplication, truncation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// How often something happens: 0 never, 1 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Chance(f64);

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0.0);
    /// Always.
    pub const ALWAYS: Self = Self(1.0);

    /// A chance between 0 and 1.
    ///
    /// # Errors
    /// [`NotAChance`] for anything else.
    pub fn new(chance: f64) -> Result<Self, NotAChance> {
        match chance {
            0.0..=1.0 => Ok(Self(chance)),
            _ => Err(NotAChance),
        }
    }

    pub(crate) fn strikes(self, dice: &mut fastrand::Rng) -> bool {
        // No throw for what cannot vary: the sequence of the others stays as it was.
        self.0 > 0.0 && (self.0 >= 1.0 || dice.f64() < self.0)
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0 * 100.0)
    }
}

impl FromStr for Chance {
    type Err = NotAChance;

    /// `0.02` or `2 %`.
    fn from_str(text: &str) -> Result<Self, NotAChance> {
        let (number, unit) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 1.0),
        };
        let number: f64 = number.parse().map_err(|_| NotAChance)?;
        Self::new(number / unit)
    }
}

/// A chance lies between 0 and 1, or 0 % and 100 %.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a chance lies between 0 and 1, or 0 % and 100 %")]
pub struct NotAChance;

/// What happens to the frames that enter a switch at one port. Nothing, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairments {
    /// Every frame is this late.
    pub delay: Duration,
    /// And up to this much more, evenly spread; frames still leave in the order they came.
    pub jitter: Duration,
    /// Frames that vanish.
    pub loss: Chance,
    /// Frames that wait another [`Self::reorder_by`], so that later ones overtake them.
    pub reorder: Chance,
    /// How long those wait.
    pub reorder_by: Duration,
    /// Frames that arrive twice.
    pub duplicate: Chance,
    /// Frames that lose their tail; their header stays.
    pub truncate: Chance,
}

impl Impairments {
    /// A cable that is cut.
    pub fn cut() -> Self {
        Self {
            loss: Chance::ALWAYS,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_read_as_numbers_and_as_percent() {
        assert_eq!("0.02".parse(), Chance::new(0.02));
        assert_eq!("2 %".parse(), Chance::new(0.02));
        assert_eq!("100%".parse(), Ok(Chance::ALWAYS));
        for wrong in ["", "-1", "1.1", "101 %", "NaN", "inf", "two", "% 2"] {
            assert_eq!(wrong.parse::<Chance>(), Err(NotAChance), "{wrong}");
        }
    }
}
