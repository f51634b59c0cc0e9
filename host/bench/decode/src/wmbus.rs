// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wireless M-Bus: one frame per piece, and the security that wired frames share with it.

use serde_json::{Map, Value as Json, json};
use smgw_lmn_keys::Key as AesKey;
use smgw_mbus::Device;
use smgw_wmbus::{
    Body, Carrier, Compact, CompactError, CrcFormat, Error, FormatCache, Keys, MacCheck, Span,
    Telegram, Verdict, Whose, control,
};

use crate::detect;
use crate::explain::{Kind, Layer, hex};
use crate::frame::{Content, Emit, Incident};
use crate::input::Piece;
use crate::key::Key;
use crate::mbus::{ci_name, explain_header};
use crate::records::{self, Read, Texts};
use crate::{Block, Explanation, Failure};

/// What frames of one input have in common: keys, and formats that earlier frames gave.
pub(crate) struct Context {
    keys: Keys,
    formats: FormatCache,
}

impl Context {
    pub(crate) fn new(given: &[Key]) -> Self {
        let mut keys = Keys::new();
        for key in given {
            let Some(aes) = key.aes else { continue };
            let id = key
                .id
                .as_ref()
                .and_then(|id| u32::from_str_radix(id, 16).ok());
            let whose = id.map_or(Whose::All, |id| Whose::Id(id.to_le_bytes()));
            keys.insert(whose, AesKey::new(aes));
        }
        Self {
            keys,
            formats: FormatCache::default(),
        }
    }

    /// Reads an encrypted frame of the wired bus.
    pub(crate) fn open_wired(&mut self, frame: &[u8]) -> Option<Telegram> {
        Telegram::decode_wired(frame, &self.keys, &mut self.formats).ok()
    }
}

/// Hands over the frame a piece is, or those that fill it back to back; radio frames have no marks to
/// find them by in a stream.
pub(crate) fn decode(piece: &Piece<'_>, context: &mut Context, emit: &mut Emit<'_>) {
    let mut at = 0;
    for length in detect::radio_frames(&piece.bytes) {
        let bytes = piece.bytes.get(at..at + length).unwrap_or_default();
        frame(at, bytes, context, emit);
        at += length;
    }
}

fn frame(at: usize, bytes: &[u8], context: &mut Context, emit: &mut Emit<'_>) {
    match Telegram::decode(bytes, &context.keys, &mut context.formats) {
        Ok(telegram) => {
            let records = matches!(telegram.body, Body::Records | Body::Compact(_))
                .then(|| Read::new(record_body(&telegram)));
            let content = Radio {
                bytes,
                telegram: &telegram,
                records,
            };
            emit(at, &content);
        }
        Err(error) => {
            let mut fields = Map::new();
            fields.insert("kind".into(), json!("exception"));
            fields.insert("records".into(), json!([]));
            let incident = Incident {
                what: "wireless M-Bus, no frame",
                bytes,
                failure: Failure {
                    error: match error {
                        Error::TooShort => "too-short",
                        Error::Crc { .. } => "crc",
                        Error::Incomplete { .. } => "truncated",
                        Error::Cut(_) => "cut",
                        _ => "invalid",
                    },
                    reason: error.to_string(),
                },
                fields,
            };
            emit(at, &incident);
        }
    }
}

/// The bytes that records are read from: the payload, or what a compact frame stands for.
pub(crate) fn record_body(telegram: &Telegram) -> &[u8] {
    match &telegram.body {
        Body::Records => telegram.payload.of(&telegram.bytes),
        Body::Compact(_) if telegram.records().next().is_some() => telegram.record_bytes(),
        _ => &[],
    }
}

struct Radio<'a> {
    /// As received.
    bytes: &'a [u8],
    telegram: &'a Telegram,
    records: Option<Read<'a>>,
}

