// SPDX-License-Identifier: MIT OR Apache-2.0
//! The evidence bundle of a run: a directory that fills while the run goes and is sealed at its end.
//!
//! ```text
//! 20261121T180400Z-virtual-018f.../
//!   manifest.json  manifest.sig.json  events.jsonl
//!   results.json   junit.xml  report.html  results.csv
//!   trace/run.pcapng  hist/*.hlog  logs/<role>.log
//!   inputs/{rig,ics,plan,assumptions}.toml
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bench_timing::{BenchClock, Distribution};
use serde_json::json;
use smgw_units::UtcNanos;

use crate::digest::{hex, sha256_file};
use crate::manifest::{
    DIRECTORIES, EVENTS, Entry, FileEntry, MANIFEST, Manifest, RESULTS, SCHEMA, SEAL, Signer, walk,
};
use crate::results::Results;
use crate::seal::{BundleSigner, Seal};
use crate::{EventLog, EvidenceError, NamedDistribution, Trace, csv, html, junit};

/// A fresh run id (UUID v7: sorts by time).
pub fn new_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What names a bundle.
#[derive(Clone, Debug)]
pub struct BundleMeta {
    /// UUID of the run, from [`new_run_id`]; the same as in the results.
    pub run_id: String,
    /// Name of the rig.
    pub rig: String,
    /// Start of the run.
    pub started: UtcNanos,
    /// Tool name and version.
    pub tool: String,
    /// Revision the tool was built from.
    pub revision: String,
}

/// A bundle that is being filled. Cheap to share: every method takes `&self`.
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
    meta: BundleMeta,
    clock: BenchClock,
    events: EventLog,
    trace: Trace,
    distributions: Arc<Mutex<BTreeMap<String, Distribution>>>,
}

/// A finished bundle.
#[derive(Clone, Debug)]
pub struct SealedBundle {
    /// Its directory.
    pub path: PathBuf,
}

impl SealedBundle {
    /// The report a person reads first.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

impl Bundle {
    /// Makes the directory `<utc>-<rig>-<run id>` below `report_dir`, opens event log and trace, and writes
    /// `run.started`.
    ///
    /// # Errors
    /// The directory exists already or cannot be written.
    pub fn create(
        report_dir: &Path,
        meta: BundleMeta,
        clock: &BenchClock,
    ) -> Result<Self, EvidenceError> {
        let path = report_dir.join(directory_name(&meta));
        fs::create_dir_all(report_dir).map_err(EvidenceError::io("create", report_dir))?;
        fs::create_dir(&path).map_err(EvidenceError::io("create", &path))?;
        for directory in DIRECTORIES {
            let directory = path.join(directory);
            fs::create_dir(&directory).map_err(EvidenceError::io("create", &directory))?;
        }
        let anchor = clock.anchor();
        let started = json!({
            "run": meta.run_id,
            "rig": meta.rig,
            "tool": meta.tool,
            "revision": meta.revision,
            "clock": {
                "mono_ns": anchor.mono.0,
                "utc": anchor.utc.to_string(),
                "half_width_ns": anchor.half_width.as_nanos() as u64,
            },
        });
        let events = EventLog::create(&path.join(EVENTS), clock, &started)?;
        let trace_path = path.join("trace/run.pcapng");
        let trace =
            Trace::create(&trace_path, clock).map_err(EvidenceError::io("create", &trace_path))?;
        Ok(Self {
            path,
            meta,
            clock: clock.clone(),
            events,
            trace,
            distributions: Arc::default(),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The event log.
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Opens `logs/<role>.log` for appending, e.g. as standard error of a child process. Whoever writes it must
    /// have ended before [`Self::finish`].
    ///
    /// # Errors
    /// The role is no plain file name, or the file cannot be opened.
    pub fn log_file(&self, role: &str) -> Result<File, EvidenceError> {
        let path = self.path.join("logs").join(format!("{}.log", plain(role)?));
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(EvidenceError::io("open", &path))
    }

    /// Stores an input such as `rig.toml` byte for byte in `inputs/`.
    ///
    /// # Errors
    /// The name is no plain file name, is taken, or the file cannot be written.
    pub fn add_input(&self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        write_new(&self.path.join("inputs").join(plain(name)?), bytes)
    }

    /// Stores a distribution as `hist/<name>.hlog` and shows it in the report. Names such as
    /// `PRX-19.latency` or `prx-19-latency` are shown with case `PRX-19`.
    ///
    /// # Errors
    /// The name is no plain file name, is taken, or the file cannot be written.
    pub fn add_histogram(
        &self,
        name: &str,
        distribution: &Distribution,
    ) -> Result<(), EvidenceError> {
        let path = self
            .path
            .join("hist")
            .join(format!("{}.hlog", plain(name)?));
        let now = self.clock.utc_of(BenchClock::now()).0;
        let length = Duration::from_nanos(now.signed_since(self.meta.started).max(0) as u64);
        let log = distribution.to_hlog(name, self.meta.started, length);
        write_new(&path, log.as_bytes())?;
        self.distributions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), distribution.clone());
        Ok(())
    }

    /// Ends the run: closes trace and event log (`run.finished` with the reason of `results`, unless it
    /// stands there already), renders the reports, lists every file in the manifest and seals it.
    ///
    /// # Errors
    /// A file cannot be written, an earlier write of the trace failed, or the signer refuses. The directory
    /// then stays unsealed, which a verifier reports as incomplete.
    pub fn finish(
        &self,
        results: &Results,
        signer: &dyn BundleSigner,
    ) -> Result<SealedBundle, EvidenceError> {
        let trace_path = self.path.join("trace/run.pcapng");
        self.trace
            .close()
            .map_err(EvidenceError::io("write", &trace_path))?;
        if !self.events.is_closed() {
            self.events.finish(&results.run.reason)?;
        }
        let distributions: Vec<NamedDistribution> = self
            .distributions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, distribution)| NamedDistribution::new(name, distribution.clone()))
            .collect();
        let mut document =
            serde_json::to_vec_pretty(results).map_err(|error| EvidenceError::Render {
                format: "results.json",
                why: error.to_string(),
            })?;
        document.push(b'\n');
        write_new(&self.path.join(RESULTS), &document)?;
        write_new(&self.path.join("junit.xml"), junit(results)?.as_bytes())?;
        write_new(&self.path.join("results.csv"), csv(results).as_bytes())?;
        write_new(
            &self.path.join("report.html"),
            html(results, &distributions).as_bytes(),
        )?;
        self.seal(signer)?;
        Ok(SealedBundle {
            path: self.path.clone(),
        })
    }

