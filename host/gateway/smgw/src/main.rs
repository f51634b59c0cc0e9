// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `smgw` process: arguments in, exit code out. See `docs/gateway.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use smgw::config::Config;
use smgw::defects::Defects;
use tracing_subscriber::EnvFilter;

/// The reference Smart Meter Gateway.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file (smgw.config/1).
    #[arg(long, value_name = "FILE", required_unless_present = "list_defects")]
    config: Option<PathBuf>,
    /// End when standard input reaches end of file.
    #[arg(long)]
    supervised: bool,
    /// Misbehave in one known way; only in builds with the feature `defects`.
    #[arg(long, value_name = "ID", value_parser = defect)]
    defect: Option<Defects>,
    /// Print the known ways to misbehave as JSON.
    #[arg(long)]
    list_defects: bool,
}

fn defect(id: &str) -> Result<Defects, String> {
    Defects::choose(id).ok_or_else(|| match Defects::available() {
        [] => "this build has no seeded defects (feature `defects`)".into(),
        _ => "no such defect; --list-defects tells them all".into(),
    })
}

fn main() -> ExitCode {
    if smgw::target::is_init() {
        return smgw::target::as_init(start_log);
    }
    let arguments = Arguments::parse();
    if arguments.list_defects {
        return list_defects();
    }
    start_log();
    let Some(path) = arguments.config else {
        return ExitCode::from(2);
    };
    let outcome = Config::load(&path).map_err(Into::into).and_then(|config| {
        smgw::run(
            config,
            arguments.supervised,
            arguments.defect.unwrap_or_default(),
        )
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(%failure, "the gateway cannot go on");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn start_log() {
    let filter =
        EnvFilter::try_from_env("SMGW_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
}

fn list_defects() -> ExitCode {
    #[derive(Serialize)]
    struct Listed {
        id: &'static str,
        case: &'static str,
        summary: &'static str,
    }
    let rows = Defects::available().iter().map(|row| Listed {
        id: row.id,
        case: row.case,
        summary: row.summary,
    });
    match serde_json::to_string_pretty(&rows.collect::<Vec<_>>()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// cryptoki calls every mechanism of a token that it does not know an error.
const DEFAULT_LOG: &str = "info,cryptoki=off";
