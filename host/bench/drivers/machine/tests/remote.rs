// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deployment over ssh, against an OpenSSH server of the test's own on the loopback interface with keys made for it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_machine::{Remote, Tunnel, free_port};

const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    child: Child,
    remote: Remote,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        if !Path::new(SSHD).is_file() || Command::new("ssh-keygen").arg("-?").output().is_err() {
            println!("SKIPPED: openssh-server is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::copy(at("user.pub"), at("authorized")).unwrap();
        // Where the server separates its privileges, when it runs as root on a machine that never ran one.
        let _ = fs::create_dir_all("/run/sshd");
        let port = free_port().unwrap();
        let known = fs::read_to_string(at("host.pub")).unwrap();
        fs::write(at("known"), format!("[127.0.0.1]:{port} {known}")).unwrap();
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f", "/dev/null", "-h"])
            .arg(at("host"))
            .args(["-o", &format!("ListenAddress=127.0.0.1:{port}")])
            .args([
                "-o",
                &format!("AuthorizedKeysFile={}", at("authorized").display()),
            ])
            .args([
                "-o",
                "StrictModes=no",
                "-o",
                "PidFile=none",
                "-o",
                "UsePAM=no",
            ])
            .args([
                "-o",
                "PasswordAuthentication=no",
                "-o",
                "Subsystem=sftp internal-sftp",
            ])
            .args(["-o", "PermitRootLogin=prohibit-password"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let latest = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < latest, "the server does not listen");
            std::thread::yield_now();
        }
        let remote = Remote {
            destination: "127.0.0.1".into(),
            options: vec![
                format!("Port={port}"),
                format!("IdentityFile={}", at("user").display()),
                "IdentitiesOnly=yes".into(),
                format!("UserKnownHostsFile={}", at("known").display()),
                "GlobalKnownHostsFile=none".into(),
            ],
        };
        Some(Self {
            child,
            remote,
            _folder: folder,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stands for the gateway: says where it is, asks the bench something through a tunnel, and ends with its input.
const PROGRAM: &str = r#"#!/bin/bash
echo "ready $*"
cat secret
exec 3<>/dev/tcp/127.0.0.1/$2 && head -n 1 <&3
cat
echo gone > "$1"
"#;

#[test]
fn a_program_runs_there_and_ends_with_the_connection() {
    let Some(server) = Server::start() else {
        return;
    };
    let remote = &server.remote;
    let here = tempfile::tempdir().unwrap();
    let (program, secret) = (here.path().join("smgw"), here.path().join("secret"));
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&secret, "the secret\n").unwrap();
    let folder = remote.make_folder().unwrap();
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    remote.copy(&[program, secret], &folder).unwrap();

    let bench = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = free_port().unwrap();
    let tunnels = [
        Tunnel::ToBench {
            board: back,
            bench: bench.local_addr().unwrap(),
        },
        Tunnel::ToBoard {
            bench: free_port().unwrap(),
            board: free_port().unwrap(),
        },
    ];
    let gone = here.path().join("it's gone");
    let words = [gone.to_str().unwrap(), &back.to_string()];
    let mut child = remote
        .command(&folder, "smgw", &words, &tunnels)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), format!("ready {} {back}", gone.display()));
    assert_eq!(next(), "the secret");
    let (mut asked, _) = bench.accept().unwrap();
    asked.write_all(b"through the tunnel\n").unwrap();
    assert_eq!(next(), "through the tunnel");
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"and back\n").unwrap();
    assert_eq!(next(), "and back");
    drop(input);
    // The connection stands until both ends of what went through it have closed theirs.
    let mut rest = Vec::new();
    asked.read_to_end(&mut rest).unwrap();
    drop(asked);
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&gone).unwrap(), "gone\n");
    remote.remove(&folder).unwrap();
    assert!(!PathBuf::from(folder).exists());
}

#[test]
fn who_does_not_let_us_in_is_told_by_name() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut remote = server.remote.clone();
    remote
        .options
        .retain(|option| !option.starts_with("UserKnown"));
    remote.options.push("UserKnownHostsFile=/dev/null".into());
    let error = remote.make_folder().unwrap_err().to_string();
    assert!(
        error.contains("127.0.0.1") && error.contains("ost key"),
        "{error}"
    );
}
