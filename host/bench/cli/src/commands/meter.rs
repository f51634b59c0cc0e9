// SPDX-License-Identifier: MIT OR Apache-2.0
//! `meter`: play a meter described by a profile, and read a meter that nobody described; see docs/meters.md.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench_engine::ExitCode;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use smgw_meters::profile::{Profile, Protocol, Span};
use smgw_meters::read::{self, Counters, Options, PortError, Report, Row, Table};
use smgw_meters::sim::{Fault, FaultRule, Port, Pty, Shown, Stdout, Tty, play};
use smgw_meters::{Detector, Simulator, Transmission};
use smgw_peers::meters::Clock;
use smgw_units::{Nanos, UtcNanos};

use crate::failure::Failure;

/// Where the profiles that ship are, relative to the working directory.
const PROFILES: &str = "rigs/meters";

/// `meter`.
#[derive(Debug, Subcommand)]
pub enum MeterCommand {
    /// Play a meter: on a pseudo terminal, a serial port, or standard output.
    Sim(SimArgs),
    /// Read a meter: finds protocol and speed by itself.
    Read(ReadArgs),
    /// List the profiles that ship.
    Profiles {
        /// Folder to list.
        #[arg(default_value = PROFILES)]
        folder: PathBuf,
    },
}

/// `meter sim`.
#[derive(Args, Debug)]
pub struct SimArgs {
    /// Profile: a file, or the name of one that ships, e.g. fnn-basic.
    #[arg(required_unless_present = "list_faults")]
    profile: Option<PathBuf>,
    /// Make a pseudo terminal and print its path (the default). It keeps the pace of the line and garbles bytes for who
    /// opens it at another speed; parity it cannot check.
    #[arg(long, conflicts_with_all = ["port", "stdout"])]
    pty: bool,
    /// Also make this symbolic link to the pseudo terminal; it stays the same when the port vanishes and comes back.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["port", "stdout"])]
    link: Option<PathBuf>,
    /// Play on a real serial port.
    #[arg(long, value_name = "DEVICE", conflicts_with = "stdout")]
    port: Option<PathBuf>,
    /// Write the bytes to standard output.
    #[arg(long)]
    stdout: bool,
    /// With --stdout: do not wait at all.
    #[arg(long, requires = "stdout", conflicts_with = "speed")]
    fast: bool,
    /// With --stdout: so many times as fast as a line.
    #[arg(long, requires = "stdout", value_name = "TIMES", default_value_t = 1)]
    speed: u32,
    /// Let something go wrong, in addition to the profile: NAME[=MEASURE][@every:N|@at:TIME|@chance:P]. Repeatable.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<FaultRule>,
    /// Leave the faults of the profile out.
    #[arg(long)]
    no_profile_faults: bool,
    /// Seed of everything random.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// End after this time, e.g. 10s.
    #[arg(long, value_name = "DURATION")]
    duration: Option<Span>,
    /// End after so many telegrams.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Say nothing about what is sent.
    #[arg(long, short)]
    quiet: bool,
    /// List every fault and end.
    #[arg(long)]
    list_faults: bool,
}

/// How `meter read` prints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum ReadFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: one object per telegram, or with --once one object.
    Json,
}

/// `meter read`.
#[derive(Args, Debug)]
pub struct ReadArgs {
    /// Serial port or pseudo terminal, e.g. /dev/ttyUSB0.
    port: PathBuf,
    /// Only this protocol; its beginning will do, e.g. hdlc.
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
    /// Only this speed.
    #[arg(long, value_name = "BAUD")]
    baud: Option<u32>,
    /// Only this primary address (M-Bus) or station (wired LMN). Repeatable.
    #[arg(long, value_name = "ADDRESS", value_parser = clap::value_parser!(u8).range(0..=250))]
    address: Vec<u8>,
    /// Search M-Bus meters by their secondary addresses at once, not only when the address for all brings a collision or
    /// nothing.
    #[arg(long, conflicts_with = "address")]
    secondary: bool,
    /// Key of meters heard by radio, 32 hex digits; or @FILE that holds them.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<Secret>,
    /// How long to listen at each speed.
    #[arg(long, value_name = "DURATION", default_value = "4500ms")]
    patience: Span,
    /// Time between two polls of a meter that wants to be asked.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: Span,
    /// End when every register of one round was read.
    #[arg(long)]
    once: bool,
    /// End after this time.
    #[arg(long, value_name = "DURATION")]
    duration: Option<Span>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: ReadFormat,
}

