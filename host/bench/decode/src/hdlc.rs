// SPDX-License-Identifier: MIT OR Apache-2.0
//! HDLC: frames of the wired LMN, of DLMS, and of the experimental slotted bridge.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use smgw_hdlc::{Address, Control, Event, Fault, Framer, Llc, Negotiation, Profile};
use smgw_units::Nanos;

use crate::explain::{Kind, Layer, hex, offset};
use crate::frame::{Content, Emit, Incident};
use crate::input::Piece;
use crate::{Block, Explanation, Failure};

/// Forms of frames, with their names; the first one is blamed when none fits.
const PROFILES: [(&str, Profile); 3] = [
    ("lmn", Profile::LMN),
    ("dlms", Profile::DLMS),
    ("slotted", Profile::SLOTTED),
];

/// Where something was found, how long it is, and what is wrong with it.
type Found = (usize, usize, Option<Fault>);

/// Hands over every frame of a piece, in the profile most of its frames are in.
pub(crate) fn decode(piece: &Piece<'_>, emit: &mut Emit<'_>) {
    let bytes: &[u8] = &piece.bytes;
    let found = |profile: &Profile| {
        if piece.whole {
            let fault = smgw_hdlc::Frame::decode(profile, bytes).err();
            vec![(0, bytes.len(), fault)]
        } else {
            stream(profile, bytes)
        }
    };
    let good = |found: &Vec<Found>| found.iter().filter(|(_, _, fault)| fault.is_none()).count();
    let mut best: Option<(&str, Profile, Vec<Found>)> = None;
    for (name, profile) in PROFILES {
        let found = found(&profile);
        if best
            .as_ref()
            .is_none_or(|(_, _, best)| good(&found) > good(best))
        {
            best = Some((name, profile, found));
        }
    }
    let Some((name, profile, found)) = best else {
        return;
    };
    for (at, length, fault) in found {
        let part = bytes.get(at..at + length).unwrap_or_default();
        match smgw_hdlc::Frame::decode(&profile, part) {
            Ok(frame) if fault.is_none() => emit(
                at,
                &Whole {
                    bytes: part,
                    profile: name,
                    frame,
                },
            ),
            result => {
                let fault = fault.or(result.err()).unwrap_or(Fault::NoStartFlag);
                emit(at, &incident(part, fault));
            }
        }
    }
}

fn stream(profile: &Profile, bytes: &[u8]) -> Vec<Found> {
    // Offsets stand for time; nothing ends by silence.
    let mut framer = Framer::new(*profile, Duration::MAX);
    let mut found = Vec::new();
    let mut take = |framer: &mut Framer| {
        while let Some(event) = framer.poll() {
            found.push(match event {
                Event::Frame { bytes, last, .. } => {
                    // One flag may close a frame and open the next.
                    let at = (last.0 as usize + 1).saturating_sub(bytes.len());
                    (at, bytes.len(), None)
                }
                Event::Discarded {
                    bytes,
                    first,
                    reason,
                } => (first.0 as usize, bytes, Some(reason)),
            });
        }
    };
    for (at, byte) in bytes.iter().enumerate() {
        framer.push(*byte, Nanos(at as u64));
        take(&mut framer);
    }
    framer.idle(Nanos(u64::MAX));
    take(&mut framer);
    found
}

fn incident(bytes: &[u8], fault: Fault) -> Incident<'_> {
    let mut fields = Map::new();
    fields.insert("valid".into(), json!(false));
    fields.insert("why".into(), json!(fault.name()));
    Incident {
        what: "HDLC, no frame",
        bytes,
        failure: Failure {
            error: fault.name(),
            reason: fault.to_string(),
        },
        fields,
    }
}

struct Whole<'a> {
    bytes: &'a [u8],
    profile: &'static str,
    frame: smgw_hdlc::Frame<'a>,
}

