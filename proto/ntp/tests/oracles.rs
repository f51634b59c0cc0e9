// SPDX-License-Identifier: MIT OR Apache-2.0
//! Against programs of others: chrony's server answers our questions, chrony's client believes our answers, and tshark
//! reads both as we mean them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smgw_ntp::{Answer, Client, ClientRules, Leap, Packet, ServerState, answer};
use smgw_units::{Nanos, UtcNanos};

/// Longest time anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        println!("SKIPPED: {name} absent, `apt-get install {package}`");
    }
    found
}

fn now() -> UtcNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcNanos(since.as_nanos() as i64)
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A chronyd that never touches the machine's clock, with these lines of configuration.
fn chronyd(program: &Path, folder: &Path, options: &[&str], lines: &str) -> Command {
    let file = folder.join("chrony.conf");
    let always = format!("cmdport 0\npidfile {}\n", folder.join("pid").display());
    fs::write(&file, always + lines).unwrap();
    let mut command = Command::new(program);
    // -U: needs no rights, for it sets no clock (-x, -Q).
    command.args(["-U", "-d"]).args(options).arg("-f").arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A port of the loopback interface that nobody listens on.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

fn ask(server: SocketAddr) -> Option<Answer> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let origin = Instant::now();
    let mut client = Client::new(ClientRules::default());
    socket
        .send(&client.ask(*b"\x9c\x11random", Nanos(0)))
        .ok()?;
    let mut octets = [0; 100];
    let len = socket.recv(&mut octets).ok()?;
    let at = Nanos(origin.elapsed().as_nanos() as u64);
    Some(client.judge(&octets[..len], at).unwrap())
}

#[test]
fn chrony_answers_our_questions() {
    let Some(program) = program("chronyd", "chrony") else {
        return;
    };
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let lines = format!("local stratum 5\nport {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\n");
    let server = chronyd(&program, folder.path(), &["-x"], &lines)
        .spawn()
        .unwrap();
    let _server = Running(server);
    let began = Instant::now();
    let told = loop {
        if let Some(told) = ask((Ipv4Addr::LOCALHOST, port).into()) {
            break told;
        }
        assert!(began.elapsed() < PATIENCE, "chronyd does not answer");
    };
    // Its clock is this machine's, so its time lies between two looks at that.
    assert_eq!((told.stratum, told.leap), (5, Leap::None));
    let error = now().signed_since(told.utc);
    let slack = told.uncertainty().as_nanos() as i64;
    assert!((-slack..5_000_000_000).contains(&error), "{error} ns");
}

#[test]
fn chrony_believes_our_answers() {
    let Some(program) = program("chronyd", "chrony") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // A server two hours and a bit ahead.
    const AHEAD: i64 = 7_200_250_000_000;
    let serving = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut octets = [0; 100];
            let ours = || UtcNanos(now().0 + AHEAD);
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut octets) else {
                    continue;
                };
                let received = ours();
                let state = ServerState {
                    upstream: 3,
                    set_at: Some(received),
                    root_dispersion: Duration::from_millis(2),
                    ..ServerState::primary([127, 0, 0, 9])
                };
                let answer = answer(&octets[..len], received, ours(), &state).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    let lines = format!("server 127.0.0.1 port {port} iburst maxsamples 1\n");
    // Looks once, says how wrong the machine's clock is, and leaves it at that.
    let output = chronyd(&program, folder.path(), &["-Q", "-t", "20"], &lines)
        .output()
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    serving.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong = said
        .split("clock wrong by ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let wrong: f64 = wrong.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!((wrong - AHEAD as f64 / 1e9).abs() < 5.0, "{said}");
}

#[test]
fn tshark_reads_what_we_write() {
    let Some(program) = program("tshark", "tshark") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let question = Client::new(ClientRules::default()).ask(*b"\x9c\x11random", Nanos(0));
    // Within era 0, at its end, and in era 1.
    let instants = [1_800_000_000i64, 2_085_978_495, 2_085_978_500];
    let mut messages = vec![question];
    for second in instants {
        let received = UtcNanos(second * 1_000_000_000 + 250_000_000);
        let state = ServerState {
            leap: Leap::Inserted,
            upstream: 1,
            reference_id: [192, 0, 2, 7],
            set_at: Some(UtcNanos::from_seconds(second - 64)),
            root_delay: Duration::from_millis(500),
            root_dispersion: Duration::from_millis(250),
        };
        let sent = UtcNanos(received.0 + 500_000_000);
        messages.push(answer(&question, received, sent, &state).unwrap());
    }
    let file = folder.path().join("ntp.pcap");
    fs::write(&file, pcap(&messages)).unwrap();
    let fields = [
        "flags.li",
        "flags.vn",
        "flags.mode",
        "stratum",
        "precision",
        "rootdelay",
        "rootdispersion",
        "refid",
        "org",
        "rec",
        "xmt",
    ];
    let output = Command::new(program)
        .arg("-r")
        .arg(&file)
        .args(["-T", "fields"])
        .args(
            fields
                .iter()
                .flat_map(|field| ["-e".to_owned(), format!("ntp.{field}")]),
        )
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(
        lines.len(),
        4,
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let number = |text: &str| text.parse::<i64>().unwrap();
    assert_eq!(
        lines[0][..4]
            .iter()
            .map(|text| number(text))
            .collect::<Vec<_>>(),
        [0, 4, 3, 0]
    );
    for (line, second) in lines[1..].iter().zip(instants) {
        let head: Vec<_> = line[..4].iter().map(|text| number(text)).collect();
        assert_eq!(head, [1, 4, 4, 2], "{line:?}");
        // Older versions print the octet without its sign.
        assert_eq!(number(line[4]) as i8, -20);
        // Older versions print seconds with 16 fraction bits as whole numbers.
        let seconds = |text: &str| match text.parse::<f64>().unwrap() {
            raw if raw >= 1.0 => raw / 65_536.0,
            seconds => seconds,
        };
        assert_eq!((seconds(line[5]), seconds(line[6])), (0.5, 0.25));
        assert_eq!(line[7], "c0000207", "{line:?}");
        assert_eq!(line[8], lines[0][10], "origin");
        // Both dissector and we read 32 bits of seconds; it knows era 1 too.
        let (received, sent) = (line[9], line[10]);
        let day = UtcNanos::from_seconds(second).to_string();
        let clock = &day[11..19];
        assert!(
            received.contains(&format!("{clock}.25")),
            "{received} {day}"
        );
        assert!(sent.contains(&format!("{clock}.75")), "{sent} {day}");
        assert!(received.contains(&day[..4]), "{received} {day}");
    }
    for message in &messages {
        assert_eq!(Packet::parse(message).unwrap().encode(), *message);
    }
}

/// A capture of UDP datagrams to port 123, raw IPv4.
fn pcap(messages: &[[u8; 48]]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for message in messages {
        let total = 28 + message.len() as u32;
        for word in [0, 0, total, total] {
            file.extend(u32::to_le_bytes(word));
        }
        let [_, _, high, low] = total.to_be_bytes();
        file.extend([0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0]);
        file.extend([127, 0, 0, 1, 127, 0, 0, 1]);
        let udp = (8 + message.len() as u16).to_be_bytes();
        file.extend([0, 123, 0, 123, udp[0], udp[1], 0, 0]);
        file.extend(message);
    }
    file
}
