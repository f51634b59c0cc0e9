// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interop matrix: both roles, every group with a key on its curve, every suite, every back-end, against OpenSSL
//! 3.0 for TLS 1.2 and a newer one for TLS 1.3. Both sides authenticate and data goes both ways.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use hsm_api::{Curve, SecurityModule};
use hsm_card::{CardOptions, CardTransport, PcscReader};
use hsm_card_emulator::pcscd::{READERS, SOCKET_VARIABLE};
use hsm_card_emulator::process::Rig;
use hsm_card_emulator::randomness::System;
use hsm_pkcs11::softhsm::in_child_with;
use hsm_soft::SoftModule;
use hsm_tls::{PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, CommonState, ProtocolVersion, ServerConnection};

use crate::party::{PIN, Party, line_to, new_card, open_card, token};
use crate::peer::{Foreign, Python, accept, connect, curve_name, listen, openssl_present};

/// The back-ends of the matrix; `library` is the token's. The card is behind pcscd if the machine can run one.
fn back_ends(library: &Path) -> Vec<(&'static str, Arc<dyn SecurityModule>)> {
    let card: Box<dyn CardTransport> = match std::env::var_os(SOCKET_VARIABLE) {
        Some(_) => Box::new(PcscReader::new(READERS[0])),
        None => line_to(&new_card(System)),
    };
    let card = open_card(card, CardOptions::default());
    vec![
        ("softhsm2", token(library)),
        ("card", Arc::new(card)),
        ("soft", Arc::new(SoftModule::new())),
    ]
}

/// Curve, group in TLS 1.2, group in TLS 1.3, and its name there in OpenSSL.
const GROUPS: [(Curve, u16, u16, &str); 5] = [
    (Curve::BrainpoolP256r1, 26, 31, "brainpoolP256r1tls13"),
    (Curve::BrainpoolP384r1, 27, 32, "brainpoolP384r1tls13"),
    (Curve::BrainpoolP512r1, 28, 33, "brainpoolP512r1tls13"),
    (Curve::NistP256, 23, 23, "P-256"),
    (Curve::NistP384, 24, 24, "P-384"),
];

const TLS12_SUITES: [(u16, &str); 4] = [
    (0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xC023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xC024, "ECDHE-ECDSA-AES256-SHA384"),
];

const TLS13_SUITES: [(u16, &str); 3] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
];

/// Lengths around the blocks of AES and of both hashes, and beyond one read.
const LENGTHS: [usize; 16] = [
    1, 14, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 255, 1000, 5000,
];

/// Lines that no command of `s_client` begins with.
fn lines() -> Vec<String> {
    let line = |(index, len): (usize, &usize)| {
        let letter = |at: usize| char::from(b'a' + ((at * 7 + index) % 10) as u8);
        (0..*len).map(letter).collect()
    };
    LENGTHS.iter().enumerate().map(line).collect()
}

fn reversed(line: &str) -> String {
    line.chars().rev().collect()
}

struct Row {
    version: ProtocolVersion,
    curve: Curve,
    group: u16,
    suite: (u16, &'static str),
}

impl Row {
    fn profile(&self, profile: TlsProfile) -> TlsProfile {
        profile
            .with_cbc()
            .only_suite(self.suite.0)
            .only_group(self.group)
    }