impl Content for Whole<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        let frame = &self.frame;
        let pair = |address: Address| json!([address.sap(), address.station()]);
        for (key, value) in [
            ("valid", json!(true)),
            ("profile", json!(self.profile)),
            ("control", json!(name(frame.control))),
            ("poll", json!(frame.control.poll())),
            ("segmented", json!(frame.segmented)),
            ("dst", pair(frame.destination)),
            ("src", pair(frame.source)),
            ("info", json!(hex(frame.info))),
        ] {
            out.insert(key.into(), value);
        }
        if let Some(agreed) = self.negotiation() {
            let agreed = json!({
                "max_info_sent": agreed.max_info_sent, "max_info_received": agreed.max_info_received,
                "window_sent": agreed.window_sent, "window_received": agreed.window_received,
            });
            out.insert("negotiation".into(), agreed);
        }
        if let Some((llc, apdu)) = Llc::split(frame.info) {
            let direction = if llc == Llc::Command {
                "command"
            } else {
                "response"
            };
            out.insert("llc".into(), json!(direction));
            out.insert("apdu".into(), json!(hex(apdu)));
        }
    }

    fn table(&self) -> Block {
        let frame = &self.frame;
        let mut block = Block {
            title: format!(
                "HDLC ({}) {} from {} to {}",
                self.profile,
                name(frame.control),
                frame.source,
                frame.destination
            ),
            ..Block::default()
        };
        if let Some(agreed) = self.negotiation() {
            block.remarks.push(format!(
                "information at most {} bytes out and {} in, window {} and {}",
                agreed.max_info_sent,
                agreed.max_info_received,
                agreed.window_sent,
                agreed.window_received
            ));
        } else if !frame.info.is_empty() {
            block.remarks.push(format!(
                "{} bytes of information: {}",
                frame.info.len(),
                hex(frame.info)
            ));
        }
        block
    }

    fn explain(&self) -> Explanation {
        let frame = &self.frame;
        let mut layer = Layer::new("frame", self.bytes);
        let segmented = if frame.segmented {
            ", more segments follow"
        } else {
            ""
        };
        let at = layer.fields(
            0,
            [
                (1, "flag".into()),
                (
                    2,
                    format!("format: type 3, {} bytes{segmented}", self.bytes.len() - 2),
                ),
                (
                    frame.destination.as_bytes().len(),
                    format!("to {} (SAP/station)", frame.destination),
                ),
                (
                    frame.source.as_bytes().len(),
                    format!("from {} (SAP/station)", frame.source),
                ),
                (
                    1,
                    format!(
                        "control: {}{}",
                        name(frame.control),
                        if frame.control.poll() { ", P/F" } else { "" }
                    ),
                ),
                (2, "checksum of the header (HCS)".into()),
            ],
        );
        if !frame.info.is_empty() {
            let at = offset(self.bytes, frame.info);
            let len = frame.info.len();
            if self.negotiation().is_some() {
                layer.note(at, len, Kind::Known, "sizes and windows");
            } else if let Some((_, apdu)) = Llc::split(frame.info) {
                layer.note(at, 3, Kind::Known, "LLC header");
                layer.note(at + 3, apdu.len(), Kind::Opaque, "DLMS message");
            } else {
                layer.note(at, len, Kind::Opaque, "information");
            }
            layer.note(at + len, 2, Kind::Known, "checksum of the frame (FCS)");
            layer.note(at + len + 2, 1, Kind::Known, "flag");
        } else {
            layer.note(at, 1, Kind::Known, "flag");
        }
        let mut explanation = Explanation::default();
        explanation.push(layer);
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        None
    }
}

impl Whole<'_> {
    /// Sizes and windows, where the frame carries some.
    fn negotiation(&self) -> Option<Negotiation> {
        let carries = matches!(
            self.frame.control,
            Control::Snrm { .. } | Control::Ua { .. }
        );
        (carries && !self.frame.info.is_empty())
            .then(|| Negotiation::decode(self.frame.info))
            .flatten()
    }
}

/// Name of a control field, with N(S) and N(R) where it has them.
fn name(control: Control) -> String {
    match control {
        Control::Information { send, receive, .. } => format!("I{send}{receive}"),
        Control::ReceiveReady { receive, .. } => format!("RR{receive}"),
        Control::ReceiveNotReady { receive, .. } => format!("RNR{receive}"),
        Control::Snrm { .. } => "SNRM".into(),
        Control::Disc { .. } => "DISC".into(),
        Control::Ua { .. } => "UA".into(),
        Control::Dm { .. } => "DM".into(),
        Control::Frmr { .. } => "FRMR".into(),
        Control::Ui { .. } => "UI".into(),
        Control::Other(byte) => format!("{byte:02x}"),
    }
}
