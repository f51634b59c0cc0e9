// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wired M-Bus: frames of a line, or one per piece.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use smgw_mbus::{
    ApplicationError, Body, Device, Error, Event, FixedData, FixedReading, Framer, Header,
    Telegram, control,
};
use smgw_units::Nanos;

use crate::explain::{Kind, Layer, hex, offset};
use crate::frame::{Content, Emit, Incident};
use crate::input::Piece;
use crate::records::{self, Read, Texts};
use crate::wmbus::{self, Context};
use crate::{Block, Explanation, Failure, Row};

/// Hands over every frame of a piece, and every run of bytes that is none.
pub(crate) fn decode(piece: &Piece<'_>, context: &mut Context, emit: &mut Emit<'_>) {
    let bytes: &[u8] = &piece.bytes;
    if piece.whole {
        return frame(0, bytes, context, emit);
    }
    // Offsets stand for time; nothing ends by silence.
    let mut framer = Framer::new(Duration::MAX);
    let part = |first: Nanos, length: usize| {
        let first = first.0 as usize;
        (first, bytes.get(first..first + length).unwrap_or_default())
    };
    for (at, byte) in bytes.iter().enumerate() {
        match framer.push(*byte, Nanos(at as u64)) {
            None => {}
            Some(Event::Frame {
                bytes: found,
                first,
                noise,
                ..
            }) => {
                let (first, length) = (first.0 as usize, found.len());
                if noise > 0 {
                    let before = first.saturating_sub(noise);
                    incident(before, bytes.get(before..first).unwrap_or_default(), emit);
                }
                let found = bytes.get(first..first + length).unwrap_or_default();
                frame(first, found, context, emit);
            }
            Some(Event::Discarded {
                bytes: length,
                first,
                ..
            }) => {
                let (first, part) = part(first, length);
                incident(first, part, emit);
            }
        }
    }
    if let Some(Event::Discarded {
        bytes: length,
        first,
        ..
    }) = framer.idle(Nanos(u64::MAX))
    {
        let (first, part) = part(first, length);
        incident(first, part, emit);
    }
}

fn frame(at: usize, bytes: &[u8], context: &mut Context, emit: &mut Emit<'_>) {
    match smgw_mbus::Frame::parse(bytes) {
        Ok(smgw_mbus::Frame::Ack) => emit(
            at,
            &Bare {
                bytes,
                fields: None,
            },
        ),
        Ok(smgw_mbus::Frame::Short { control, address }) => {
            let fields = Some((control, address));
            emit(at, &Bare { bytes, fields });
        }
        Ok(smgw_mbus::Frame::Long {
            control,
            address,
            ci,
            data,
        }) => {
            let telegram = Telegram::parse(bytes);
            let header = telegram.as_ref().ok().and_then(Telegram::header);
            let protected = header.is_some_and(|header| header.mode() != 0);
            // Some meters put other things into the configuration word: what reads as records is plain.
            let plain = match telegram.as_ref().map(Telegram::body) {
                Ok(Body::Records(body)) => {
                    let read = Read::new(body);
                    read.error.is_none() && !read.records.is_empty()
                }
                _ => false,
            };
            let opened = (protected && !plain)
                .then(|| context.open_wired(bytes))
                .flatten();
            let records = match (&opened, telegram.as_ref().map(Telegram::body)) {
                (Some(opened), Ok(Body::Records(_))) => (opened.body != smgw_wmbus::Body::Sealed)
                    .then(|| Read::new(wmbus::record_body(opened))),
                (None, Ok(Body::Records(body))) => Some(Read::new(body)),
                _ => None,
            };
            let long = Long {
                bytes,
                control,
                address,
                ci,
                data,
                telegram,
                opened: opened.as_ref(),
                records,
            };
            emit(at, &long);
        }
        Err(_) => incident(at, bytes, emit),
    }
}

fn incident(at: usize, bytes: &[u8], emit: &mut Emit<'_>) {
    if bytes.is_empty() {
        return;
    }
    // The damaged frame may have noise before it.
    let error = (0..bytes.len())
        .filter_map(|start| smgw_mbus::Frame::parse(bytes.get(start..)?).err())
        .find(|error| !matches!(error, Error::NoFrame))
        .unwrap_or(Error::NoFrame);
    let incident = Incident {
        what: "M-Bus, no frame",
        bytes,
        failure: records::failure(error),
        fields: Map::new(),
    };
    emit(at, &incident);
}

/// A frame without application data.
struct Bare<'a> {
    bytes: &'a [u8],
    fields: Option<(u8, u8)>,
}