    fn seal(&self, signer: &dyn BundleSigner) -> Result<(), EvidenceError> {
        let mut files = BTreeMap::new();
        for (name, entry) in walk(&self.path).map_err(EvidenceError::io("list", &self.path))? {
            let path = self.path.join(&name);
            // A pipe or link here would make a bundle that never verifies; say so now.
            if entry == Entry::Other {
                return Err(EvidenceError::BadName(name));
            }
            let (digest, size) =
                sha256_file(&path, u64::MAX).map_err(EvidenceError::io("read", &path))?;
            let sha256 = hex(&digest);
            files.insert(name, FileEntry { size, sha256 });
        }
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            run: self.meta.run_id.clone(),
            rig: self.meta.rig.clone(),
            started: self.meta.started.to_string(),
            tool: self.meta.tool.clone(),
            revision: self.meta.revision.clone(),
            signer: Signer::new(signer.key_name(), &signer.public_key()),
            files,
        };
        let render = |error: serde_json::Error| EvidenceError::Render {
            format: MANIFEST,
            why: error.to_string(),
        };
        let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(render)?;
        bytes.push(b'\n');
        let seal = Seal::make(&bytes, signer)?.to_bytes().map_err(render)?;
        write_new(&self.path.join(MANIFEST), &bytes)?;
        write_new(&self.path.join(SEAL), &seal)?;
        // The directory entries too must survive a power cut.
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(EvidenceError::io("sync", &self.path))
    }
}

/// Creates a file that must not exist and brings it to disk.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), EvidenceError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        })
        .map_err(EvidenceError::io("write", path))
}

/// A name that is one plain path component on every system.
fn plain(name: &str) -> Result<&str, EvidenceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(allowed)
    {
        Ok(name)
    } else {
        Err(EvidenceError::BadName(name.to_owned()))
    }
}

fn directory_name(meta: &BundleMeta) -> String {
    let whole = UtcNanos::from_seconds(meta.started.seconds()).to_string();
    let utc: String = whole.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let tame = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .take(60)
            .collect()
    };
    format!("{utc}-{}-{}", tame(&meta.rig), tame(&meta.run_id))
}
