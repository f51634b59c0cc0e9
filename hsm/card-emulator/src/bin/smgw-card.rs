// SPDX-License-Identifier: MIT OR Apache-2.0
//! `smgw-card`: the security module of TR-03109-2 as a virtual smartcard behind vpcd.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::linux::net::TcpStreamExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hsm_api::{LifeCycle, Pin, PinSource};
use hsm_card::CardProfile;
use hsm_card_emulator::card::{Card, SharedCard};
use hsm_card_emulator::fault::{self, Planned};
use hsm_card_emulator::latency::Latency;
use hsm_card_emulator::pcscd::{PORTS, Pcscd, READERS};
use hsm_card_emulator::play::{Action, Player};
use hsm_card_emulator::process::{DONE, IN_READER, OUT_OF_READER, REFUSED};
use hsm_card_emulator::randomness::{Random, System};
use hsm_card_emulator::state::{Memory, State, StateFile, Volatile};

const TEACHING: &str = "\
Examples:
  smgw-card --own-reader --pin-file pin --state card
      starts a pcscd of its own, isolated from the machine's, puts the card into it, and prints the variable by which
      opensc-tool, smgw-bench and others find it
  smgw-card --own-reader --pin-file pin --latency typical --fault wrong-mac@3
      a card without a state file that takes its time, and whose third protected response has a wrong checksum

While it runs, lines on the standard input are carried out:
  remove          the card leaves the reader        insert          it comes back
  fault NAME[@N]  plans a fault (--list-faults)     heal            forgets all faults
  answer          gives the answer that no-answer kept back
  key NAME CURVE sign|agree SCALAR
                  puts a private key of a known value into the card, as its maker may and no command can; for tests

It ends when the reader does. Exit codes: 0 the reader ended, 1 something failed, 2 usage.";

