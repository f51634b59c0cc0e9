// SPDX-License-Identifier: MIT OR Apache-2.0
//! `smgw-bench`: reads the command line, calls the verb, and turns its end into a documented exit code.

mod args;
mod commands;
mod failure;
mod inputs;
mod progress;
mod signals;

use std::io::IsTerminal;
use std::process;

use bench_engine::ExitCode;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is a wrong command line.
            let code = if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Success
            };
            let _ = error.print();
            return process::ExitCode::from(code.code());
        }
    };
    // cryptoki reports each mechanism it does not know as an error, and every token has some.
    let filter =
        EnvFilter::try_from_env("SMGW_BENCH_LOG").unwrap_or_else(|_| "warn,cryptoki=off".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match dispatch(cli.command) {
        Ok(code) => process::ExitCode::from(code.code()),
        Err(failure) => {
            eprintln!("{:?}", miette::Report::new_boxed(failure.report));
            process::ExitCode::from(failure.code.code())
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Plan(arguments) => commands::plan::run(&arguments),
        Command::List(arguments) => commands::list::run(&arguments),
        Command::Discover(arguments) => commands::discover::run(&arguments),
        Command::Rig(command) => commands::rig::run(&command),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Decode(arguments) => commands::decode::run(&arguments),
        Command::Card(command) => commands::card::run(&command),
        Command::Hsm(command) => commands::hsm::run(&command),
        Command::Meter(command) => commands::meter::run(&command),
    }
}
