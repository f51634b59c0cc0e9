// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and answers explained in one line for traces: names and lengths, never contents (ISO/IEC 7816-4 and -8,
//! TR-03110-3 appendix B).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::tlv::{self, Tag};
use crate::{Command, Response};

/// Name of a command by instruction and, where they matter, parameters.
struct Name {
    ins: u8,
    p1: Option<u8>,
    p2: Option<u8>,
    text: &'static str,
}

const fn name(ins: u8, p1: Option<u8>, p2: Option<u8>, text: &'static str) -> Name {
    Name { ins, p1, p2, text }
}

/// The special ones stand before the general ones.
const NAMES: &[Name] = &[
    name(0x04, None, None, "DEACTIVATE FILE"),
    name(0x20, None, None, "VERIFY"),
    name(0x22, Some(0xc1), Some(0xa4), "MSE:Set AT (PACE)"),
    name(
        0x22,
        Some(0x81),
        Some(0xa4),
        "MSE:Set AT (external authentication)",
    ),
    name(0x22, Some(0x41), Some(0xa4), "MSE:Set AT (key agreement)"),
    name(0x22, Some(0x41), Some(0xa6), "MSE:Set KAT"),
    name(0x22, Some(0x41), Some(0xb6), "MSE:Set DST (sign)"),
    name(0x22, Some(0x81), Some(0xb6), "MSE:Set DST (verify)"),
    name(0x22, None, None, "MANAGE SECURITY ENVIRONMENT"),
    name(0x24, None, None, "CHANGE REFERENCE DATA"),
    name(
        0x2a,
        Some(0x9e),
        Some(0x9a),
        "PSO:COMPUTE DIGITAL SIGNATURE",
    ),
    name(0x2a, Some(0x00), Some(0xa8), "PSO:VERIFY DIGITAL SIGNATURE"),
    name(0x2a, None, None, "PERFORM SECURITY OPERATION"),
    name(0x2c, None, None, "RESET RETRY COUNTER"),
    name(0x44, None, None, "ACTIVATE FILE"),
    name(0x46, None, None, "GENERATE ASYMMETRIC KEY PAIR"),
    name(0x47, None, None, "GENERATE ASYMMETRIC KEY PAIR"),
    name(0x82, None, None, "EXTERNAL AUTHENTICATE"),
    name(0x84, None, None, "GET CHALLENGE"),
    name(0x86, None, None, "GENERAL AUTHENTICATE"),
    name(0x88, None, None, "INTERNAL AUTHENTICATE"),
    name(0xa4, None, None, "SELECT"),
    name(0xb0, None, None, "READ BINARY"),
    name(0xb1, None, None, "READ BINARY"),
    name(0xc0, None, None, "GET RESPONSE"),
    name(0xca, None, None, "GET DATA"),
    name(0xd6, None, None, "UPDATE BINARY"),
    name(0xd7, None, None, "UPDATE BINARY"),
    name(0xe0, None, None, "CREATE FILE"),
    name(0xe4, None, None, "DELETE FILE"),
    name(0xe6, None, None, "TERMINATE DF"),
    name(0xe8, None, None, "TERMINATE EF"),
    name(0xfe, None, None, "TERMINATE CARD USAGE"),
];

/// Names of data objects in the data of GENERAL AUTHENTICATE (TR-03110-3 B.1).
const DYNAMIC: &[(u32, &str)] = &[
    (0x80, "encrypted nonce"),
    (0x81, "mapping key"),
    (0x82, "card's mapping key"),
    (0x83, "ephemeral key"),
    (0x84, "card's ephemeral key"),
    (0x85, "token or point"),
    (0x86, "card's token or secret"),
];

/// Names of data objects elsewhere.
const PLAIN: &[(u32, &str)] = &[
    (0x06, "object identifier"),
    (0x80, "algorithm"),
    (0x83, "public key or password reference"),
    (0x84, "private key or parameter reference"),
    (0x86, "public point"),
    (0x9a, "hash"),
    (0x9e, "signature"),
    (0x7f49, "public key"),
    (0xac, "algorithm identifiers"),
];

/// Names of data objects of secure messaging (TR-03110-3 table 32).
const SECURE: &[(u32, &str)] = &[
    (0x85, "encrypted data"),
    (0x87, "encrypted data"),
    (0x8e, "checksum"),
    (0x97, "expected length"),
    (0x99, "status"),
];

