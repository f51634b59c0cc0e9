// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables for people: one block per frame, its values in aligned columns.

use std::fmt::Write as _;

/// One value of a frame.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// OBIS code or quantity.
    pub name: String,
    /// The exact value.
    pub value: String,
    /// Its unit.
    pub unit: String,
    /// Status of the meter or of the value.
    pub status: String,
    /// Storage, tariff, function, time: whatever else tells values apart.
    pub detail: String,
}

/// What a frame says, for people.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Who sent what.
    pub title: String,
    /// Further remarks: checksums, security, quirks.
    pub remarks: Vec<String>,
    /// The values.
    pub rows: Vec<Row>,
}

impl Block {
    /// Title, remarks and aligned rows.
    pub fn render(&self) -> String {
        let mut out = format!("{}\n", self.title);
        for remark in &self.remarks {
            let _ = writeln!(out, "  {remark}");
        }
        let cells = |row: &Row| {
            let Row {
                name,
                value,
                unit,
                status,
                detail,
            } = row.clone();
            [name, value, unit, status, detail]
        };
        let rows: Vec<_> = self.rows.iter().map(cells).collect();
        let width = |column: usize| {
            let length = |row: &[String; 5]| row[column].chars().count();
            rows.iter().map(length).max().unwrap_or(0)
        };
        let [name, value, unit, status, _] = [0, 1, 2, 3, 4].map(width);
        for [n, v, u, s, d] in &rows {
            let line = format!("  {n:<name$}  {v:>value$} {u:<unit$}  {s:<status$}  {d}");
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }
}