impl Content for Bare<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        match self.fields {
            None => drop(out.insert("ack".into(), json!(true))),
            Some((control, address)) => {
                out.insert("c".into(), json!(control));
                out.insert("a".into(), json!(address));
                out.insert("function".into(), json!(function(control)));
            }
        }
    }

    fn table(&self) -> Block {
        Block {
            title: match self.fields {
                None => "M-Bus acknowledgement".into(),
                Some((control, address)) => {
                    format!("M-Bus {} to address {address}", function(control))
                }
            },
            ..Block::default()
        }
    }

    fn explain(&self) -> Explanation {
        let mut layer = Layer::new("frame", self.bytes);
        match self.fields {
            None => layer.note(0, 1, Kind::Known, "acknowledgement"),
            Some((control, address)) => {
                layer.fields(
                    0,
                    [
                        (1, "start of a short frame".into()),
                        (1, format!("C: {}", function(control))),
                        (1, format!("A: {}", self::address(address))),
                        (1, "checksum".into()),
                        (1, "stop".into()),
                    ],
                );
            }
        }
        let mut explanation = Explanation::default();
        explanation.push(layer);
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        None
    }
}

/// A long frame.
struct Long<'a> {
    bytes: &'a [u8],
    control: u8,
    address: u8,
    ci: u8,
    data: &'a [u8],
    telegram: Result<Telegram<'a>, Error>,
    /// Decrypted, where the header says that it is encrypted.
    opened: Option<&'a smgw_wmbus::Telegram>,
    records: Option<Read<'a>>,
}

impl Long<'_> {
    fn header(&self) -> Option<&Header> {
        self.telegram.as_ref().ok()?.header()
    }

    fn device(&self) -> Option<Device> {
        self.header()?.device
    }

    fn medium(&self) -> Option<u8> {
        self.device().map(|device| device.medium)
    }
}

