// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `smgw` process: arguments in, exit code out. See `docs/gateway.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hyper::Method;
use serde::Serialize;
use smgw::config::Config;
use smgw::defects::Defects;
use smgw::export::Wanted;
use smgw::store::Store;
use smgw_units::UtcNanos;
use tracing_subscriber::EnvFilter;

/// The reference Smart Meter Gateway. Without a command it runs until it is told to stop (SIGTERM).
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
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

/// What can be asked of a gateway that runs; its configuration names the local socket.
#[derive(Subcommand)]
enum Command {
    /// Print time, profiles and the state of the meters.
    Status(Running),
    /// Print what the gateway counts, in the OpenMetrics text form.
    Metrics(Running),
    /// Print the sets of profiles that count now or later.
    Profiles(Running),
    /// Log books.
    #[command(subcommand)]
    Log(LogCommand),
    /// The clock, where the configuration says `[clock] driven-from`.
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Hand over a set of profiles (smgw.profiles/1); it is taken as a whole or refused with the reason.
    Submit {
        /// The set.
        document: PathBuf,
        /// Which gateway.
        #[command(flatten)]
        running: Running,
    },
}

/// What can be done with a driven clock.
#[derive(Subcommand)]
enum ClockCommand {
    /// Let it be that late; returns when everything due by then is decided and kept.
    Advance {
        /// An instant, as 2026-11-21T20:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: UtcNanos,
        /// Which gateway.
        #[command(flatten)]
        running: Running,
    },
}

/// What can be done with log books.
#[derive(Subcommand)]
enum LogCommand {
    /// Write a log book as signed JSON, at most 1000 entries a file. Works beside a running gateway if its security module
    /// allows two users.
    Export {
        /// Which gateway.
        #[command(flatten)]
        running: Running,
        /// system, calibration or consumer:NAME.
        #[arg(long)]
        book: smgw_core::log::Book,
        /// Earliest entry, as 2026-11-21T20:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<UtcNanos>,
        /// Latest entry, inclusive.
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<UtcNanos>,
        /// Where the files go.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
        /// Misbehave in one known way; only in builds with the feature `defects`.
        #[arg(long, value_name = "ID", value_parser = defect, hide = true)]
        defect: Option<Defects>,
    },
}

fn time(text: &str) -> Result<UtcNanos, &'static str> {
    smgw::clock::instant(text).ok_or("expected an instant such as 2026-11-21T20:00:00Z")
}

#[derive(Args)]
struct Running {
    /// Its configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
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
    if let Some(command) = arguments.command {
        return ask(command).unwrap_or_else(|message| {
            eprintln!("smgw: {message}");
            ExitCode::FAILURE
        });
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

/// Prints what the gateway answers; exit code 1 when it refuses or cannot be reached.
fn ask(command: Command) -> Result<ExitCode, String> {
    let (running, method, path, document) = match command {
        Command::Status(running) => (running, Method::GET, "/status", Vec::new()),
        Command::Metrics(running) => (running, Method::GET, "/metrics", Vec::new()),
        Command::Profiles(running) => (running, Method::GET, "/profiles", Vec::new()),
        Command::Log(command) => return export(command),
        Command::Clock(ClockCommand::Advance { to, running }) => {
            let to = to.to_string().into_bytes();
            (running, Method::POST, "/clock", to)
        }
        Command::Submit { document, running } => {
            let text = std::fs::read(&document)
                .map_err(|error| format!("cannot read {}: {error}", document.display()))?;
            (running, Method::POST, "/profiles", text)
        }
    };
    let config = Config::load(&running.config).map_err(|error| error.to_string())?;
    let socket = config
        .local_socket
        .ok_or("the configuration names no [local] socket")?;
    let (status, answer) = smgw::client::ask(&socket, method, path, document)
        .map_err(|error| format!("no gateway answers at {}: {error}", socket.display()))?;
    print!("{answer}");
    Ok(if status.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the files that were written, one a line.
fn export(command: LogCommand) -> Result<ExitCode, String> {
    let LogCommand::Export {
        running,
        book,
        from,
        to,
        out,
        defect,
    } = command;
    let to = to.map(|to| defect.unwrap_or_default().range_end(to));
    let words = |error: &dyn std::error::Error| error.to_string();
    let config = Config::load(&running.config).map_err(|error| words(&error))?;
    let secure = smgw::module::open(&config.security_module, Defects::default())
        .map_err(|error| words(&error))?;
    let store = Store::open_reader(&config.store).map_err(|error| words(&error))?;
    let wanted = Wanted { book, from, to };
    let written = smgw::export::export(
        &store,
        config.device_id,
        secure.module.as_ref(),
        &secure.identity,
        &wanted,
        &out,
    );
    for path in written.map_err(|error| words(&error))? {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
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
