// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gateway process with a software token, meters on pseudo terminals, an EMT, and OpenSSL as HAN client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed, to_pem};
use hsm_tls::{Identity, PinnedPeers, TlsProfile};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustls::pki_types::CertificateDer;
use rustls::{ServerConnection, StreamOwned};
use smgw_sml::{Body, File, Int, ListEntry, ListResponse, Message, Value};
use smgw_units::{DeviceId, Obis};

pub const PIN: &str = "12345678";
pub const LABEL: &str = "smgw";
/// Longest time anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub struct Rig {
    pub folder: PathBuf,
    /// Keys of everybody but the gateway and the OpenSSL client.
    pub soft: Arc<dyn SecurityModule>,
    pub gateway: CertificateDer<'static>,
    pub cls_a: Identity,
    pub emt: Identity,
    library: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Rig {
    /// Must run in a process whose environment names a token `LABEL` with `PIN`.
    pub fn new(library: PathBuf) -> Self {
        let token = hsm_pkcs11::Pkcs11Module::open(hsm_pkcs11::Pkcs11Config::new(
            &library,
            hsm_pkcs11::TokenSelector::Label(LABEL.into()),
            hsm_pkcs11::Pin::new(PIN),
        ))
        .unwrap();
        let gateway = identity(&token, "gw-tls");
        let lmn = identity(&token, "gw-lmn");
        let rig = Self::around(library, gateway.chain[0].clone());
        std::fs::write(rig.folder.join("gw-lmn.pem"), to_pem(&lmn.chain[0])).unwrap();
        rig
    }

    /// Everything but the gateway's module, for a gateway that presents this certificate.
    pub fn around(library: PathBuf, gateway: CertificateDer<'static>) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let soft: Arc<dyn SecurityModule> = Arc::new(hsm_soft::SoftModule::new());
        let rig = Self {
            gateway,
            cls_a: identity(&*soft, "cls-a"),
            emt: identity(&*soft, "emt.example"),
            soft,
            library,
            folder,
            _temporary: temporary,
        };
        std::fs::write(rig.folder.join("pin"), PIN).unwrap();
        for (name, leaf) in [
            ("gateway", &rig.gateway),
            ("cls-a", &rig.cls_a.chain[0]),
            ("emt", &rig.emt.chain[0]),
        ] {
            std::fs::write(rig.folder.join(format!("{name}.pem")), to_pem(leaf)).unwrap();
        }
        for name in ["consumer", "technician", "stranger"] {
            rig.openssl_identity(name);
        }
        rig
    }

    /// A self-signed brainpool certificate made by OpenSSL alone.
    pub fn openssl_identity(&self, name: &str) {
        let key = format!("{name}.key");
        for arguments in [
            vec![
                "ecparam",
                "-name",
                "brainpoolP256r1",
                "-genkey",
                "-noout",
                "-out",
                &key,
            ],
            vec![
                "req",
                "-x509",
                "-new",
                "-sha256",
                "-key",
                &key,
                "-days",
                "30",
                "-subj",
                &format!("/CN={name}"),
                "-out",
                &format!("{name}.pem"),
            ],
        ] {
            let output = Command::new("openssl")
                .args(arguments)
                .current_dir(&self.folder)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// A configuration with `meters` (TOML of `[[meter]]` tables) and one profile towards `emt`.
    pub fn configure(&self, period: u64, meters: &str, emt: SocketAddr) -> PathBuf {
        let ids: Vec<String> = meters
            .lines()
            .filter_map(|line| line.strip_prefix("id = "))
            .map(str::to_owned)
            .collect();
        let text = format!(
            r#"schema = "smgw.config/1"
device-id = "esmb0012345678"
[security-module]
module = "{library}"
token-label = "{LABEL}"
pin-file = "pin"
key = "gw-tls"
certificate = "gateway.pem"
[store]
path = "values.sqlite"
[metering]
registration-period = "{period}s"
{meters}
[han]
listen = "127.0.0.1:0"
[[han.user]]
id = "consumer"
role = "con"
certificate = "consumer.pem"
meters = [{ids}]
[[han.user]]
id = "technician"
role = "srv"
certificate = "technician.pem"
[cls]
listen = "127.0.0.1:0"
[[cls.profile]]
local-server-name = "emt.example"
cls-certificate = "cls-a.pem"
wan-peer-address = "{emt}"
wan-tls-sni = "emt.example"
emt-certificate = "emt.pem"
connect-timeout = "1s"
"#,
            library = self.library.display(),
            ids = ids.join(", "),
        );
        let path = self.folder.join("smgw.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Asks the HAN by OpenSSL as `user`; returns everything it printed.
    pub fn openssl(&self, han: SocketAddr, user: &str, request: &str, more: &[&str]) -> Output {
        let (version, more) = match more {
            [version, rest @ ..] if version.starts_with("-tls") => (*version, rest),
            _ => ("-tls1_2", more),
        };
        let mut client = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-ign_eof",
                "-connect",
                &han.to_string(),
            ])
            .args([
                "-cert",
                &format!("{user}.pem"),
                "-key",
                &format!("{user}.key"),
            ])
            // Not among the groups OpenSSL 3.0 offers by default, and it has none of TLS 1.3's brainpool.
            .args(["-groups", "brainpoolP256r1", version])
            .args(more)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A refused handshake closes the pipe first.
        let _ = client.stdin.take().unwrap().write_all(request.as_bytes());
        client.wait_with_output().unwrap()
    }

    /// Body of a successful GET.
    pub fn get(&self, han: SocketAddr, user: &str, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: smgw\r\nConnection: close\r\n\r\n");
        let output = self.openssl(han, user, &request, &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| {
            panic!(
                "no answer: {text:?} {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        body.to_owned()
    }

    /// A client TLS configuration of a CLS.
    pub fn cls_client(&self, identity: &Identity) -> Arc<rustls::ClientConfig> {
        let gateway = PinnedPeers::new([self.gateway.clone()]);
        let profile = TlsProfile::cls_client();
        hsm_tls::client_config(self.soft.clone(), &profile, Some(identity.clone()), gateway)
            .unwrap()
    }

    /// An identity nobody knows.
    pub fn stranger(&self, name: &str) -> Identity {
        identity(&*self.soft, name)
    }

    /// An EMT that sends back what it gets and ends when its peer ends.
    pub fn echo_emt(&self) -> (SocketAddr, mpsc::Receiver<Served>) {
        let clients = PinnedPeers::new([self.gateway.clone()]);
        let config = hsm_tls::server_config(
            self.soft.clone(),
            &TlsProfile::emt_server(),
            self.emt.clone(),
            clients,
        )
        .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, served) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                let (config, sender) = (config.clone(), sender.clone());
                thread::spawn(move || {
                    let mut tls = StreamOwned::new(
                        ServerConnection::new(config.clone()).unwrap(),
                        connection,
                    );
                    let mut buffer = vec![0; 16 * 1024];
                    let mut total = 0;
                    while let Ok(len @ 1..) = tls.read(&mut buffer) {
                        total += len;
                        if tls
                            .write_all(&buffer[..len])
                            .and_then(|()| tls.flush())
                            .is_err()
                        {
                            break;
                        }
                    }
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                    let name = tls.conn.server_name().map(str::to_owned);
                    let _ = sender.send(Served { total, name });
                });
            }
        });
        (address, served)
    }
}

/// A new key in `module` and its self-signed certificate.
pub fn identity(module: &dyn SecurityModule, name: &str) -> Identity {
    let key = KeyId::from(name);
    module
        .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
        .unwrap();
    let chain = vec![self_signed(module, &key, &CertificateRequest::new(name)).unwrap()];
    Identity { key, chain }
}

/// An address where nobody listens.
pub fn refusing_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A connection the EMT has served to its end.
#[derive(Debug, Eq, PartialEq)]
pub struct Served {
    /// Bytes it got and sent back.
    pub total: usize,
    /// The name it was asked for.
    pub name: Option<String>,
}

/// The gateway process; killed when dropped.
pub struct Gateway {
    pub child: Child,
    pub han: SocketAddr,
    pub cls: SocketAddr,
    pub time: Option<SocketAddr>,
}

impl Gateway {
    pub fn start(config: &Path, defect: Option<&str>) -> Self {
        let mut child = Self::spawn(config, defect);
        let output = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let _ = child.kill();
            panic!("no ready line: {error}")
        });
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready");
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self {
            han: address("han"),
            cls: address("cls"),
            time: ready["time"].as_str().map(|text| text.parse().unwrap()),
            child,
        }
    }

    /// Starts the process under supervision; its log goes to the test's standard error.
    pub fn spawn(config: &Path, defect: Option<&str>) -> Child {
        Command::new(env!("CARGO_BIN_EXE_smgw"))
            .arg("--config")
            .arg(config)
            .arg("--supervised")
            .args(defect.iter().flat_map(|id| ["--defect", id]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn wait(child: &mut Child) -> ExitStatus {
    until("the process ends", || child.try_wait().unwrap())
}

/// Asks `question` until it has an answer.
pub fn until<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A pushing SML meter on a pseudo terminal: one telegram at every full second of UTC, or, when told
/// so, as many bytes of garbage.
pub struct SmlMeter {
    pub port: String,
    pub garbage: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SmlMeter {
    pub fn start(id: DeviceId) -> Self {
        // Closed on exec: the gateway must not inherit the end whose closing pulls the plug.
        let wire = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&wire).unwrap();
        unlockpt(&wire).unwrap();
        let port = ptsname(&wire, Vec::new()).unwrap().into_string().unwrap();
        let mut wire = std::fs::File::from(wire);
        let (garbage, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (noisy, stopping) = (garbage.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                thread::sleep(Duration::from_nanos(
                    1_000_000_000 - u64::from(now.subsec_nanos()),
                ));
                let mut line = telegram(id, now.as_secs() + 1);
                if noisy.load(Ordering::Relaxed) {
                    line.iter_mut().for_each(|byte| *byte ^= 0x55);
                }
                let _ = wire.write_all(&line);
            }
        });
        Self {
            port,
            garbage,
            stop,
            thread: Some(thread),
        }
    }

    /// Pulls the plug.
    pub fn vanish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for SmlMeter {
    fn drop(&mut self) {
        self.vanish();
    }
}

/// One transmission whose register tells the second it was sent at.
fn telegram(id: DeviceId, second: u64) -> Vec<u8> {
    let transaction = (second as u32).to_be_bytes();
    let server_id = id.server_id();
    let registers = [ListEntry {
        name: &Obis::IMPORT_TOTAL.0,
        status: Some(Int::from(1u8 << 2)),
        unit: Some(30),
        scaler: Some(-1),
        value: Some(Value::Unsigned {
            value: second,
            width: 8,
        }),
        ..ListEntry::default()
    }];
    let list = ListResponse {
        server_id: &server_id,
        entries: (&registers).into(),
        ..ListResponse::default()
    };
    let message = Message::new(&transaction, Body::ListResponse(list));
    smgw_sml::transport::encode(
        &File {
            messages: vec![message],
        }
        .encode(),
    )
}

/// A connection to the proxy that has passed the greeting.
pub fn greeted(cls: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(cls).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(&[5, 1, 6]).unwrap();
    let mut choice = [0; 2];
    connection.read_exact(&mut choice).unwrap();
    assert_eq!(choice, [5, 6]);
    connection
}