impl Content for Long<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        let mut add = |key: &str, value: Json| drop(out.insert(key.into(), value));
        add("length", json!(self.bytes.len()));
        add("c", json!(self.control));
        add("a", json!(self.address));
        add("address", json!(self.address));
        add("ci", json!(self.ci));
        add("function", json!(function(self.control)));
        if let Some(header) = self.header() {
            let mut tpl = Map::new();
            if let Some(device) = header.device {
                let id = json!(device.id_text().to_string());
                let manufacturer = json!(device.manufacturer.to_string());
                for (short, long, value) in [
                    ("id", "id", id),
                    ("m", "manufacturer", manufacturer),
                    ("version", "version", json!(device.version)),
                    ("type", "medium", json!(device.medium)),
                ] {
                    add(long, value.clone());
                    tpl.insert(short.into(), value);
                }
            }
            add("access", json!(header.access));
            add("status", json!(header.status));
            add("config", json!(format!("{:04x}", header.config)));
            tpl.insert("acc".into(), json!(header.access));
            tpl.insert("status".into(), json!(header.status));
            tpl.insert("cf".into(), json!(header.config));
            add("tpl", Json::Object(tpl));
        }
        if let Some(opened) = self.opened {
            add("security", json!(wmbus::verdict_word(opened.verdict)));
        }
        if let Some(records) = &self.records {
            add("kind", json!("records"));
            add("records", records.json(self.medium(), Texts::Readable));
            add("more", json!(records.more_follows()));
            add("more_records_follow", json!(records.more_follows()));
            return;
        }
        match self.telegram.as_ref().map(Telegram::body) {
            Ok(Body::Fixed(fixed)) => {
                add("kind", json!("fixed"));
                add("fixed", fixed_json(fixed));
            }
            Ok(Body::Error(refusal)) => {
                add("kind", json!("application-error"));
                add("application_error", json!(refusal_word(*refusal)));
                add("message", json!(refusal.to_string()));
            }
            Ok(Body::Alarm(state)) => {
                add("kind", json!("alarm"));
                add("alarm", json!(state));
            }
            Ok(Body::Records(data)) => {
                add("kind", json!("encrypted"));
                add("records", json!([]));
                add("payload", json!(hex(data)));
            }
            Err(_) => {}
            Ok(Body::Other(data)) => {
                add("kind", json!("data"));
                add("data", json!(hex(data)));
            }
        }
    }

    fn table(&self) -> Block {
        let mut block = Block {
            title: format!(
                "M-Bus {} address {}, {}",
                function(self.control),
                self.address,
                ci_name(self.ci)
            ),
            ..Block::default()
        };
        if let Some(device) = self.device() {
            block.title += &format!(", {}", wmbus::device_text(&device));
        }
        if let Some(header) = self.header() {
            block.remarks.push(format!(
                "access {}, status {:02x} ({})",
                header.access,
                header.status,
                records::status(header.status)
            ));
        }
        if let Some(opened) = self.opened {
            block.remarks.push(format!("security: {}", opened.verdict));
        }
        if let Some(records) = &self.records {
            block.rows = records.rows(self.medium());
        }
        match self.telegram.as_ref().map(Telegram::body) {
            Ok(Body::Fixed(fixed)) => block.rows = fixed_rows(fixed),
            Ok(Body::Error(refusal)) => block.remarks.push(refusal.to_string()),
            Ok(Body::Alarm(state)) => block.remarks.push(format!("alarm state {state:02x}")),
            Ok(Body::Other(data)) if !data.is_empty() => block.remarks.push(hex(data)),
            _ => {}
        }
        block
    }

    fn explain(&self) -> Explanation {
        let mut layer = Layer::new("frame", self.bytes);
        let length = self.bytes.len() - 6;
        let mut at = layer.fields(
            0,
            [
                (1, "start of a long frame".into()),
                (
                    1,
                    format!("L: {length} bytes from C to the last of the data"),
                ),
                (1, "L again".into()),
                (1, "start again".into()),
                (1, format!("C: {}", function(self.control))),
                (1, format!("A: {}", address(self.address))),
                (1, format!("CI: {}", ci_name(self.ci))),
            ],
        );
        if let Some(header) = self.header() {
            at = explain_header(&mut layer, at, header);
        }
        let mut plain = None;
        match (self.opened, &self.records) {
            (None, Some(records)) => records.explain(&mut layer, offset(self.bytes, records.body)),
            (Some(opened), Some(records)) => {
                let payload = opened.payload;
                layer.note(
                    at,
                    payload.at.saturating_sub(at),
                    Kind::Known,
                    "configuration extension",
                );
                let mut below = Layer::new("decrypted", records.body);
                records.explain(&mut below, 0);
                layer.note(payload.at, payload.len, Kind::Below, "payload, see below");
                plain = Some(below);
            }
            (Some(opened), None) => {
                let text = format!("encrypted: {}", opened.verdict);
                layer.note(opened.payload.at, opened.payload.len, Kind::Opaque, text);
            }
            (None, None) => {}
        }
        match self.telegram.as_ref().map(Telegram::body) {
            Ok(Body::Fixed(fixed)) => explain_fixed(&mut layer, at, fixed),
            Ok(Body::Error(refusal)) => layer.note(at, 1, Kind::Known, refusal.to_string()),
            Ok(Body::Alarm(_)) => layer.note(at, 1, Kind::Known, "alarm state"),
            Ok(Body::Other(data)) => {
                layer.note(
                    offset(self.bytes, data),
                    data.len(),
                    Kind::Opaque,
                    "data of this CI field",
                );
            }
            Err(error) => {
                let at = offset(self.bytes, self.data);
                layer.note(at, self.data.len(), Kind::Opaque, error.to_string());
            }
            Ok(Body::Records(_)) => {}
        }
        layer.fields(
            self.bytes.len() - 2,
            [(1, "checksum".into()), (1, "stop".into())],
        );
        let mut explanation = Explanation::default();
        explanation.push(layer);
        if let Some(plain) = plain {
            explanation.push(plain);
        }
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        let refused = self
            .opened
            .filter(|opened| !opened.verdict.is_readable())
            .map(|opened| wmbus::refused(opened.verdict));
        if refused.is_some() {
            return refused;
        }
        match &self.telegram {
            Err(error) => Some(records::failure(*error)),
            Ok(_) => self.records.as_ref()?.error.map(records::failure),
        }
    }
}

/// Notes for a transport header; returns the offset behind it.
pub(crate) fn explain_header(layer: &mut Layer, at: usize, header: &Header) -> usize {
    let at = match header.device {
        None => at,
        Some(device) => layer.fields(
            at,
            [
                (4, format!("identification number {}", device.id_text())),
                (2, format!("manufacturer {}", device.manufacturer)),
                (1, format!("version {}", device.version)),
                (
                    1,
                    format!("device type: {}", smgw_mbus::device_type(device.medium)),
                ),
            ],
        ),
    };
    layer.fields(
        at,
        [
            (1, format!("access number {}", header.access)),
            (1, format!("status: {}", records::status(header.status))),
            (
                2,
                format!(
                    "configuration {:04x}: security mode {}",
                    header.config,
                    header.mode()
                ),
            ),
        ],
    )
}

fn fixed_json(fixed: &FixedData) -> Json {
    let id: Vec<_> = fixed.id.iter().rev().copied().collect();
    let counters: Vec<_> = fixed
        .counters
        .iter()
        .zip(fixed.readings())
        .map(|(counter, reading)| {
            json!({
                "value": counter.value,
                "unit_code": counter.unit_code,
                "quantity": reading.quantity.name(),
                "unit": records::symbol(reading.measure),
                "scale": reading.value.map_or(0, |value| value.exponent),
                "historic": reading.historic,
            })
        })
        .collect();
    json!({
        "id": hex(&id), "access": fixed.access, "status": fixed.status, "medium": fixed.medium,
        "counters": counters,
    })
}

