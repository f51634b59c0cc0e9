// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace as Wireshark sees it. Needs `tshark`; says so where it is missing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench_evidence::{Direction, SerialEvent, Side, Trace};
use bench_timing::BenchClock;

/// Runs tshark on the trace and returns its output; none, with a visible remark, where it is not installed.
fn tshark(path: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(path)
        .args(arguments)
        .output();
    let Ok(output) = output else {
        println!("SKIPPED: tshark absent");
        return None;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn trace(dir: &Path) -> (Trace, PathBuf) {
    let path = dir.join("run.pcapng");
    let trace = Trace::create(&path, &BenchClock::start()).expect("a trace");
    (trace, path)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Asserts that a filter matches no packet.
fn none(path: &Path, filter: &str) {
    let checks = [
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "udp.check_checksum:TRUE",
        "-Y",
        filter,
    ];
    if let Some(found) = tshark(path, &checks) {
        assert_eq!(found, "", "{filter}");
    }
}

const BROKEN: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0";

/// A TLS 1.2 ClientHello with one suite and a server name.
fn client_hello() -> Vec<u8> {
    let name = b"emt-a.example";
    let mut sni = vec![0, 0];
    sni.extend((name.len() as u16 + 5).to_be_bytes());
    sni.extend((name.len() as u16 + 3).to_be_bytes());
    sni.push(0);
    sni.extend((name.len() as u16).to_be_bytes());
    sni.extend(name);
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend((sni.len() as u16).to_be_bytes());
    body.extend(sni);
    let mut record = vec![22, 3, 1];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn serial_lines_are_recognised_with_direction_and_comment() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.serial("lmn0");
    let now = BenchClock::now();
    trace.mark(Some("case MET-01 step 3"));
    tap.rx(now, &[0x10, 0x40, 0xf0, 0x30, 0x16]);
    tap.tx(now + Duration::from_nanos(1_234), &[0xe5]);
    trace.mark(None);
    tap.event(now + Duration::from_millis(1), SerialEvent::ParityError);
    tap.loss(now + Duration::from_millis(2), "the adapter vanished");
    trace
        .serial("lmn1")
        .rx(now + Duration::from_millis(3), &vec![0x55; 70_000]);
    trace.close().expect("on disk");
    assert_eq!(trace.packets(), 6);
    none(&path, BROKEN);
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "rtacser.eventtype",
        "-e",
        "frame.packet_flags_direction",
        "-e",
        "frame.comment",
        "-e",
        "frame.len",
    ];
    if let Some(seen) = tshark(&path, &fields) {
        let expected = "lmn0\t0x02\t0x00000001\tcase MET-01 step 3\t17\n\
                        lmn0\t0x01\t0x00000002\tcase MET-01 step 3\t13\n\
                        lmn0\t0x08\t0x00000001\t\t12\n\
                        lmn0\t0x05\t0x00000001\tthe adapter vanished\t12\n\
                        lmn1\t0x02\t0x00000001\t\t65012\n\
                        lmn1\t0x02\t0x00000001\tcontinued\t5012\n";
        assert_eq!(seen, expected);
    }
    if let Some(seen) = tshark(
        &path,
        &["-c", "2", "-T", "fields", "-e", "frame.time_delta"],
    ) {
        assert_eq!(seen, "0.000000000\n0.000001234\n", "nanoseconds survive");
    }
}

#[test]
fn sml_files_are_dissected() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.sml("lmn0.sml");
    // One SML file holding a single PublicClose.Res (IEC 62056-5-3-8 / SML 1.04), CRC-16/X-25.
    let mut file = vec![0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];
    let mut message = vec![
        0x76, 0x03, 0x01, 0x02, 0x62, 0x00, 0x62, 0x00, 0x72, 0x63, 0x02, 0x01, 0x71, 0x01,
    ];
    let crc = x25(&message).swap_bytes();
    message.push(0x63);
    message.extend(crc.to_be_bytes());
    message.push(0);
    file.extend(message);
    let fill = file.len().wrapping_neg() % 4;
    file.extend(vec![0; fill]);
    file.extend([0x1b, 0x1b, 0x1b, 0x1b, 0x1a, fill as u8]);
    let crc = x25(&file).swap_bytes();
    file.extend(crc.to_be_bytes());
    tap.frame(BenchClock::now(), Direction::Inbound, &file);
    tap.frame(BenchClock::now(), Direction::Outbound, &vec![0x1b; 70_000]);
    trace.close().expect("on disk");
    let decode = ["-d", "udp.port==7259,sml"];
    if let Some(seen) = tshark(&path, &[&decode[..], &["-c", "1", "-V"]].concat()) {
        assert!(seen.contains("Smart Message Language"), "{seen}");
        assert!(seen.contains("PublicClose.Res"), "{seen}");
        assert!(!seen.contains("Malformed"), "{seen}");
    }
    none(&path, BROKEN);
}

fn x25(bytes: &[u8]) -> u16 {
    let step = |crc: u16, byte: &u8| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x8408
            } else {
                crc >> 1
            }
        })
    };
    !bytes.iter().fold(0xffff, step)
}