impl Radio<'_> {
    fn medium(&self) -> Option<u8> {
        self.telegram.meter().map(|meter| meter.medium)
    }

    fn hex(&self, span: Span) -> String {
        hex(span.of(&self.telegram.bytes))
    }

    /// Bytes the L field promises but which did not come.
    fn missing(&self) -> usize {
        match self.telegram.carrier {
            Carrier::Radio { missing, .. } => missing,
            Carrier::Wire { .. } => 0,
        }
    }

    fn kind(&self) -> String {
        let telegram = self.telegram;
        match (&telegram.body, telegram.verdict) {
            (Body::Sealed, Verdict::Unsupported(mode)) => format!("mode{mode}"),
            (Body::Sealed, _) => "encrypted".into(),
            (Body::Manufacturer, _) => "mfct".into(),
            (Body::Compact(_), _) => "compact".into(),
            (Body::Records, _) if self.record_failure().is_some() => "exception".into(),
            (Body::Records, _) => "records".into(),
            (Body::Format(_), _) => "format".into(),
            (Body::Refusal(_), _) => "application-error".into(),
            (Body::Alarm(_), _) => "alarm".into(),
            (Body::Fragment, _) => "fragment".into(),
            (Body::Empty, _) => "empty".into(),
            (Body::Other, _) => "other".into(),
        }
    }

    fn record_failure(&self) -> Option<Failure> {
        let error = self.records.as_ref()?.error?;
        Some(records::failure(error))
    }
}

fn device(into: &mut Map<String, Json>, device: &Device) {
    into.insert("id".into(), json!(device.id_text().to_string()));
    into.insert("m".into(), json!(device.manufacturer.to_string()));
    into.insert("version".into(), json!(device.version));
    into.insert("type".into(), json!(device.medium));
}

impl Content for Radio<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        let telegram = self.telegram;
        if let Carrier::Radio {
            link,
            format,
            length,
            trailing,
            ..
        } = telegram.carrier
        {
            out.insert("crc_format".into(), json!(format_word(format)));
            out.insert("l".into(), json!(length));
            out.insert("c".into(), json!(link.control));
            out.insert("trailing".into(), json!(trailing));
            device(out, &link.sender);
        }
        out.extend(self.layers_json());
        out.insert("security".into(), json!(verdict_word(telegram.verdict)));
        if let Some(mac) = telegram.mac {
            out.insert("mac".into(), json!(mac_word(mac)));
        }
        let kind = self.kind();
        if let Body::Compact(compact) = &telegram.body {
            let fields = json!({ "signature": compact.signature, "frame_crc": compact.frame_crc });
            out.insert("compact".into(), fields);
            out.insert("body".into(), json!(self.hex(compact.data)));
        }
        match &telegram.body {
            Body::Records => drop(out.insert("plain".into(), json!(self.hex(telegram.payload)))),
            Body::Refusal(refusal) => {
                let word = crate::mbus::refusal_word(*refusal);
                out.insert("application_error".into(), json!(word));
            }
            Body::Alarm(state) => drop(out.insert("alarm".into(), json!(state))),
            Body::Compact(_) | Body::Empty => {}
            _ => drop(out.insert("payload".into(), json!(self.hex(telegram.payload)))),
        }
        let read = self.records.as_ref();
        let records = read.map(|read| read.json(self.medium(), Texts::Hex));
        out.insert("records".into(), records.unwrap_or_else(|| json!([])));
        out.insert("kind".into(), json!(kind));
    }

    fn table(&self) -> Block {
        let telegram = self.telegram;
        let name = control::name(telegram.control()).unwrap_or("unknown C field");
        let mut block = Block {
            title: format!("wireless M-Bus {name}"),
            ..Block::default()
        };
        if let Some(meter) = telegram.meter() {
            block.title += &format!(" of {}", device_text(&meter));
        }
        if let Some(header) = telegram.tpl.and_then(|tpl| tpl.header) {
            block.remarks.push(format!(
                "access {}, status {:02x} ({})",
                header.access,
                header.status,
                records::status(header.status)
            ));
        }
        if let Some(counter) = telegram.counter() {
            block.remarks.push(format!("message counter {counter}"));
        }
        let mac = telegram.mac.map_or("", |mac| match mac {
            MacCheck::Good => ", MAC right",
            MacCheck::Wrong => ", MAC WRONG",
            MacCheck::NoKey | MacCheck::Unsupported => ", MAC not checked",
        });
        block
            .remarks
            .push(format!("security: {}{mac}", telegram.verdict));
        match (&self.records, &telegram.body) {
            (Some(read), _) => block.rows = read.rows(self.medium()),
            (None, Body::Refusal(refusal)) => block.remarks.push(refusal.to_string()),
            (None, Body::Alarm(state)) => block.remarks.push(format!("alarm state {state:02x}")),
            (None, Body::Empty) => {}
            (None, _) => {
                block
                    .remarks
                    .push(format!("{}: {}", self.kind(), self.hex(telegram.payload)))
            }
        }
        block
    }

    fn explain(&self) -> Explanation {
        let telegram = self.telegram;
        let mut explanation = Explanation::default();
        let Ok(frame) = smgw_wmbus::Frame::detect(self.bytes) else {
            return explanation;
        };
        let stripped = frame.format == CrcFormat::Stripped;
        if !stripped {
            explanation.push(explain_crcs(self.bytes, frame.format, frame.trailing));
        }
        let mut layer = Layer::new("frame without checksums", &telegram.bytes);
        self.explain_layers(&mut layer);
        let encrypted = frame
            .bytes
            .iter()
            .zip(&telegram.bytes)
            .position(|(before, after)| before != after)
            .map(|_| self.sealed_from());
        let shown = if stripped { self.bytes } else { &frame.bytes };
        let title = if stripped {
            "frame"
        } else {
            "frame without checksums"
        };
        match encrypted {
            None => explanation.push(layer.over(title, shown)),
            Some(at) => {
                let (mut open, plain) = layer.split(at, "decrypted", &telegram.bytes);
                open = open.over(title, shown);
                open.note(
                    at,
                    telegram.bytes.len() - at,
                    Kind::Below,
                    "encrypted, see below",
                );
                explanation.push(open);
                explanation.push(plain);
            }
        }
        if let (Body::Compact(Compact { full: Ok(full), .. }), Some(read)) =
            (&telegram.body, &self.records)
        {
            let mut layer = Layer::new("records as a full frame would send them", full);
            read.explain(&mut layer, 0);
            explanation.push(layer.uncounted());
        }
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        let telegram = self.telegram;
        let missing = self.missing();
        if missing > 0 {
            return Some(Failure {
                error: "truncated",
                reason: format!("frame lacks {missing} bytes its L field promises"),
            });
        }
        let doubtful = matches!(telegram.verdict, Verdict::MacWrong | Verdict::Truncated);
        if doubtful || !telegram.verdict.is_readable() {
            return Some(refused(telegram.verdict));
        }
        if let Body::Compact(Compact {
            full: Err(error), ..
        }) = &telegram.body
        {
            return Some(match error {
                CompactError::UnknownFormat => Failure {
                    error: "unknown-format",
                    reason: "no frame before gave the format of this compact frame".into(),
                },
                CompactError::Mismatch => Failure {
                    error: "format-mismatch",
                    reason: "values do not fit the format of this compact frame".into(),
                },
                CompactError::FrameCrc => Failure {
                    error: "frame-crc",
                    reason: "records differ from those the meter computed its CRC over".into(),
                },
            });
        }
        self.record_failure()
    }
}