fn fixed_rows(fixed: &FixedData) -> Vec<Row> {
    let row = |reading: FixedReading| Row {
        name: reading.quantity.name().into(),
        value: reading
            .value
            .map_or("no number".into(), |value| value.to_string()),
        unit: records::symbol(reading.measure).into(),
        detail: if reading.historic { "historic" } else { "" }.into(),
        ..Row::default()
    };
    fixed.readings().into_iter().map(row).collect()
}

fn explain_fixed(layer: &mut Layer, at: usize, fixed: &FixedData) {
    let [first, second] = fixed.readings().map(|reading| {
        let value = reading
            .value
            .map_or("no number".into(), |value| value.to_string());
        format!("{value} {}", records::symbol(reading.measure))
    });
    let id: Vec<_> = fixed.id.iter().rev().copied().collect();
    layer.fields(
        at,
        [
            (4, format!("identification number {}", hex(&id))),
            (1, format!("access number {}", fixed.access)),
            (1, format!("status {:02x}", fixed.status)),
            (2, format!("medium {} and units", fixed.medium)),
            (4, format!("counter 1: {first}")),
            (4, format!("counter 2: {second}")),
        ],
    );
}

pub(crate) const fn refusal_word(refusal: ApplicationError) -> &'static str {
    match refusal {
        ApplicationError::Unspecified => "unspecified",
        ApplicationError::UnimplementedCi => "unimplemented-ci",
        ApplicationError::BufferTooLong => "buffer-too-long",
        ApplicationError::TooManyRecords => "too-many-records",
        ApplicationError::PrematureEnd => "premature-end",
        ApplicationError::TooManyDife => "too-many-dife",
        ApplicationError::TooManyVife => "too-many-vife",
        ApplicationError::Busy => "busy",
        ApplicationError::TooManyReadouts => "too-many-readouts",
        _ => "other",
    }
}

/// Name of a control field.
fn function(code: u8) -> &'static str {
    if code & control::PRM == 0 {
        return match code & 0x0f {
            0x00 => "ACK",
            0x08 => "RSP_UD",
            _ => "reserved",
        };
    }
    match code & 0x0f {
        0x00 => "SND_NKE",
        0x03 if code & control::FCV == 0 => "SND_UD2",
        0x03 => "SND_UD",
        0x09 => "REQ_SKE",
        0x0a => "REQ_UD1",
        0x0b => "REQ_UD2",
        _ => "reserved",
    }
}

fn address(address: u8) -> String {
    match address {
        0 => "0 (not configured)".into(),
        251 | 252 => format!("{address} (reserved)"),
        253 => "253 (the selected meter)".into(),
        254 => "254 (all, each answers)".into(),
        255 => "255 (all, none answers)".into(),
        _ => address.to_string(),
    }
}

/// Name of a control information field (EN 13757-7 table 2).
pub(crate) const fn ci_name(ci: u8) -> &'static str {
    match ci {
        0x50 => "application reset",
        0x51 => "data to the meter",
        0x52 => "selection of a meter",
        0x53 => "application reset, long header",
        0x54 => "synchronise or request selected application",
        0x5a => "data to the meter, short header",
        0x5b => "data to the meter, long header",
        0x5c => "synchronise",
        0x60 | 0x61 | 0x7c | 0x7d => "COSEM data",
        0x64 | 0x65 | 0x7e | 0x7f => "OBIS data",
        0x69..=0x6b => "format of frames",
        0x6c | 0x6d => "clock",
        0x6e..=0x70 => "application error",
        0x71 | 0x74 | 0x75 => "alarm",
        0x72 => "data from the meter, long header",
        0x73 => "fixed data, or compact frame with long header",
        0x76 => "data from the meter, most significant byte first",
        0x78 => "data from the meter, no header",
        0x79 => "compact frame, no header",
        0x7a => "data from the meter, short header",
        0x7b => "compact frame, short header",
        0x80 | 0x8a | 0x8b => "transport layer only",
        0x81 | 0x83 | 0x89 => "network layer",
        0x86 => "extended link layer, variable",
        0x8c => "extended link layer I",
        0x8d => "extended link layer II",
        0x8e => "extended link layer III",
        0x8f => "extended link layer IV",
        0x90 => "authentication and fragmentation layer",
        0xa0..=0xb7 => "manufacturer specific",
        0xb8..=0xbf => "set the baud rate",
        0xc0..=0xc8 => "image transfer or security management",
        _ => "reserved",
    }
}
