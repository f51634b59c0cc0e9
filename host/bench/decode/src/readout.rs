// SPDX-License-Identifier: MIT OR Apache-2.0
//! Readouts in text: D0 (IEC 62056-21) and P1 ports, whose telegrams differ in their checks only.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use smgw_iec62056::{Bcc, DataSet, Discard, Event, Framer, Telegram, guess_medium, p1};
use smgw_units::Nanos;

use crate::explain::{Kind, Layer, offset};
use crate::frame::{Content, Emit, Incident};
use crate::input::Piece;
use crate::{Block, Explanation, Failure, Protocol, Row};

/// Hands over every telegram of a piece, and every run of bytes that is none.
pub(crate) fn decode(piece: &Piece<'_>, protocol: Protocol, emit: &mut Emit<'_>) {
    let bytes: &[u8] = &piece.bytes;
    // Offsets stand for time; nothing ends by silence.
    let mut framer = Framer::new(Duration::MAX, p1::MAX_TELEGRAM);
    let part = |at: usize, length: usize| bytes.get(at..at + length).unwrap_or_default();
    let mut take = |event: Event<'_>| match event {
        Event::Telegram {
            telegram,
            first,
            noise,
            ..
        } => {
            let at = first.0 as usize;
            if noise > 0 {
                let before = at.saturating_sub(noise);
                incident(before, part(before, at - before), Discard::Noise, emit);
            }
            if let Some(telegram) = Telegram::parse(part(at, telegram.bytes.len())) {
                emit(at, &Readout { telegram, protocol });
            }
        }
        Event::Discarded {
            bytes: length,
            first,
            reason,
        } => {
            let at = first.0 as usize;
            incident(at, part(at, length), reason, emit);
        }
    };
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(event) = framer.push(*byte, Nanos(at as u64)) {
            take(event);
        }
    }
    if let Some(event) = framer.idle(Nanos(u64::MAX)) {
        take(event);
    }
}

fn incident(at: usize, bytes: &[u8], reason: Discard, emit: &mut Emit<'_>) {
    // Line ends, NULs of the wake-up and requests of a reader stand between telegrams.
    let idle = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n' | 0x7f);
    if bytes.iter().all(idle) {
        return;
    }
    let (error, reason) = match reason {
        Discard::Noise => ("noise", "bytes that begin no telegram"),
        Discard::Truncated => ("truncated", "telegram ended early"),
        Discard::Oversize => ("too-long", "telegram longer than any may be"),
    };
    let incident = Incident {
        what: "readout, no telegram",
        bytes,
        failure: Failure {
            error,
            reason: reason.into(),
        },
        fields: Map::new(),
    };
    emit(at, &incident);
}

struct Readout<'a> {
    telegram: Telegram<'a>,
    protocol: Protocol,
}

impl<'a> Readout<'a> {
    fn sets(&self) -> impl Iterator<Item = DataSet<'a>> {
        self.telegram.block.sets().flatten()
    }

    /// The code with its medium, or the address as it stands.
    fn name(&self, set: &DataSet<'_>) -> String {
        // P1 ports name every medium; short codes of D0 meters leave it to the kind of meter.
        let medium = guess_medium(self.telegram.block.lines);
        match set.code() {
            Some(code) => code.with_medium(medium).to_string(),
            None => set.address.to_owned(),
        }
    }
}

/// The word for a block check.
const fn bcc_word(bcc: Bcc) -> &'static str {
    match bcc {
        Bcc::Good => "good",
        Bcc::Wrong { .. } => "wrong",
        Bcc::Absent => "absent",
    }
}

const fn crc_word(crc: p1::Crc) -> &'static str {
    match crc {
        p1::Crc::Good | p1::Crc::GoodUnpadded => "good",
        p1::Crc::Wrong { .. } => "wrong",
        p1::Crc::Absent => "absent",
    }
}

fn set_json(set: &DataSet<'_>) -> Json {
    let mut values = set.values().map(|value| {
        let mut json = json!({ "value": value.to_string(), "text": value.text });
        if let Some(unit) = value.unit {
            json["unit"] = json!(unit);
        }
        json
    });
    let mut json = values.next().unwrap_or_else(|| json!({}));
    let more: Vec<_> = values.collect();
    if !more.is_empty() {
        json["more"] = json!(more);
    }
    json["raw"] = json!(set.raw());
    json
}

