// SPDX-License-Identifier: MIT OR Apache-2.0
//! The latest value of every register, as a table for people and as JSON for programs.

use std::fmt::Write;

use serde::Serialize;
use smgw_units::Nanos;

use super::decode::{Content, Reading, Telegram};
use super::detect::Counters;

/// One register's latest value.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The meter.
    pub meter: String,
    /// The register.
    #[serde(flatten)]
    pub reading: Reading,
    /// When it came in.
    #[serde(skip)]
    pub at: Nanos,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    remarks: Vec<String>,
}

impl Table {
    /// Takes the values of a telegram that came in at `at`.
    pub fn update(&mut self, telegram: &Telegram, at: Nanos) {
        self.remarks.clone_from(&telegram.remarks);
        for reading in &telegram.readings {
            let row = Row {
                meter: telegram.meter.clone(),
                reading: reading.clone(),
                at,
            };
            let same = |known: &Row| {
                known.meter == row.meter && known.reading.register == row.reading.register
            };
            let known = self.rows.iter().position(same);
            // A meter that names each register anew must not fill the memory.
            let room = self.rows.len() < MOST_ROWS;
            match known.and_then(|index| self.rows.get_mut(index)) {
                Some(known) => *known = row,
                None if room => self.rows.push(row),
                None => {}
            }
        }
    }

    /// The registers in the order they first came.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The table at `now`, each line within `width` characters.
    pub fn print(&self, now: Nanos, counters: Counters, width: usize) -> String {
        let mut text = String::new();
        let mut meter = "";
        let longest = self
            .rows
            .iter()
            .map(|row| row.reading.register.chars().count())
            .max()
            .unwrap_or(0)
            .max(8);
        for row in &self.rows {
            if row.meter != meter {
                meter = &row.meter;
                let _ = writeln!(text, "{}", clip(&format!("meter {meter}"), width));
            }
            let Reading {
                register,
                value,
                unit,
                status,
            } = &row.reading;
            let status = status.map_or_else(String::new, |status| format!("{status:#x}"));
            let age = now.saturating_since(row.at).as_secs();
            let value = match value {
                Content::Number(number) => format!("{number:>18}", number = number.to_string()),
                Content::Text(text) => format!("{text:>18}"),
            };
            let line = format!("  {register:<longest$}  {value} {unit:<6} {status:>10} {age:>4} s");
            let _ = writeln!(text, "{}", clip(&line, width));
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", clip(remark, width));
        }
        let _ = writeln!(text, "{}", clip(&counters.to_string(), width));
        text
    }
}

fn clip(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

const MOST_ROWS: usize = 1_000;
