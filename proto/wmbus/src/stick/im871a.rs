// SPDX-License-Identifier: MIT OR Apache-2.0
//! IMST iM871A: host controller interface messages.

use alloc::vec::Vec;

use super::{Framing, Heard, Split, Stamp};
use crate::CrcFormat;

/// Framing of the iM871A: start byte A5, control bits and endpoint, message id, length, payload, and
/// by the control bits time stamp, signal strength, CRC.
#[derive(Clone, Copy, Debug, Default)]
pub struct Im871a;

/// A message of the host controller interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// 1 device management, 2 radio link, 3 radio link test, 4 hardware test.
    pub endpoint: u8,
    /// Message id within the endpoint.
    pub message: u8,
    /// Payload.
    pub payload: Vec<u8>,
    /// Time stamp in ticks of the module's clock.
    pub stamp: Option<u32>,
    /// Signal strength as the module gives it.
    pub rssi: Option<u8>,
    /// Whether the message has a CRC, which then was right.
    pub has_crc: bool,
}

impl Framing for Im871a {
    type Packet = Packet;
    const LONGEST: usize = 4 + 255 + 4 + 1 + 2;

    fn split(&self, bytes: &[u8]) -> Split<Packet> {
        let Some(&[start, control, message, length]) = bytes.first_chunk() else {
            return match bytes {
                [START, ..] => Split::More,
                _ => Split::Noise(1),
            };
        };
        let endpoint = control & 0x0f;
        if start != START || control & RESERVED != 0 || !matches!(endpoint, 1..=4) {
            return Split::Noise(1);
        }
        let end = 4 + usize::from(length);
        let (stamp_at, mut at) = (end, end);
        at += if control & STAMP != 0 { 4 } else { 0 };
        let rssi_at = at;
        at += if control & RSSI != 0 { 1 } else { 0 };
        let crc_at = at;
        at += if control & CRC != 0 { 2 } else { 0 };
        if bytes.len() < at {
            return Split::More;
        }
        let has_crc = control & CRC != 0;
        if has_crc {
            let covered = bytes.get(1..crc_at).unwrap_or_default();
            let received = bytes.get(crc_at..at).unwrap_or_default();
            if received != x25(covered).to_le_bytes() {
                return Split::Noise(1);
            }
        }
        let stamp = bytes.get(stamp_at..rssi_at).and_then(<[u8]>::first_chunk);
        let packet = Packet {
            endpoint,
            message,
            payload: bytes.get(4..end).unwrap_or_default().to_vec(),
            stamp: stamp.copied().map(u32::from_le_bytes),
            rssi: bytes.get(rssi_at..crc_at).and_then(<[u8]>::first).copied(),
            has_crc,
        };
        Split::Packet(at, packet)
    }
}

impl Packet {
    /// The telegram a received one is about: the module sends it without CRCs and L field, which is the
    /// message's length.
    pub fn heard(&self) -> Option<Heard> {
        if (self.endpoint, self.message) != (RADIO_LINK, RECEIVED) {
            return None;
        }
        let length = u8::try_from(self.payload.len()).ok()?;
        let mut frame = alloc::vec![length];
        frame.extend_from_slice(&self.payload);
        Some(Heard {
            frame,
            format: CrcFormat::Stripped,
            rssi_dbm: self.rssi.map(dbm),
            stamp: self.stamp.map(Stamp::Ticks),
        })
    }

    /// What the module sends about a telegram without CRCs; `None` when it has no L field or the time
    /// stamp is a text.
    pub fn of(heard: &Heard) -> Option<Self> {
        let (_, payload) = heard.frame.split_first()?;
        let stamp = match heard.stamp {
            None => None,
            Some(Stamp::Ticks(ticks)) => Some(ticks),
            Some(Stamp::Text(_)) => return None,
        };
        Some(Self {
            endpoint: RADIO_LINK,
            message: RECEIVED,
            payload: payload.to_vec(),
            stamp,
            rssi: heard.rssi_dbm.map(raw),
            has_crc: true,
        })
    }

    /// The message's bytes; `None` when the payload is longer than 255.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let length = u8::try_from(self.payload.len()).ok()?;
        let bit = |present: bool, bit: u8| if present { bit } else { 0 };
        let control = self.endpoint
            | bit(self.stamp.is_some(), STAMP)
            | bit(self.rssi.is_some(), RSSI)
            | bit(self.has_crc, CRC);
        let mut bytes = alloc::vec![START, control, self.message, length];
        bytes.extend_from_slice(&self.payload);
        bytes.extend(self.stamp.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(self.rssi);
        if self.has_crc {
            let crc = x25(bytes.get(1..).unwrap_or_default());
            bytes.extend(crc.to_le_bytes());
        }
        Some(bytes)
    }
}

/// Roughly, by the curve of the radio chip: raw 45 is -100 dBm, 205 is -20 dBm.
fn dbm(raw: u8) -> i16 {
    ((i16::from(raw) - 45) / 2 - 100).min(0)
}

fn raw(dbm: i16) -> u8 {
    let raw = dbm.clamp(-122, 0).saturating_add(100) * 2 + 45;
    u8::try_from(raw).unwrap_or(0)
}

/// CRC-16/X-25.
fn x25(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x8408 }
        })
    })
}

const START: u8 = 0xa5;
const RESERVED: u8 = 0x10;
const STAMP: u8 = 0x20;
const RSSI: u8 = 0x40;
const CRC: u8 = 0x80;
const RADIO_LINK: u8 = 2;
const RECEIVED: u8 = 3;
