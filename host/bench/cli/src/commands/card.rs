// SPDX-License-Identifier: MIT OR Apache-2.0
//! `card apdu`: commands to a smartcard one by one, each explained with its answer.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;

use bench_cases::module_tool::{hex, unhex};
use bench_engine::ExitCode;
use clap::{Args, Subcommand};
use hsm_card::{ApduRecord, CardSession, PcscReader};
use hsm_open::Place;
use serde_json::json;
use smgw_apdu::Command;

use super::hsm::args::{AnswerFormat, PinArgs};
use super::hsm::failed;
use crate::failure::Failure;

/// `card`.
#[derive(Debug, Subcommand)]
pub enum CardCommand {
    /// Send commands to a smartcard and explain them and their answers.
    #[command(after_help = EXAMPLES)]
    Apdu(ApduArgs),
}

const EXAMPLES: &str = "\
Examples:
  smgw-bench card apdu 00B09C0000
      read EF.CardAccess of the only card in any reader
  smgw-bench card apdu --card Virtual --pace --pin-env SMGW_PIN 0084000010
      random bytes through secure messaging
  smgw-bench card apdu - < commands.txt
      one command a line; # begins a comment

Exit code 100 when the card answers any of the commands with an error.";

/// `card apdu`.
#[derive(Args, Debug)]
pub struct ApduArgs {
    /// Name, or part of the name, of the reader; when only one reader holds a card, it is used.
    #[arg(long, value_name = "READER")]
    pub card: Option<String>,
    /// Command table of the card, if it is not the built-in one.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Open a protected channel with the PIN first, and send the commands through it.
    #[arg(long)]
    pub pace: bool,
    /// Where the PIN is.
    #[command(flatten)]
    pub pin: PinArgs,
    /// Output format; JSON is one object a line.
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
    /// Commands in hex, or - for standard input.
    #[arg(required = true, value_name = "APDU")]
    pub commands: Vec<String>,
}

/// Runs the verb.
pub fn run(command: &CardCommand) -> Result<ExitCode, Failure> {
    let CardCommand::Apdu(arguments) = command;
    apdu(arguments)
}

fn apdu(arguments: &ApduArgs) -> Result<ExitCode, Failure> {
    let commands = commands(&arguments.commands)?;
    let profile = hsm_open::card_profile(arguments.profile.as_deref()).map_err(failed)?;
    let format = arguments.format;
    // Every name contains the empty one.
    let wanted = arguments.card.clone().unwrap_or_default();
    let reader = Box::new(PcscReader::new(wanted.as_str()));
    let print = move |record: &ApduRecord| match format {
        AnswerFormat::Table => print!("{}", text(record)),
        AnswerFormat::Json => println!("{}", line(record)),
    };
    let mut session = CardSession::new(reader, Arc::new(profile)).with_recorder(Arc::new(print));
    if arguments.pace {
        let place = Place::Card {
            reader: wanted,
            profile: None,
        };
        let pin = arguments.pin.source(&place)?.read();
        let pin = pin.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
        session.open(&pin).map_err(failed)?;
    } else {
        session.reset().map_err(failed)?;
    }
    let mut refused = false;
    for command in &commands {
        let answer = if arguments.pace {
            session.exchange_protected(command)
        } else {
            session.exchange_plain(command)
        };
        let status = answer.map_err(failed)?.status;
        refused |= !status.is_ok() && status.more().is_none();
    }
    Ok(if refused {
        ExitCode::Failed
    } else {
        ExitCode::Success
    })
}

/// The commands, checked before the first is sent.
fn commands(words: &[String]) -> Result<Vec<Command>, Failure> {
    let mut texts = Vec::new();
    for word in words {
        if word != "-" {
            texts.push(word.clone());
            continue;
        }
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| {
                Failure::new(ExitCode::Usage, format!("standard input: {error}"))
            })?;
            let command = line.split('#').next().unwrap_or_default().trim();
            if !command.is_empty() {
                texts.push(command.to_owned());
            }
        }
    }
    let read = |text: &String| {
        let digits: String = text.split([' ', ':', '\t']).collect();
        let bytes = unhex(&digits).ok_or("it is not written in hex".to_owned())?;
        Command::decode(&bytes).map_err(|error| error.to_string())
    };
    texts
        .iter()
        .map(|text| {
            read(text).map_err(|why| {
                Failure::with_help(
                    ExitCode::Usage,
                    format!("\"{text}\" is no command of a card: {why}"),
                    "a command is CLA INS P1 P2 [Lc data] [Le], for instance 0084000008",
                )
            })
        })
        .collect()
}

fn text(record: &ApduRecord) -> String {
    let through = record
        .protected
        .as_ref()
        .map(|how| format!("   through {how}\n"))
        .unwrap_or_default();
    format!(
        "-> {}\n   {}\n{through}<- {}\n   {}  ({:.1} ms)\n\n",
        record.command,
        hex(&record.sent),
        record.answer,
        hex(&record.received),
        record.took.as_secs_f64() * 1e3,
    )
}

fn line(record: &ApduRecord) -> serde_json::Value {
    json!({
        "command": record.command,
        "answer": record.answer,
        "status": record.status.map(|status| format!("{:04x}", status.0)),
        "protected": record.protected,
        "sent": hex(&record.sent),
        "received": hex(&record.received),
        "took-us": record.took.as_micros() as u64,
    })
}