/// A key, which nobody needs to see.
#[derive(Clone, Copy)]
struct Secret([u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(key)")
    }
}

fn key(text: &str) -> Result<Secret, String> {
    let from_file = text.strip_prefix('@').map(std::fs::read_to_string);
    let text = from_file
        .unwrap_or_else(|| Ok(text.to_owned()))
        .map_err(|error| error.to_string())?;
    let text = text.trim();
    let number = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32);
    number
        .map(|number| Secret(number.to_be_bytes()))
        .ok_or_else(|| "a key has 32 hex digits".to_owned())
}

fn protocol(name: &str) -> Result<Protocol, String> {
    let exact = Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.as_str() == name);
    // The beginning of a name will do when only one begins so.
    let mut begun = Protocol::ALL
        .into_iter()
        .filter(|protocol| protocol.as_str().starts_with(name));
    let begun = match (begun.next(), begun.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    exact
        .or(begun)
        .ok_or_else(|| format!("one of {}", Protocol::ALL.map(Protocol::as_str).join(", ")))
}

/// Runs the verb.
pub fn run(command: &MeterCommand) -> Result<ExitCode, Failure> {
    match command {
        MeterCommand::Sim(arguments) if arguments.list_faults => {
            list_faults();
            Ok(ExitCode::Success)
        }
        MeterCommand::Sim(arguments) => sim(arguments),
        MeterCommand::Read(arguments) => read(arguments),
        MeterCommand::Profiles { folder } => profiles(folder),
    }
}

fn list_faults() {
    for kind in Fault::TABLE {
        let measure = if kind.default.is_empty() {
            String::new()
        } else {
            format!("={}", kind.default)
        };
        println!(
            "{:<20} {:<8} {}",
            format!("{}{measure}", kind.name),
            kind.on,
            kind.does
        );
    }
}

fn profiles(folder: &Path) -> Result<ExitCode, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let what = format!("{}: {error}", folder.display());
        Failure::with_help(
            ExitCode::InvalidInput,
            what,
            "name the folder, or start from the project's",
        )
    })?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "toml"))
    {
        let profile = load(file)?;
        println!(
            "{:<16}{:<10} {}",
            profile.name, profile.protocol, profile.summary
        );
    }
    Ok(ExitCode::Success)
}

fn load(path: &Path) -> Result<Profile, Failure> {
    let shipped = Path::new(PROFILES).join(path).with_extension("toml");
    let named = path.components().count() == 1 && path.extension().is_none() && shipped.is_file();
    Profile::load(if named { &shipped } else { path })
        .map_err(|error| Failure::diagnostic(ExitCode::InvalidInput, error))
}

/// Set by the first signal that asks to end.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Failure::new(ExitCode::Internal, error.to_string()))?;
    }
    Ok(stop)
}

