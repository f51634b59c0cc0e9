// SPDX-License-Identifier: MIT OR Apache-2.0
//! Foreign peers: the OpenSSL command line (`OPENSSL` names another binary than the one in the path), and pyOpenSSL,
//! whose wheels bring an OpenSSL newer than 3.2 (`SMGW_BENCH_PYTHON` names an interpreter that has it).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hsm_api::Curve;
use hsm_pki::{from_pem, to_pem};
use rustls::pki_types::CertificateDer;

const DEADLINE: Duration = Duration::from_secs(20);

/// The binary to call.
pub fn openssl() -> PathBuf {
    std::env::var_os("OPENSSL")
        .unwrap_or_else(|| "openssl".into())
        .into()
}

/// Whether OpenSSL is there; says so if not.
pub fn openssl_present() -> bool {
    let present = Command::new(openssl()).arg("version").output().is_ok();
    if !present {
        println!("SKIPPED: openssl is not installed");
    }
    present
}

/// The name OpenSSL has for a curve.
pub fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::BrainpoolP256r1 => "brainpoolP256r1",
        Curve::BrainpoolP384r1 => "brainpoolP384r1",
        Curve::BrainpoolP512r1 => "brainpoolP512r1",
        Curve::NistP256 => "P-256",
        _ => "P-384",
    }
}

/// Runs `openssl` in a folder; panics with what it said when it fails.
pub fn run(folder: &Path, args: &[&str]) {
    let made = Command::new(openssl())
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "openssl {args:?}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// OpenSSL's own key and certificate in a folder, and our certificates for it to trust.
pub struct Foreign {
    dir: tempfile::TempDir,
    /// An OpenSSL configuration of its own.
    conf: Option<PathBuf>,
    pub leaf: CertificateDer<'static>,
}

impl Foreign {
    /// With a key on a curve, trusting these certificates of ours.
    pub fn new<'a>(
        curve: Curve,
        ours: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Self {
        let parameter = format!("ec_paramgen_curve:{}", curve_name(curve));
        Self::with_key(&["ec", "-pkeyopt", &parameter], ours)
    }

    /// With an RSA key, which TR-03116-3 does not allow.
    pub fn rsa<'a>(ours: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Self {
        Self::with_key(&["rsa:2048"], ours)
    }

    fn with_key<'a>(
        key: &[&str],
        ours: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trusted: String = ours.into_iter().map(to_pem).collect();
        std::fs::write(dir.path().join("ours.pem"), trusted).unwrap();
        let mut args = vec!["req", "-x509", "-newkey"];
        args.extend(key);
        args.extend([
            "-nodes",
            "-keyout",
            "foreign.key",
            "-out",
            "foreign.pem",
            "-sha256",
        ]);
        args.extend(["-days", "30", "-subj", "/CN=foreign"]);
        args.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        args.extend(["-addext", "keyUsage=critical,digitalSignature"]);
        run(dir.path(), &args);
        let leaf =
            from_pem(&std::fs::read_to_string(dir.path().join("foreign.pem")).unwrap()).unwrap();
        Self {
            dir,
            conf: None,
            leaf,
        }
    }

    /// Makes this partner leave out `extended_master_secret`, for which the command line has no option in 3.0.
    pub fn without_ems(mut self) -> Self {
        let conf = self.path().join("openssl.cnf");
        let text = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nOptions = -ExtendedMasterSecret\n";
        std::fs::write(&conf, text).unwrap();
        self.conf = Some(conf);
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `openssl s_client` towards a port, with these lines to send.
    pub fn client(&self, port: u16, extra: &[&str], lines: &str) -> Running {
        let address = format!("127.0.0.1:{port}");
        let mut args = vec![
            "s_client",
            "-connect",
            &address,
            "-servername",
            "gateway.example",
        ];
        args.extend([
            "-CAfile",
            "ours.pem",
            "-verify_return_error",
            "-verify",
            "3",
        ]);
        args.extend(extra);
        let mut client = Running::spawn(self.command(&openssl(), &args));
        // A client that is refused at once does not read them.
        let _ = client
            .child()
            .stdin
            .as_mut()
            .unwrap()
            .write_all(lines.as_bytes());
        client
    }

    /// `openssl s_server` that sends lines back reversed, and its port.
    pub fn server(&self, extra: &[&str]) -> (Running, u16) {
        let mut args = vec!["s_server", "-accept", "127.0.0.1:0", "-rev"];
        args.extend([
            "-CAfile",
            "ours.pem",
            "-Verify",
            "3",
            "-verify_return_error",
        ]);
        args.extend(extra);
        let mut server = Running::spawn(self.command(&openssl(), &args));
        // It says "ACCEPT 127.0.0.1:40123" once it listens.
        let port = server
            .wait_for("ACCEPT ")
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        (server, port)
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.conf.iter().map(|conf| ("OPENSSL_CONF", conf)))
            .current_dir(self.path())
            .args(args);
        command
    }
}

