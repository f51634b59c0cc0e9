// SPDX-License-Identifier: MIT OR Apache-2.0
//! From messages to the payload of a transmission.
//!
//! Message tags are written in two bytes, as most meters do; status words and times in the
//! narrowest standard width and four bytes; values in the width they carry.

use alloc::vec::Vec;

use crate::crc::CrcPair;
use crate::message::{Body, File, ListEntry, ListResponse, Message, MessageCrc, OpenResponse};
use crate::parse::{CLOSE_RESPONSE, END, LIST_RESPONSE, OPEN_RESPONSE};
use crate::tl::{ABSENT, Type};
use crate::value::{Time, Value, unsigned_width};

impl File<'_> {
    /// The payload of one transmission; [`crate::transport::encode`] makes it ready for the line.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for message in &self.messages {
            encode_message(&mut out, message);
        }
        out
    }
}

fn encode_message(out: &mut Vec<u8>, message: &Message<'_>) {
    let start = out.len();
    header(out, Type::List, 6);
    octets(out, message.transaction_id);
    unsigned(out, u64::from(message.group), 1);
    unsigned(out, u64::from(message.abort_on_error), 1);
    header(out, Type::List, 2);
    body(out, &message.body);
    let crc = match message.crc {
        MessageCrc::Good(kind) => {
            let mut pair = CrcPair::new();
            pair.feed_all(out.get(start..).unwrap_or_default());
            pair.bytes(kind)
        }
        MessageCrc::Wrong(bytes) => bytes,
    };
    unsigned(out, u64::from(u16::from_be_bytes(crc)), 2);
    out.push(END);
}

fn body(out: &mut Vec<u8>, body: &Body<'_>) {
    let tag = match body {
        Body::OpenResponse(_) => OPEN_RESPONSE,
        Body::ListResponse(_) => LIST_RESPONSE,
        Body::CloseResponse(_) => CLOSE_RESPONSE,
        Body::Other { tag, .. } => *tag,
    };
    unsigned(out, u64::from(tag), 2);
    match body {
        Body::OpenResponse(open) => open_response(out, open),
        Body::ListResponse(list) => list_response(out, list),
        Body::CloseResponse(close) => {
            header(out, Type::List, 1);
            optional(out, close.signature, octets);
        }
        Body::Other { content, .. } => value(out, content),
    }
}

fn open_response(out: &mut Vec<u8>, open: &OpenResponse<'_>) {
    header(out, Type::List, 6);
    optional(out, open.codepage, octets);
    optional(out, open.client_id, octets);
    octets(out, open.request_file_id);
    octets(out, open.server_id);
    optional(out, open.reference_time, time);
    optional(out, open.version, |out, version| {
        unsigned(out, u64::from(version), 1);
    });
}

fn list_response(out: &mut Vec<u8>, list: &ListResponse<'_>) {
    header(out, Type::List, 7);
    optional(out, list.client_id, octets);
    octets(out, list.server_id);
    optional(out, list.list_name, octets);
    optional(out, list.sensor_time, time);
    header(out, Type::List, list.entries.len());
    for entry in &list.entries {
        list_entry(out, entry);
    }
    optional(out, list.signature, octets);
    optional(out, list.gateway_time, time);
}

fn list_entry(out: &mut Vec<u8>, entry: &ListEntry<'_>) {
    header(out, Type::List, 7);
    octets(out, entry.name);
    optional(out, entry.status, |out, status| {
        unsigned(out, status, unsigned_width(status));
    });
    optional(out, entry.time, time);
    optional(out, entry.unit, |out, unit| {
        unsigned(out, u64::from(unit), 1)
    });
    optional(out, entry.scaler, |out, scaler| {
        signed(out, i64::from(scaler), 1);
    });
    optional(out, entry.value.as_ref(), value);
    optional(out, entry.signature, octets);
}

fn time(out: &mut Vec<u8>, time: Time) {
    header(out, Type::List, 2);
    match time {
        Time::SecIndex(seconds) => {
            unsigned(out, 1, 1);
            unsigned(out, u64::from(seconds), 4);
        }
        Time::Timestamp(seconds) => {
            unsigned(out, 2, 1);
            unsigned(out, u64::from(seconds), 4);
        }
        Time::Local {
            timestamp,
            local_offset,
            season_offset,
        } => {
            unsigned(out, 3, 1);
            header(out, Type::List, 3);
            unsigned(out, u64::from(timestamp), 4);
            signed(out, i64::from(local_offset), 2);
            signed(out, i64::from(season_offset), 2);
        }
    }
}

fn value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Octets(bytes) => octets(out, bytes),
        Value::Bool(flag) => {
            header(out, Type::Bool, 1);
            out.push(u8::from(*flag));
        }
        Value::Signed { value, width } => signed(out, *value, *width),
        Value::Unsigned { value, width } => unsigned(out, *value, *width),
        Value::List(elements) => {
            header(out, Type::List, elements.len());
            for element in elements {
                self::value(out, element);
            }
        }
    }
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.push(ABSENT),
    }
}

fn octets(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, Type::Octets, bytes.len());
    out.extend_from_slice(bytes);
}

/// `width` bytes, or as many as the number needs.
fn unsigned(out: &mut Vec<u8>, value: u64, width: u8) {
    let needed = (64 - value.leading_zeros()).div_ceil(8).max(1) as u8;
    let width = usize::from(width.max(needed).min(8));
    header(out, Type::Unsigned, width);
    out.extend(value.to_be_bytes().iter().skip(8 - width));
}

/// `width` bytes, or as many as the number needs.
fn signed(out: &mut Vec<u8>, value: i64, width: u8) {
    let fits = |width: u8| {
        let unused = 64 - 8 * u32::from(width);
        value << unused >> unused == value
    };
    let width = (width.clamp(1, 8)..8)
        .find(|width| fits(*width))
        .unwrap_or(8);
    header(out, Type::Signed, usize::from(width));
    out.extend(value.to_be_bytes().iter().skip(8 - usize::from(width)));
}

/// Type-length field in as few bytes as possible; `length` is content bytes, or elements of a list.
fn header(out: &mut Vec<u8>, of: Type, length: usize) {
    let code: u8 = match of {
        Type::Octets => 0x00,
        Type::Bool => 0x40,
        Type::Signed => 0x50,
        Type::Unsigned => 0x60,
        Type::List => 0x70,
    };
    let total = |fields: usize| match of {
        Type::List => length,
        _ => length + fields,
    };
    let mut fields = 1;
    while total(fields) >> (4 * fields) != 0 {
        fields += 1;
    }
    let total = total(fields);
    for field in (0..fields).rev() {
        let more = if field == 0 { 0x00 } else { 0x80 };
        let code = if field == fields - 1 { code } else { 0x00 };
        out.push(more | code | (total >> (4 * field) & 0x0f) as u8);
    }
}