    /// Whether exactly this was negotiated.
    fn require(&self, connection: &CommonState) -> io::Result<()> {
        let found = (
            connection.protocol_version(),
            connection
                .negotiated_cipher_suite()
                .map(|suite| u16::from(suite.suite())),
            connection
                .negotiated_key_exchange_group()
                .map(|group| u16::from(group.name())),
            connection.peer_certificates().map(<[_]>::len),
        );
        let wanted = (
            Some(self.version),
            Some(self.suite.0),
            Some(self.group),
            Some(1),
        );
        if found == wanted {
            Ok(())
        } else {
            Err(io::Error::other(format!("negotiated {found:?}")))
        }
    }
}

/// Our server for one connection, which sends `count` lines back reversed, or all until the client ends.
fn serve(
    party: &Party,
    foreign: &Foreign,
    row: &Row,
    listener: &std::net::TcpListener,
    count: usize,
) -> io::Result<()> {
    let profile = row.profile(TlsProfile::smgw_han_server());
    let pinned = PinnedPeers::new([foreign.leaf.clone()]);
    let config = server_config(
        party.module.clone(),
        &profile,
        party.identity.clone(),
        pinned,
    )
    .map_err(io::Error::other)?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = accept(listener);
    let outcome = (|| {
        let mut tls = BufReader::new(rustls::Stream::new(&mut connection, &mut stream));
        for _ in 0..count {
            let mut line = String::new();
            tls.read_line(&mut line)?;
            let answer = reversed(line.trim_end_matches('\n')) + "\n";
            tls.get_mut().write_all(answer.as_bytes())?;
        }
        tls.get_mut().conn.send_close_notify();
        let tls = tls.into_inner();
        tls.conn.complete_io(tls.sock)
    })();
    // On failure the alert is still waiting to be sent.
    while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
    let _ = stream.shutdown(Shutdown::Write);
    outcome?;
    row.require(&connection)
}

/// Our client for one connection: sends the lines and reads them back reversed.
fn call(party: &Party, foreign: &Foreign, row: &Row, port: u16) -> io::Result<()> {
    let profile = row.profile(TlsProfile::smgw_wan_client());
    let pinned = PinnedPeers::new([foreign.leaf.clone()]);
    let own = Some(party.identity.clone());
    let config =
        client_config(party.module.clone(), &profile, own, pinned).map_err(io::Error::other)?;
    let name = ServerName::try_from("emt.example").unwrap();
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = connect(port);
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    for line in lines() {
        tls.write_all(line.as_bytes())?;
        tls.write_all(b"\n")?;
        let mut answer = vec![0; line.len() + 1];
        tls.read_exact(&mut answer)?;
        if answer != (reversed(&line) + "\n").as_bytes() {
            return Err(io::Error::other("the answer is another line"));
        }
    }
    tls.conn.send_close_notify();
    tls.conn.complete_io(tls.sock)?;
    let _ = stream.shutdown(Shutdown::Write);
    row.require(&connection)
}

/// The rows so far, as a table.
#[derive(Default)]
struct Table {
    text: String,
    rows: usize,
    failed: Vec<String>,
}

impl Table {
    fn add(&mut self, row: &Row, role: &str, back_end: &str, result: Result<(), String>) {
        let version = if row.version == ProtocolVersion::TLSv1_2 {
            "1.2"
        } else {
            "1.3"
        };
        let head = format!(
            "{version} {role:<6} {:>2} {:<15} {:<29} {back_end:<8}",
            row.group,
            curve_name(row.curve),
            row.suite.1
        );
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        writeln!(self.text, "{head} {verdict}").unwrap();
        self.rows += 1;
        if let Err(why) = result {
            self.failed.push(format!("{head} {why}"));
        }
    }
}

/// One party of each back-end with a key on `curve`, and OpenSSL, which knows them all.
fn parties(
    modules: &[(&'static str, Arc<dyn SecurityModule>)],
    curve: Curve,
) -> (Vec<(&'static str, Party)>, Foreign) {
    let parties: Vec<_> = modules
        .iter()
        .map(|(name, module)| {
            let party = Party::on_curve(
                Arc::clone(module),
                &format!("gateway-{name}-{}", curve_name(curve)),
                curve,
            );
            (*name, party)
        })
        .collect();
    let leaves: Vec<_> = parties.iter().map(|(_, party)| party.leaf()).collect();
    let foreign = Foreign::new(curve, &leaves);
    (parties, foreign)
}

fn tls12(
    table: &mut Table,
    parties: &[(&'static str, Party)],
    foreign: &Foreign,
    curve: Curve,
    group: u16,
) {
    let own = [
        "-cert",
        "foreign.pem",
        "-key",
        "foreign.key",
        "-groups",
        curve_name(curve),
    ];
    let ciphers = TLS12_SUITES.map(|(_, name)| name).join(":");
    let (server, port) = foreign.server(&[&["-tls1_2", "-cipher", &ciphers], &own[..]].concat());
    let (listener, own_port) = listen();
    for suite in TLS12_SUITES {
        let row = Row {
            version: ProtocolVersion::TLSv1_2,
            curve,
            group,
            suite,
        };
        for (back_end, party) in parties {
            let result = call(party, foreign, &row, port)
                .map_err(|error| format!("{error}: {}", server.so_far()));
            table.add(&row, "client", back_end, result);

            let mut extra = vec!["-tls1_2", "-nocommands", "-cipher", suite.1];
            extra.extend(own);
            let input = lines().join("\n") + "\n";
            let client = foreign.client(own_port, &extra, &input);
            let ours = serve(party, foreign, &row, &listener, LENGTHS.len());
            let theirs = client.output();
            let expected = [
                format!("Cipher is {}", suite.1),
                "Verification: OK".to_owned(),
                "Extended master secret: yes".to_owned(),
            ];
            let answers = lines();
            let answers = answers.iter().map(|line| reversed(line));
            let missing = expected
                .into_iter()
                .chain(answers)
                .find(|text| !theirs.contains(text));
            let result = match (ours, missing) {
                (Err(error), _) => Err(format!("{error}: {theirs}")),
                (Ok(()), Some(missing)) => {
                    Err(format!("s_client does not say {missing}: {theirs}"))
                }
                (Ok(()), None) => Ok(()),
            };
            table.add(&row, "server", back_end, result);
        }
    }
}

fn tls13(
    table: &mut Table,
    python: &mut Python,
    parties: &[(&'static str, Party)],
    foreign: &Foreign,
    (curve, group, name): (Curve, u16, &str),
) {
    let file = |file: &str| foreign.path().join(file).display().to_string();
    let groups = format!("{name}:{}", curve_name(curve));
    let (listener, own_port) = listen();
    for suite in TLS13_SUITES {
        let row = Row {
            version: ProtocolVersion::TLSv1_3,
            curve,
            group,
            suite,
        };
        let order = |role: &str, port: u16| {
            let lines = if role == "client" {
                lines()
            } else {
                Vec::new()
            };
            format!(
                r#"{{"role": "{role}", "port": {port}, "suite": "{}", "groups": "{groups}", "cert": "{}", "key": "{}", "ours": "{}", "lines": {lines:?}}}"#,
                suite.1,
                file("foreign.pem"),
                file("foreign.key"),
                file("ours.pem"),
            )
        };
        for (back_end, party) in parties {
            let judge = |ours: io::Result<()>, theirs: String| match ours {
                Err(error) => Err(format!("{error}: {theirs}")),
                Ok(())
                    if theirs.contains(suite.1)
                        && theirs.contains("TLSv1.3")
                        && theirs.contains("CN=gateway-") =>
                {
                    Ok(())
                }
                Ok(()) => Err(theirs),
            };
            python.order(&order("server", 0));
            let port: u16 = python
                .answer()
                .trim_matches(|letter: char| !letter.is_ascii_digit())
                .parse()
                .unwrap();
            let ours = call(party, foreign, &row, port);
            table.add(&row, "client", back_end, judge(ours, python.answer()));

            python.order(&order("client", own_port));
            let ours = serve(party, foreign, &row, &listener, LENGTHS.len());
            table.add(&row, "server", back_end, judge(ours, python.answer()));
        }
    }
}

#[test]
fn every_role_group_suite_and_back_end() {
    let name = "matrix::every_role_group_suite_and_back_end";
    let mut rig = None;
    let environment = |_: &Path, _: &Path| {
        rig = Rig::for_test(PIN, &[]);
        rig.iter().map(|rig| rig.pcscd.environment()).collect()
    };
    in_child_with(name, &["t"], PIN, environment, |library| {
        if !openssl_present() {
            return;
        }
        let mut python = Python::start();
        let modules = back_ends(&library);
        let mut table = Table::default();
        for (curve, old, new, name) in GROUPS {
            let (parties, foreign) = parties(&modules, curve);
            tls12(&mut table, &parties, &foreign, curve, old);
            if let Some(python) = &mut python {
                tls13(&mut table, python, &parties, &foreign, (curve, new, name));
            }
        }
        let library = python.as_ref().map(|python| python.library.as_str());
        println!("{}{} rows, TLS 1.3 by {library:?}", table.text, table.rows);
        for (back_end, module) in &modules {
            println!("{back_end}: {}", module.capabilities().name);
        }
        assert!(table.failed.is_empty(), "{}", table.failed.join("\n"));
        let versions = TLS12_SUITES.len() + python.map_or(0, |_| TLS13_SUITES.len());
        assert_eq!(table.rows, 2 * GROUPS.len() * versions * modules.len());
    });
}
