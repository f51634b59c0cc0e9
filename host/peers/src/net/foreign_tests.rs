// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network peers against OpenSSL. Without it each test prints a SKIPPED line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hsm_pki::read_pem_file;
use hsm_tls::TlsProfile;
use rustls::pki_types::CertificateDer;

use super::*;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

fn openssl_missing() -> bool {
    let missing = Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err();
    if missing {
        println!("SKIPPED: openssl is not installed");
    }
    missing
}

/// A key and a self-signed certificate made by OpenSSL: `{name}.key` and `{name}.pem` in `folder`.
fn foreign_certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:brainpoolP256r1",
        ])
        .args(["-sha256", "-days", "2", "-subj", &format!("/CN={name}")])
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(made.success());
    read_pem_file(&folder.join(format!("{name}.pem"))).expect("a certificate")
}

/// `openssl s_server` on a loopback port; killed on drop.
struct ForeignServer {
    child: Child,
    addr: SocketAddr,
}

impl ForeignServer {
    fn start(folder: &Path, options: &[&str]) -> Self {
        // Free when looked for; s_server cannot tell a port it chose itself in a stable way.
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|port| port.local_addr())
            .expect("a port");
        let child = Command::new("openssl")
            .current_dir(folder)
            .args([
                "s_server",
                "-accept",
                &addr.to_string(),
                "-cert",
                "server.pem",
                "-key",
                "server.key",
                "-curves",
                "brainpoolP256r1:P-256",
            ])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let server = Self { child, addr };
        let deadline = soon();
        while TcpStream::connect(addr).is_err() {
            assert!(!deadline.left().is_zero(), "s_server does not listen");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn probe_meets_a_foreign_server_that_speaks_only_tls_12() {
    if openssl_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    foreign_certificate(folder.path(), "server");
    let server = ForeignServer::start(folder.path(), &["-tls1_2"]);
    let ask = |hello: &HelloSpec| {
        probe(
            server.addr,
            ProbeTransport::Tcp,
            hello,
            Arc::new(NoTap),
            soon(),
        )
    };
    for version in [0x0301, 0x0302] {
        assert_eq!(
            ask(&HelloSpec::old_version(version)),
            Ok(ProbeOutcome::Alert {
                level: 2,
                description: Alert(70)
            }),
            "{version:04x}"
        );
    }
    assert_eq!(
        ask(&HelloSpec::tls12(&[0xc02b], &[26])),
        Ok(ProbeOutcome::ServerHello {
            version: 0x0303,
            suite: 0xc02b,
            compression: 0
        })
    );
    assert!(matches!(
        ask(&HelloSpec::tls12(&[0x0005], &[23])),
        Ok(ProbeOutcome::Alert {
            level: 2,
            description: Alert(40)
        })
    ));
}

#[test]
fn plain_text_at_a_foreign_server() {
    if openssl_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    foreign_certificate(folder.path(), "server");
    let server = ForeignServer::start(folder.path(), &["-tls1_2", "-www"]);
    let outcome = plain_http(server.addr, Arc::new(NoTap), soon()).expect("TCP");
    assert!(
        matches!(outcome, PlainOutcome::Alert { .. } | PlainOutcome::Closed),
        "{outcome:?}"
    );
}

#[test]
fn han_client_reads_a_foreign_web_server() {
    if openssl_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pinned = foreign_certificate(folder.path(), "server");
    let party = Party::new("consumer-a").expect("a software key");
    std::fs::write(folder.path().join("client.pem"), party.certificate_pem()).expect("a file");
    let server = ForeignServer::start(
        folder.path(),
        &[
            "-tls1_2",
            "-www",
            "-Verify",
            "1",
            "-verify_return_error",
            "-CAfile",
            "client.pem",
        ],
    );
    let get = |party| {
        let side = ClientTls::new(party, &TlsProfile::han_client(), &pinned).expect("client rules");
        HanClient::new(server.addr, side, Arc::new(NoTap)).request("GET", "/", &[], b"", soon())
    };
    let response = get(Some(&party)).expect("a response");
    assert_eq!(response.status, 200);
    let page = String::from_utf8_lossy(&response.body);
    assert!(page.contains("ECDHE-ECDSA-"), "{page}");
    let stranger = Party::new("consumer-b").expect("a software key");
    for refused in [get(Some(&stranger)), get(None)] {
        assert!(
            refused
                .as_ref()
                .is_err_and(|failure| failure.alert().is_some()),
            "{refused:?}"
        );
    }
}

#[test]
fn a_foreign_client_meets_the_emt() {
    if openssl_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let client = foreign_certificate(folder.path(), "client");
    let party = Party::new("emt.example").expect("a software key");
    let side = ServerTls::new(
        &party,
        &TlsProfile::emt_server(),
        std::slice::from_ref(&client),
    )
    .expect("server rules");
    let emt = Emt::start(side, Arc::new(NoTap)).expect("a port");
    let mut child = Command::new("openssl")
        .current_dir(folder.path())
        .args([
            "s_client",
            "-connect",
            &emt.addr().to_string(),
            "-servername",
            "emt.example",
            "-quiet",
            "-tls1_2",
        ])
        .args([
            "-cert",
            "client.pem",
            "-key",
            "client.key",
            "-curves",
            "brainpoolP256r1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut input = child.stdin.take().expect("piped");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    writeln!(input, "good day").expect("a line");
    let connections = emt
        .wait_until(|all| all.iter().any(|one| one.sent == 9), soon())
        .expect("an echo");
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "good day\n");
    let tls = connections[0].tls.as_ref().expect("a handshake");
    assert_eq!(
        (tls.version, tls.group, tls.sni.as_deref()),
        (0x0303, Some(26), Some("emt.example"))
    );
    assert_eq!(tls.peer_certificate.as_deref(), Some(client.as_ref()));
    emt.close_connections();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("the end");
    assert!(rest.is_empty());
    drop(input);
    child.wait().expect("s_client ends");
}
