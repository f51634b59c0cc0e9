// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log books in the HAN: the consumer reads his own, the technician the system log, nobody the calibration log; and what
//! of the HAN itself is taken down (catalogue rows LOG-02, LOG-05; `docs/logs.md`).

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde::Serialize;
use smgw_core::log::{Book, Event, EventKind, Record};
use smgw_core::profile::ProfileName;
use tracing::error;

use super::query::{Query, QueryError};
use super::routes::Answer;
use super::view::View;
use crate::config::{Role, User};
use crate::defects::{Defect, Defects};
use crate::lmn::hex;
use crate::store::LogSelection;

/// The log this user may read.
pub(super) fn book_of(user: &User, view: &View, defects: Defects) -> Option<Book> {
    match user.role {
        Role::Technician => Some(Book::System),
        Role::Consumer { .. } if defects.has(Defect::ForeignLog) => {
            let active = view.current.borrow();
            let is_other =
                |other: &&User| matches!(other.role, Role::Consumer { .. }) && other.id != user.id;
            consumer(active.users.iter().find(is_other).unwrap_or(user)).map(Book::Consumer)
        }
        Role::Consumer { .. } => consumer(user).map(Book::Consumer),
    }
}

fn consumer(user: &User) -> Option<ProfileName> {
    user.id.parse().ok()
}

/// The newest entries of a log, oldest first.
pub(super) fn answer(
    user: &User,
    query: Option<&str>,
    view: &View,
    defects: Defects,
) -> Result<Log, StatusCode> {
    let query = Query::parse(query, &["q.fromtime", "q.totime", "q.count"])
        .map_err(|QueryError| StatusCode::BAD_REQUEST)?;
    let book = book_of(user, view, defects).ok_or(StatusCode::NOT_FOUND)?;
    let asked = query.selection;
    let count = asked.count.unwrap_or(MOST_ENTRIES).min(MOST_ENTRIES);
    let selection = LogSelection {
        from: asked.from,
        // As in the lists the end is exclusive here; the store means it inclusive.
        to: asked
            .to
            .map(|to| smgw_units::UtcNanos(to.0.saturating_sub(1))),
        count: Some(count),
        ..LogSelection::default()
    };
    let mut records = view.log(&book, selection).map_err(|error| {
        error!(%book, %error, "log cannot be read");
        StatusCode::INTERNAL_SERVER_ERROR
    })?;
    defects.falsify_log(&mut records);
    Ok(Log {
        book: book.to_string(),
        entries: records.iter().map(LogEntry::of).collect(),
    })
}

/// What is to be taken down of an answered request.
pub(super) fn event_of(request: &Parts, user: &User, answer: &Answer) -> Option<Event> {
    let path = request.uri.path();
    if answer.status.is_client_error() || answer.status.is_server_error() {
        let event = Event::new(EventKind::HanRequestRefused).user(&user.id);
        return Some(
            event
                .with(format!("{} {path}", request.method))
                .with(answer.status.as_u16()),
        );
    }
    match (&user.role, consumer(user)) {
        (Role::Consumer { .. }, Some(name)) => {
            let event = Event::new(EventKind::ConsumerDataRead).user(&user.id);
            Some(event.with(path).of_consumer(name))
        }
        (Role::Consumer { .. }, None) => None,
        (Role::Technician, _) => Some(Event::new(EventKind::StatusRead).user(&user.id).with(path)),
    }
}

/// A log as it is told.
#[derive(Serialize)]
pub struct Log {
    book: String,
    entries: Vec<LogEntry>,
}

/// An entry as it is told, in the HAN and in exports.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    record_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_record_number: Option<u64>,
    repetition_counter: u32,
    timestamp: String,
    time_valid: bool,
    seconds_index: u64,
    level: &'static str,
    event_id: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    message: String,
    message_template: String,
    message_extensions: Vec<String>,
    previous_hash: String,
    hash: String,
}

impl LogEntry {
    /// All of a record.
    pub fn of(record: &Record) -> Self {
        Self {
            record_number: record.number,
            parent_record_number: record.parent,
            repetition_counter: record.repetition,
            timestamp: record.time.to_string(),
            time_valid: record.time_valid,
            seconds_index: record.seconds_index,
            level: record.level.as_str(),
            event_id: format!("{:04x}", record.event),
            outcome: record.outcome.as_str(),
            subject_identity: record.subject.clone(),
            user_identity: record.user.clone(),
            destination: record.destination.clone(),
            message: record.message(),
            message_template: record.template.clone(),
            message_extensions: record.extensions.clone(),
            previous_hash: hex(&record.previous),
            hash: hex(&record.hash),
        }
    }
}

/// In one answer.
const MOST_ENTRIES: u32 = 1_000;
