// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's board, booted: it listens, is told to stop and tells how it ended.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bench_machine::{Board, Guest, Images, TimeServer, free_port};
use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_link::{Secret, Served};
use hsm_pki::{CertificateRequest, self_signed, to_pem};
use hsm_soft::SoftModule;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use smgw_units::UtcNanos;

/// An emulated machine on a busy host may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn images() -> Option<Images> {
    let folder = std::env::var_os(Images::VARIABLE).map(PathBuf::from);
    let found = folder.and_then(|folder| Images::find(&folder).ok());
    if found.is_none() {
        let variable = Images::VARIABLE;
        println!("SKIPPED: no board to boot (cargo xtask target arm64, and {variable})");
    }
    found
}

/// A started board whose console is read line by line.
struct Booted {
    child: Child,
    console: Receiver<String>,
    said: Vec<String>,
}

impl Booted {
    fn start(board: &Board, config: &str, folder: &Path) -> Self {
        let path = folder.join("smgw.toml");
        fs::write(&path, config).unwrap();
        let mut files = vec![path];
        let others = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files.extend(others.filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "pem" || kind == "secret")
        }));
        let scratch = tempfile::tempdir().unwrap();
        let mut command = board.command(&files, scratch.path()).unwrap();
        let (sender, console) = mpsc::channel();
        let (give, child) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = child.stdout.take().unwrap();
            give.send(child).unwrap();
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let _ = sender.send(line);
            }
            drop(scratch);
        });
        Self {
            child: child.recv().unwrap(),
            console,
            said: Vec::new(),
        }
    }

    /// The first event of this name on the console.
    fn wait_for(&mut self, event: &str) -> Value {
        let latest = Instant::now() + PATIENCE;
        loop {
            let left = latest.saturating_duration_since(Instant::now());
            let line = self.console.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {event}; it said {:#?}", self.said));
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            self.said.push(line);
            if value["event"] == event || value["fields"]["message"] == event {
                return value;
            }
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> UtcNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcNanos(since.as_nanos() as i64)
}

fn board(images: Images, time: &TimeServer, lines: Vec<PathBuf>) -> Board {
    Board {
        images,
        lines,
        ports: [free_port().unwrap(), free_port().unwrap()],
        plugs: None,
        time: time.address(),
        defect: None,
    }
}

/// A module behind a link and the certificates the configuration names.
fn materials(folder: &Path) -> Served {
    let module = SoftModule::new();
    for name in ["gateway", "consumer"] {
        let key = KeyId::from(name);
        let curve = Curve::BrainpoolP256r1;
        module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let leaf = self_signed(&module, &key, &CertificateRequest::new(name)).unwrap();
        fs::write(folder.join(format!("{name}.pem")), to_pem(&leaf)).unwrap();
    }
    let secret = Secret::generate().unwrap();
    fs::write(folder.join("link.secret"), secret.to_hex().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    hsm_link::serve(listener, Arc::new(module), secret).unwrap()
}

#[test]
fn a_board_boots_listens_and_stops_in_good_order() {
    let Some(images) = images() else { return };
    let folder = tempfile::tempdir().unwrap();
    let served = materials(folder.path());
    let time = TimeServer::start(now).unwrap();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let line = ptsname(&master, Vec::new()).unwrap();
    let board = board(images, &time, vec![line.to_str().unwrap().into()]);
    let config = format!(
        r#"schema = "smgw.config/1"
device-id = "esmb0012345678"
[security-module]
kind = "link"
address = "{link}"
secret-file = "link.secret"
timeout = "20s"
key = "gateway"
certificate = "gateway.pem"
[store]
path = "values.sqlite"
[metering]
registration-period = "900s"
[[meter]]
id = "1smb0000000001"
protocol = "mbus"
port = "{port}"
baud = 2400
format = "8E1"
registers = ["1-0:1.8.0*255"]
address = 1
[han]
listen = "{han}"
[[han.user]]
id = "consumer"
role = "con"
certificate = "consumer.pem"
meters = ["1smb0000000001"]
[cls]
listen = "{cls}"
"#,
        link = Guest::WAN.reach(served.address()),
        port = Board::line(0).display(),
        han = Guest::HAN.listen(),
        cls = Guest::CLS.listen(),
    );
    let began = Instant::now();
    let mut booted = Booted::start(&board, &config, folder.path());
    let set = booted.wait_for("clock set");
    println!("clock: {}", set["fields"]);
    let ready = booted.wait_for("ready");
    println!("ready {:?} after the kernel's start", began.elapsed());
    assert_eq!(ready["han"], Guest::HAN.listen().to_string());
    // A HAN without TLS: what comes back is the alert of a server that wanted a handshake (RFC 8446 §6).
    let mut han = TcpStream::connect(("127.0.0.1", board.ports[0])).unwrap();
    han.set_read_timeout(Some(PATIENCE)).unwrap();
    han.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = [0; 1];
    han.read_exact(&mut alert).unwrap();
    assert_eq!(alert, [21]);
    let mut input = booted.child.stdin.take().unwrap();
    input.write_all(Board::FAREWELL).unwrap();
    assert_eq!(booted.wait_for("ended")["code"], 0);
    assert!(booted.child.wait().unwrap().success());
}

#[test]
fn a_board_without_its_module_tells_its_safe_stop() {
    let Some(images) = images() else { return };
    let folder = tempfile::tempdir().unwrap();
    let served = materials(folder.path());
    let address = served.address();
    drop(served);
    let time = TimeServer::start(now).unwrap();
    let config = format!(
        r#"schema = "smgw.config/1"
device-id = "esmb0012345678"
security-module = {{ kind = "link", address = "{}", secret-file = "link.secret", key = "gateway", certificate = "gateway.pem" }}
store = {{ path = "values.sqlite" }}
metering = {{ registration-period = "900s" }}
han = {{ listen = "{}" }}
cls = {{ listen = "{}" }}
"#,
        Guest::WAN.reach(address),
        Guest::HAN.listen(),
        Guest::CLS.listen(),
    );
    let mut booted = Booted::start(&board(images, &time, Vec::new()), &config, folder.path());
    assert_eq!(booted.wait_for("ended")["code"], 108, "{:#?}", booted.said);
}