/// A child that never outlives its test and whose output is drained.
pub struct Running {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Running {
    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    // Nobody listens any more once the test has gone on.
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        Self { child, said }
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The next line that begins like this.
    pub fn wait_for(&mut self, prefix: &str) -> String {
        let line = self.wait_until(|line| line.starts_with(prefix));
        assert!(line.starts_with(prefix), "no line {prefix:?}: {line}");
        line
    }

    /// The next line that is so; what it said until its end if none is.
    pub fn wait_until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut lines = Vec::new();
        while let Ok(line) = self.said.recv_timeout(DEADLINE) {
            if wanted(&line) {
                return line;
            }
            lines.push(line);
        }
        lines.join("\n")
    }

    /// What it said until its end.
    pub fn output(mut self) -> String {
        drop(self.child.stdin.take());
        let mut lines = Vec::new();
        // The channel closes when both outputs have.
        while let Ok(line) = self.said.recv_timeout(DEADLINE) {
            lines.push(line);
        }
        lines.join("\n")
    }

    /// What it said so far.
    pub fn so_far(&self) -> String {
        self.said.try_iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// pyOpenSSL in a process of its own, which plays one connection after the other.
pub struct Python {
    running: Running,
    stdin: ChildStdin,
    /// What OpenSSL is in it.
    pub library: String,
}

impl Python {
    /// `None`, and a word about it, where no interpreter has pyOpenSSL.
    pub fn start() -> Option<Self> {
        const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pyopenssl.py");
        let python: PathBuf = std::env::var_os("SMGW_BENCH_PYTHON")
            .unwrap_or_else(|| "python3".into())
            .into();
        let probe = Command::new(&python)
            .args(["-c", "import OpenSSL.SSL, cryptography"])
            .output();
        if !probe.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: {} has no pyOpenSSL", python.display());
            return None;
        }
        let mut command = Command::new(&python);
        command.arg(SCRIPT);
        let mut running = Running::spawn(command);
        let stdin = running.child().stdin.take().unwrap();
        let library = running.wait_for("{\"library\"");
        Some(Self {
            running,
            stdin,
            library,
        })
    }

    pub fn order(&mut self, order: &str) {
        writeln!(self.stdin, "{order}").unwrap();
    }

    /// The next answer.
    pub fn answer(&mut self) -> String {
        self.running.wait_for("{")
    }
}

/// A port of ours to call.
pub fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    let listener = listener.try_clone().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(listener.accept()));
    let (stream, _) = receiver
        .recv_timeout(DEADLINE)
        .expect("the client connects in time")
        .unwrap();
    timed(stream)
}

pub fn connect(port: u16) -> TcpStream {
    timed(TcpStream::connect(("127.0.0.1", port)).unwrap())
}

fn timed(stream: TcpStream) -> TcpStream {
    // Small lines both ways would otherwise wait for delayed acknowledgements.
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}
