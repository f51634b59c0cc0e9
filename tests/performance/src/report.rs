// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a benchmark leaves behind: a table for people, `target/bench/NAME.json` for programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::compare::Measured;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub metric: String,
    /// Unit of `ours` and `peer`.
    pub unit: String,
    /// Our figure, the median over the turns.
    pub ours: f64,
    /// The peer's.
    pub peer: Option<f64>,
    /// Who the peer is, with its version.
    pub peer_name: Option<String>,
    /// Ours by the peer's: the median over neighbouring turns.
    pub ratio: Option<f64>,
    /// Turns of each side.
    pub n: usize,
}

impl Row {
    /// A row out of measured rates.
    pub fn of(metric: &str, unit: &str, measured: &Measured, peer: Option<&str>) -> Self {
        Self {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            ours: measured.ours(),
            peer: measured.peer(),
            peer_name: peer.map(str::to_owned),
            ratio: measured.ratio(),
            n: measured.ours.len(),
        }
    }
}

/// Where it ran, without which no figure can be read.
#[derive(Clone, Debug, Serialize)]
struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    architecture: &'static str,
}

impl Machine {
    fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name);
        Self {
            processor: processor.to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            architecture: std::env::consts::ARCH,
        }
    }
}

/// The rows of one benchmark.
#[derive(Debug, Serialize)]
pub struct Report {
    name: &'static str,
    machine: Machine,
    /// What was measured on: third-party captures, or our own when those are absent.
    inputs: Vec<String>,
    rows: Vec<Row>,
}

impl Report {
    /// An empty report.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            machine: Machine::here(),
            inputs: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Says what was measured on.
    pub fn input(&mut self, input: impl Into<String>) {
        let input = input.into();
        println!("input: {input}");
        self.inputs.push(input);
    }

    /// Adds a row and prints it.
    pub fn row(&mut self, row: Row) {
        if self.rows.is_empty() {
            println!(
                "{:44} {:>12} {:>14} {:>14} {:>7}  peer",
                "metric", "unit", "ours", "peer", "ratio"
            );
        }
        let shown = |figure: Option<f64>, digits: usize| {
            figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"))
        };
        println!(
            "{:44} {:>12} {:>14} {:>14} {:>7}  {}",
            row.metric,
            row.unit,
            shown(Some(row.ours), if row.ours < 100.0 { 2 } else { 0 }),
            shown(row.peer, 0),
            shown(row.ratio, 2),
            row.peer_name.as_deref().unwrap_or("-"),
        );
        self.rows.push(row);
    }

    /// Writes the report as JSON and says where: to `path`, else to `target/bench/NAME.json` of the
    /// repository.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: Option<PathBuf>) -> io::Result<()> {
        let path = path.unwrap_or_else(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            root.join(format!("target/bench/{}.json", self.name))
        });
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        println!("written: {}", path.canonicalize()?.display());
        Ok(())
    }
}
