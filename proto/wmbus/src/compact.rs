// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compact frames: values only, whose headers an earlier frame gave (EN 13757-3 annex G).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smgw_mbus::RecordHead;

use crate::Span;
use crate::crc::crc;
use crate::records::{FILLER, LocatedRecords, MANUFACTURER, MORE_FOLLOWS};

/// A compact frame's own fields, and what became of its values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compact {
    /// CRC over the headers of all records: names the format.
    pub signature: u16,
    /// CRC over the records as a full frame would have sent them.
    pub frame_crc: u16,
    /// The values.
    pub data: Span,
    /// The records as a full frame would have sent them.
    pub full: Result<Vec<u8>, CompactError>,
}

/// Why values could not be read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CompactError {
    /// No frame so far gave the format of this signature.
    UnknownFormat,
    /// The values do not fit the format.
    Mismatch,
    /// They fit, but the CRC of the full frame is another one.
    FrameCrc,
}

/// Formats that full frames and format frames gave, the most recent ones.
#[derive(Clone, Debug)]
pub struct FormatCache {
    formats: VecDeque<(u16, Vec<u8>)>,
    capacity: usize,
}

impl Default for FormatCache {
    /// Room for 64 formats.
    fn default() -> Self {
        Self::new(64)
    }
}

impl FormatCache {
    /// Room for `capacity` formats; the one unused for longest makes room for a new one.
    pub const fn new(capacity: usize) -> Self {
        Self {
            formats: VecDeque::new(),
            capacity,
        }
    }

    /// Learns the format of the records of a full frame, and returns its signature; `None` when the
    /// records are damaged or none.
    pub fn learn(&mut self, records: &[u8]) -> Option<u16> {
        self.insert(Parts::of(records).ok()?.format)
    }

    /// Learns the format a format frame gives. Whether a length byte precedes the signature is not
    /// certain; the signature itself shows it.
    pub fn learn_format(&mut self, body: &[u8]) -> Option<u16> {
        [body, body.get(1..)?].iter().find_map(|body| {
            let (&signature, mut rest) = body.split_first_chunk()?;
            let mut format = Vec::new();
            while let Some(&dif) = rest.first().filter(|dif| **dif != FILLER) {
                let (head, behind) = match dif {
                    MANUFACTURER | MORE_FOLLOWS => rest.split_at(1),
                    _ => {
                        let (head, behind) = RecordHead::parse(rest).ok()?;
                        (head.bytes(), behind)
                    }
                };
                format.extend_from_slice(head);
                rest = behind;
            }
            (crc(&[&format]) == u16::from_le_bytes(signature))
                .then(|| self.insert(format))
                .flatten()
        })
    }

    /// Reads the body of a compact frame.
    pub(crate) fn read(&mut self, bytes: &[u8], body: Span) -> Option<Compact> {
        let &[s0, s1, c0, c1] = body.of(bytes).first_chunk()?;
        let (signature, frame_crc) = (u16::from_le_bytes([s0, s1]), u16::from_le_bytes([c0, c1]));
        let data = Span {
            at: body.at + 4,
            len: body.len - 4,
        };
        Some(Compact {
            signature,
            frame_crc,
            data,
            full: self.expand(signature, frame_crc, data.of(bytes)),
        })
    }

    fn expand<'a>(
        &'a mut self,
        signature: u16,
        frame_crc: u16,
        mut data: &'a [u8],
    ) -> Result<Vec<u8>, CompactError> {
        let mut format = self.used(signature).ok_or(CompactError::UnknownFormat)?;
        let mut full = Vec::new();
        while let Some(&dif) = format.first() {
            if let MANUFACTURER | MORE_FOLLOWS = dif {
                full.push(dif);
                full.extend_from_slice(data);
                data = &[];
                break;
            }
            let (head, behind) = RecordHead::parse(format).map_err(|_| CompactError::Mismatch)?;
            let (_, rest) = head.value(data).map_err(|_| CompactError::Mismatch)?;
            full.extend_from_slice(head.bytes());
            full.extend_from_slice(data.get(..data.len() - rest.len()).unwrap_or_default());
            (format, data) = (behind, rest);
        }
        if data.iter().any(|byte| *byte != FILLER) {
            return Err(CompactError::Mismatch);
        }
        if crc(&[&full]) != frame_crc {
            return Err(CompactError::FrameCrc);
        }
        Ok(full)
    }

    /// A format, moved to the end as the most recently used one.
    fn used(&mut self, signature: u16) -> Option<&[u8]> {
        let at = self
            .formats
            .iter()
            .position(|(known, _)| *known == signature)?;
        let found = self.formats.remove(at)?;
        self.formats.push_back(found);
        self.formats.back().map(|(_, format)| format.as_slice())
    }

    fn insert(&mut self, format: Vec<u8>) -> Option<u16> {
        if format.is_empty() {
            return None;
        }
        let signature = crc(&[&format]);
        self.formats.retain(|(known, _)| *known != signature);
        self.formats.push_back((signature, format));
        while self.formats.len() > self.capacity {
            self.formats.pop_front();
        }
        Some(signature)
    }
}

/// The body of a compact frame for the records of a full one: signature, CRC, values.
///
/// # Errors
/// That of the first damaged record.
pub fn compact(records: &[u8]) -> Result<Vec<u8>, smgw_mbus::Error> {
    let parts = Parts::of(records)?;
    let signature = crc(&[&parts.format]).to_le_bytes();
    let frame_crc = crc(&[&parts.full]).to_le_bytes();
    Ok([&signature, &frame_crc, parts.values.as_slice()].concat())
}

/// The body of a format frame for the records of a full one: signature, headers. That no length precedes
/// them is an assumption.
///
/// # Errors
/// That of the first damaged record.
pub fn format(records: &[u8]) -> Result<Vec<u8>, smgw_mbus::Error> {
    let format = Parts::of(records)?.format;
    Ok([&crc(&[&format]).to_le_bytes(), format.as_slice()].concat())
}

/// Records taken apart.
#[derive(Default)]
struct Parts {
    /// Headers. That the DIF in front of manufacturer data is one of them is an assumption.
    format: Vec<u8>,
    /// Values.
    values: Vec<u8>,
    /// Headers and values, without fillers.
    full: Vec<u8>,
}

impl Parts {
    fn of(records: &[u8]) -> Result<Self, smgw_mbus::Error> {
        let mut parts = Self::default();
        let mut located = LocatedRecords::new(records, Span::rest(records, 0));
        for record in located.by_ref() {
            let (span, record) = record?;
            let (head, value) = span.of(records).split_at(record.head.len());
            parts.add(head, value);
        }
        if let Some(trailer) = located.trailer() {
            let dif = if trailer.more_follows {
                MORE_FOLLOWS
            } else {
                MANUFACTURER
            };
            parts.add(&[dif], trailer.data);
        }
        Ok(parts)
    }

    fn add(&mut self, head: &[u8], value: &[u8]) {
        self.format.extend_from_slice(head);
        self.values.extend_from_slice(value);
        self.full.extend_from_slice(head);
        self.full.extend_from_slice(value);
    }
}
