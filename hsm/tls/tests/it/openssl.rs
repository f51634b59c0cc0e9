// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both roles against the OpenSSL command line, our key in a SoftHSM2 token: mutual authentication, both GCM suites.
//!
//! `OPENSSL` names another binary than the one in the path. TLS 1.3 with brainpool needs OpenSSL 3.2.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hsm_pkcs11::softhsm::in_child;
use hsm_pki::{from_pem, to_pem};
use hsm_tls::{PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, ServerConnection};

use crate::party::{PIN, Party};

const DEADLINE: Duration = Duration::from_secs(20);

/// One version as OpenSSL is told about it, and what it reports back.
struct Row {
    version: &'static str,
    group: &'static str,
    suite: &'static str,
    profile: fn(TlsProfile) -> TlsProfile,
}

const ROWS: &[Row] = &[
    Row {
        version: "-tls1_2",
        group: "brainpoolP256r1",
        suite: "ECDHE-ECDSA-AES128-GCM-SHA256",
        profile: |profile| profile.only_suite(0xC02B),
    },
    Row {
        version: "-tls1_2",
        group: "brainpoolP256r1",
        suite: "ECDHE-ECDSA-AES256-GCM-SHA384",
        profile: |profile| profile.only_suite(0xC02C),
    },
    Row {
        version: "-tls1_3",
        group: "brainpoolP256r1tls13",
        suite: "TLS_AES_128_GCM_SHA256",
        profile: |profile| profile.only_suite(0x1301),
    },
    Row {
        version: "-tls1_3",
        group: "brainpoolP256r1tls13",
        suite: "TLS_AES_256_GCM_SHA384",
        profile: |profile| profile.only_suite(0x1302),
    },
];

fn binary() -> PathBuf {
    std::env::var_os("OPENSSL")
        .unwrap_or_else(|| "openssl".into())
        .into()
}

/// The rows this OpenSSL can play; says what is left out.
fn playable() -> Vec<&'static Row> {
    let Ok(output) = Command::new(binary()).arg("version").output() else {
        println!("SKIPPED: openssl is not installed");
        return Vec::new();
    };
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = version
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .split('.')
        .map(str::parse::<u32>);
    let number = (
        numbers.next().unwrap().unwrap(),
        numbers.next().unwrap().unwrap(),
    );
    let tls13 = number >= (3, 2);
    if !tls13 {
        println!(
            "TLS 1.3 with brainpool needs OpenSSL 3.2 and this is {}: left to the pyopenssl tests",
            version.trim()
        );
    }
    ROWS.iter()
        .filter(|row| tls13 || row.version == "-tls1_2")
        .collect()
}

/// OpenSSL's own key and certificate, and our certificate for it to trust.
pub struct Foreign {
    dir: tempfile::TempDir,
    /// An OpenSSL configuration of its own.
    conf: Option<PathBuf>,
    pub leaf: CertificateDer<'static>,
}