impl Radio<'_> {
    fn layers_json(&self) -> Map<String, Json> {
        let telegram = self.telegram;
        let mut out = Map::new();
        if let Some(ell) = &telegram.ell {
            let mut fields = Map::new();
            fields.insert("ci".into(), json!(ell.ci));
            fields.insert("cc".into(), json!(ell.communication));
            fields.insert("acc".into(), json!(ell.access));
            if let Some(receiver) = &ell.receiver {
                let mut to = Map::new();
                device(&mut to, receiver);
                fields.insert("receiver".into(), to.into());
            }
            if let Some(session) = &ell.session {
                fields.insert("session".into(), json!(session.session()));
                fields.insert("time".into(), json!(session.time()));
                fields.insert("enc".into(), json!(session.encryption()));
                fields.insert("payload_crc_ok".into(), json!(session.crc_ok));
            }
            out.insert("ell".into(), fields.into());
        }
        if let Some(afl) = &telegram.afl {
            let counter = afl.counter.map(|counter| hex(&counter.to_le_bytes()));
            let length = afl.length.map(|length| hex(&length.to_le_bytes()));
            let fields = json!({
                "fcl": afl.fragmentation,
                "mcl": afl.control.map(|control| hex(&[control])).unwrap_or_default(),
                "mcr": counter.unwrap_or_default(),
                "mac": afl.mac.map(|mac| self.hex(mac)).unwrap_or_default(),
                "ml": length.unwrap_or_default(),
            });
            out.insert("afl".into(), fields);
        }
        if let Some(ci) = telegram.ci() {
            out.insert("ci".into(), json!(ci));
        }
        if let Some(tpl) = &telegram.tpl {
            let mut fields = Map::new();
            if let Some(header) = &tpl.header {
                if let Some(long) = &header.device {
                    device(&mut fields, long);
                }
                fields.insert("acc".into(), json!(header.access));
                fields.insert("status".into(), json!(header.status));
                fields.insert("cf".into(), json!(header.config));
                fields.insert("mode".into(), json!(tpl.mode()));
                fields.insert("blocks".into(), json!(tpl.blocks()));
                if let Some(extension) = tpl.extension {
                    fields.insert("cfe".into(), json!(extension));
                }
            }
            out.insert("tpl".into(), fields.into());
        }
        // The word is about the transport layer only; a session was decrypted before it.
        let session = telegram.ell.is_some_and(|ell| ell.session.is_some());
        if telegram.verdict == Verdict::AlreadyPlain && !session {
            out.insert("already_plain".into(), json!(true));
        }
        out
    }

    /// Where what was encrypted begins: a session encrypts from its CRC on, a transport layer its payload.
    fn sealed_from(&self) -> usize {
        let telegram = self.telegram;
        match telegram.ell {
            Some(ell) if ell.session.is_some_and(|session| session.encryption() != 0) => {
                ell.span.end().saturating_sub(2)
            }
            _ => telegram.payload.at,
        }
    }

    /// Notes for every layer, over the bytes without checksums and in plain text.
    fn explain_layers(&self, layer: &mut Layer) {
        let telegram = self.telegram;
        let name = control::name(telegram.control()).unwrap_or("unknown");
        let mut at = layer.fields(
            0,
            [
                (1, format!("L: {} bytes follow", telegram.bytes.len() - 1)),
                (1, format!("C: {name}")),
            ],
        );
        if let Some(sender) = telegram.sender() {
            at = explain_link_device(layer, at, &sender);
        }
        if let Some(ell) = &telegram.ell {
            at = layer.fields(
                ell.span.at,
                [
                    (1, format!("CI: {}", ci_name(ell.ci))),
                    (
                        1,
                        format!("communication control {:02x}", ell.communication),
                    ),
                    (1, format!("access number {}", ell.access)),
                ],
            );
            if let Some(receiver) = &ell.receiver {
                at = explain_link_device(layer, at, receiver);
            }
            if let Some(session) = &ell.session {
                let (number, time) = (session.session(), session.time());
                let crc = if session.crc_ok { "right" } else { "not right" };
                at = layer.fields(
                    at,
                    [
                        (
                            4,
                            format!(
                                "session {number}, time {time}, encryption {}",
                                session.encryption()
                            ),
                        ),
                        (2, format!("payload CRC, {crc}")),
                    ],
                );
            }
        }
        if let Some(afl) = &telegram.afl {
            let present = |len: usize, present: bool| if present { len } else { 0 };
            at = layer.fields(
                afl.span.at,
                [
                    (1, "CI: authentication and fragmentation layer".into()),
                    (1, format!("AFLL: {} bytes follow", afl.span.len - 2)),
                    (
                        2,
                        format!(
                            "FCL: {:04x}, fragment {}",
                            afl.fragmentation,
                            afl.fragment()
                        ),
                    ),
                    (
                        present(1, afl.control.is_some()),
                        format!("MCL: {:02x}", afl.control.unwrap_or(0)),
                    ),
                    (
                        present(2, afl.key.is_some()),
                        format!("KI: {:04x}", afl.key.unwrap_or(0)),
                    ),
                    (
                        present(4, afl.counter.is_some()),
                        format!("MCR: message counter {}", afl.counter.unwrap_or(0)),
                    ),
                    (
                        afl.mac.map_or(0, |mac| mac.len),
                        format!("MAC, {}", telegram.mac.map_or("not checked", mac_word)),
                    ),
                    (
                        present(2, afl.length.is_some()),
                        format!("ML: message of {} bytes", afl.length.unwrap_or(0)),
                    ),
                ],
            );
        }
        if let Some(tpl) = &telegram.tpl {
            at = tpl.span.at;
            layer.note(at, 1, Kind::Known, format!("CI: {}", ci_name(tpl.ci)));
            at += 1;
            if let Some(header) = &tpl.header {
                at = explain_header(layer, at, header);
            }
            let extension = tpl.extension.unwrap_or(0);
            let text = format!(
                "configuration extension: key derivation {}, key {}",
                tpl.key_derivation(),
                extension & 0x0f
            );
            layer.note(at, tpl.span.end().saturating_sub(at), Kind::Known, text);
            at = tpl.span.end();
        }
        let payload = telegram.payload;
        layer.note(
            at,
            payload.at.saturating_sub(at),
            Kind::Known,
            "behind the header",
        );
        self.explain_payload(layer, payload);
    }

    fn explain_payload(&self, layer: &mut Layer, payload: Span) {
        match (&self.telegram.body, &self.records) {
            (Body::Compact(compact), _) => {
                let at = compact.data.at;
                layer.fields(
                    at.saturating_sub(4),
                    [
                        (2, format!("format signature {:04x}", compact.signature)),
                        (
                            2,
                            format!("CRC of the full frame {:04x}", compact.frame_crc),
                        ),
                    ],
                );
                let (kind, text) = match compact.full {
                    Ok(_) => (Kind::Known, "values, see below"),
                    Err(_) => (Kind::Opaque, "values of an unknown format"),
                };
                layer.note(at, compact.data.len, kind, text);
            }
            (Body::Records, Some(read)) => read.explain(layer, payload.at),
            (Body::Refusal(refusal), _) => {
                layer.note(payload.at, 1, Kind::Known, refusal.to_string());
            }
            (Body::Alarm(_), _) => layer.note(payload.at, 1, Kind::Known, "alarm state"),
            (Body::Sealed, _) => {
                let text = format!("encrypted: {}", self.telegram.verdict);
                layer.note(payload.at, payload.len, Kind::Opaque, text);
            }
            _ => layer.note(payload.at, payload.len, Kind::Opaque, self.kind()),
        }
    }
}