fn utc_now() -> UtcNanos {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UtcNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn sim(arguments: &SimArgs) -> Result<ExitCode, Failure> {
    let mut profile = load(arguments.profile.as_deref().unwrap_or(Path::new("")))?;
    if arguments.stdout && !profile.protocol.pushes() {
        let what = format!(
            "{} only answers, and nobody can ask over standard output",
            profile.name
        );
        return Err(Failure::with_help(
            ExitCode::Usage,
            what,
            "leave out --stdout",
        ));
    }
    if arguments.no_profile_faults {
        profile.faults.clear();
    }
    profile.faults.extend(arguments.fault.iter().cloned());
    let stop = stop_flag()?;
    let failed = |error: smgw_meters::sim::PlayerError| {
        Failure::new(ExitCode::ResourceMissing, error.to_string())
    };
    let line = profile.line;
    let mut port: Box<dyn Port> = match (&arguments.port, arguments.stdout) {
        (Some(path), _) => Box::new(Tty::open(path, line).map_err(failed)?),
        (None, true) => Box::new(Stdout::new(
            line,
            (!arguments.fast).then_some(arguments.speed),
        )),
        (None, false) => {
            let pty = Pty::open(line, arguments.link.clone(), None).map_err(failed)?;
            println!("{}", pty.path().display());
            let _ = stdout().flush();
            Box::new(pty)
        }
    };
    if !arguments.quiet {
        eprintln!(
            "{} ({}) at {} Bd; Ctrl-C ends it",
            profile.name, profile.summary, line.baud
        );
    }
    let begun = port.now();
    let end = arguments.duration.map(|length| begun + length.length());
    let mut simulator = Simulator::new(profile, begun, utc_now(), arguments.seed);
    let mut log = SimLog::new(arguments.quiet);
    let mut sent = 0;
    // Of a virtual clock nobody knows how far it is but the port, which is busy then: telegrams tell.
    let late = |at: Nanos| end.is_some_and(|end| at >= end);
    let stopped = || stop.load(Ordering::Relaxed) || (!arguments.stdout && late(Clock::now()));
    let mut told = |transmission: &Transmission, at: Nanos, delivered: bool| {
        log.tell(transmission, delivered);
        sent += u64::from(transmission.data);
        arguments.count.is_none_or(|count| sent < count)
            && !late(at)
            && (delivered || !arguments.stdout)
    };
    play(&mut simulator, port.as_mut(), &stopped, &mut told).map_err(failed)?;
    log.end();
    Ok(ExitCode::Success)
}

/// Tells on standard error what is sent: a live line on a terminal, one line per telegram elsewhere.
struct SimLog {
    quiet: bool,
    live: bool,
    telegrams: u64,
    unheard: u64,
}

impl SimLog {
    fn new(quiet: bool) -> Self {
        Self {
            quiet,
            live: stderr().is_terminal(),
            telegrams: 0,
            unheard: 0,
        }
    }

    fn tell(&mut self, transmission: &Transmission, delivered: bool) {
        self.telegrams += u64::from(transmission.data);
        self.unheard += u64::from(transmission.data && !delivered);
        if self.quiet || !transmission.data {
            return;
        }
        let bytes: usize = transmission
            .pieces
            .iter()
            .map(|piece| piece.bytes.len())
            .sum();
        let number = transmission
            .samples
            .iter()
            .find_map(|sample| match &sample.shown {
                Shown::Number(number) => Some(
                    sample
                        .obis
                        .map_or_else(|| number.to_string(), |obis| format!("{obis} = {number}")),
                ),
                _ => None,
            });
        let faults = transmission.faults.join(" ");
        let line = format!(
            "{:>6} {} {bytes} bytes {} {faults}{}",
            self.telegrams,
            transmission.telegram,
            number.unwrap_or_default(),
            if delivered { "" } else { " (nobody listens)" },
        );
        if self.live {
            eprint!(
                "\r\x1b[2K{}",
                line.chars().take(width()).collect::<String>()
            );
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if !self.quiet {
            let start = if self.live { "\n" } else { "" };
            eprintln!(
                "{start}{} telegrams, {} of them unheard",
                self.telegrams, self.unheard
            );
        }
    }
}

/// Characters of a terminal line; what most have when nobody says.
fn width() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    columns.unwrap_or(110usize).saturating_sub(1)
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Json<'a> {
    protocol: &'a str,
    baud: u32,
    registers: &'a [Row],
    counters: Counters,
}

/// What is on the screen so far.
struct Screen<'a> {
    arguments: &'a ReadArgs,
    table: Table,
    found: Option<(Protocol, u32)>,
    live: bool,
    lines: usize,
    drawn: Nanos,
    /// Meters and registers seen in this round, to know when it is complete.
    complete: bool,
}

