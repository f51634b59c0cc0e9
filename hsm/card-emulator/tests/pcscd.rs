// SPDX-License-Identifier: MIT OR Apache-2.0
//! The isolated pcscd: seen by clients outside, its ports by nobody, and gone with its owner.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hsm_card_emulator::pcscd::{PORTS, Pcscd, READERS, StartError};

const PATIENCE: Duration = Duration::from_secs(20);
const OWNER_VARIABLE: &str = "SMGW_TEST_PCSCD_OWNER";

/// A pcscd, or none on a machine that cannot run it.
fn pcscd() -> Option<Pcscd> {
    match Pcscd::start() {
        Ok(pcscd) => Some(pcscd),
        Err(StartError::Absent(why)) => {
            println!("SKIPPED: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn readers(pcscd: &Pcscd) -> String {
    let (name, socket) = pcscd.environment();
    let listed = Command::new("opensc-tool")
        .arg("-l")
        .env(name, socket)
        .output()
        .unwrap();
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

/// Port and inode of each listening socket.
fn listening(table: &str) -> BTreeSet<(u16, String)> {
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A")
        .map(|fields| {
            let (_, port) = fields[1].rsplit_once(':').unwrap();
            (u16::from_str_radix(port, 16).unwrap(), fields[9].to_owned())
        })
        .collect()
}

fn inside(pcscd: &Pcscd, program: &str, arguments: &[&str]) -> String {
    let output = pcscd.inside(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn clients_outside_see_the_reader_and_nobody_sees_its_ports() {
    let Some(pcscd) = pcscd() else { return };
    let seen = readers(&pcscd);
    for reader in READERS {
        assert!(seen.contains(reader), "{seen}");
    }
    let within = listening(&inside(&pcscd, "cat", &["/proc/self/net/tcp"]));
    let ports: BTreeSet<_> = within.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, BTreeSet::from(PORTS));
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(outside) = fs::read_to_string(table) else {
            continue;
        };
        // By inode: another vpcd on the machine may use the same ports.
        assert!(within.is_disjoint(&listening(&outside)), "{table}");
    }
    // The namespace's only device is the loopback one.
    let devices = inside(&pcscd, "cat", &["/proc/self/net/dev"]);
    let devices: Vec<_> = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .filter(|name| !TUNNELS.contains(name))
        .collect();
    assert_eq!(devices, ["lo"]);
}

/// Devices that some kernels put into every new namespace; they are down and lead nowhere.
const TUNNELS: [&str; 8] = [
    "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0", "ip_vti0",
];

#[test]
fn several_run_at_once_and_end_alone() {
    let Some(one) = pcscd() else { return };
    let two = Pcscd::start().unwrap();
    let socket = one.environment().1;
    assert_ne!(socket, two.environment().1);
    assert!(readers(&one).contains(READERS[0]));
    drop(one);
    assert!(!socket.parent().unwrap().exists(), "the folder is left");
    assert!(processes_of(socket.parent().unwrap()).is_empty());
    assert!(readers(&two).contains(READERS[0]));
}

#[test]
fn it_comes_back_behind_the_same_socket() {
    let Some(mut pcscd) = pcscd() else { return };
    let before = pcscd.environment();
    pcscd.restart().unwrap();
    assert_eq!(pcscd.environment(), before);
    assert!(readers(&pcscd).contains(READERS[0]));
}

#[test]
fn it_dies_with_an_owner_that_is_killed() {
    if let Some(socket) = std::env::var_os(OWNER_VARIABLE) {
        assert_eq!(socket, "own");
        let pcscd = Pcscd::start().unwrap();
        println!("socket={}", pcscd.environment().1.display());
        loop {
            thread::park();
        }
    }
    if pcscd().is_none() {
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "it_dies_with_an_owner_that_is_killed",
        ])
        .env(OWNER_VARIABLE, "own")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("socket=")
                .map(|(_, path)| PathBuf::from(path))
        })
        .and_then(|socket| socket.parent().map(Path::to_owned))
        .unwrap();
    assert!(!processes_of(&folder).is_empty());
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the processes end", || processes_of(&folder).is_empty());
    until("the folder goes", || !folder.exists());
}

/// Processes whose command line names the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}
