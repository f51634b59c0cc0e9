// SPDX-License-Identifier: MIT OR Apache-2.0
//! Amber (Würth) AMB8465: command mode and transparent mode.

use alloc::vec::Vec;

use super::{Framing, Heard, Split, cc1101_dbm, cc1101_raw};
use crate::{CrcFormat, control};

/// Framing of the AMB8465. In command mode a packet is FF, command, length, data, XOR of all before;
/// in transparent mode it is the bare frame from its L field on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Amber {
    /// Whether packets have the frame of command mode.
    pub command_mode: bool,
    /// Whether the module is set to append the signal strength; that the length counts it then is what
    /// readers of this module assume.
    pub rssi: bool,
}

impl Framing for Amber {
    /// A telegram, or in command mode the answer to another command: its number and data.
    type Packet = Result<Heard, (u8, Vec<u8>)>;
    const LONGEST: usize = 4 + 255;

    fn split(&self, bytes: &[u8]) -> Split<Self::Packet> {
        if self.command_mode {
            self.split_command(bytes)
        } else {
            self.split_frame(bytes)
        }
    }
}

impl Amber {
    /// What the module sends about a telegram without CRCs; `None` when it is too long.
    pub fn encode(&self, heard: &Heard) -> Option<Vec<u8>> {
        let (_, data) = heard.frame.split_first()?;
        let mut data = data.to_vec();
        if self.rssi {
            data.push(cc1101_raw(heard.rssi_dbm?));
        }
        let length = u8::try_from(data.len()).ok()?;
        let mut packet = Vec::new();
        if self.command_mode {
            packet.extend_from_slice(&[START, DATA_INDICATION]);
        }
        packet.push(length);
        packet.extend(data);
        if self.command_mode {
            packet.push(xor(&packet));
        }
        Some(packet)
    }

    fn split_command(self, bytes: &[u8]) -> Split<<Self as Framing>::Packet> {
        let Some(&[start, command, length]) = bytes.first_chunk() else {
            return match bytes {
                [START, ..] => Split::More,
                _ => Split::Noise(1),
            };
        };
        let end = 3 + usize::from(length);
        if start != START {
            return Split::Noise(1);
        }
        let Some(&checksum) = bytes.get(end) else {
            return Split::More;
        };
        let (covered, data) = (bytes.get(..end), bytes.get(3..end));
        if checksum != xor(covered.unwrap_or_default()) {
            return Split::Noise(1);
        }
        let data = data.unwrap_or_default();
        let packet = if command == DATA_INDICATION {
            match self.heard(data) {
                Some(heard) => Ok(heard),
                None => return Split::Noise(1),
            }
        } else {
            Err((command, data.to_vec()))
        };
        Split::Packet(end + 1, packet)
    }

    /// Without a start byte, only a plausible length and C field show where a frame begins.
    fn split_frame(self, bytes: &[u8]) -> Split<<Self as Framing>::Packet> {
        let plausible = match bytes {
            [length, control, ..] => *length >= SHORTEST && control::name(*control).is_some(),
            [length] => *length >= SHORTEST,
            [] => true,
        };
        if !plausible {
            return Split::Noise(1);
        }
        let Some((&length, rest)) = bytes.split_first() else {
            return Split::More;
        };
        match rest.get(..usize::from(length)) {
            None => Split::More,
            Some(data) => match self.heard(data) {
                Some(heard) => Split::Packet(1 + data.len(), Ok(heard)),
                None => Split::Noise(1),
            },
        }
    }

    fn heard(self, data: &[u8]) -> Option<Heard> {
        let (data, rssi) = if self.rssi {
            let (rssi, data) = data.split_last()?;
            (data, Some(*rssi))
        } else {
            (data, None)
        };
        let mut frame = alloc::vec![u8::try_from(data.len()).ok()?];
        frame.extend_from_slice(data);
        Some(Heard {
            frame,
            format: CrcFormat::Stripped,
            rssi_dbm: rssi.map(cc1101_dbm),
            stamp: None,
        })
    }
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

const START: u8 = 0xff;
const DATA_INDICATION: u8 = 0x03;
/// C field, manufacturer, address and CI field.
const SHORTEST: u8 = 10;
