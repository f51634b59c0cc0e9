// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log books: system log, calibration log, and one consumer log per consumer
//! (TR-03109-1 logs; entry fields after VDE-AR-E 2418-6 2.75 to 2.101; catalogue rows LOG-01 to LOG-08).
//!
//! What happened goes in as an [`Event`] with the time it happened, numbered and chained [`Record`]s come out, to be kept
//! in their order. Invariants per book: numbers rise by one, the seconds index never falls, and every record carries
//! the hash of the one before.

mod books;
mod chain;
mod event;
mod record;

pub use books::{Logs, Stamp};
pub use chain::{Break, Breakage, Link, Verifier};
pub use event::{Event, EventKind, Level, Outcome};
pub use record::{Book, BookError, HASH_LEN, Record};
