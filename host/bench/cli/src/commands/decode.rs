// SPDX-License-Identifier: MIT OR Apache-2.0
//! `decode`: captures of metering protocols as JSON lines, tables or explanations of every byte.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use bench_decode::{Form, Key, LIMIT, Options, Protocol, Quirk, Quirks, decode};
use bench_engine::ExitCode;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// `decode`.
#[derive(Args, Debug)]
pub struct DecodeArgs {
    /// The capture; - is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Protocol of the capture; auto looks at its bytes.
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = PossibleValuesParser::new(protocols()))]
    pub protocol: String,
    /// How the bytes are written: raw, in hex digits, or as lines of a radio receiver.
    #[arg(long, value_enum, default_value_t)]
    pub input: InputForm,
    /// AES key of 32 hex digits, tried on every meter; with ID=HEX only on the meter of that number. Repeatable.
    #[arg(long = "key", value_name = "[ID=]HEX")]
    pub keys: Vec<Key>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: DecodeFormat,
    /// Tolerate no deviation from SML.
    #[arg(long, conflicts_with = "quirks")]
    pub strict: bool,
    /// Tolerate only these deviations from SML.
    #[arg(long, value_name = "LIST", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Quirk::LIST.iter().map(|quirk| quirk.name())))]
    pub quirks: Option<Vec<String>>,
}

fn protocols() -> Vec<&'static str> {
    let names = Protocol::LIST.map(Protocol::name);
    ["auto"].into_iter().chain(names).collect()
}

/// Forms of `decode`'s input.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum InputForm {
    /// Look at the input.
    #[default]
    Auto,
    /// The bytes themselves.
    Raw,
    /// Hex digits; lines that each hold a frame stay apart.
    Hex,
    /// Lines of rtl_wmbus, CUL sticks or wmbusmeters.
    Lines,
}

/// Formats of `decode`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum DecodeFormat {
    /// One object per line and frame.
    #[default]
    Json,
    /// For people.
    Table,
    /// Every byte with its meaning.
    Explain,
}

/// Runs the verb.
pub fn run(arguments: &DecodeArgs) -> Result<ExitCode, Failure> {
    let name = arguments.file.display().to_string();
    let input = read(arguments)
        .map_err(|error| Failure::new(ExitCode::Usage, format!("{name}: {error}")))?;
    let options = Options {
        protocol: Protocol::LIST
            .into_iter()
            .find(|protocol| protocol.name() == arguments.protocol),
        form: match arguments.input {
            InputForm::Auto => Form::Auto,
            InputForm::Raw => Form::Raw,
            InputForm::Hex => Form::Hex,
            InputForm::Lines => Form::Lines,
        },
        file: arguments
            .file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        keys: arguments.keys.clone(),
        quirks: quirks(arguments),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let colour = io::stdout().is_terminal();
    let mut written = Ok(());
    let summary = decode(&input, &options, &mut |frame| {
        if written.is_ok() {
            written = match arguments.format {
                DecodeFormat::Json => writeln!(out, "{}", frame.json()),
                DecodeFormat::Table => writeln!(out, "{}", frame.table()),
                DecodeFormat::Explain => writeln!(out, "{}", frame.explain(colour)),
            };
        }
    })
    .map_err(|error| Failure::new(ExitCode::Usage, format!("{name}: {error}")))?;
    match written.and_then(|()| out.flush()) {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::Success),
        Err(error) => return Err(Failure::new(ExitCode::Internal, error.to_string())),
        Ok(()) => {}
    }
    Ok(if summary.failed == 0 {
        ExitCode::Success
    } else {
        eprintln!(
            "{} of {} frames not decoded",
            summary.failed, summary.frames
        );
        ExitCode::Undecoded
    })
}

/// One byte more than can be decoded is enough to see that it is too much.
fn read(arguments: &DecodeArgs) -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    let limit = LIMIT as u64 + 1;
    if arguments.file.as_os_str() == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut input)?;
    } else {
        File::open(&arguments.file)?
            .take(limit)
            .read_to_end(&mut input)?;
    }
    Ok(input)
}

fn quirks(arguments: &DecodeArgs) -> Quirks {
    let chosen = |name: &String| {
        Quirk::LIST
            .iter()
            .copied()
            .find(|quirk| quirk.name() == name)
    };
    match &arguments.quirks {
        _ if arguments.strict => Quirks::NONE,
        None => Quirks::ALL,
        Some(names) => names
            .iter()
            .filter_map(chosen)
            .fold(Quirks::NONE, Quirks::with),
    }
}
