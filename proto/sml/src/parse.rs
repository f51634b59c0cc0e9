// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the payload of a transmission to messages (SML 1.05 §5).

use alloc::vec::Vec;

use nom::number::complete::u8 as byte;

use crate::crc::CrcPair;
use crate::error::{ErrorKind, Fault, ParseError};
use crate::message::{
    Body, CloseResponse, File, ListEntry, ListResponse, Message, MessageCrc, OpenResponse,
};
use crate::tl::{
    Parsed, Type, header, list, list_of, number, octets, optional, signed_number, unsigned, value,
};
use crate::value::Time;
use crate::{Quirk, Quirks};

pub(crate) const OPEN_RESPONSE: u32 = 0x0101;
pub(crate) const CLOSE_RESPONSE: u32 = 0x0201;
pub(crate) const LIST_RESPONSE: u32 = 0x0701;

impl<'a> File<'a> {
    /// Reads the payload of one transmission.
    ///
    /// # Errors
    /// The first place where the bytes do not follow SML. A wrong message checksum is no error but a
    /// verdict of its own, see [`File::is_intact`].
    pub fn parse(payload: &'a [u8], quirks: Quirks) -> Result<Self, ParseError> {
        let mut messages = Vec::new();
        let mut rest = payload;
        while let Some(first) = rest.first() {
            let result = if *first == END {
                fill(rest, quirks)
            } else {
                message(rest, quirks).map(|(after, message)| {
                    messages.push(message);
                    after
                })
            };
            rest = result.map_err(|error| located(payload, error))?;
        }
        Ok(Self { messages })
    }
}

fn located(payload: &[u8], error: nom::Err<Fault<'_>>) -> ParseError {
    match error {
        nom::Err::Error(fault) | nom::Err::Failure(fault) => ParseError {
            offset: payload.len().saturating_sub(fault.rest.len()),
            kind: fault.kind,
        },
        nom::Err::Incomplete(_) => ParseError {
            offset: payload.len(),
            kind: ErrorKind::Truncated,
        },
    }
}

fn fill(input: &[u8], quirks: Quirks) -> Result<&[u8], nom::Err<Fault<'_>>> {
    match input.split_first() {
        Some((_, rest)) if quirks.tolerates(Quirk::StrayFill) => Ok(rest),
        _ => Fault::at(input, ErrorKind::QuirkOff(Quirk::StrayFill)),
    }
}

fn message(input: &[u8], quirks: Quirks) -> Parsed<'_, Message<'_>> {
    let (rest, ()) = list_of(input, 6)?;
    let (rest, transaction_id) = octets(rest)?;
    let (rest, group) = number(rest)?;
    let (rest, abort_on_error) = number(rest)?;
    let (rest, body) = body(rest, quirks)?;
    let covered = input.get(..input.len() - rest.len()).unwrap_or_default();
    let (rest, crc) = checksum(rest, covered, quirks)?;
    let (after, end) = byte(rest)?;
    if end != END {
        return Fault::at(rest, ErrorKind::MissingEnd);
    }
    let message = Message {
        transaction_id,
        group,
        abort_on_error,
        body,
        crc,
    };
    Ok((after, message))
}

/// An unsigned of two bytes, whose leading zero byte some meters crop.
fn checksum<'a>(input: &'a [u8], covered: &[u8], quirks: Quirks) -> Parsed<'a, MessageCrc> {
    let (rest, (sent, width)) = unsigned(input)?;
    if width == 1 && !quirks.tolerates(Quirk::CroppedCrc) {
        return Fault::at(input, ErrorKind::QuirkOff(Quirk::CroppedCrc));
    }
    let Ok(sent) = u16::try_from(sent) else {
        return Fault::at(input, ErrorKind::OutOfRange);
    };
    let line = sent.to_be_bytes();
    let mut pair = CrcPair::new();
    pair.feed_all(covered);
    let crc = match pair.matching(line, quirks.tolerates(Quirk::KermitCrc)) {
        Some(kind) => MessageCrc::Good(kind),
        None => MessageCrc::Wrong(line),
    };
    Ok((rest, crc))
}

fn body(input: &[u8], quirks: Quirks) -> Parsed<'_, Body<'_>> {
    let (rest, ()) = list_of(input, 2)?;
    let (content, (tag, width)) = unsigned(rest)?;
    if width != 4 && !quirks.tolerates(Quirk::ShortTag) {
        return Fault::at(rest, ErrorKind::QuirkOff(Quirk::ShortTag));
    }
    let Ok(tag) = u32::try_from(tag) else {
        return Fault::at(rest, ErrorKind::OutOfRange);
    };
    match tag {
        OPEN_RESPONSE => {
            open_response(content, quirks).map(|(rest, open)| (rest, Body::OpenResponse(open)))
        }
        LIST_RESPONSE => {
            list_response(content, quirks).map(|(rest, list)| (rest, Body::ListResponse(list)))
        }
        CLOSE_RESPONSE => {
            let (rest, ()) = list_of(content, 1)?;
            let (rest, signature) = optional(rest, octets)?;
            Ok((rest, Body::CloseResponse(CloseResponse { signature })))
        }
        _ => value(content, 0).map(|(rest, content)| (rest, Body::Other { tag, content })),
    }
}

