// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's TLS against a server it was not written beside: OpenSSL, in both versions and with every suite and curve
//! that OpenSSL has of the profile.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cls_app::session::Session;
use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed, to_pem};
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsProfile, client_config};
use rustls::pki_types::ServerName;

/// Version, suite, group and curve of the keys, as OpenSSL names them.
const CASES: [(&str, &str, &str, Curve); 6] = [
    (
        "-tls1_2",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "brainpoolP256r1",
        Curve::BrainpoolP256r1,
    ),
    (
        "-tls1_2",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "brainpoolP384r1",
        Curve::BrainpoolP384r1,
    ),
    (
        "-tls1_2",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "prime256v1",
        Curve::NistP256,
    ),
    (
        "-tls1_3",
        "TLS_AES_128_GCM_SHA256",
        "prime256v1",
        Curve::NistP256,
    ),
    (
        "-tls1_3",
        "TLS_AES_256_GCM_SHA384",
        "secp384r1",
        Curve::NistP384,
    ),
    (
        "-tls1_3",
        "TLS_AES_128_CCM_SHA256",
        "prime256v1",
        Curve::NistP256,
    ),
];

#[test]
fn openssl_serves_the_device() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: openssl absent");
        return;
    }
    for (version, suite, group, curve) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        make_server(folder, group);
        let module: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let key = KeyId::from("cls");
        module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let chain = vec![self_signed(&*module, &key, &CertificateRequest::new("cls")).unwrap()];
        std::fs::write(folder.join("cls.pem"), to_pem(&chain[0])).unwrap();
        let leaf = std::fs::read(folder.join("server.der")).unwrap().into();
        let profile = TlsProfile::cls_client().portable();
        let identity = Identity { key, chain };
        let peers = PinnedPeers::new([leaf]);
        let config = client_config(module, &profile, Some(identity), peers).unwrap();
        let mut server = Server::start(folder, version, suite, group);
        let said = talk(&server, Session::new(config, name()).unwrap());
        let log = server.stop();
        // `-rev` sends each line back, reversed.
        assert_eq!(
            said, b"ymmud a fo drow\n",
            "{version} {suite} {group}: {log}"
        );
    }
}

/// An address in place of a name, as the device has it.
fn name() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A line there and back, then the closing handshake.
fn talk(server: &Server, mut session: Session) -> Vec<u8> {
    let mut tcp = server.connect();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    session.write(b"word of a dummy\n");
    loop {
        let mut out = Vec::new();
        let went = session.advance(&mut received, |_, records| out.extend_from_slice(records));
        tcp.write_all(&out).unwrap();
        went.unwrap();
        if received.ends_with(b"\n") && !session.closed() {
            session.close();
            continue;
        }
        if session.closed() {
            return received;
        }
        let mut octets = vec![0; session.room()];
        let len = tcp.read(&mut octets).unwrap();
        assert!(len > 0, "OpenSSL ended: {received:?}");
        session.receive(&octets[..len]).unwrap();
    }
}

fn make_server(folder: &Path, group: &str) {
    for arguments in [
        &[
            "ecparam",
            "-name",
            group,
            "-genkey",
            "-noout",
            "-out",
            "server.key",
        ][..],
        &[
            "req",
            "-x509",
            "-new",
            "-sha256",
            "-key",
            "server.key",
            "-days",
            "30",
            "-subj",
            "/CN=server",
            "-out",
            "server.pem",
        ],
        &[
            "x509",
            "-in",
            "server.pem",
            "-outform",
            "DER",
            "-out",
            "server.der",
        ],
    ] {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path, version: &str, suite: &str, group: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let suites = if version == "-tls1_3" {
            "-ciphersuites"
        } else {
            "-cipher"
        };
        let child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-rev",
                version,
                suites,
                suite,
            ])
            .args([
                "-key",
                "server.key",
                "-cert",
                "server.pem",
                "-groups",
                group,
            ])
            .args(["-Verify", "1", "-verify_return_error", "-CAfile", "cls.pem"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// Connects as soon as it listens.
    fn connect(&self) -> TcpStream {
        let end = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < end, "OpenSSL does not listen: {error}"),
            }
            std::thread::yield_now();
        }
    }

    fn stop(&mut self) -> String {
        let _ = self.child.kill();
        let mut log = String::new();
        let _ = self.child.stdout.take().unwrap().read_to_string(&mut log);
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut log);
        let _ = self.child.wait();
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