/// A command in one line, such as `READ BINARY (00 B0 9C 00) short file 1C at 0, expecting 256`. Contents are shown only
/// where they are addresses; of data objects, names and lengths.
pub fn describe(command: &Command) -> String {
    let [cla, ins, p1, p2] = command.header();
    let fits = |name: &&Name| {
        name.ins == ins
            && name.p1.is_none_or(|want| want == p1)
            && name.p2.is_none_or(|want| want == p2)
    };
    let text = NAMES
        .iter()
        .find(fits)
        .map_or("unknown command", |name| name.text);
    let mut line = format!("{text} ({cla:02X} {ins:02X} {p1:02X} {p2:02X})");
    if command.is_protected() {
        line += " protected";
    }
    if command.is_chained() {
        line += " chained";
    }
    if ins & 0xfe == 0xb0 || ins & 0xfe == 0xd6 {
        line += &if p1 & 0x80 == 0 {
            format!(" at {}", u16::from_be_bytes([p1, p2]))
        } else {
            format!(" short file {:02X} at {p2}", p1 & 0x1f)
        };
    }
    if command.is_protected() {
        line += &objects(&command.data, SECURE);
    } else {
        line += &match ins {
            0xa4 => hex(&command.data),
            0x86 => dynamic(&command.data),
            // Their data has no objects, and may be anything.
            0x20 | 0x24 | 0x2c | 0x82 | 0xd6 => bytes(command.data.len()),
            _ if (ins, p1) == (0x2a, 0x9e) => bytes(command.data.len()),
            _ => objects(&command.data, PLAIN),
        };
    }
    if let Some(expected) = command.expected {
        line += &format!(", expecting {expected}");
    }
    line
}

/// An answer in one line, such as `9000 (done), 16 bytes`; `command` is what it answers.
pub fn describe_response(command: &Command, response: &Response) -> String {
    let content = if command.is_protected() && !response.data.is_empty() {
        objects(&response.data, SECURE)
    } else if command.ins == 0x86 {
        dynamic(&response.data)
    } else {
        bytes(response.data.len())
    };
    format!("{}{content}", response.status)
}

fn dynamic(data: &[u8]) -> String {
    match tlv::only(data, Tag(0x7c)) {
        Some([]) => " start".to_string(),
        Some(inner) => objects(inner, DYNAMIC),
        None => bytes(data.len()),
    }
}

fn bytes(len: usize) -> String {
    match len {
        0 => String::new(),
        _ => format!(", {len} bytes"),
    }
}

/// More than a file name has is not shown.
fn hex(data: &[u8]) -> String {
    let shown: Vec<String> = data
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    match shown.is_empty() {
        true => String::new(),
        false => format!(" {}", shown.concat()),
    }
}

/// How many data objects a line names.
const MOST_OBJECTS: usize = 8;

fn objects(data: &[u8], names: &[(u32, &str)]) -> String {
    let read: Result<Vec<_>, _> = tlv::objects(data).take(MOST_OBJECTS).collect();
    let Ok(read) = read else {
        return bytes(data.len());
    };
    read.iter()
        .map(|object| {
            let known = names.iter().find(|(tag, _)| *tag == object.tag.0);
            let text = known.map_or("", |(_, text)| text);
            let space = if text.is_empty() { "" } else { " " };
            format!(", {}{space}{text} [{}]", object.tag, object.value.len())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecureChannel, SessionKeys, StatusWord};

    #[test]
    fn lines_say_what_happens() {
        let password = Command::new(0, 0x22, 0xc1, 0xa4).with([0x80, 1, 4, 0x83, 1, 3]);
        let read = Command::new(0, 0xb0, 0x9c, 0).expecting(256);
        let map = Command::new(0, 0x86, 0, 0)
            .with([&[0x7c, 67, 0x81, 65][..], &[4; 65]].concat())
            .expecting(256)
            .chained();
        for (command, line) in [
            (
                &password,
                "MSE:Set AT (PACE) (00 22 C1 A4), 80 algorithm [1], 83 public key or password reference [1]",
            ),
            (
                &read,
                "READ BINARY (00 B0 9C 00) short file 1C at 0, expecting 256",
            ),
            (
                &map,
                "GENERAL AUTHENTICATE (10 86 00 00) chained, 81 mapping key [65], expecting 256",
            ),
        ] {
            assert_eq!(describe(command), line);
        }
        let answer = Response::new([], StatusWord::tries(2));
        assert_eq!(
            describe_response(&map, &answer),
            "63C2 (verification failed, tries are left as the last digit says)"
        );
    }

    #[test]
    fn secrets_are_not_told() {
        let pin = Command::new(0, 0x24, 0, 3).with(*b"1234567890");
        assert_eq!(
            describe(&pin),
            "CHANGE REFERENCE DATA (00 24 00 03), 10 bytes"
        );
        let mut channel = SecureChannel::new(SessionKeys::new([1; 16], [2; 16]));
        let line = describe(&channel.protect_command(&pin).unwrap());
        assert_eq!(
            line,
            "CHANGE REFERENCE DATA (0C 24 00 03) protected, 87 encrypted data [17], 8E checksum [8], expecting 256"
        );
    }
}
