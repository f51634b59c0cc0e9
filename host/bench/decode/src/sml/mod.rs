// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML: transmissions of a line, or one per piece.

mod schema;
mod tree;

use serde_json::{Map, Value as Json, json};
use smgw_sml::transport::{Discard, Event, Framer};
use smgw_sml::{CrcKind, File, Kind as Element, MeterStatus, ParseError};
use smgw_units::{Decimal, Nanos, Obis, Unit};

use self::schema::{ENVELOPE, Field, Of};
use self::tree::{Message, Node, crc_name};
use crate::explain::{Kind, Layer, hex};
use crate::frame::{Content, Emit, Incident};
use crate::input::Piece;
use crate::{Block, Explanation, Failure, Options, Row};

/// Hands over every transmission of a piece, and every run of bytes that is none.
pub(crate) fn decode(piece: &Piece<'_>, options: &Options, emit: &mut Emit<'_>) {
    let bytes: &[u8] = &piece.bytes;
    let mut note = |event: Event<'_>| match event {
        Event::File {
            payload,
            offset,
            fill,
            crc,
            bytes: length,
            ..
        } => {
            let at = offset as usize;
            let line = bytes.get(at..at + length).unwrap_or_default();
            emit(at, &Transmission::new(line, (payload, fill), crc, options));
        }
        Event::Discarded {
            offset,
            bytes: length,
            reason,
            ..
        } => {
            let at = offset as usize;
            let behind = bytes.get(at + length..).unwrap_or_default();
            let bytes = bytes.get(at..at + length).unwrap_or_default();
            let mut fields = Map::new();
            fields.insert("status".into(), json!(status(reason, behind)));
            fields.insert("len".into(), json!(length));
            if let (Discard::BadCrc, Some((payload, fill))) = (reason, content(bytes)) {
                fields.insert("pad".into(), json!(fill));
                fields.insert("payload".into(), json!(hex(&payload)));
            }
            let incident = Incident {
                what: "SML, no transmission",
                bytes,
                failure: Failure {
                    error: word(reason),
                    reason: reason.to_string(),
                },
                fields,
            };
            emit(at, &incident);
        }
    };
    let mut framer = Framer::with(options.quirks, Framer::DEFAULT_LIMIT);
    for byte in bytes {
        if let Some(event) = framer.push(*byte, Nanos(0)) {
            note(event);
        }
    }
    if let Some(event) = framer.flush() {
        note(event);
    }
}

/// Payload and fill of a whole transmission, whatever its checksum says.
fn content(line: &[u8]) -> Option<(Vec<u8>, u8)> {
    let (body, end) = line.get(8..)?.split_last_chunk::<8>()?;
    let [ESCAPE, ESCAPE, ESCAPE, ESCAPE, _, fill, _, _] = *end else {
        return None;
    };
    let mut payload = Vec::with_capacity(body.len());
    let mut rest = body.get(..body.len().checked_sub(fill.into())?)?;
    while let Some((byte, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(&[ESCAPE; 8]) {
            payload.extend([ESCAPE; 4]);
            rest = behind;
        } else {
            payload.push(*byte);
            rest = behind;
        }
    }
    Some((payload, fill))
}

const ESCAPE: u8 = 0x1b;

/// The word for the state a transmission is left in: one that lost bytes is known to be lost at its end
/// marker, but ends where the next one begins.
fn status(reason: Discard, behind: &[u8]) -> &'static str {
    const START: [u8; 8] = [ESCAPE, ESCAPE, ESCAPE, ESCAPE, 1, 1, 1, 1];
    match reason {
        Discard::Misaligned if behind.windows(8).any(|window| window == START) => "restart",
        Discard::Misaligned => "truncated",
        reason => word(reason),
    }
}

const fn word(reason: Discard) -> &'static str {
    match reason {
        Discard::Noise => "noise",
        Discard::BadCrc => "crc",
        Discard::Truncated => "truncated",
        Discard::Restart => "restart",
        Discard::Misaligned => "misaligned",
        Discard::BadEscape => "escape",
        Discard::TooLong => "too-long",
    }
}

/// A transmission whose checksum verifies.
struct Transmission<'a> {
    line: &'a [u8],
    payload: &'a [u8],
    fill: u8,
    crc: CrcKind,
    nodes: Vec<Node<'a>>,
    /// Why the payload is no SML file, or not one of a meter without the tolerated quirks.
    error: Option<ParseError>,
}

