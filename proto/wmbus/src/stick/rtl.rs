// SPDX-License-Identifier: MIT OR Apache-2.0
//! rtl_wmbus: a line per telegram, fields divided by semicolons.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Framing, Heard, LOWER, Split, Stamp, hex, line, unhex};
use crate::CrcFormat;

/// Framing of rtl_wmbus: `mode;CRC ok;symbols ok;time;packet RSSI;current RSSI;ident;0x..`, the frame
/// without CRCs. Lines whose CRC or symbols were wrong are noise. The signal strengths have no unit
/// and are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RtlWmbus;

impl Framing for RtlWmbus {
    type Packet = Heard;
    const LONGEST: usize = 1024;

    fn split(&self, bytes: &[u8]) -> Split<Heard> {
        let Some((text, used)) = line(bytes) else {
            return Split::More;
        };
        match read(text) {
            Some(heard) => Split::Packet(used, heard),
            None => Split::Noise(used),
        }
    }
}

impl RtlWmbus {
    /// The line about a telegram without CRCs that came in `mode` (`T1`, `C1`, `S1`); `None` when it has
    /// no address.
    pub fn encode(mode: &str, heard: &Heard) -> Option<Vec<u8>> {
        let mut ident = heard.frame.get(4..8)?.to_vec();
        ident.reverse();
        let stamp = match &heard.stamp {
            Some(Stamp::Text(text)) => text.as_str(),
            _ => "",
        };
        let text = [
            mode.as_bytes(),
            b";1;1;",
            stamp.as_bytes(),
            b";0;0;",
            &hex(&ident, LOWER),
            b";0x",
            &hex(&heard.frame, LOWER),
            b"\n",
        ];
        Some(text.concat())
    }
}

fn read(text: &[u8]) -> Option<Heard> {
    let mut fields = text.split(|byte| *byte == b';');
    let (mode, crc, symbols) = (fields.next()?, fields.next()?, fields.next()?);
    let stamp = fields.next()?;
    let known = matches!(mode, [b'T' | b'C' | b'S' | b'N', _]);
    if !known || crc != b"1" || symbols != b"1" {
        return None;
    }
    let digits = fields.find_map(|field| field.strip_prefix(b"0x"))?;
    let stamp = core::str::from_utf8(stamp).ok().filter(|it| !it.is_empty());
    Some(Heard {
        frame: unhex(digits)?,
        format: CrcFormat::Stripped,
        rssi_dbm: None,
        stamp: stamp.map(|text| Stamp::Text(String::from(text))),
    })
}
