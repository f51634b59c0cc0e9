// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a card takes: a time per command, per byte on the line, and jitter that repeats with its seed.
//!
//! The model only says how long; who plays the card waits. [`Latency::typical`] puts operations on elliptic curves at 50
//! to 300 ms; that figure is an assumption, no data sheet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::dice::Dice;

/// The time one kind of command takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cost {
    /// Milliseconds for any command of the kind.
    #[serde(default)]
    pub base_ms: u16,
    /// Microseconds more for each byte of command and response.
    #[serde(default)]
    pub per_byte_us: u16,
    /// At most so many milliseconds more, by chance.
    #[serde(default)]
    pub jitter_ms: u16,
}

/// A table of costs by instruction byte.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    /// Of commands that the table does not name.
    #[serde(default)]
    default: Cost,
    #[serde(default)]
    command: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    /// Instruction byte.
    ins: u8,
    /// What a reader of the table calls it.
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default)]
    base_ms: u16,
    #[serde(default)]
    per_byte_us: u16,
    #[serde(default)]
    jitter_ms: u16,
}

/// The model: costs, and the chance that jitter follows.
#[derive(Clone, Debug)]
pub struct Latency {
    default: Cost,
    commands: BTreeMap<u8, Cost>,
    dice: Dice,
}

impl Latency {
    /// No time at all.
    pub fn instant() -> Self {
        Self::of(Table::default(), 0)
    }

    /// A chip card as we remember them: 50 to 300 ms for an operation on an elliptic curve (assumption).
    pub fn typical(seed: u64) -> Self {
        Self::from_toml(TYPICAL, seed).expect("the built-in table is right, which a test checks")
    }

    /// A table of one's own; [`TYPICAL`] shows the form.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn from_toml(text: &str, seed: u64) -> Result<Self, LatencyError> {
        let table: Table = toml::from_str(text).map_err(|error| LatencyError(error.to_string()))?;
        let mut known = std::collections::BTreeSet::new();
        match table.command.iter().find(|entry| !known.insert(entry.ins)) {
            Some(twice) => Err(LatencyError(format!(
                "instruction {:#04x} is in the table twice",
                twice.ins
            ))),
            None => Ok(Self::of(table, seed)),
        }
    }

    /// How long the card takes from the end of a command to the end of its response, both as they are on the line.
    pub fn of_exchange(&mut self, command: &[u8], response: &[u8]) -> Duration {
        let cost = command
            .get(1)
            .and_then(|ins| self.commands.get(ins))
            .copied()
            .unwrap_or(self.default);
        let bytes = u64::try_from(command.len() + response.len()).unwrap_or(u64::MAX);
        let jitter = self.dice.below(u64::from(cost.jitter_ms) * 1000 + 1);
        Duration::from_millis(u64::from(cost.base_ms))
            + Duration::from_micros(bytes.saturating_mul(u64::from(cost.per_byte_us)) + jitter)
    }

    fn of(table: Table, seed: u64) -> Self {
        let cost = |entry: Entry| Cost {
            base_ms: entry.base_ms,
            per_byte_us: entry.per_byte_us,
            jitter_ms: entry.jitter_ms,
        };
        Self {
            default: table.default,
            commands: table
                .command
                .into_iter()
                .map(|entry| (entry.ins, cost(entry)))
                .collect(),
            dice: Dice::new(seed),
        }
    }
}

/// The text is no latency table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the latency table is wrong: {0}")]
pub struct LatencyError(String);

/// The table of [`Latency::typical`]; all figures are assumptions.
pub const TYPICAL: &str = include_str!("latency/typical.toml");

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: [u8; 4] = [0x0c, 0x2a, 0x9e, 0x9a];

    #[test]
    fn operations_on_curves_take_50_to_300_ms() {
        let mut latency = Latency::typical(7);
        for ins in [0x2a, 0x47, 0x86, 0x88] {
            for _ in 0..1000 {
                let time = latency.of_exchange(&[0x0c, ins, 0, 0], &[0x90, 0]);
                assert!(
                    (50..=300).contains(&time.as_millis()),
                    "{ins:#04x}: {time:?}"
                );
            }
        }
        assert!(
            latency
                .of_exchange(&[0, 0xb0, 0, 0], &[0x90, 0])
                .as_millis()
                < 50
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let times = |seed| {
            let mut latency = Latency::typical(seed);
            (0..50)
                .map(|_| latency.of_exchange(&SIGN, &[0; 66]))
                .collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
        assert!(times(1).iter().any(|time| *time != times(1)[0]), "jitter");
    }

    #[test]
    fn bytes_cost_and_instant_is_none() {
        let text = "[default]\nper-byte-us = 10\n[[command]]\nins = 0x2A\nbase-ms = 3";
        let mut latency = Latency::from_toml(text, 0).unwrap();
        let micros = |time: Duration| time.as_micros();
        assert_eq!(micros(latency.of_exchange(&[0, 0xb0, 0, 0], &[0; 6])), 100);
        assert_eq!(micros(latency.of_exchange(&SIGN, &[0; 600])), 3000);
        assert_eq!(micros(latency.of_exchange(&[], &[])), 0);
        assert!(
            Latency::instant()
                .of_exchange(&SIGN, &[0; 65_000])
                .is_zero()
        );
    }

    #[test]
    fn mistakes_in_a_table_are_told() {
        for (text, told) in [
            ("[[command]]\nbase-ms = 1", "ins"),
            ("[default]\nbase = 1", "base"),
            ("[default]\nbase-ms = 100000", "u16"),
            ("[[command]]\nins = 1\n[[command]]\nins = 1", "twice"),
        ] {
            let error = Latency::from_toml(text, 0).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
