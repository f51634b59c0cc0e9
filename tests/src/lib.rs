// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the end-to-end tests share: finding the programs, running them with deadlines, looking for leftovers.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bench_evidence::results::Results;
use tempfile::TempDir;

/// The workspace's root folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// A program of this workspace, built beside the tests (`cargo xtask test` builds it first).
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let found = test
        .ancestors()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built; run `cargo xtask test`"))
}

/// Says visibly that a test did not run, and why; `cargo xtask test` collects and counts these lines.
pub fn skip(test: &str, why: &str) {
    println!("SKIPPED: {test}: {why}");
}

static QUIET: Mutex<()> = Mutex::new(());

/// Timing runs want the machine for themselves: one at a time within this test program.
pub fn quiet_machine() -> MutexGuard<'static, ()> {
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that was run to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Finished {
    /// The exit code; panics with the whole output when there is none.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }
}

/// A command that runs.
pub struct Running {
    /// The process.
    pub child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Starts a command in the workspace's root.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let collect = |pipe: Option<Box<dyn Read + Send>>| {
            thread::spawn(move || {
                let mut text = String::new();
                let _ = pipe.map(|mut pipe| pipe.read_to_string(&mut text));
                text
            })
        };
        let stdout = collect(child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let stderr = collect(child.stderr.take().map(|pipe| Box::new(pipe) as _));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Waits for the end; kills and panics when `limit` passes first.
    pub fn finish(mut self, limit: Duration) -> Finished {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("own child") {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "no end within {limit:?}; said:\n{}\n{}",
                    self.stdout.join().unwrap_or_default(),
                    self.stderr.join().unwrap_or_default()
                );
            }
            thread::sleep(Duration::from_millis(20));
        };
        Finished {
            status,
            stdout: self.stdout.join().unwrap_or_default(),
            stderr: self.stderr.join().unwrap_or_default(),
        }
    }
}

/// A run of the bench into a folder of its own.
pub struct Run {
    /// Receives the bundle.
    pub reports: TempDir,
    /// The process.
    pub running: Running,
}

impl Run {
    /// Starts `smgw-bench run` on the virtual rig with more arguments.
    pub fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::on("rigs/virtual.toml", arguments)
    }

    /// Starts `smgw-bench run` on a rig with more arguments.
    pub fn on<A: AsRef<OsStr>>(rig: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let reports = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(program("smgw-bench"));
        command
            .args(["run", "--rig", rig, "--non-interactive", "--report-dir"])
            .arg(reports.path())
            .args(arguments);
        Self {
            running: Running::start(&mut command),
            reports,
        }
    }

    /// Waits until a case has begun.
    pub fn wait_for_case(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        let begun = |path: PathBuf| {
            fs::read_to_string(path.join("events.jsonl"))
                .is_ok_and(|events| events.contains("case.started"))
        };
        loop {
            let bundles = fs::read_dir(self.reports.path()).expect("own folder");
            if bundles.flatten().any(|entry| begun(entry.path())) {
                return;
            }
            assert!(Instant::now() < end, "no case began");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end; gives the output, the bundle's folder and its results.
    pub fn finish(self, limit: Duration) -> (Finished, Bundle) {
        let finished = self.running.finish(limit);
        let bundle = Bundle::only_one_in(self.reports, &finished);
        (finished, bundle)
    }
}

/// A bundle a run left.
pub struct Bundle {
    _reports: TempDir,
    /// Its folder.
    pub path: PathBuf,
}

impl Bundle {
    fn only_one_in(reports: TempDir, finished: &Finished) -> Self {
        let folders: Vec<_> = fs::read_dir(reports.path())
            .expect("own folder")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        let [path] = &folders[..] else {
            panic!("bundles {folders:?} after {finished:?}")
        };
        Self {
            path: path.clone(),
            _reports: reports,
        }
    }

    /// Its results.
    pub fn results(&self) -> Results {
        let text = fs::read_to_string(self.path.join("results.json")).expect("results.json");
        serde_json::from_str(&text).expect("results of our own schema")
    }

    /// Runs `smgw-bench verify` on it.
    pub fn verify(&self) -> Finished {
        let mut command = Command::new(program("smgw-bench"));
        command.arg("verify").arg(&self.path);
        Running::start(&mut command).finish(Duration::from_secs(60))
    }
}

/// Processes whose command line names `needle`, other than this one.
pub fn processes_naming(needle: &str) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            command.contains(needle).then_some((pid, command))
        })
        .collect()
}

/// Children of `parent` whose program is called `name`.
pub fn children_of(parent: u32, name: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                return false;
            };
            let Some((head, tail)) = stat.rsplit_once(')') else {
                return false;
            };
            let own_name = head.split_once('(').map_or("", |(_, name)| name);
            let its_parent = tail
                .split_whitespace()
                .nth(1)
                .and_then(|text| text.parse().ok());
            own_name == name && its_parent == Some(parent)
        })
        .collect()
}