fn explain_link_device(layer: &mut Layer, at: usize, device: &Device) -> usize {
    layer.fields(
        at,
        [
            (2, format!("manufacturer {}", device.manufacturer)),
            (4, format!("identification number {}", device.id_text())),
            (1, format!("version {}", device.version)),
            (
                1,
                format!("device type: {}", smgw_mbus::device_type(device.medium)),
            ),
        ],
    )
}

/// The frame as received: blocks, and the checksum behind each.
fn explain_crcs(bytes: &[u8], format: CrcFormat, trailing: usize) -> Layer {
    let mut layer = Layer::new(format!("frame as received ({format})"), bytes);
    let end = bytes.len() - trailing.min(bytes.len());
    let mut at = 0;
    let mut block = 0;
    while at < end {
        let most = match (format, block) {
            (CrcFormat::A, 0) => 10,
            (CrcFormat::A, _) => 16,
            (_, 0) => 126,
            _ => usize::MAX,
        };
        let len = most.min((end - at).saturating_sub(2));
        layer.note(at, len, Kind::Below, format!("block {block}, see below"));
        layer.note(
            at + len,
            2,
            Kind::Known,
            format!("CRC of block {block}, right"),
        );
        at += len + 2;
        block += 1;
    }
    layer.note(end, trailing, Kind::Opaque, "behind the frame");
    layer
}

