// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which protocol bytes belong to, by what every frame of it must begin with.

use crate::Protocol;

const SML_START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// The protocol of a run of bytes, if its beginning (or, for streams, anything in it) shows one.
pub(crate) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    one_frame(bytes)
        .or_else(|| stream(bytes))
        .or_else(|| begins_radio(bytes).then_some(Protocol::Wmbus))
}

/// Whether the bytes are exactly one frame by their own account.
pub(crate) fn is_one_frame(bytes: &[u8]) -> bool {
    one_frame(bytes).is_some()
}

/// Whether the length and control fields are those of a wireless frame.
pub(crate) fn is_radio(bytes: &[u8]) -> bool {
    let [length, control, ..] = *bytes else {
        return false;
    };
    let length = usize::from(length);
    // Checksums of format A add two bytes per block, and receivers add a few of their own.
    let blocks = 1 + length.saturating_sub(9).div_ceil(16);
    let known = matches!(
        control & !0x30,
        0x00 | 0x08 | 0x40 | 0x43 | 0x44 | 0x45 | 0x46 | 0x47 | 0x48 | 0x4a | 0x4b | 0x06
    );
    known && length >= 10 && (length + 1..=length + 1 + 2 * blocks + 4).contains(&bytes.len())
}

/// Whether the bytes may be the beginning of a wireless frame that a meter sends unasked.
fn begins_radio(bytes: &[u8]) -> bool {
    let [length, 0x44 | 0x46..=0x48, ..] = *bytes else {
        return false;
    };
    bytes.len() > 10 && usize::from(length) >= bytes.len()
}

/// Lengths of wireless frames without checksums that stand back to back and fill the bytes; one for
/// anything else.
pub(crate) fn radio_frames(bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && !is_radio(bytes) {
        let length = rest.first().map_or(0, |length| usize::from(*length) + 1);
        match rest.split_at_checked(length) {
            Some((frame, behind)) if is_radio(frame) => {
                lengths.push(length);
                rest = behind;
            }
            _ => return vec![bytes.len()],
        }
    }
    if lengths.is_empty() {
        vec![bytes.len()]
    } else {
        lengths
    }
}

fn one_frame(bytes: &[u8]) -> Option<Protocol> {
    match *bytes {
        [0xe5] | [0x10, _, _, _, 0x16] => Some(Protocol::Mbus),
        [0x68, length, again, 0x68, ..]
            if length == again && bytes.len() == usize::from(length) + 6 =>
        {
            Some(Protocol::Mbus)
        }
        [0x1b, ..] => {
            let end = bytes.len().checked_sub(8).and_then(|at| bytes.get(at..))?;
            let framed =
                bytes.starts_with(&SML_START) && end.starts_with(&[0x1b, 0x1b, 0x1b, 0x1b, 0x1a]);
            framed.then_some(Protocol::Sml)
        }
        [0x7e, high, low, .., 0x7e] if high & 0xf0 == 0xa0 => {
            let length = usize::from(u16::from_be_bytes([high & 7, low]));
            (length + 2 == bytes.len()).then_some(Protocol::Hdlc)
        }
        _ => (is_radio(bytes) || radio_frames(bytes).len() > 1).then_some(Protocol::Wmbus),
    }
}

fn stream(bytes: &[u8]) -> Option<Protocol> {
    if bytes.windows(8).any(|window| window == SML_START) {
        return Some(Protocol::Sml);
    }
    // Readout text: mostly printable, and with the sign-on of a meter.
    let readable = |byte: &&u8| matches!(**byte & 0x7f, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    let sign_on = bytes.contains(&b'/') || bytes.contains(&b'(');
    if sign_on && 10 * bytes.iter().filter(readable).count() >= 9 * bytes.len() {
        return Some(text(bytes));
    }
    let long = |window: &[u8]| matches!(*window, [0x68, a, b, 0x68] if a == b && a >= 3);
    let short =
        |window: &[u8]| matches!(*window, [0x10, c, a, sum, 0x16] if sum == c.wrapping_add(a));
    if bytes.windows(4).any(long) || bytes.windows(5).any(short) || bytes == [0xe5] {
        return Some(Protocol::Mbus);
    }
    let hdlc = |window: &[u8]| matches!(*window, [0x7e, format, _] if format & 0xf0 == 0xa0);
    if bytes.windows(3).any(hdlc) {
        return Some(Protocol::Hdlc);
    }
    None
}

/// P1 telegrams end with `!` and a checksum, or name the version of their format; D0 readouts stand
/// between STX and ETX, or have neither.
fn text(bytes: &[u8]) -> Protocol {
    // An STX at the beginning of a line; identifications may hold one as well.
    const STX: [u8; 2] = [b'\n', 0x02];
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let checksum = |window: &[u8]| matches!(window, [b'!', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
    let version = has(b"1-3:0.2.8(") || has(b"0-0:96.1.4(") || has(b"0-0:1.0.0(");
    if !has(&STX) && (version || bytes.windows(4).any(checksum)) {
        Protocol::P1
    } else {
        Protocol::D0
    }
}
