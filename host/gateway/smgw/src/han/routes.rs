// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resources of the HAN as a pure function: who asks for what, and what is answered
//! (detail specifications §6, tables 6.4 and 6.5; catalogue rows HTT-02 to HTT-08, CON-05 to CON-11).
//!
//! What does not exist and what the user may not see are the same 404, so that nobody learns of
//! other people's meters.

use hyper::header::{ACCEPT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::Serialize;
use smgw_core::{Content, Entry, LogicalName};
use smgw_units::DeviceId;
use tracing::error;

use super::evaluations;
use super::logs;
use super::query::{Query, QueryError};
use super::view::View;
use crate::config::{Role, User};
use crate::defects::{Defect, Defects};
use crate::lmn::hex;
use crate::store::Kept;

/// Status and JSON body of a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body; empty for none.
    pub body: String,
}

impl Answer {
    /// The body all errors of one status share.
    pub fn error(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
        Self::json(status, &Failure { error: reason })
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self {
                status,
                content_type: JSON,
                body,
            },
            Err(_) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                content_type: JSON,
                body: r#"{"error":"internal server error"}"#.into(),
            },
        }
    }
}

/// Why there is no 200.
pub(super) type Refusal = StatusCode;

/// Answers one request of `user`.
pub fn answer(request: &Parts, user: &User, view: &View, defects: Defects) -> Answer {
    let answer = judge(request, user, view, defects);
    let mut answer = answer.unwrap_or_else(Answer::error);
    if defects.has(Defect::XmlDefault) && !request.headers.contains_key(ACCEPT) {
        answer.content_type = "application/xml";
    }
    answer
}