impl<'a> Transmission<'a> {
    fn new(
        line: &'a [u8],
        (payload, fill): (&'a [u8], u8),
        crc: CrcKind,
        options: &Options,
    ) -> Self {
        let (nodes, broken) = tree::read(payload);
        let refused = File::parse(payload, options.quirks).err();
        Self {
            line,
            payload,
            fill,
            crc,
            nodes,
            error: broken.or(refused),
        }
    }

    fn messages(&self) -> impl Iterator<Item = Message<'_, 'a>> {
        let payload = self.payload;
        self.nodes
            .iter()
            .filter_map(|node| Message::of(node, payload))
    }

    /// The meter's id and the registers it lists.
    fn lists(&self) -> impl Iterator<Item = List<'_, 'a>> {
        self.messages().filter_map(|message| List::of(&message))
    }
}

/// GetList.Res.
struct List<'n, 'a> {
    client: &'n Node<'a>,
    server: &'n Node<'a>,
    name: &'n Node<'a>,
    sensor_time: &'n Node<'a>,
    entries: &'n [Node<'a>],
    signature: &'n Node<'a>,
    gateway_time: &'n Node<'a>,
}

impl<'n, 'a> List<'n, 'a> {
    fn of(message: &Message<'n, 'a>) -> Option<Self> {
        match (message.tag, message.content.children.as_slice()) {
            (
                0x0701,
                [
                    client,
                    server,
                    name,
                    sensor_time,
                    entries,
                    signature,
                    gateway_time,
                ],
            ) => Some(Self {
                client,
                server,
                name,
                sensor_time,
                entries: &entries.children,
                signature,
                gateway_time,
            }),
            _ => None,
        }
    }

    fn json(&self) -> Json {
        json!({
            "client": self.client.octets_json(),
            "server": self.server.octets_json(),
            "list_name": self.name.octets_json(),
            "sensor_time": self.sensor_time.json(),
            "signature": self.signature.octets_json(),
            "gateway_time": self.gateway_time.json(),
            "entries": self.entries.iter().map(entry_json).collect::<Vec<_>>(),
        })
    }
}

fn entry_json(entry: &Node<'_>) -> Json {
    let [name, status, time, unit, scaler, value, signature] = entry.children.as_slice() else {
        return entry.json();
    };
    json!({
        "obis": name.octets_json(),
        "status": status.integer_json(),
        "time": time.json(),
        "unit": unit.integer_json(),
        "scaler": scaler.integer_json(),
        "value": value.json(),
        "signature": signature.octets_json(),
    })
}

fn message_json(message: &Message<'_, '_>) -> Json {
    let mut json = json!({
        "tag": format!("{:04x}", message.tag),
        "crc": message.crc.map(crc_name),
        "transaction": message.transaction.octets_json(),
    });
    if let Some(object) = json.as_object_mut() {
        match List::of(message).map(|list| list.json()) {
            Some(Json::Object(list)) => object.extend(list),
            _ => {
                let name = schema::message(message.tag).0;
                object.insert("name".into(), json!(name));
                object.insert("body".into(), message.content.json());
            }
        }
    }
    json
}

impl Content for Transmission<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        out.insert("status".into(), json!("ok"));
        out.insert("len".into(), json!(self.line.len()));
        out.insert("pad".into(), json!(self.fill));
        out.insert("crc".into(), json!(crc_name(self.crc)));
        out.insert("payload".into(), json!(hex(self.payload)));
        let messages: Vec<_> = self
            .messages()
            .map(|message| message_json(&message))
            .collect();
        out.insert("messages".into(), json!(messages));
    }

    fn table(&self) -> Block {
        let mut block = Block {
            title: "SML file".into(),
            ..Block::default()
        };
        if self.crc == CrcKind::Kermit {
            block
                .remarks
                .push("checksum: CRC-16/KERMIT (quirk kermit-crc)".into());
        }
        for message in self.messages() {
            if message.crc.is_none() {
                block.remarks.push(format!(
                    "{}: wrong message checksum",
                    schema::message(message.tag).0
                ));
            }
            if !matches!(message.tag, 0x0101 | 0x0201 | 0x0701) {
                let name = schema::message(message.tag).0;
                block
                    .remarks
                    .push(format!("{name}: {}", message.content.json()));
            }
        }
        for list in self.lists() {
            let server = list.server.octets().unwrap_or_default();
            block.title += &format!(" of {}", server_text(server));
            if let Some(name) = list.name.octets() {
                block.title += &format!(", list {}", obis_text(name));
            }
            if !list.sensor_time.is_absent() {
                block.title += &format!(", {}", time_text(list.sensor_time));
            }
            block
                .rows
                .extend(list.entries.iter().map(|entry| row(entry, server)));
        }
        block
    }

    fn explain(&self) -> Explanation {
        let mut explanation = Explanation::default();
        explanation.push(self.explain_line());
        let mut layer = Layer::new("payload", self.payload);
        for node in &self.nodes {
            match Message::of(node, self.payload) {
                Some(message) => explain_message(&mut layer, &message),
                None if node.element.kind == Element::End => {
                    layer.note(node.element.offset, 1, Kind::Known, "fill byte");
                }
                None => explain_node(&mut layer, node, &ANY),
            }
        }
        explanation.push(layer);
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        let error = self.error?;
        Some(Failure {
            error: "sml",
            reason: error.to_string(),
        })
    }
}

