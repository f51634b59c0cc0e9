// SPDX-License-Identifier: MIT OR Apache-2.0
//! One entry of a log book and the bytes its hash is taken over (VDE 2.75 to 2.101; `docs/logs.md`).

use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};
use smgw_units::UtcNanos;
use thiserror::Error;

use super::event::{Event, Level, Outcome};
use crate::profile::ProfileName;

/// Length of a SHA-256 hash in bytes.
pub const HASH_LEN: usize = 32;

/// Which log.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Book {
    /// All events of the device, for administrator and technician.
    System,
    /// What matters to calibration law; never erased.
    Calibration,
    /// What concerns one consumer, for him alone.
    Consumer(ProfileName),
}

/// Text that names no log book.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a log book is \"system\", \"calibration\" or \"consumer:NAME\"")]
pub struct BookError;

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Calibration => f.write_str("calibration"),
            Self::Consumer(name) => write!(f, "consumer:{name}"),
        }
    }
}

impl FromStr for Book {
    type Err = BookError;

    fn from_str(text: &str) -> Result<Self, BookError> {
        match (text, text.strip_prefix("consumer:")) {
            ("system", _) => Ok(Self::System),
            ("calibration", _) => Ok(Self::Calibration),
            (_, Some(name)) => name.parse().map(Self::Consumer).map_err(|_| BookError),
            _ => Err(BookError),
        }
    }
}

/// One entry, as it is kept and exported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its book.
    pub book: Book,
    /// Counts from 1, without gaps (VDE 2.77).
    pub number: u64,
    /// The entry it repeats.
    pub parent: Option<u64>,
    /// How often the event has happened since its first entry; 1 in the first (VDE 2.78).
    pub repetition: u32,
    /// When, in UTC.
    pub time: UtcNanos,
    /// Whether the gateway's time was valid then.
    pub time_valid: bool,
    /// Seconds the gateway has worked, over all restarts (VDE 2.88).
    pub seconds_index: u64,
    /// Level.
    pub level: Level,
    /// Event id.
    pub event: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// What it is about.
    pub subject: Option<String>,
    /// Who did it.
    pub user: Option<String>,
    /// Where it went.
    pub destination: Option<String>,
    /// Message with `{0}`, `{1}` for the extensions.
    pub template: String,
    /// Values for the template, and behind them further remarks.
    pub extensions: Vec<String>,
    /// Hash of the entry before; zeros for the first.
    pub previous: [u8; HASH_LEN],
    /// Hash of this entry.
    pub hash: [u8; HASH_LEN],
}

impl Record {
    /// What the hash of this entry must be.
    pub fn computed_hash(&self) -> [u8; HASH_LEN] {
        Sha256::digest(self.canonical()).into()
    }

    /// The bytes the hash is taken over: every field in the order of this type, integers big endian, texts with their
    /// length in four bytes before them, absent texts as length `ffffffff`, an absent parent as 0.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(DOMAIN);
        text(&mut bytes, Some(&self.book.to_string()));
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.parent.unwrap_or(0).to_be_bytes());
        bytes.extend(self.repetition.to_be_bytes());
        bytes.extend(self.time.0.to_be_bytes());
        bytes.push(u8::from(self.time_valid));
        bytes.extend(self.seconds_index.to_be_bytes());
        bytes.push(self.level as u8);
        bytes.extend(self.event.to_be_bytes());
        bytes.push(self.outcome as u8);
        for field in [&self.subject, &self.user, &self.destination] {
            text(&mut bytes, field.as_deref());
        }
        text(&mut bytes, Some(&self.template));
        bytes.extend((self.extensions.len() as u32).to_be_bytes());
        for extension in &self.extensions {
            text(&mut bytes, Some(extension));
        }
        bytes.extend(self.previous);
        bytes
    }

    /// The message with the extensions in their places.
    pub fn message(&self) -> String {
        let fill = |message: String, (number, value): (usize, &String)| {
            message.replace(&format!("{{{number}}}"), value)
        };
        self.extensions
            .iter()
            .enumerate()
            .fold(self.template.clone(), fill)
    }

    pub(super) fn of(event: &Event) -> Self {
        let kind = event.kind;
        Self {
            book: Book::System,
            number: 0,
            parent: None,
            repetition: 1,
            time: UtcNanos(0),
            time_valid: false,
            seconds_index: 0,
            level: kind.level(),
            event: kind.id(),
            outcome: event.outcome,
            subject: event.subject.clone(),
            user: event.user.clone(),
            destination: event.destination.clone(),
            template: kind.template().to_owned(),
            extensions: event.extensions.clone(),
            previous: [0; HASH_LEN],
            hash: [0; HASH_LEN],
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        None => bytes.extend(u32::MAX.to_be_bytes()),
    }
}

/// So that no other signed or hashed text of a gateway can be taken for an entry.
const DOMAIN: &[u8] = b"smgw-log/1\0";

#[cfg(test)]
mod tests {
    use super::super::event::EventKind;
    use super::*;

    #[test]
    fn canonical_bytes_are_as_documented() {
        let event = Event::new(EventKind::GatewayStarted)
            .subject("gw")
            .with("1.2");
        let record = Record {
            number: 2,
            parent: Some(1),
            time: UtcNanos::from_seconds(1),
            time_valid: true,
            seconds_index: 7,
            previous: [0xaa; HASH_LEN],
            ..Record::of(&event)
        };
        let expected = [
            "736d67772d6c6f672f3100", // smgw-log/1
            "0000000673797374656d",   // system
            "0000000000000002",
            "0000000000000001",
            "00000001",
            "000000003b9aca00",
            "01",
            "0000000000000007",
            "01",
            "0101",
            "00",
            "000000026777", // gw
            "ffffffff",
            "ffffffff",
            "0000001c",
            "6761746577617920737461727465642c2076657273696f6e207b307d", // the template
            "00000001",
            "00000003312e32",
            &"aa".repeat(32),
        ];
        let shown: String = record
            .canonical()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(shown, expected.concat());
        assert_eq!(record.message(), "gateway started, version 1.2");
    }

    #[test]
    fn books_are_read_as_they_are_written() {
        for text in ["system", "calibration", "consumer:anna-1"] {
            assert_eq!(text.parse::<Book>().unwrap().to_string(), text);
        }
        for text in ["", "System", "consumer:", "consumer:A", "consumer"] {
            assert_eq!(text.parse::<Book>(), Err(BookError), "{text}");
        }
    }
}
