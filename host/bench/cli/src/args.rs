// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: names, flags and the help that teaches them.

use std::path::PathBuf;

use bench_engine::ExitCode;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::card::CardCommand;
use crate::commands::decode::DecodeArgs;
use crate::commands::hsm::HsmCommand;
use crate::commands::meter::MeterCommand;

/// Default rig, relative to the working directory.
pub const DEFAULT_RIG: &str = "rigs/virtual.toml";
/// Default declaration, relative to the working directory.
pub const DEFAULT_ICS: &str = "rigs/ics/reference.toml";
/// Default assumptions, relative to the working directory.
pub const DEFAULT_ASSUMPTIONS: &str = "rigs/assumptions.toml";

/// The documented exit codes, as `--help` shows them.
fn exit_codes() -> String {
    let rows = ExitCode::TABLE.map(|(code, meaning)| format!("  {:>3}  {meaning}", code.code()));
    format!("Exit codes:\n{}", rows.join("\n"))
}

/// Hardware-in-the-loop test bench for the German Smart Meter Gateway (BSI TR-03109).
#[derive(Debug, Parser)]
#[command(name = "smgw-bench", version, after_help = exit_codes(), max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run cases on a rig and seal the evidence in a bundle.
    Run(RunArgs),
    /// Say what would run, what would not, and why. Touches no device.
    Plan(PlanArgs),
    /// List the cases of the catalogue, or the seeded defects of the reference gateway and our boards.
    List(ListArgs),
    /// List serial ports and PKCS#11 tokens, ready to paste into a rig file.
    Discover(DiscoverArgs),
    /// Check, show or document rig files.
    #[command(subcommand)]
    Rig(RigCommand),
    /// Render a bundle's results.
    Report(ReportArgs),
    /// Check a bundle: hashes, event chain, signature, completeness.
    Verify(VerifyArgs),
    /// Decode captures of metering protocols: SML, M-Bus, wireless M-Bus, HDLC, D0, P1.
    Decode(DecodeArgs),
    /// Look at, test, measure and provision a security module: token or smartcard.
    #[command(subcommand)]
    Hsm(HsmCommand),
    /// Talk to a smartcard command by command.
    #[command(subcommand)]
    Card(CardCommand),
    /// Play a meter described by a profile, or read one that nobody described.
    #[command(subcommand)]
    Meter(MeterCommand),
}

/// Which files describe the run.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// Rig file: what is wired.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_RIG)]
    pub rig: PathBuf,
    /// ICS file: what the maker declares.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_ICS)]
    pub ics: PathBuf,
    /// Assumptions: what stands in for specifications that were not at hand.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_ASSUMPTIONS)]
    pub assumptions: PathBuf,
    /// Filter; the rig's `default-filter` when not given, all cases with 'all()'. E.g. 'id(PRX-*) & !id(PRX-19)', 'iface(HAN) | level(characterise)', 'needs(meter.*)'.
    #[arg(short = 'E', long = "filter", value_name = "EXPRESSION")]
    pub filter: Option<String>,
}

/// `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Folder that receives the bundle.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub report_dir: PathBuf,
    /// Seed of everything random; drawn and printed when not given.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Let the reference gateway, or the rig's boards, misbehave; see `list --defects`.
    #[arg(long, value_name = "ID")]
    pub defect: Option<String>,
    /// How long to wait for a busy rig, e.g. 10s, 5min.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<String>,
    /// Never ask a person; implied by CI=true.
    #[arg(long)]
    pub non_interactive: bool,
}

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Explain one case: requirement sources, needs, steps.
    #[arg(long, value_name = "CASE")]
    pub explain: Option<String>,
    /// Write the plan as plan.lock.toml to this file instead of printing a table.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How to print a list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// Paste-ready rig blocks (`discover` only).
    Toml,
}

/// `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// List the defects the reference gateway and our boards can be told to have, and the case that must catch each.
    #[arg(long)]
    pub defects: bool,
    /// The reference gateway; found beside this program when not given.
    #[arg(long, value_name = "PROGRAM")]
    pub gateway: Option<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: ListFormat,
}

/// `discover`.
#[derive(Args, Debug)]
pub struct DiscoverArgs {
    /// PKCS#11 libraries to ask, in addition to the usual ones that exist.
    #[arg(long, value_name = "LIBRARY")]
    pub module: Vec<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: ListFormat,
}

/// `rig`.
#[derive(Debug, Subcommand)]
pub enum RigCommand {
    /// Parse and resolve a rig file, and look whether its devices are there.
    Check {
        /// Rig file.
        #[arg(default_value = DEFAULT_RIG)]
        rig: PathBuf,
    },
    /// Print what a rig file resolves to.
    Show {
        /// Rig file.
        #[arg(default_value = DEFAULT_RIG)]
        rig: PathBuf,
    },
    /// Print the JSON Schema of an input file.
    Schema {
        /// Which file.
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
}

/// Files with a schema.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum SchemaOf {
    /// `smgw-bench.rig/1`
    #[default]
    Rig,
    /// `smgw-bench.ics/1`
    Ics,
    /// `smgw-bench.assumptions/1`
    Assumptions,
    /// `smgw-bench.plan/1`
    Plan,
    /// `smgw-bench.results/1`
    Results,
    /// `smgw-bench.meter/1`
    Meter,
}

/// Formats of `report`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ReportFormat {
    /// One file, no network, prints on A4.
    #[default]
    Html,
    /// JUnit XML.
    Junit,
    /// The results as they are.
    Json,
    /// One line per case.
    Csv,
    /// For merge requests.
    Markdown,
}

/// `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Bundle folder.
    pub bundle: PathBuf,
    /// Format.
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// File to write; standard output when not given.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Bundle folder.
    pub bundle: PathBuf,
    /// PEM certificate whose key must have signed; without it any key that matches the manifest will do.
    #[arg(long, value_name = "PEM")]
    pub trust: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_same_exit_codes() {
        let page = include_str!("../../../../docs/cli.md");
        for (code, meaning) in ExitCode::TABLE {
            let row = format!("| {} | {meaning} |", code.code());
            assert!(page.contains(&row), "docs/cli.md lacks {row}");
        }
    }
}