impl Transmission<'_> {
    fn explain_line(&self) -> Layer {
        let mut layer = Layer::new("transmission", self.line);
        let end = self.line.len().saturating_sub(8);
        let fill = usize::from(self.fill).min(end.saturating_sub(8));
        layer.note(0, 8, Kind::Known, "start of a transmission, version 1");
        layer.note(
            8,
            end.saturating_sub(8 + fill),
            Kind::Below,
            "payload, see below",
        );
        // Each pair of four 1b in the line is four in the payload; the doubling itself is understood.
        let mut at = 8;
        while let Some(window) = self.line.get(at..end).and_then(|rest| rest.get(..8)) {
            if window == [0x1b; 8] {
                layer.note(at, 4, Kind::Known, "escape: the next four bytes are data");
                at += 8;
            } else {
                at += 1;
            }
        }
        layer.note(end - fill, fill, Kind::Known, "fill bytes");
        layer.fields(
            end,
            [
                (4, "escape".into()),
                (1, "end of the transmission".into()),
                (1, format!("{fill} fill bytes")),
                (2, format!("checksum ({}), right", crc_name(self.crc))),
            ],
        );
        layer
    }
}

const ANY: Field = Field {
    name: "element",
    of: Of::Any,
};

fn explain_message(layer: &mut Layer, message: &Message<'_, '_>) {
    let node = message.node;
    let (name, fields) = schema::message(message.tag);
    let (at, len) = (node.element.offset, node.end - node.element.offset);
    layer.group(at, len, format!("message {name}"), |layer| {
        layer.note(at, node.element.header, Kind::Known, "list of 6");
        for (child, name) in node.children.iter().zip(ENVELOPE) {
            let at = child.element.offset;
            match (name, child.children.as_slice()) {
                ("messageBody", [tag, content]) => {
                    layer.group(at, child.end - at, name, |layer| {
                        layer.note(at, child.element.header, Kind::Known, "list of 2");
                        let text = format!(
                            "tag {:04x}: {}",
                            message.tag,
                            schema::message(message.tag).0
                        );
                        layer.note(
                            tag.element.offset,
                            tag.end - tag.element.offset,
                            Kind::Known,
                            text,
                        );
                        explain_fields(layer, content, "content", fields);
                    });
                }
                ("crc16", _) => {
                    let verdict = match message.crc {
                        Some(kind) => format!("crc16 ({}), right", crc_name(kind)),
                        None => "crc16, wrong".into(),
                    };
                    layer.note(at, child.end - at, Kind::Known, verdict);
                }
                ("end of message", _) => layer.note(at, child.end - at, Kind::Known, name),
                _ => leaf(layer, child, name),
            }
        }
    });
}

fn explain_node(layer: &mut Layer, node: &Node<'_>, field: &Field) {
    match field.of {
        _ if node.element.kind != Element::List => leaf(layer, node, field.name),
        Of::All(fields) if fields.len() == node.children.len() => {
            explain_fields(layer, node, field.name, fields);
        }
        Of::Each(item) => heading(layer, node, field.name, |layer| {
            for child in &node.children {
                explain_node(layer, child, item);
            }
        }),
        _ => heading(layer, node, field.name, |layer| {
            for child in &node.children {
                explain_node(layer, child, &ANY);
            }
        }),
    }
}

fn explain_fields(layer: &mut Layer, node: &Node<'_>, name: &str, fields: &'static [Field]) {
    heading(layer, node, name, |layer| {
        for (index, child) in node.children.iter().enumerate() {
            explain_node(layer, child, fields.get(index).unwrap_or(&ANY));
        }
    });
}

fn heading(layer: &mut Layer, node: &Node<'_>, name: &str, inside: impl FnOnce(&mut Layer)) {
    let at = node.element.offset;
    layer.group(at, node.end - at, name, |layer| {
        let text = format!("list of {}", node.element.length);
        layer.note(at, node.element.header, Kind::Known, text);
        inside(layer);
    });
}

