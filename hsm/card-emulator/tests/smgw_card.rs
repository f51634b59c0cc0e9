// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `smgw-card` with parts of others: behind pcscd, seen by OpenSC, verified by OpenSSL; and killed at any time.

// Each test program uses a part of it.
#[allow(dead_code)]
mod terminal;

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hsm_api::{Curve, KeyUsage};
use hsm_card::profile::Instruction;
use hsm_card_emulator::dice::Dice;
use hsm_card_emulator::pcscd::READERS;
use hsm_card_emulator::process::Rig;
use sha2::{Digest, Sha256};
use smgw_apdu::{Response, StatusWord};
use tempfile::TempDir;
use terminal::{Line, PIN, SIGNING, Terminal};

const PATIENCE: Duration = Duration::from_secs(30);

/// Set in the process that speaks with pcscd, for libpcsclite takes the socket from its own environment.
const CLIENT_VARIABLE: &str = "SMGW_TEST_CLIENT";

/// What OpenSC's tool says of the reader.
fn opensc(rig: &Rig, arguments: &[&str]) -> String {
    let (name, socket) = rig.pcscd.environment();
    let run = Command::new("opensc-tool")
        .args(arguments)
        .env(name, socket)
        .output()
        .unwrap();
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// Runs a test of this file once more, as a client of the reader.
fn client(rig: &Rig, test: &str) -> Child {
    let (name, socket) = rig.pcscd.environment();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(name, socket)
        .env(CLIENT_VARIABLE, rig.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where the client of a rig leaves what it got; none in the process that makes the rig.
fn as_client() -> Option<PathBuf> {
    std::env::var_os(CLIENT_VARIABLE).map(PathBuf::from)
}

/// A card behind PC/SC.
struct Pcsc(pcsc::Card);

/// A card that left between command and answer shows as an error, or as an answer of no bytes.
impl Line for Pcsc {
    fn send(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        let answer = self.0.transmit(command, &mut buffer).ok()?;
        (!answer.is_empty()).then(|| answer.to_vec())
    }
}

/// Connects to the card once pcscd has taken notice of it.
fn connect() -> Terminal<Pcsc> {
    let context = pcsc::Context::establish(pcsc::Scope::System).unwrap();
    let reader = CString::new(READERS[0]).unwrap();
    let mut card = None;
    until("the card is there", || {
        card = context
            .connect(&reader, pcsc::ShareMode::Exclusive, pcsc::Protocols::ANY)
            .ok();
        card.is_some()
    });
    Terminal::new(Pcsc(card.unwrap()))
}

fn output_of(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn opensc_sees_reader_card_and_status_words() {
    let Some(mut rig) = Rig::for_test(PIN, &[]) else {
        return;
    };
    let slots = |rig: &Rig| opensc(rig, &["-l"]).matches("Yes").count();
    until("the card is seen", || slots(&rig) == 1);
    let atr = opensc(&rig, &["-r", "0", "-a"]);
    assert_eq!(atr.trim(), "3b:8a:80:01:80:73:90:01:c0:64:53:4d:47:57:c3");
    for (command, answer) in [
        ("00A4040C06F0534D475701", "SW1=0x90, SW2=0x00"),
        ("00A4040C06A00000000000", "SW1=0x6A, SW2=0x82"),
        ("00B09C0000", "SW1=0x90, SW2=0x00"),
        ("0084000008", "SW1=0x69, SW2=0x82"),
        ("00CB000008", "SW1=0x6D, SW2=0x00"),
    ] {
        let said = opensc(&rig, &["-r", "0", "-s", command]);
        assert!(said.contains(answer), "{command}: {said}");
    }
    rig.card.remove().unwrap();
    until("the card is missed", || slots(&rig) == 0);
    rig.card.insert().unwrap();
    until("the card is seen again", || slots(&rig) == 1);
}

#[test]
fn openssl_verifies_what_the_card_signs_through_pcscd() {
    if let Some(folder) = as_client() {
        let mut terminal = connect();
        let begun = Instant::now();
        for _ in 0..20 {
            terminal.pace(PIN).unwrap();
        }
        println!(
            "PACE through pcscd: {:.1} ms",
            begun.elapsed().as_secs_f64() * 50.0
        );
        let begun = Instant::now();
        for _ in 0..2000 {
            assert_eq!(terminal.challenge(8).len(), 8);
        }
        println!(
            "GET CHALLENGE through pcscd: {:.0} per second",
            2000.0 / begun.elapsed().as_secs_f64()
        );
        for curve in Curve::ALL {
            let key = terminal.generate(SIGNING, curve, KeyUsage::Sign);
            let signature = terminal.sign(SIGNING, &Sha256::digest(b"signed by a card"));
            let signature = hsm_api::signature::der_from_plain(&signature).unwrap();
            std::fs::write(folder.join(format!("{curve}.key")), key.to_spki_der()).unwrap();
            std::fs::write(folder.join(format!("{curve}.sig")), signature).unwrap();
        }
        return;
    }
    let Some(rig) = Rig::for_test(PIN, &[]) else {
        return;
    };
    let said = output_of(client(
        &rig,
        "openssl_verifies_what_the_card_signs_through_pcscd",
    ));
    for line in said.lines().filter(|line| line.contains("through pcscd:")) {
        println!("{line}");
    }
    let message = rig.folder().join("message");
    std::fs::write(&message, "signed by a card").unwrap();
    for curve in Curve::ALL {
        let file = |extension| rig.folder().join(format!("{curve}.{extension}"));
        let verified = Command::new("openssl")
            .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
            .arg(file("key"))
            .arg("-signature")
            .arg(file("sig"))
            .arg(&message)
            .output()
            .unwrap();
        assert!(verified.status.success(), "{curve}: {verified:?}");
    }
}

#[test]
fn a_card_that_leaves_mid_apdu_is_an_error_to_the_client_and_can_come_back() {
    if as_client().is_some() {
        let mut terminal = connect();
        terminal.pace(PIN).unwrap();
        println!("ready");
        wait_for_line();
        let challenge = terminal
            .profile
            .command(Instruction::GetChallenge)
            .expecting(8);
        assert_eq!(terminal.line.send(&challenge.encode().unwrap()), None);
        println!("gone");
        // The connection was exclusive.
        drop(terminal);
        wait_for_line();
        let mut terminal = connect();
        terminal.pace(PIN).unwrap();
        assert_eq!(terminal.challenge(8).len(), 8);
        return;
    }
    let Some(mut rig) = Rig::for_test(PIN, &[]) else {
        return;
    };
    let mut client = client(
        &rig,
        "a_card_that_leaves_mid_apdu_is_an_error_to_the_client_and_can_come_back",
    );
    let mut said = BufReader::new(client.stdout.take().unwrap());
    heard(&mut said, "ready");
    rig.card.order("fault removal-mid-apdu@1").unwrap();
    go_on(&mut client);
    heard(&mut said, "gone");
    rig.card.until("out of the reader").unwrap();
    rig.card.insert().unwrap();
    go_on(&mut client);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(client.wait().unwrap().success(), "{rest}");
}

#[test]
fn a_card_that_does_not_answer_does_so_when_told() {
    if as_client().is_some() {
        let mut terminal = connect();
        terminal.pace(PIN).unwrap();
        println!("ready");
        wait_for_line();
        assert_eq!(terminal.challenge(8).len(), 8);
        println!("answered");
        return;
    }
    let Some(mut rig) = Rig::for_test(PIN, &[]) else {
        return;
    };
    let mut client = client(&rig, "a_card_that_does_not_answer_does_so_when_told");
    let mut said = BufReader::new(client.stdout.take().unwrap());
    heard(&mut said, "ready");
    rig.card.order("fault no-answer@1").unwrap();
    go_on(&mut client);
    // Until there is something to answer, telling so does nothing; the client ends by the answer only.
    let deadline = Instant::now() + PATIENCE;
    while client.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no answer");
        rig.card.order("answer").unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    heard(&mut said, "answered");
}

fn wait_for_line() {
    let mut line = String::new();
    assert!(std::io::stdin().read_line(&mut line).unwrap() > 0);
}

fn go_on(client: &mut Child) {
    writeln!(client.stdin.as_mut().unwrap(), "go on").unwrap();
}

fn heard(said: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(
            said.read_line(&mut line).unwrap() > 0,
            "ended before \"{word}\""
        );
    }
}

#[test]
fn the_card_ends_with_its_reader() {
    let Some(Rig {
        pcscd, mut card, ..
    }) = Rig::for_test(PIN, &[])
    else {
        return;
    };
    drop(pcscd);
    let mut status = None;
    until("the card ends", || {
        status = card.child().try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}

/// A reader of our own, without pcscd, and a card that keeps its state: the protocol of vpcd from the other side.
struct Slot {
    listener: TcpListener,
    folder: TempDir,
}

impl Slot {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pin"), PIN).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, folder }
    }

    /// Starts the card and waits until it is in the reader.
    fn insert(&self) -> (Child, Reader) {
        let path = |name| self.folder.path().join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_smgw-card"))
            .arg("--reader")
            .arg(self.listener.local_addr().unwrap().to_string())
            .args(["--pin-file".into(), path("pin")])
            .args(["--state".into(), path("card")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (line, _) = self.listener.accept().unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        line.set_nodelay(true).unwrap();
        (child, Reader(line))
    }
}

/// The line to a card in a [`Slot`].
struct Reader(TcpStream);

impl Line for Reader {
    fn send(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(command.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length, command].concat()).ok()?;
        let mut length = [0; 2];
        self.0.read_exact(&mut length).ok()?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

/// The number that a card keeps in a file.
const NUMBER: [u8; 2] = [0xc0, 0x11];

#[test]
fn a_killed_card_has_lost_nothing_it_acknowledged() {
    let slot = Slot::new();
    let mut dice = Dice::new(4);
    let mut acknowledged = 0u32;
    let mut writes = 0;
    for _ in 0..20 {
        let (mut child, reader) = slot.insert();
        let mut terminal = Terminal::new(reader);
        terminal.pace(PIN).unwrap();
        terminal.get(Instruction::SelectFile, &NUMBER);
        let read = terminal
            .profile
            .command(Instruction::ReadBinary)
            .expecting(4);
        let kept = terminal.protected(&read).data.clone();
        let kept = u32::from_be_bytes(kept.try_into().unwrap());
        // The write on the way when the card was killed may have been done.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&kept),
            "{kept} after {acknowledged}"
        );
        acknowledged = kept;
        let delay = Duration::from_micros(dice.below(40_000));
        let killer = thread::spawn(move || {
            thread::sleep(delay);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        loop {
            let next = acknowledged + 1;
            let write = terminal
                .profile
                .command(Instruction::UpdateBinary)
                .with(next.to_be_bytes());
            let channel = terminal.channel.as_mut().unwrap();
            let sent = channel.protect_command(&write).unwrap();
            let Some(answer) = terminal.line.send(&sent.encode().unwrap()) else {
                break;
            };
            let answer = channel.open_response(&Response::decode(&answer).unwrap());
            assert_eq!(answer.unwrap().status, StatusWord::OK);
            acknowledged = next;
            writes += 1;
        }
        killer.join().unwrap();
    }
    println!("{writes} writes acknowledged, 20 kills");
    assert!(writes > 0);
}

#[test]
fn a_wrong_pin_is_counted_even_if_the_card_is_killed_at_once() {
    let slot = Slot::new();
    for left in [0x63c2, 0x63c1, 0x63c0] {
        let (mut child, reader) = slot.insert();
        assert_eq!(
            Terminal::new(reader).pace("0000000000"),
            Err(StatusWord(left))
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, reader) = slot.insert();
    assert_eq!(Terminal::new(reader).pace(PIN), Err(StatusWord(0x63c0)));
    // The reader has gone.
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_smgw-card"))
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("damaged"), "smgw-card state 1 sha256 00\n{}").unwrap();
    std::fs::write(path("short-pin"), "123456789").unwrap();
    std::fs::write(path("profile"), "name = 1").unwrap();
    let nowhere = ["--reader", "127.0.0.1:1"];
    for (arguments, told) in [
        (vec![], "--pin-file"),
        (vec!["--pin-file".into(), path("short-pin")], "10 digits"),
        (vec!["--state".into(), path("damaged")], "damaged"),
        (vec!["--profile".into(), path("profile")], "profile"),
        (vec!["--latency".into(), path("none")], "cannot read"),
        (vec!["--pin-file".into(), path("pin")], "--own-reader"),
    ] {
        let arguments: Vec<&str> = nowhere
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .collect();
        let (code, said) = refused(&arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    let (code, said) = refused(&["--fault", "rust"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--list-faults"), "{said}");
    let made = std::fs::read_to_string(path("pin")).unwrap();
    assert!(made.len() == 10 && made.bytes().all(|digit| digit.is_ascii_digit()));
}

#[test]
fn with_a_reader_of_its_own_it_says_how_to_find_it_and_leaves_nothing() {
    if Rig::for_test(PIN, &[]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_smgw-card"))
        .args(["--own-reader", "--pin-file"])
        .arg(folder.path().join("pin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("export ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    let (name, socket) = line
        .trim()
        .trim_start_matches("export ")
        .split_once('=')
        .unwrap();
    heard(&mut said, "in the reader");
    until("the card is seen", || {
        let listed = Command::new("opensc-tool")
            .arg("-l")
            .env(name, socket)
            .output()
            .unwrap();
        String::from_utf8_lossy(&listed.stdout).contains("Yes")
    });
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the folder goes", || {
        !Path::new(socket).parent().unwrap().exists()
    });
}
