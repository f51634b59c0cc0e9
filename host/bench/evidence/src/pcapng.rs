// SPDX-License-Identifier: MIT OR Apache-2.0
//! The few pcapng blocks the bench writes (draft-ietf-opsawg-pcapng): section header, interface
//! description, enhanced packet. Little-endian, nanosecond stamps.

use smgw_units::UtcNanos;

/// Which way a packet went, as seen from the bench.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Towards the bench.
    Inbound,
    /// Away from the bench.
    Outbound,
    /// Between two others, observed.
    Unknown,
}

/// Ethernet frames without check sequence.
pub(crate) const LINKTYPE_ETHERNET: u16 = 1;
/// Raw IPv4 or IPv6 without a link layer.
pub(crate) const LINKTYPE_RAW: u16 = 101;
/// Serial line as Schweitzer's RTAC records it.
pub(crate) const LINKTYPE_RTAC_SERIAL: u16 = 250;

/// The block that opens a file.
pub(crate) fn section_header(application: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_le_bytes());
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    // Length of the section unknown: the file is written as the run goes.
    body.extend(u64::MAX.to_le_bytes());
    option(&mut body, 4, application.as_bytes());
    end_of_options(&mut body);
    block(0x0a0d_0d0a, body)
}

/// The block that introduces an interface; interfaces are numbered in order of appearance.
pub(crate) fn interface(linktype: u16, name: &str, description: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(linktype.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    option(&mut body, 2, name.as_bytes());
    option(&mut body, 3, description.as_bytes());
    // Ten to the minus nine seconds.
    option(&mut body, 9, &[9]);
    end_of_options(&mut body);
    block(1, body)
}

/// One packet. `original` is its full length when `data` was cut.
pub(crate) fn packet(
    interface: u32,
    at: UtcNanos,
    data: &[u8],
    original: usize,
    direction: Direction,
    comment: Option<&str>,
) -> Vec<u8> {
    let stamp = at.0.max(0) as u64;
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend(interface.to_le_bytes());
    body.extend(((stamp >> 32) as u32).to_le_bytes());
    body.extend((stamp as u32).to_le_bytes());
    body.extend((data.len() as u32).to_le_bytes());
    body.extend((original.max(data.len()) as u32).to_le_bytes());
    body.extend(data);
    pad(&mut body);
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        option(&mut body, 1, comment.as_bytes());
    }
    let flags: u32 = match direction {
        Direction::Unknown => 0,
        Direction::Inbound => 1,
        Direction::Outbound => 2,
    };
    option(&mut body, 2, &flags.to_le_bytes());
    end_of_options(&mut body);
    block(6, body)
}

fn block(kind: u32, body: Vec<u8>) -> Vec<u8> {
    let total = (body.len() + 12) as u32;
    let mut out = Vec::with_capacity(total as usize);
    out.extend(kind.to_le_bytes());
    out.extend(total.to_le_bytes());
    out.extend(body);
    out.extend(total.to_le_bytes());
    out
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let mut length = value.len().min(MAX_OPTION);
    // A cut text ends at a character boundary.
    while length < value.len() && value.get(length).is_some_and(|b| b & 0xc0 == 0x80) {
        length -= 1;
    }
    body.extend(code.to_le_bytes());
    body.extend((length as u16).to_le_bytes());
    body.extend(value.get(..length).unwrap_or_default());
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Longest option value in bytes; the format allows 65 535.
const MAX_OPTION: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_framed_and_padded() {
        for length in 0..9 {
            let bytes = packet(
                3,
                UtcNanos(0x0102_0304_0506_0708),
                &vec![0xaa; length],
                length,
                Direction::Inbound,
                Some("c"),
            );
            assert_eq!(bytes.len() % 4, 0);
            let total = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            assert_eq!(total, bytes.len());
            assert_eq!(bytes[bytes.len() - 4..], bytes[4..8]);
            assert_eq!(bytes[12..16], 0x0102_0304_u32.to_le_bytes());
        }
    }

    #[test]
    fn a_long_comment_is_cut_between_characters() {
        let comment = "ä".repeat(10_000);
        let mut body = Vec::new();
        option(&mut body, 1, format!("x{comment}").as_bytes());
        let length = u16::from_le_bytes([body[2], body[3]]) as usize;
        assert_eq!(length, MAX_OPTION - 1);
        assert!(std::str::from_utf8(&body[4..4 + length]).is_ok());
    }
}