#[test]
fn captured_sml_is_dissected() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpora");
    let corpora = std::env::var_os("SMGW_BENCH_CORPORA").map_or(default, PathBuf::from);
    let mut captures = Vec::new();
    collect_sml(&corpora, &mut captures);
    if captures.is_empty() {
        println!("SKIPPED: corpora absent");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.sml("captures");
    let mut written = 0;
    for file in captures.iter().take(5) {
        let bytes = fs::read(file).expect("readable");
        if let Some(first) = first_file(&bytes) {
            tap.frame(BenchClock::now(), Direction::Inbound, first);
            written += 1;
        }
    }
    trace.close().expect("on disk");
    let seen = tshark(
        &path,
        &[
            "-d",
            "udp.port==7259,sml",
            "-T",
            "fields",
            "-e",
            "frame.protocols",
        ],
    );
    if let Some(seen) = seen {
        assert_eq!(
            seen.lines().filter(|l| l.ends_with("udp:sml")).count(),
            written,
            "{seen}"
        );
        println!("{written} captured files dissected as SML");
        assert!(written > 0);
    }
}

fn collect_sml(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect_sml(&path, found);
        } else if path.extension().is_some_and(|e| e == "bin") {
            found.push(path);
        }
    }
}

/// The first complete SML file of a capture.
fn first_file(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes
        .windows(8)
        .position(|w| w == [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1])?;
    let rest = &bytes[start..];
    let end = rest
        .windows(5)
        .position(|w| w == [0x1b, 0x1b, 0x1b, 0x1b, 0x1a])?;
    rest.get(..end + 8)
}

#[test]
fn conversations_look_ordinary_in_both_families() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    for (client, server) in [
        ("127.0.0.1:50001", "127.0.0.1:443"),
        ("[::1]:50002", "[::1]:443"),
        ("127.0.0.1:50003", "[::1]:443"),
    ] {
        let tap = trace.tcp("wan", address(client), address(server));
        let mut now = BenchClock::now();
        let mut tick = || {
            now = now + Duration::from_micros(50);
            now
        };
        tap.opened(tick());
        tap.client(tick(), &client_hello());
        tap.server(tick(), &[0x16; 3]);
        tap.server(tick(), &vec![0x5a; 40_000]);
        tap.client(tick(), b"");
        tap.client(tick(), b"x");
        tap.fin(tick(), Side::Client);
        tap.server(tick(), b"last words");
        tap.fin(tick(), Side::Server);
        tap.fin(tick(), Side::Server);
    }
    let reset = trace.tcp("wan", address("127.0.0.1:50004"), address("127.0.0.1:443"));
    reset.client(BenchClock::now(), b"refused");
    reset.reset(BenchClock::now(), Side::Server);
    trace.close().expect("on disk");
    none(&path, BROKEN);
    none(&path, "tcp.analysis.flags");
    let hello = [
        "-Y",
        "tls.handshake.type == 1",
        "-T",
        "fields",
        "-e",
        "tls.handshake.extensions_server_name",
    ];
    if let Some(seen) = tshark(&path, &hello) {
        assert_eq!(seen, "emt-a.example\nemt-a.example\nemt-a.example\n");
    }
    if let Some(seen) = tshark(&path, &["-q", "-z", "follow,tcp,raw,0"]) {
        let server: usize = seen
            .lines()
            .filter_map(|l| l.strip_prefix('\t'))
            .map(|l| l.len() / 2)
            .sum();
        assert_eq!(server, 3 + 40_000 + 10, "the stream is whole");
    }
    if let Some(seen) = tshark(&path, &["-Y", "tcp.flags.reset == 1"]) {
        assert_eq!(seen.lines().count(), 1, "{seen}");
    }
}