fn leaf(layer: &mut Layer, node: &Node<'_>, name: &str) {
    let at = node.element.offset;
    let text = match (name, node.octets(), node.integer()) {
        _ if node.is_absent() => "absent".into(),
        ("objName" | "parameterName" | "path element" | "listName", Some(octets), _) => {
            obis_text(octets)
        }
        ("serverId", Some(octets), _) => server_text(octets),
        (_, Some(octets), _) => octets_text(octets),
        ("unit", _, Some(code)) => u8::try_from(code).map_or("?".into(), unit_text),
        ("status", _, Some(status)) => format!("{status:#x}"),
        (_, _, Some(number)) => number.to_string(),
        _ => match node.element.value {
            [0] => "false".into(),
            [_] => "true".into(),
            other => hex(other),
        },
    };
    layer.note(at, node.end - at, Kind::Known, format!("{name}: {text}"));
}

fn row(entry: &Node<'_>, server: &[u8]) -> Row {
    let [name, status, time, unit, scaler, value, _] = entry.children.as_slice() else {
        return Row {
            name: "no entry".into(),
            ..Row::default()
        };
    };
    let scaler = scaler
        .integer()
        .and_then(|scaler| i8::try_from(scaler).ok());
    let shown = match (value.integer(), value.octets()) {
        (Some(number), _) => Decimal::new(number, scaler.unwrap_or(0)).to_string(),
        (_, Some(octets)) => octets_text(octets),
        _ if value.is_absent() => "absent".into(),
        _ => value.json().to_string(),
    };
    let code = unit.integer().and_then(|code| u8::try_from(code).ok());
    let status = status
        .integer()
        .and_then(|status| u64::try_from(status).ok());
    Row {
        name: obis_text(name.octets().unwrap_or_default()),
        value: shown,
        unit: code
            .filter(|code| *code > 0)
            .map_or(String::new(), unit_text),
        status: status.map_or(String::new(), |status| status_text(status, server)),
        detail: if time.is_absent() {
            String::new()
        } else {
            time_text(time)
        },
    }
}

fn obis_text(octets: &[u8]) -> String {
    match <[u8; 6]>::try_from(octets) {
        Ok(groups) => Obis(groups).to_string(),
        Err(_) => octets_text(octets),
    }
}

fn octets_text(octets: &[u8]) -> String {
    let printable = !octets.is_empty() && octets.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    if printable {
        format!("{:?}", String::from_utf8_lossy(octets))
    } else {
        hex(octets)
    }
}

fn unit_text(code: u8) -> String {
    Unit(code).to_string()
}

/// A binary server id names the device (DIN 43863-5); others stay as they are.
fn server_text(octets: &[u8]) -> String {
    match octets {
        [0x0a, sector @ 0..=0x0f, a, b, c, block, n0, n1, n2, n3]
            if [a, b, c].iter().all(|letter| letter.is_ascii_alphabetic()) =>
        {
            let number = u32::from_be_bytes([*n0, *n1, *n2, *n3]);
            let letters: String = [a, b, c]
                .iter()
                .map(|letter| char::from(**letter))
                .collect();
            format!(
                "{sector:X}{letters}{block:02X}{number:08} ({})",
                hex(octets)
            )
        }
        _ => octets_text(octets),
    }
}

/// Time in seconds of operation, or as a time of day.
fn time_text(time: &Node<'_>) -> String {
    if let Some(seconds) = time.integer() {
        return format!("second {seconds} of operation");
    }
    let [choice, value] = time.children.as_slice() else {
        return time.json().to_string();
    };
    let first = value.children.first().unwrap_or(value);
    match (choice.integer(), first.integer()) {
        (Some(1), Some(seconds)) => format!("second {seconds} of operation"),
        (Some(2 | 3), Some(seconds)) => {
            let seconds = i64::from(u32::try_from(seconds).unwrap_or(0));
            smgw_units::UtcNanos::from_seconds(seconds).to_string()
        }
        _ => time.json().to_string(),
    }
}

/// The status word; its bits are only known for meters with an FNN server id (detail specifications
/// table 15.1).
fn status_text(status: u64, server: &[u8]) -> String {
    let mut text = format!("{status:x}");
    if server.first() == Some(&0x0a) {
        for (name, bit) in MeterStatus::BITS
            .iter()
            .filter(|(_, bit)| status & bit != 0)
        {
            let known = *bit != MeterStatus::BASIC_METER;
            text += &if known {
                format!(" {name}")
            } else {
                String::new()
            };
        }
    }
    text
}
