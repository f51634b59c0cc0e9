// SPDX-License-Identifier: MIT OR Apache-2.0
//! The event log `events.jsonl`: append-only, one JSON object per line, chained by SHA-256, on disk before
//! the call returns.
//!
//! Each line carries in `prev` the SHA-256 of the exact bytes of the line before, without its line feed;
//! the first carries zeros. The chain shows edits, deletions and reordering inside a run; the end of the
//! run is shown by `run.finished`, and the last line is covered by the manifest of the bundle.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bench_timing::BenchClock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::EvidenceError;
use crate::digest::{Sha256Digest, hex, sha256};

/// Kind of the first event of every log.
pub const RUN_STARTED: &str = "run.started";
/// Kind of the last event of every complete log.
pub const RUN_FINISHED: &str = "run.finished";

/// A handle on the log; clones write to the same file in one order.
#[derive(Clone, Debug)]
pub struct EventLog {
    clock: BenchClock,
    path: Arc<PathBuf>,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    seq: u64,
    prev: Sha256Digest,
    /// After `run.finished`, or after a write that may have left half a line.
    closed: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    t_ns: u64,
    utc: String,
    kind: &'a str,
    data: &'a Value,
    prev: String,
}

impl EventLog {
    /// Creates the file, which must not exist, and writes `run.started` with `data`.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path, clock: &BenchClock, data: &Value) -> Result<Self, EvidenceError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(EvidenceError::io("create", path))?;
        let log = Self {
            clock: clock.clone(),
            path: Arc::new(path.to_owned()),
            writer: Arc::new(Mutex::new(Writer {
                file,
                seq: 0,
                prev: [0; 32],
                closed: false,
            })),
        };
        log.record(RUN_STARTED, data)?;
        Ok(log)
    }

    /// Appends an event and returns its sequence number once the line is on disk (`fdatasync`).
    ///
    /// # Errors
    /// [`EvidenceError::Closed`] after [`Self::finish`] or after a failed write; otherwise the write error.
    pub fn record(&self, kind: &str, data: &Value) -> Result<u64, EvidenceError> {
        self.append(kind, data, false)
    }

    /// Appends `run.finished` with the reason and closes the log for all handles.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn finish(&self, reason: &str) -> Result<u64, EvidenceError> {
        self.append(RUN_FINISHED, &json!({ "reason": reason }), true)
    }

    /// Whether `run.finished` was written, or a failed write ended the log.
    pub fn is_closed(&self) -> bool {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed
    }

    fn append(&self, kind: &str, data: &Value, last: bool) -> Result<u64, EvidenceError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.closed {
            return Err(EvidenceError::Closed);
        }
        // Stamped under the lock, so that stamps rise with the sequence numbers.
        let now = BenchClock::now();
        let line = Line {
            seq: writer.seq,
            t_ns: now.0,
            utc: self.clock.utc_of(now).0.to_string(),
            kind,
            data,
            prev: hex(&writer.prev),
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| EvidenceError::Render {
            format: "event",
            why: error.to_string(),
        })?;
        writer.prev = sha256(&bytes);
        bytes.push(b'\n');
        let written = writer
            .file
            .write_all(&bytes)
            .and_then(|()| writer.file.sync_data());
        writer.closed = last || written.is_err();
        written.map_err(EvidenceError::io("write", &self.path))?;
        let seq = writer.seq;
        writer.seq += 1;
        Ok(seq)
    }
}

/// What a check of a log found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogCheck {
    /// Sound lines.
    pub events: u64,
    /// The reason of `run.finished`; none when the log is incomplete.
    pub finished: Option<String>,
    /// The first break of the chain or of the format, with the line number from 1.
    pub problem: Option<(u64, String)>,
}

#[derive(Deserialize)]
struct Parsed {
    seq: u64,
    t_ns: u64,
    #[serde(rename = "utc")]
    _utc: String,
    kind: String,
    data: Value,
    prev: String,
}

