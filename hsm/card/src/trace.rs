// SPDX-License-Identifier: MIT OR Apache-2.0
//! A record of every command and answer, decoded and without secrets: what travels inside secure messaging is shown by
//! names and lengths, and its bytes only as they were encrypted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smgw_apdu::{Command, Response, StatusWord, describe, describe_response};

use crate::transport::TransportError;

/// One command and its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApduRecord {
    /// When it was sent, by the session's clock.
    pub at: Duration,
    /// How long the answer took.
    pub took: Duration,
    /// The command in one line, as it was before protection.
    pub command: String,
    /// The answer in one line, protection taken off; what went wrong when there is none.
    pub answer: String,
    /// The status word, where an answer came and was authentic.
    pub status: Option<StatusWord>,
    /// The bytes on the wire; only the header of commands that carry a PIN without protection.
    pub sent: Vec<u8>,
    /// The protected command in one line; `None` when it went out as it was.
    pub protected: Option<String>,
    /// The bytes that came.
    pub received: Vec<u8>,
}

/// Gets every record as soon as it is there.
pub type Recorder = Arc<dyn Fn(&ApduRecord) + Send + Sync>;

impl ApduRecord {
    pub(crate) fn new(
        at: Duration,
        took: Duration,
        plain: &Command,
        protected: Option<&Command>,
        received: &Result<Response, TransportError>,
        opened: Option<&Response>,
    ) -> Self {
        let wire = protected.unwrap_or(plain);
        let answer = match (opened, received) {
            (Some(response), _) => describe_response(plain, response),
            (None, Ok(response)) => format!("not authentic: {}", describe_response(wire, response)),
            (None, Err(error)) => format!("none: {error}"),
        };
        Self {
            at,
            took,
            command: describe(plain),
            answer,
            status: opened.map(|response| response.status),
            sent: match carries_pin(wire) {
                true => wire.header().to_vec(),
                false => wire.encode().unwrap_or_default(),
            },
            protected: protected.map(describe),
            received: received.as_ref().map(Response::encode).unwrap_or_default(),
        }
    }
}

/// VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER as they are.
fn carries_pin(command: &Command) -> bool {
    !command.is_protected() && matches!(command.ins, 0x20 | 0x21 | 0x24 | 0x25 | 0x2c | 0x2d)
}

/// The last records, for those who look afterwards.
#[derive(Clone, Debug)]
pub struct Recording {
    most: usize,
    records: Arc<Mutex<std::collections::VecDeque<ApduRecord>>>,
}

impl Recording {
    /// Keeps so many records; older ones are dropped.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            records: Arc::default(),
        }
    }

    /// What fills it.
    pub fn recorder(&self) -> Recorder {
        let Self { most, records } = self.clone();
        Arc::new(move |record| {
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            if records.len() >= most {
                records.pop_front();
            }
            if most > 0 {
                records.push_back(record.clone());
            }
        })
    }

    /// The records kept, oldest first.
    pub fn records(&self) -> Vec<ApduRecord> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_keeps_the_last_ones() {
        let recording = Recording::new(2);
        let record = recording.recorder();
        for ins in [0x84, 0xb0, 0x24] {
            let command = Command::new(0, ins, 0, 0).with(*b"1234567890");
            let answer = Ok(Response::from(StatusWord::OK));
            let opened = answer.as_ref().ok();
            record(&ApduRecord::new(
                Duration::ZERO,
                Duration::ZERO,
                &command,
                None,
                &answer,
                opened,
            ));
        }
        let sent: Vec<_> = recording
            .records()
            .iter()
            .map(|one| (one.sent[1], one.sent.len()))
            .collect();
        assert_eq!(sent, [(0xb0, 15), (0x24, 4)], "the last two, and no PIN");
    }
}