fn read(arguments: &ReadArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        protocol: arguments.protocol,
        baud: arguments.baud,
        addresses: arguments.address.clone(),
        secondary: arguments.secondary,
        key: arguments.key.map(|key| key.0),
        interval: arguments.interval.length(),
        patience: arguments.patience.length(),
        ..Options::default()
    };
    let stop = stop_flag()?;
    let begun = Clock::now();
    let end = arguments.duration.map(|length| begun + length.length());
    let mut detector = Detector::new(options, begun);
    let mut screen = Screen {
        arguments,
        table: Table::default(),
        found: None,
        live: stdout().is_terminal() && arguments.format == ReadFormat::Table && !arguments.once,
        lines: 0,
        drawn: Nanos(0),
        complete: false,
    };
    let mut nothing = None;
    let stopped = || stop.load(Ordering::Relaxed) || end.is_some_and(|end| Clock::now() >= end);
    let mut told = |detector: &Detector, report: Report| match report {
        Report::NothingFound(advice) => {
            nothing = Some(advice);
            false
        }
        report => screen.tell(detector, report),
    };
    let outcome = read::port(&arguments.port, &mut detector, &stopped, &mut told);
    screen.end(&detector);
    match (outcome, nothing) {
        (Err(error), _) => {
            let code = match error {
                PortError::Busy { .. } => ExitCode::RigBusy,
                _ => ExitCode::ResourceMissing,
            };
            Err(Failure::with_help(code, error.to_string(), error.help()))
        }
        (Ok(()), Some(advice)) => {
            let what = format!("no meter was found on {}", arguments.port.display());
            Err(Failure::with_help(
                ExitCode::ResourceMissing,
                what,
                advice.join("\n"),
            ))
        }
        (Ok(()), None) if screen.found.is_none() => Err(Failure::new(
            ExitCode::Interrupted,
            "ended before a meter was found",
        )),
        (Ok(()), None) => Ok(ExitCode::Success),
    }
}

impl Screen<'_> {
    /// Whether to go on.
    fn tell(&mut self, detector: &Detector, report: Report) -> bool {
        match report {
            Report::Trying(what) => eprintln!("{what} …"),
            Report::Found { protocol, line } => {
                eprintln!("found {protocol} at {} Bd", line.baud);
                self.found = Some((protocol, line.baud));
            }
            Report::Trouble(what) | Report::Meter(what) => eprintln!("{what}"),
            Report::RoundEnded => self.complete = true,
            Report::Telegram(telegram) => {
                self.table.update(&telegram, Clock::now());
                if !self.arguments.once && self.arguments.format == ReadFormat::Json {
                    // A type of plain numbers and text becomes JSON whatever it holds.
                    println!("{}", serde_json::to_string(&telegram).unwrap_or_default());
                    return stdout().flush().is_ok();
                }
            }
            Report::NothingFound(_) => return false,
        }
        self.draw(detector);
        !(self.arguments.once && self.complete)
    }

    fn draw(&mut self, detector: &Detector) {
        if !self.live || self.found.is_none() || Clock::now().saturating_since(self.drawn) < REDRAW
        {
            return;
        }
        self.drawn = Clock::now();
        let text = self.table.print(Clock::now(), detector.counters(), width());
        // Back to the first line of the last table, and everything below it away.
        let back = if self.lines == 0 {
            String::new()
        } else {
            format!("\x1b[{}A\x1b[J", self.lines)
        };
        print!("{back}{text}");
        let _ = stdout().flush();
        self.lines = text.lines().count();
    }

    fn end(&mut self, detector: &Detector) {
        let Some((protocol, baud)) = self.found else {
            return;
        };
        let counters = detector.counters();
        match self.arguments.format {
            ReadFormat::Table if self.live => {}
            ReadFormat::Table => print!("{}", self.table.print(Clock::now(), counters, width())),
            ReadFormat::Json if self.arguments.once => {
                let json = Json {
                    protocol: protocol.as_str(),
                    baud,
                    registers: self.table.rows(),
                    counters,
                };
                println!(
                    "{}",
                    serde_json::to_string_pretty(&json).unwrap_or_default()
                );
            }
            ReadFormat::Json => {}
        }
    }
}

const REDRAW: Duration = Duration::from_millis(100);