fn judge(request: &Parts, user: &User, view: &View, defects: Defects) -> Result<Answer, Refusal> {
    if !headers_fit(&request.headers) {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let is_calibration = request.uri.path().ends_with("/log/calibration");
    if request.method == Method::PUT && defects.has(Defect::PutAccepted)
        || request.method == Method::POST && is_calibration && defects.has(Defect::PostAccepted)
    {
        let (status, content_type, body) = (StatusCode::NO_CONTENT, JSON, String::new());
        return Ok(Answer {
            status,
            content_type,
            body,
        });
    }
    if request.method != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri.path();
    let segments: Vec<&str> = path
        .trim_start_matches('/')
        .trim_end_matches('/')
        .split('/')
        .collect();
    let Some(("smgw", below)) = segments.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(StatusCode::NOT_FOUND);
    };
    if !accepts_json(&request.headers) {
        return Err(StatusCode::NOT_ACCEPTABLE);
    }
    let query = request.uri.query();
    match (&user.role, below) {
        (Role::Consumer { .. }, []) => Ok(ok(&Roles { roles: ["con/v1"] })),
        (Role::Technician, []) => Ok(ok(&Roles { roles: ["srv/v1"] })),
        (Role::Consumer { .. }, ["con", "v1"]) | (Role::Technician, ["srv", "v1"]) => {
            Ok(ok(&Areas {
                areas: ["rts", "exp"],
            }))
        }
        (Role::Consumer { .. }, ["con", "v1", "exp", "log"])
        | (Role::Technician, ["srv", "v1", "exp", "log"]) => {
            logs::answer(user, query, view, defects).map(|log| ok(&log))
        }
        (Role::Consumer { meters }, ["con", "v1", rest @ ..]) => {
            consumer(rest, query, meters, view, defects)
        }
        (Role::Technician, ["srv", "v1", rest @ ..]) => technician(rest, query, view),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

fn consumer(
    path: &[&str],
    query: Option<&str>,
    entitled: &[DeviceId],
    view: &View,
    defects: Defects,
) -> Result<Answer, Refusal> {
    match path {
        ["rts"] => Ok(ok(&Resources {
            resources: &["meters", "evaluations"],
        })),
        ["exp"] => Ok(ok(&Resources {
            resources: &["log", "originalValueLists", "derivedValueLists"],
        })),
        ["rts", "evaluations"] => evaluations::list(entitled, view).map(|body| ok(&body)),
        ["exp", "derivedValueLists", name] => {
            let query = Query::parse(query, &["q.obis", "q.fromtime", "q.totime", "q.count"])
                .map_err(|QueryError| StatusCode::BAD_REQUEST)?;
            evaluations::derived(name, &query, entitled, view, defects).map(|body| ok(&body))
        }
        ["rts", "meters"] => {
            let meter = |id: &DeviceId| MeterInfo {
                id: id.to_string(),
                registers: view
                    .registers(*id)
                    .unwrap_or_default()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            Ok(ok(&Meters {
                meters: entitled.iter().map(meter).collect(),
            }))
        }
        ["exp", "originalValueLists", id] => {
            let id = exactly(id)
                .filter(|id| entitled.contains(id))
                .ok_or(StatusCode::NOT_FOUND)?;
            let registers = view.registers(id).ok_or(StatusCode::NOT_FOUND)?;
            let query = Query::parse(
                query,
                &["q.obis", "q.period", "q.fromtime", "q.totime", "q.count"],
            )
            .map_err(|QueryError| StatusCode::BAD_REQUEST)?;
            let period = query.period.unwrap_or(view.period_seconds);
            let wanted = |obis: &_| query.obis.is_none_or(|only| only == *obis);
            let registers: Vec<_> = registers.iter().copied().filter(wanted).collect();
            let lists = view
                .lists(id, &registers, period, query.selection)
                .map_err(|error| {
                    error!(meter = %id, %error, "value lists cannot be read");
                    StatusCode::INTERNAL_SERVER_ERROR
                })?;
            let list = |(obis, entries): (_, Vec<Kept>)| List {
                logical_name: LogicalName { obis, meter: id }.to_string(),
                obis: obis.to_string(),
                entries: entries
                    .iter()
                    .map(|kept| {
                        let target = defects.told_target(kept.entry.target);
                        let entry = Entry {
                            target,
                            ..kept.entry
                        };
                        Line::of(&entry, &kept.signature)
                    })
                    .collect(),
            };
            Ok(ok(&ValueLists {
                meter_id: id.to_string(),
                registration_period: period,
                lists: lists.into_iter().map(list).collect(),
            }))
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

fn technician(path: &[&str], query: Option<&str>, view: &View) -> Result<Answer, Refusal> {
    match path {
        ["rts"] => Ok(ok(&Resources {
            resources: &["status"],
        })),
        ["exp"] => Ok(ok(&Resources {
            resources: &["log", "receptions"],
        })),
        ["rts", "status"] => {
            let links = view.board.links(view.clock.now());
            let link = |(id, link, reason): (
                DeviceId,
                crate::board::Link,
                Option<smgw_core::GapReason>,
            )| LinkInfo {
                id: id.to_string(),
                link: link.as_str(),
                reason: reason.map(smgw_core::GapReason::as_str),
            };
            Ok(ok(&Status {
                device_id: view.device_id.to_string(),
                state: "measuring",
                started_at: view.board.started_at().to_string(),
                meters: links.into_iter().map(link).collect(),
            }))
        }
        ["exp", "receptions", id] => {
            let id = exactly(id)
                .filter(|id| view.registers(*id).is_some())
                .ok_or(StatusCode::NOT_FOUND)?;
            let query =
                Query::parse(query, &["q.count"]).map_err(|QueryError| StatusCode::BAD_REQUEST)?;
            let receptions = view.board.receptions(id, query.selection.count);
            let reception = |reception: crate::board::Reception| ReceptionInfo {
                received_at: reception.received_at.to_string(),
                outcome: reception.fault.map_or("ok", smgw_core::GapReason::as_str),
                telegram: reception.telegram,
            };
            Ok(ok(&Receptions {
                meter_id: id.to_string(),
                receptions: receptions.into_iter().map(reception).collect(),
            }))
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

/// A meter id as it stands in the lists: upper case would be another name for the same resource.
fn exactly(text: &str) -> Option<DeviceId> {
    text.parse()
        .ok()
        .filter(|id: &DeviceId| id.as_str() == text)
}

fn ok(body: &impl Serialize) -> Answer {
    Answer::json(StatusCode::OK, body)
}

/// REQ.Http.170/180: fields of 250 bytes and a block of 8500 bytes must pass, more is refused.
/// Counted as `name: value`, and for the block with the line ends.
fn headers_fit(headers: &HeaderMap) -> bool {
    let lengths = || {
        headers
            .iter()
            .map(|(name, value)| name.as_str().len() + 2 + value.len())
    };
    lengths().all(|field| field <= LONGEST_FIELD)
        && lengths().map(|field| field + 2).sum::<usize>() <= LONGEST_BLOCK
}

/// RFC 9110 §12.5.1, as far as it matters to a server that only has JSON: without `Accept`, or with
/// a range that includes `application/json` at a quality above zero, JSON it is.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(ACCEPT).iter().peekable();
    if fields.peek().is_none() {
        return true;
    }
    let mut best: Option<(u8, bool)> = None;
    for range in fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
    {
        let mut parts = range
            .split(';')
            .map(|part| part.trim().to_ascii_lowercase());
        let precision = match parts.next().as_deref() {
            Some(JSON) => 3,
            Some("application/*") => 2,
            Some("*/*") => 1,
            _ => continue,
        };
        let quality = parts.find_map(|part| {
            part.strip_prefix("q=")
                .map(|q| q.parse::<f32>().unwrap_or(0.0))
        });
        // The most precise range decides.
        if best.is_none_or(|(held, _)| precision > held) {
            best = Some((precision, quality.unwrap_or(1.0) > 0.0));
        }
    }
    best.is_some_and(|(_, wanted)| wanted)
}

impl Line {
    /// An entry with its inner signature, if it has one.
    pub(super) fn of(entry: &Entry, signature: &[u8]) -> Self {
        let (target_time, status) = (entry.target.to_string(), entry.status.to_string());
        let empty = Self {
            target_time,
            capture_time: None,
            value: None,
            scaler: None,
            unit: None,
            status,
            gap: None,
            signature: None,
        };
        match entry.content {
            Content::Value {
                capture,
                value,
                unit,
            } => Self {
                capture_time: Some(capture.to_string()),
                value: Some(value.mantissa.to_string()),
                scaler: Some(value.exponent),
                unit: Some(unit.0),
                signature: (!signature.is_empty()).then(|| hex(signature)),
                ..empty
            },
            Content::Gap(reason) => Self {
                gap: Some(reason.as_str()),
                ..empty
            },
        }
    }
}

#[derive(Serialize)]
struct Failure {
    error: String,
}

#[derive(Serialize)]
struct Roles {
    roles: [&'static str; 1],
}

#[derive(Serialize)]
struct Areas {
    areas: [&'static str; 2],
}

#[derive(Serialize)]
struct Resources {
    resources: &'static [&'static str],
}

#[derive(Serialize)]
struct Meters {
    meters: Vec<MeterInfo>,
}

#[derive(Serialize)]
struct MeterInfo {
    id: String,
    registers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueLists {
    meter_id: String,
    registration_period: u32,
    lists: Vec<List>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    logical_name: String,
    obis: String,
    entries: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    target_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaler: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<u8>,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    device_id: String,
    state: &'static str,
    started_at: String,
    meters: Vec<LinkInfo>,
}

#[derive(Serialize)]
struct LinkInfo {
    id: String,
    link: &'static str,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receptions {
    meter_id: String,
    receptions: Vec<ReceptionInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceptionInfo {
    telegram: String,
    received_at: String,
    outcome: &'static str,
}

const JSON: &str = "application/json";
const LONGEST_FIELD: usize = 250;
const LONGEST_BLOCK: usize = 8_500;

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