fn open_response(input: &[u8], quirks: Quirks) -> Parsed<'_, OpenResponse<'_>> {
    let (rest, ()) = list_of(input, 6)?;
    let (rest, codepage) = optional(rest, octets)?;
    let (rest, client_id) = optional(rest, octets)?;
    let (rest, request_file_id) = octets(rest)?;
    let (rest, server_id) = octets(rest)?;
    let (rest, reference_time) = optional(rest, |input| time(input, quirks))?;
    let (rest, version) = optional(rest, number)?;
    let open = OpenResponse {
        codepage,
        client_id,
        request_file_id,
        server_id,
        reference_time,
        version,
    };
    Ok((rest, open))
}

fn list_response(input: &[u8], quirks: Quirks) -> Parsed<'_, ListResponse<'_>> {
    let (rest, ()) = list_of(input, 7)?;
    let (rest, client_id) = optional(rest, octets)?;
    let (rest, server_id) = octets(rest)?;
    let (rest, list_name) = optional(rest, octets)?;
    let (rest, sensor_time) = optional(rest, |input| time(input, quirks))?;
    let (mut rest, count) = list(rest)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (after, entry) = list_entry(rest, quirks)?;
        entries.push(entry);
        rest = after;
    }
    let (rest, signature) = optional(rest, octets)?;
    let (rest, gateway_time) = optional(rest, |input| time(input, quirks))?;
    let list = ListResponse {
        client_id,
        server_id,
        list_name,
        sensor_time,
        entries,
        signature,
        gateway_time,
    };
    Ok((rest, list))
}

fn list_entry(input: &[u8], quirks: Quirks) -> Parsed<'_, ListEntry<'_>> {
    let (rest, ()) = list_of(input, 7)?;
    let (rest, name) = octets(rest)?;
    let (rest, status) = optional(rest, |input| status(input, quirks))?;
    let (rest, time) = optional(rest, |input| time(input, quirks))?;
    let (rest, unit) = optional(rest, number)?;
    let (rest, scaler) = optional(rest, signed_number)?;
    let (after, value) = optional(rest, |input| value(input, 0))?;
    if value.is_none() && !quirks.tolerates(Quirk::AbsentValue) {
        return Fault::at(rest, ErrorKind::QuirkOff(Quirk::AbsentValue));
    }
    let rest = after;
    let (rest, signature) = optional(rest, octets)?;
    let entry = ListEntry {
        name,
        status,
        time,
        unit,
        scaler,
        value,
        signature,
    };
    Ok((rest, entry))
}

fn status(input: &[u8], quirks: Quirks) -> Parsed<'_, u64> {
    let (rest, (status, width)) = unsigned(input)?;
    if !matches!(width, 1 | 2 | 4 | 8) && !quirks.tolerates(Quirk::OddStatusWidth) {
        return Fault::at(input, ErrorKind::QuirkOff(Quirk::OddStatusWidth));
    }
    Ok((rest, status))
}

fn time(input: &[u8], quirks: Quirks) -> Parsed<'_, Time> {
    let (rest, (of, _)) = header(input)?;
    if of == Type::Unsigned {
        if !quirks.tolerates(Quirk::BareTime) {
            return Fault::at(input, ErrorKind::QuirkOff(Quirk::BareTime));
        }
        return number(input).map(|(rest, seconds)| (rest, Time::SecIndex(seconds)));
    }
    let (_, ()) = list_of(input, 2)?;
    let (content, tag) = number::<u8>(rest)?;
    match tag {
        1 => seconds(content, quirks).map(|(rest, seconds)| (rest, Time::SecIndex(seconds))),
        2 => seconds(content, quirks).map(|(rest, seconds)| (rest, Time::Timestamp(seconds))),
        3 => local_time(content),
        _ => Fault::at(rest, ErrorKind::OutOfRange),
    }
}

fn seconds(input: &[u8], quirks: Quirks) -> Parsed<'_, u32> {
    let (_, (of, _)) = header(input)?;
    if of != Type::List {
        return number(input);
    }
    if !quirks.tolerates(Quirk::TimeList) {
        return Fault::at(input, ErrorKind::QuirkOff(Quirk::TimeList));
    }
    let (rest, ()) = list_of(input, 3)?;
    let (rest, seconds) = number(rest)?;
    let (rest, _) = value(rest, 0)?;
    let (rest, _) = value(rest, 0)?;
    Ok((rest, seconds))
}

fn local_time(input: &[u8]) -> Parsed<'_, Time> {
    let (rest, ()) = list_of(input, 3)?;
    let (rest, timestamp) = number(rest)?;
    let (rest, local_offset) = signed_number(rest)?;
    let (rest, season_offset) = signed_number(rest)?;
    let time = Time::Local {
        timestamp,
        local_offset,
        season_offset,
    };
    Ok((rest, time))
}

/// Ends a message; between messages it is fill.
pub(crate) const END: u8 = 0x00;