/// The security module of a Smart Meter Gateway (TR-03109-2) as a virtual smartcard.
#[derive(Debug, Parser)]
#[command(version, after_help = TEACHING)]
struct Arguments {
    /// Start an isolated pcscd with a virtual reader and put the card into it
    #[arg(long, conflicts_with = "reader")]
    own_reader: bool,
    /// Address of the virtual reader (vpcd) to put the card into
    #[arg(long, value_name = "HOST:PORT", default_value_t = format!("127.0.0.1:{}", PORTS[0]))]
    reader: String,
    /// File that keeps the card's state; without it the card forgets all
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// File with the PIN of a new card; made, with a PIN by chance, when it is not there
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Environment variable with the PIN of a new card
    #[arg(long, value_name = "NAME", conflicts_with = "pin_file")]
    pin_env: Option<String>,
    /// Life-cycle phase of a new card
    #[arg(long, value_name = "PHASE", default_value_t = LifeCycle::Production)]
    phase: LifeCycle,
    /// Command set of another card, a TOML file of the form of hsm/card/src/tr03109_2_assumed.toml
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How long commands take: instant, typical, or a TOML file of the form of
    /// hsm/card-emulator/src/latency/typical.toml
    #[arg(long, value_name = "MODEL", default_value = "instant")]
    latency: String,
    /// Seed of the latency's jitter
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// A fault the card has, at each opportunity or at the N-th only; may be given several times
    #[arg(long, value_name = "NAME[@N]")]
    fault: Vec<Planned>,
    /// List the faults and end
    #[arg(long)]
    list_faults: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list_faults {
        print!("{}", fault::list());
        return ExitCode::SUCCESS;
    }
    let done = match arguments.own_reader {
        true => own_reader(&arguments),
        false => play(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("smgw-card: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Starts pcscd and this program once more, beside the reader.
fn own_reader(arguments: &Arguments) -> Result<(), String> {
    // What is wrong with the card is told before anything is started.
    if let Some(path) = &arguments.pin_file {
        make_pin(path)?;
    }
    let pcscd = Pcscd::start().map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let passed_on = std::env::args_os()
        .skip(1)
        .filter(|one| one != "--own-reader");
    let (name, socket) = pcscd.environment();
    println!(
        "# The card is in the reader \"{}\" of a pcscd of its own. In another terminal:",
        READERS[0]
    );
    println!("export {name}={}", socket.display());
    println!(
        "# Ctrl-C ends both. Lines here: remove, insert, fault NAME[@N], heal, answer, key NAME CURVE USAGE SCALAR."
    );
    let status = pcscd
        .inside(own)
        .args(passed_on)
        .status()
        .map_err(|error| format!("cannot run nsenter (package util-linux): {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("the card ended, as it says above".to_owned()),
    }
}

/// What the thread that serves the reader and the one that reads lines share.
struct Desk {
    card: SharedCard,
    place: Mutex<Place>,
    changed: Condvar,
}

struct Place {
    player: Player,
    /// Whether the card belongs into the reader.
    inserted: bool,
    /// Whether anybody can still put it in.
    listened_to: bool,
    line: Option<TcpStream>,
}

impl Desk {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn play(arguments: &Arguments) -> Result<(), String> {
    let latency = match arguments.latency.as_str() {
        "instant" => Latency::instant(),
        "typical" => Latency::typical(arguments.seed),
        path => Latency::from_toml(&read(Path::new(path))?, arguments.seed)
            .map_err(|error| format!("{path}: {error}"))?,
    };
    let card = SharedCard::new(card(arguments)?);
    let desk = Arc::new(Desk {
        card: card.clone(),
        place: Mutex::new(Place {
            player: Player::new(card, latency),
            inserted: true,
            listened_to: true,
            line: None,
        }),
        changed: Condvar::new(),
    });
    let listener = desk.clone();
    thread::spawn(move || listen(&listener));
    loop {
        let mut place = desk.place();
        while !place.inserted {
            if !place.listened_to {
                return Ok(());
            }
            place = desk
                .changed
                .wait(place)
                .unwrap_or_else(PoisonError::into_inner);
        }
        place.player.insert();
        drop(place);
        let line = connect(&arguments.reader)?;
        let parting = serve(&desk, &line);
        drop(line);
        let mut place = desk.place();
        place.line = None;
        let inserted = place.inserted;
        drop(place);
        if !inserted {
            say(OUT_OF_READER);
            continue;
        }
        match parting? {
            Parting::Closed => return Ok(()),
            Parting::ComesBack(time) => thread::sleep(time),
        }
    }
}

/// How the card and its reader part.
enum Parting {
    /// The card was taken out, or the reader ended.
    Closed,
    /// The card comes back by itself after this time.
    ComesBack(Duration),
}

/// Serves the reader until one of the two leaves.
fn serve(desk: &Desk, mut line: &TcpStream) -> Result<Parting, String> {
    let said = |error: io::Error| format!("the line to the reader broke: {error}");
    desk.place().line = Some(line.try_clone().map_err(said)?);
    line.set_nodelay(true).map_err(said)?;
    let mut bytes = vec![0; 4096];
    let mut known = false;
    loop {
        // The reader sends length and content in two pieces, the second only after the first is confirmed; a confirmation
        // that is put off costs 40 ms. The kernel forgets the option at will, so it is set each time.
        line.set_quickack(true).map_err(said)?;
        let length = match line.read(&mut bytes) {
            Ok(0) => return Ok(Parting::Closed),
            Ok(length) => length,
            Err(error) if gone(&error) => return Ok(Parting::Closed),
            Err(error) => return Err(said(error)),
        };
        let actions = desk
            .place()
            .player
            .take(bytes.get(..length).unwrap_or_default());
        for action in actions {
            match action {
                Action::Send(time, message) => {
                    if !time.is_zero() {
                        thread::sleep(time);
                    }
                    match line.write_all(&message) {
                        Ok(()) => {}
                        Err(error) if gone(&error) => return Ok(Parting::Closed),
                        Err(error) => return Err(said(error)),
                    }
                }
                Action::LeaveFor(time) => return Ok(Parting::ComesBack(time)),
                Action::Leave => {
                    desk.place().inserted = false;
                    return Ok(Parting::Closed);
                }
            }
        }
        if !known && desk.place().player.is_known() {
            known = true;
            say(IN_READER);
        }
    }
}

/// Carries out the lines of the standard input.
fn listen(desk: &Desk) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let mut place = desk.place();
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("remove", "") => {
                place.inserted = false;
                if let Some(line) = &place.line {
                    drop(line.shutdown(Shutdown::Both));
                }
            }
            ("insert", "") => {
                place.inserted = true;
                desk.changed.notify_all();
            }
            ("answer", "") => {
                if let (Some(Action::Send(_, message)), Some(mut line)) =
                    (place.player.answer(), place.line.as_ref())
                {
                    drop(line.write_all(&message));
                }
                say(DONE);
            }
            ("fault", name) => done(
                (name.trim().parse::<Planned>())
                    .map(|planned| desk.card.with(|card| card.plan(planned))),
            ),
            ("key", told) => done(desk.card.import_line(told).map(drop)),
            ("heal", "") => {
                desk.card.with(Card::heal);
                say(DONE);
            }
            ("", "") => {}
            (other, _) => done(Err(format!(
                "there is no \"{other}\"; there are remove, insert, fault NAME[@N], heal, answer, key"
            ))),
        }
    }
    desk.place().listened_to = false;
    desk.changed.notify_all();
}

/// Says how a line ended.
fn done(outcome: Result<(), impl fmt::Display>) {
    match outcome {
        Ok(()) => say(DONE),
        Err(why) => say(&format!("{REFUSED}{why}")),
    }
}

/// One line for whoever waits; it may have gone.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// The card, as it was kept or new.
fn card(arguments: &Arguments) -> Result<Card, String> {
    let profile = match &arguments.profile {
        Some(path) => CardProfile::parse(&read(path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => CardProfile::tr03109_2_assumed(),
    };
    let (mut memory, kept): (Box<dyn Memory>, _) = match &arguments.state {
        Some(path) => {
            let (file, kept) = StateFile::open(path).map_err(|error| error.to_string())?;
            (Box::new(file), kept)
        }
        None => (Box::new(Volatile), None),
    };
    let state = match kept {
        Some(state) => state,
        None => {
            let mut serial = [0; 8];
            System
                .fill(&mut serial)
                .map_err(|error| error.to_string())?;
            let state = State {
                phase: arguments.phase,
                ..State::fresh(
                    &profile,
                    format!("{:016X}", u64::from_be_bytes(serial)),
                    new_pin(arguments)?,
                )
            };
            memory
                .keep(&state)
                .map_err(|error| format!("cannot keep the new card: {error}"))?;
            state
        }
    };
    let mut card = Card::new(profile, state, memory, System);
    for planned in &arguments.fault {
        card.plan(*planned);
    }
    Ok(card)
}

fn new_pin(arguments: &Arguments) -> Result<Pin, String> {
    let source = match (&arguments.pin_file, &arguments.pin_env) {
        (Some(path), _) => {
            make_pin(path)?;
            PinSource::File(path.clone())
        }
        (None, Some(name)) => PinSource::Env(name.clone()),
        (None, None) => {
            return Err("a new card needs a PIN: --pin-file FILE, which is made when it is not there, or --pin-env NAME".to_owned());
        }
    };
    let pin = source.read().map_err(|error| error.to_string())?;
    match pin.expose().len() >= PIN_DIGITS
        && pin.expose().bytes().all(|digit| digit.is_ascii_digit())
    {
        true => Ok(pin),
        false => Err(format!(
            "the PIN from {source} is no number of {PIN_DIGITS} digits or more (TR-03116-3 §10)"
        )),
    }
}

/// Writes a PIN by chance where there is none.
fn make_pin(path: &Path) -> Result<(), String> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => {
            made.map_err(|error| format!("cannot make the PIN file {}: {error}", path.display()))?
        }
    };
    let mut pin = String::new();
    while pin.len() < PIN_DIGITS {
        let mut byte = [0];
        System.fill(&mut byte).map_err(|error| error.to_string())?;
        // The 250 lowest values have each last digit equally often.
        pin.extend(
            byte.iter()
                .filter(|byte| **byte < 250)
                .map(|byte| char::from(b'0' + byte % 10)),
        );
    }
    file.write_all(pin.as_bytes())
        .map_err(|error| format!("cannot write the PIN file {}: {error}", path.display()))
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let deadline = Instant::now() + CONNECT;
    loop {
        match TcpStream::connect(address) {
            Ok(line) => return Ok(line),
            Err(error) if Instant::now() > deadline => {
                return Err(format!(
                    "no virtual reader listens at {address}: {error}; --own-reader starts one"
                ));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether the error says that the other end left.
fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

const PIN_DIGITS: usize = 10;
const CONNECT: Duration = Duration::from_secs(5);