pub(crate) fn device_text(device: &Device) -> String {
    format!(
        "{} {} version {}, {}",
        device.manufacturer,
        device.id_text(),
        device.version,
        smgw_mbus::device_type(device.medium)
    )
}

const fn format_word(format: CrcFormat) -> Option<&'static str> {
    match format {
        CrcFormat::A => Some("A"),
        CrcFormat::B => Some("B"),
        CrcFormat::Stripped => None,
    }
}

const fn mac_word(mac: MacCheck) -> &'static str {
    match mac {
        MacCheck::Good => "good",
        MacCheck::Wrong => "wrong",
        MacCheck::NoKey => "no-key",
        MacCheck::Unsupported => "unsupported",
    }
}

pub(crate) const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Plain => "plain",
        Verdict::AlreadyPlain => "already-plain",
        Verdict::Decrypted => "decrypted",
        Verdict::Authenticated => "authenticated",
        Verdict::MacWrong => "mac-wrong",
        Verdict::TagWrong => "tag-wrong",
        Verdict::NoKey => "no-key",
        Verdict::WrongKey => "wrong-key",
        Verdict::NoCounter => "no-counter",
        Verdict::Unsupported(_) => "unsupported-mode",
        Verdict::Tls => "tls",
        Verdict::Truncated => "truncated-blocks",
        Verdict::PayloadCrc => "payload-crc",
        Verdict::Fragment => "fragment",
    }
}

pub(crate) fn refused(verdict: Verdict) -> Failure {
    Failure {
        error: verdict_word(verdict),
        reason: verdict.to_string(),
    }
}
