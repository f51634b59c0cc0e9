// SPDX-License-Identifier: MIT OR Apache-2.0
//! What DLMS puts into frames (IEC 62056-46 §6.4.4): LLC headers, and the parameters of SNRM and UA.

use alloc::vec::Vec;

use nom::{IResult, Parser as _, multi::length_data, number::complete::u8 as byte};

/// Direction of a message by its LLC header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Llc {
    /// `E6 E6 00`: from the client.
    Command,
    /// `E6 E7 00`: from the server.
    Response,
}

impl Llc {
    /// The three bytes in front of a message.
    pub const fn bytes(self) -> [u8; 3] {
        match self {
            Self::Command => [0xe6, 0xe6, 0],
            Self::Response => [0xe6, 0xe7, 0],
        }
    }

    /// Splits the header off a message (off the first segment of one); `None` when there is none.
    pub fn split(message: &[u8]) -> Option<(Self, &[u8])> {
        let (header, apdu) = message.split_first_chunk()?;
        [Self::Command, Self::Response]
            .into_iter()
            .find(|llc| llc.bytes() == *header)
            .map(|llc| (llc, apdu))
    }
}

/// Sizes and windows agreed on by SNRM and UA; what is left out keeps its default.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Negotiation {
    /// Most bytes of information the sender will send in a frame.
    pub max_info_sent: u16,
    /// Most it will receive.
    pub max_info_received: u16,
    /// Frames sent before an acknowledgement is due.
    pub window_sent: u32,
    /// Frames received before one is due.
    pub window_received: u32,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self {
            max_info_sent: 128,
            max_info_received: 128,
            window_sent: 1,
            window_received: 1,
        }
    }
}

impl Negotiation {
    /// Reads the information of SNRM or UA: `81 80 length`, then parameters 05 to 08. Empty information
    /// means the defaults; `None` means it is something else.
    pub fn decode(info: &[u8]) -> Option<Self> {
        let mut agreed = Self::default();
        if info.is_empty() {
            return Some(agreed);
        }
        let mut rest = match *info {
            [0x81, 0x80, length, ref rest @ ..] if rest.len() == usize::from(length) => rest,
            _ => return None,
        };
        while !rest.is_empty() {
            let parameter: IResult<&[u8], (u8, &[u8])> = (byte, length_data(byte)).parse(rest);
            let (behind, (id, value)) = parameter.ok()?;
            rest = behind;
            let number = value.iter().try_fold(0_u32, |number, byte| {
                Some(number.checked_mul(256)? | u32::from(*byte))
            })?;
            match id {
                5 => agreed.max_info_sent = u16::try_from(number).ok()?,
                6 => agreed.max_info_received = u16::try_from(number).ok()?,
                7 => agreed.window_sent = number,
                8 => agreed.window_received = number,
                _ => {}
            }
        }
        Some(agreed)
    }

    /// All four parameters, sizes in as few bytes as they need.
    pub fn encode(&self) -> Vec<u8> {
        let mut info = Vec::from([0x81, 0x80, 0]);
        for (id, size) in [(5, self.max_info_sent), (6, self.max_info_received)] {
            match size.to_be_bytes() {
                [0, low] => info.extend_from_slice(&[id, 1, low]),
                [high, low] => info.extend_from_slice(&[id, 2, high, low]),
            }
        }
        for (id, window) in [(7, self.window_sent), (8, self.window_received)] {
            info.extend_from_slice(&[id, 4]);
            info.extend_from_slice(&window.to_be_bytes());
        }
        let length = info.len() as u8 - 3;
        if let Some(place) = info.get_mut(2) {
            *place = length;
        }
        info
    }
}
