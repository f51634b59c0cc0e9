// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUL and its kin (culfw): a line per telegram, `b` and hexadecimal digits.

use alloc::vec::Vec;

use super::{Framing, Heard, Split, UPPER, cc1101_dbm, cc1101_raw, hex, line, unhex};
use crate::CrcFormat;

/// Framing of culfw: `b` for format A, `bY` for format B, the frame with its CRCs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cul {
    /// Whether reception was switched on by `X21`, which appends link quality and signal strength.
    pub rssi: bool,
}

impl Framing for Cul {
    type Packet = Heard;
    const LONGEST: usize = 1024;

    fn split(&self, bytes: &[u8]) -> Split<Heard> {
        let Some((text, used)) = line(bytes) else {
            return Split::More;
        };
        match self.read(text) {
            Some(heard) => Split::Packet(used, heard),
            None => Split::Noise(used),
        }
    }
}

impl Cul {
    /// The line about a frame with CRCs; `None` for one without, which culfw does not send, and when
    /// the signal strength is missing.
    pub fn encode(&self, heard: &Heard) -> Option<Vec<u8>> {
        let mut text = match heard.format {
            CrcFormat::A => b"b".to_vec(),
            CrcFormat::B => b"bY".to_vec(),
            CrcFormat::Stripped => return None,
        };
        text.extend(hex(&heard.frame, UPPER));
        if self.rssi {
            let quality = 0;
            text.extend(hex(&[quality, cc1101_raw(heard.rssi_dbm?)], UPPER));
        }
        text.extend_from_slice(b"\r\n");
        Some(text)
    }

    fn read(self, text: &[u8]) -> Option<Heard> {
        let digits = text.strip_prefix(b"b")?;
        let (format, digits) = match digits.strip_prefix(b"Y") {
            Some(digits) => (CrcFormat::B, digits),
            None => (CrcFormat::A, digits),
        };
        let mut frame = unhex(digits)?;
        let rssi_dbm = if self.rssi {
            let (_, &[_, raw]) = frame.split_last_chunk()?;
            frame.truncate(frame.len() - 2);
            Some(cc1101_dbm(raw))
        } else {
            None
        };
        Some(Heard {
            frame,
            format,
            rssi_dbm,
            stamp: None,
        })
    }
}