impl Content for Readout<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        let identification = &self.telegram.identification;
        let speed = identification.speed().map(|speed| speed.0);
        let mode = format!("{:?}", identification.mode());
        for (key, value) in [
            ("manufacturer", json!(identification.manufacturer)),
            ("id", json!(identification.id)),
            ("mode", json!(mode)),
            ("speed", json!(speed)),
            ("bcc", json!(bcc_word(self.telegram.block.bcc))),
        ] {
            out.insert(key.into(), value);
        }
        let mut obis = Map::new();
        for set in self.sets() {
            // Where a code comes twice, the last one counts; `lines` has all. Short codes stand under
            // both their names, because the medium is a guess.
            let json = set_json(&set);
            if let Some(code) = set.code() {
                obis.insert(code.to_string(), json.clone());
            }
            obis.insert(self.name(&set), json);
        }
        out.insert("obis".into(), obis.into());
        let line = |set: DataSet<'_>| json!({ "code": self.name(&set), "raw": set.raw() });
        let lines: Vec<_> = self.sets().map(line).collect();
        out.insert("lines".into(), json!(lines));
        if self.protocol == Protocol::P1 {
            let crc = self.telegram.crc();
            out.insert("crc".into(), json!(crc_word(crc)));
            let unpadded = crc == p1::Crc::GoodUnpadded;
            out.insert("unpadded".into(), json!(unpadded));
        }
    }

    fn table(&self) -> Block {
        let identification = &self.telegram.identification;
        let name = if self.protocol == Protocol::P1 {
            "P1 telegram"
        } else {
            "D0 readout"
        };
        let mut block = Block {
            title: format!(
                "{name} of {} {}",
                identification.manufacturer, identification.id
            ),
            ..Block::default()
        };
        block.remarks.push(match self.protocol {
            Protocol::P1 => format!("checksum: {}", crc_word(self.telegram.crc())),
            _ => format!("block check: {}", bcc_word(self.telegram.block.bcc)),
        });
        for set in self.sets() {
            let mut name = self.name(&set);
            for value in set.values() {
                block.rows.push(Row {
                    name: std::mem::take(&mut name),
                    value: value.to_string(),
                    unit: value.unit.unwrap_or_default().into(),
                    ..Row::default()
                });
            }
        }
        block
    }

    fn explain(&self) -> Explanation {
        let bytes = self.telegram.bytes;
        let block = &self.telegram.block;
        let mut layer = Layer::new("telegram", bytes);
        let lines = offset(bytes, block.lines);
        let head = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let identification = &self.telegram.identification;
        let text = format!(
            "identification: manufacturer {}, speed code {}, id {:?}",
            identification.manufacturer,
            char::from(identification.baud),
            identification.id
        );
        layer.note(0, head, Kind::Known, text);
        layer.note(
            head,
            lines.saturating_sub(head),
            Kind::Known,
            "start of the data",
        );
        let mut at = lines;
        for set in self.sets() {
            let start = offset(bytes, set.address.as_bytes());
            layer.note(at, start.saturating_sub(at), Kind::Known, "line end");
            at = start + set.address.len();
            let name = self.name(&set);
            layer.note(
                start,
                set.address.len(),
                Kind::Known,
                format!("code {name}"),
            );
            let values: Vec<_> = set
                .values()
                .map(|value| {
                    format!("{value} {}", value.unit.unwrap_or_default())
                        .trim_end()
                        .to_owned()
                })
                .collect();
            // Values with their brackets; sets of several lines keep the line ends between.
            let behind = set
                .brackets()
                .map(|it| offset(bytes, it.as_bytes()) + it.len() + 1);
            let behind = behind.max().unwrap_or(at).max(at);
            layer.note(at, behind - at, Kind::Known, values.join(", "));
            at = behind;
        }
        let end = lines + block.lines.len();
        layer.note(at, end.saturating_sub(at), Kind::Known, "line end");
        let text = match self.protocol {
            Protocol::P1 => format!("end, checksum {}", crc_word(self.telegram.crc())),
            _ => format!("end, block check {}", bcc_word(block.bcc)),
        };
        layer.note(end, bytes.len() - end, Kind::Known, text);
        let mut explanation = Explanation::default();
        explanation.push(layer);
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        if self.protocol == Protocol::P1
            && let p1::Crc::Wrong { expected, got } = self.telegram.crc()
        {
            let got = got.map_or("none".into(), |got| format!("{got:04X}"));
            return Some(Failure {
                error: "crc",
                reason: format!("checksum is {got} instead of {expected:04X}"),
            });
        }
        if let Bcc::Wrong { expected, got } = self.telegram.block.bcc {
            return Some(Failure {
                error: "bcc",
                reason: format!("block check is {got:02x} instead of {expected:02x}"),
            });
        }
        let error = self.telegram.block.sets().find_map(Result::err)?;
        Some(Failure {
            error: "line",
            reason: error.to_string(),
        })
    }
}