#[test]
fn a_bulk_transfer_is_capped_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.tcp_capped(
        "cls",
        address("127.0.0.1:50001"),
        address("127.0.0.1:1080"),
        10_000,
    );
    let now = BenchClock::now();
    tap.client(now, &[1; 6_000]);
    tap.server(now, &[2; 6_000]);
    for _ in 0..1_000 {
        tap.client(now, &[3; 65_536]);
    }
    tap.fin(now, Side::Client);
    tap.fin(now, Side::Server);
    drop(tap);
    trace.close().expect("on disk");
    assert!(fs::metadata(&path).expect("a file").len() < 20_000);
    none(&path, BROKEN);
    none(&path, "tcp.analysis.flags");
    if let Some(seen) = tshark(
        &path,
        &["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"],
    ) {
        assert_eq!(
            seen,
            "recording stops here after 10000 bytes; what follows is counted\n\
             65536000 bytes from the client and 2000 from the server were counted but not recorded\n"
        );
    }
}

#[test]
fn open_conversations_are_counted_when_the_trace_closes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.tcp_capped("cls", address("127.0.0.1:1"), address("127.0.0.1:2"), 4);
    tap.client(BenchClock::now(), b"hello");
    trace.close().expect("on disk");
    let size = fs::metadata(&path).expect("a file").len();
    tap.client(BenchClock::now(), b"late");
    drop(tap);
    assert_eq!(
        fs::metadata(&path).expect("a file").len(),
        size,
        "closed means closed"
    );
    if let Some(seen) = tshark(
        &path,
        &[
            "-Y",
            "ip.proto == 253",
            "-T",
            "fields",
            "-e",
            "frame.comment",
        ],
    ) {
        assert_eq!(
            seen,
            "1 bytes from the client and 0 from the server were counted but not recorded\n"
        );
    }
}

#[test]
fn a_trace_is_readable_while_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.serial("lmn0");
    for n in 0..20 {
        tap.rx(BenchClock::now(), &[n; 7]);
        let bytes = fs::read(&path).expect("readable");
        let copy = dir.path().join("copy.pcapng");
        fs::write(&copy, bytes).expect("written");
        if n % 10 == 9
            && let Some(seen) = tshark(&copy, &["-T", "fields", "-e", "frame.number"])
        {
            assert_eq!(seen.lines().count(), usize::from(n) + 1);
        }
    }
}

#[test]
fn frames_of_an_ethernet_are_dissected() {
    let dir = tempfile::tempdir().expect("a directory");
    let (trace, path) = trace(dir.path());
    let tap = trace.ethernet("CLS");
    // Who has 10.0.3.15? Tell 10.0.3.20.
    let request = [
        &[0xff; 6][..],
        &[0x52, 0x54, 0, 0, 0, 0x14],
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
        &[0x52, 0x54, 0, 0, 0, 0x14, 10, 0, 3, 20],
        &[0, 0, 0, 0, 0, 0, 10, 0, 3, 15],
    ]
    .concat();
    tap.frame(BenchClock::now(), Direction::Outbound, &request);
    trace.close().expect("on disk");
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "eth.src",
        "-e",
        "arp.dst.proto_ipv4",
        "-e",
        "frame.packet_flags_direction",
    ];
    if let Some(seen) = tshark(&path, &fields) {
        assert_eq!(seen, "CLS\t52:54:00:00:00:14\t10.0.3.15\t0x00000002\n");
    }
}