/// Checks chain, order and completeness of a log in one pass with bounded memory. Stops at the first break:
/// behind it nothing can be trusted.
pub fn check(mut reader: impl BufRead) -> LogCheck {
    let mut found = LogCheck::default();
    let (mut prev, mut last_stamp) = ([0; 32], 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let number = found.events + 1;
        let mut broken = |why: String| found.problem = Some((number, why));
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                broken(format!("cannot be read: {error}"));
                break;
            }
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            broken("the line is cut short or far too long".to_owned());
            break;
        }
        let parsed: Parsed = match serde_json::from_slice(&line) {
            Ok(parsed) => parsed,
            Err(error) => {
                broken(format!("not an event: {error}"));
                break;
            }
        };
        let fault = if found.finished.is_some() {
            Some("there is an event after run.finished")
        } else if parsed.prev != hex(&prev) {
            Some("the chain is broken: this line or the one before was changed, removed or moved")
        } else if parsed.seq != found.events {
            Some("the sequence number is wrong")
        } else if parsed.t_ns < last_stamp {
            Some("the stamp lies before the one of the line above")
        } else if (parsed.kind == RUN_STARTED) != (parsed.seq == 0) {
            Some("run.started is the first event and only the first")
        } else {
            None
        };
        if let Some(fault) = fault {
            broken(fault.to_owned());
            break;
        }
        if parsed.kind == RUN_FINISHED {
            let reason = parsed.data.get("reason").and_then(Value::as_str);
            found.finished = Some(reason.unwrap_or_default().to_owned());
        }
        prev = sha256(&line);
        last_stamp = parsed.t_ns;
        found.events += 1;
    }
    found
}

/// Longest line a check reads, in bytes.
const MAX_LINE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn written(finish: bool) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.jsonl");
        let log = EventLog::create(&path, &BenchClock::start(), &json!({"rig": "virtual"}))
            .expect("a log");
        for n in 0..5 {
            log.record("case.step", &json!({"n": n, "text": "a\nb \u{2028}"}))
                .expect("recorded");
        }
        if finish {
            log.finish("finished").expect("finished");
            assert!(matches!(
                log.record("late", &Value::Null),
                Err(EvidenceError::Closed)
            ));
        }
        std::fs::read_to_string(path).expect("readable")
    }

    #[test]
    fn a_complete_log_checks_out() {
        let text = written(true);
        let found = check(text.as_bytes());
        assert_eq!(found.problem, None);
        assert_eq!(found.events, 7);
        assert_eq!(found.finished.as_deref(), Some("finished"));
        assert!(text.starts_with("{\"seq\":0,\"t_ns\":"));
        assert!(
            text.contains("\"kind\":\"run.started\",\"data\":{\"rig\":\"virtual\"},\"prev\":\"000")
        );
    }

    #[test]
    fn an_unfinished_log_is_sound_but_incomplete() {
        let found = check(written(false).as_bytes());
        assert_eq!((found.problem, found.finished), (None, None));
        assert_eq!(check(&b""[..]).events, 0);
    }

    #[test]
    fn edits_deletions_and_swaps_break_the_chain() {
        let text = written(true);
        let lines: Vec<&str> = text.lines().collect();
        let rebuilt = |lines: &[&str]| check(format!("{}\n", lines.join("\n")).as_bytes());
        for at in 0..lines.len() - 1 {
            let mut fewer = lines.clone();
            fewer.remove(at);
            assert!(rebuilt(&fewer).problem.is_some(), "line {at} removed");
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            assert!(rebuilt(&swapped).problem.is_some(), "line {at} swapped");
            let edited = lines[at]
                .replace("case", "cAse")
                .replace("virtual", "virtuel");
            let mut changed = lines.clone();
            changed[at] = &edited;
            assert!(rebuilt(&changed).problem.is_some(), "line {at} edited");
        }
        assert_eq!(
            rebuilt(&lines[..lines.len() - 1]).finished,
            None,
            "truncation shows"
        );
        let mut more = lines.clone();
        more.push(lines[1]);
        assert!(rebuilt(&more).problem.is_some());
    }

    #[test]
    fn any_flipped_byte_before_the_last_line_breaks_the_chain() {
        let text = written(true).into_bytes();
        let end = text[..text.len() - 1]
            .iter()
            .rposition(|b| *b == b'\n')
            .expect("several lines");
        for at in 0..end {
            let mut bytes = text.clone();
            bytes[at] ^= 1;
            assert!(check(bytes.as_slice()).problem.is_some(), "byte {at}");
        }
        for at in 0..text.len() {
            let found = check(&text[..at]);
            assert!(found.finished.is_none());
        }
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_all() {
        let found = check(std::io::BufReader::new(std::io::repeat(b'[')));
        assert!(found.problem.is_some());
        let nested = format!("{}\n", "[".repeat(500_000));
        assert!(check(nested.as_bytes()).problem.is_some());
    }

    #[test]
    fn many_threads_write_one_chain() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.jsonl");
        let log = EventLog::create(&path, &BenchClock::start(), &Value::Null).expect("a log");
        thread::scope(|scope| {
            for worker in 0..4 {
                let log = log.clone();
                scope.spawn(move || {
                    for n in 0..25 {
                        log.record("note", &json!({"worker": worker, "n": n}))
                            .expect("recorded");
                    }
                });
            }
        });
        log.finish("finished").expect("finished");
        let found = check(std::fs::read(path).expect("readable").as_slice());
        assert_eq!((found.problem, found.events), (None, 102));
    }
}