impl Foreign {
    pub fn new(ours: &Party) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ours.pem"), to_pem(&ours.leaf())).unwrap();
        let made = Command::new(binary())
            .current_dir(dir.path())
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:brainpoolP256r1",
                "-nodes",
            ])
            .args([
                "-keyout",
                "foreign.key",
                "-out",
                "foreign.pem",
                "-sha256",
                "-days",
                "30",
                "-subj",
                "/CN=foreign",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "keyUsage=critical,digitalSignature"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let leaf =
            from_pem(&std::fs::read_to_string(dir.path().join("foreign.pem")).unwrap()).unwrap();
        Self {
            dir,
            conf: None,
            leaf,
        }
    }

    /// Makes this partner leave out `extended_master_secret`, for which the command line has no option in 3.0.
    fn without_ems(mut self) -> Self {
        let conf = self.path().join("openssl.cnf");
        let text = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nOptions = -ExtendedMasterSecret\n";
        std::fs::write(&conf, text).unwrap();
        self.conf = Some(conf);
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn spawn(&self, program: &Path, args: &[&str]) -> Running {
        let child = Command::new(program)
            .envs(self.conf.iter().map(|conf| ("OPENSSL_CONF", conf)))
            .current_dir(self.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(Some(child))
    }
}

/// A child that never outlives its test.
pub struct Running(Option<Child>);

impl Running {
    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn output(mut self) -> String {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn timed(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn accept(listener: TcpListener) -> TcpStream {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(listener.accept()));
    let (stream, _) = receiver
        .recv_timeout(DEADLINE)
        .expect("the client connects in time")
        .unwrap();
    timed(stream)
}

/// One connection of `openssl s_client` with these extra arguments; what our server and OpenSSL made of it.
fn serve(
    gateway: &Party,
    client: &Foreign,
    known: &CertificateDer<'static>,
    extra: &[&str],
) -> (Result<(), String>, String) {
    serve_one(gateway, known, &TlsProfile::smgw_han_server(), |address| {
        let mut args = vec![
            "s_client",
            "-connect",
            address,
            "-servername",
            "gateway.example",
        ];
        args.extend([
            "-CAfile",
            "ours.pem",
            "-verify_return_error",
            "-verify",
            "1",
        ]);
        args.extend(extra);
        let mut client = client.spawn(&binary(), &args);
        client
            .child()
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"ping\n")
            .unwrap();
        client
    })
}

/// Serves the client that `start` spawns: reads "ping", answers "pong".
pub fn serve_one(
    gateway: &Party,
    known: &CertificateDer<'static>,
    profile: &TlsProfile,
    start: impl FnOnce(&str) -> Running,
) -> (Result<(), String>, String) {
    let clients = PinnedPeers::new([known.clone()]);
    let config = server_config(
        gateway.module.clone(),
        profile,
        gateway.identity.clone(),
        clients,
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = start(&listener.local_addr().unwrap().to_string());

    let mut stream = accept(listener);
    let mut connection = ServerConnection::new(config).unwrap();
    let outcome = (|| {
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut line = [0; 5];
        tls.read_exact(&mut line)?;
        assert_eq!(&line, b"ping\n");
        tls.write_all(b"pong\n")?;
        tls.conn.send_close_notify();
        tls.conn.complete_io(tls.sock).map(|_| ())
    })();
    // On failure the alert is still waiting to be sent.
    while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
    let _ = stream.shutdown(std::net::Shutdown::Write);
    (
        outcome.map_err(|error: std::io::Error| error.to_string()),
        client.output(),
    )
}

#[test]
fn openssl_client_reaches_token_server() {
    in_child(
        "openssl::openssl_client_reaches_token_server",
        &["t"],
        PIN,
        |library| {
            let gateway = Party::token(&library, "gateway");
            for row in playable() {
                let foreign = Foreign::new(&gateway);
                let suite = if row.version == "-tls1_2" {
                    "-cipher"
                } else {
                    "-ciphersuites"
                };
                let extra = [
                    row.version,
                    suite,
                    row.suite,
                    "-groups",
                    row.group,
                    "-cert",
                    "foreign.pem",
                    "-key",
                    "foreign.key",
                ];
                let (ours, theirs) = serve(&gateway, &foreign, &foreign.leaf, &extra);
                assert_eq!(ours, Ok(()), "{theirs}");
                let report: Vec<&str> = theirs
                    .lines()
                    .filter(|line| {
                        [
                            "Cipher is",
                            "Temp Key",
                            "Verification",
                            "Extended master",
                            "Peer signature",
                        ]
                        .iter()
                        .any(|key| line.contains(key))
                    })
                    .map(str::trim)
                    .collect();
                println!("s_client {}: {report:?}", row.version);
                assert!(theirs.contains("pong"), "{theirs}");
                assert!(
                    theirs.contains(&format!("Cipher is {}", row.suite)),
                    "{theirs}"
                );
                assert!(theirs.contains("brainpoolP256r1"), "{theirs}");
                assert!(theirs.contains("Verification: OK"), "{theirs}");
                if row.version == "-tls1_2" {
                    assert!(theirs.contains("Extended master secret: yes"), "{theirs}");
                }
            }
        },
    );
}

#[test]
fn openssl_client_is_refused() {
    if playable().is_empty() {
        return;
    }
    let gateway = Party::soft("gateway");
    let foreign = Foreign::new(&gateway);
    let stranger = Foreign::new(&gateway);
    let old = Foreign::new(&gateway).without_ems();
    let own = &["-cert", "foreign.pem", "-key", "foreign.key"][..];
    let tls12 = &["-tls1_2", "-groups", "brainpoolP256r1"][..];
    let cbc = &["-cipher", "ECDHE-ECDSA-AES128-SHA256"][..];
    let p256 = &["-tls1_2", "-groups", "P-256"][..];
    let tls11 = &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..];
    for (why, client, args, alert) in [
        (
            "CBC suite",
            &foreign,
            [tls12, own, cbc].concat(),
            "alert handshake failure",
        ),
        (
            "P-256",
            &foreign,
            [p256, own].concat(),
            "alert handshake failure",
        ),
        (
            "TLS 1.1",
            &foreign,
            [tls11, own].concat(),
            "alert handshake failure",
        ),
        (
            "no certificate",
            &foreign,
            tls12.to_vec(),
            "alert certificate required",
        ),
        (
            "stranger",
            &stranger,
            [tls12, own].concat(),
            "alert certificate unknown",
        ),
        (
            "no EMS",
            &old,
            [tls12, own].concat(),
            "alert handshake failure",
        ),
    ] {
        // Whoever comes, the gateway knows `foreign`; `old` it would know if it behaved.
        let known = if why == "no EMS" {
            &old.leaf
        } else {
            &foreign.leaf
        };
        let (ours, theirs) = serve(&gateway, client, known, &args);
        let error = ours.expect_err(why);
        println!("{why}: {error}");
        assert!(theirs.contains(alert), "{why}: {theirs}");
        assert!(!theirs.contains("pong"), "{why}");
    }
}

#[test]
fn token_client_reaches_openssl_server() {
    in_child(
        "openssl::token_client_reaches_openssl_server",
        &["t"],
        PIN,
        |library| {
            let gateway = Party::token(&library, "gateway");
            for row in playable() {
                let foreign = Foreign::new(&gateway);
                let suite = if row.version == "-tls1_2" {
                    "-cipher"
                } else {
                    "-ciphersuites"
                };
                let server = foreign.spawn(
                    &binary(),
                    &[
                        "s_server",
                        "-accept",
                        "127.0.0.1:0",
                        row.version,
                        suite,
                        row.suite,
                        "-groups",
                        row.group,
                        "-cert",
                        "foreign.pem",
                        "-key",
                        "foreign.key",
                        "-CAfile",
                        "ours.pem",
                        "-Verify",
                        "1",
                        "-verify_return_error",
                        "-naccept",
                        "1",
                        "-rev",
                    ],
                );
                let profile = (row.profile)(TlsProfile::smgw_wan_client());
                call_one(&gateway, &foreign, &profile, server);
            }
        },
    );
}

/// Calls a server that was told to listen on port 0 and to send the line back reversed.
pub fn call_one(gateway: &Party, foreign: &Foreign, profile: &TlsProfile, mut server: Running) {
    // It says "ACCEPT 127.0.0.1:40123" once it listens.
    let mut said = BufReader::new(server.child().stdout.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert_ne!(
            said.read_line(&mut line).unwrap(),
            0,
            "the server does not start"
        );
        if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
            break address.to_owned();
        }
    };
    let pinned = PinnedPeers::new([foreign.leaf.clone()]);
    let own = Some(gateway.identity.clone());
    let config = client_config(gateway.module.clone(), profile, own, pinned).unwrap();
    let name = ServerName::try_from("emt.example").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut stream = timed(TcpStream::connect(&address).unwrap());
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    tls.write_all(b"gnip\n").unwrap();
    let mut line = [0; 5];
    tls.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ping\n");
    tls.conn.send_close_notify();
    tls.conn.complete_io(tls.sock).unwrap();
    drop(stream);
    let suite = connection
        .negotiated_cipher_suite()
        .map(|suite| suite.suite());
    let group = connection
        .negotiated_key_exchange_group()
        .map(|group| group.name());
    let mut rest = String::new();
    let _ = said.read_to_string(&mut rest);
    println!(
        "foreign server: {suite:?} {group:?} {}",
        rest.lines().next().unwrap_or_default()
    );
    let errors = server.output();
    assert!(
        !errors.contains("verify error") && !errors.contains("Traceback"),
        "{errors}"
    );
}
