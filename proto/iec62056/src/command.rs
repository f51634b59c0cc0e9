// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said besides telegrams: request, option select, and the messages of the programming mode
//! (IEC 62056-21 §6.3).

use alloc::vec::Vec;

use crate::block::{ACK, Bcc, EOT, ETX, NAK, SOH, STX, bcc};

/// `/? address ! CR LF`; no address reaches the only meter of a line. Longer addresses than 32
/// characters and others than letters, digits and blanks do not exist.
pub fn request(address: &str) -> Vec<u8> {
    let address = address.bytes().filter(|byte| is_address(*byte)).take(32);
    b"/?"
        .iter()
        .copied()
        .chain(address)
        .chain(*b"!\r\n")
        .collect()
}

/// The address in a request, empty for any; `None` when it is no request.
pub fn requested(line: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(line).ok()?;
    let address = text
        .strip_prefix("/?")?
        .trim_end_matches(['\r', '\n'])
        .strip_suffix('!')?;
    address.bytes().all(is_address).then_some(address)
}

fn is_address(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b' '
}

/// The option select message `ACK V Z Y CR LF`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct OptionSelect {
    /// V: `0` normal protocol, `1` secondary, `2` HDLC.
    pub protocol: u8,
    /// Z: the speed, as the identification tells it.
    pub baud: u8,
    /// Y: `0` data readout, `1` programming, `2` HDLC, `6` to `9` the manufacturer's own.
    pub control: u8,
}

impl OptionSelect {
    /// Reads the message with its CR LF.
    pub fn decode(line: &[u8]) -> Option<Self> {
        match *line {
            [ACK, protocol, baud, control, b'\r', b'\n'] => Some(Self {
                protocol,
                baud,
                control,
            }),
            _ => None,
        }
    }

    /// Writes the message with its CR LF.
    pub const fn encode(self) -> [u8; 6] {
        [ACK, self.protocol, self.baud, self.control, b'\r', b'\n']
    }
}

/// A message of the programming mode.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Message<'a> {
    /// `SOH letter digit STX data ETX BCC`.
    Command {
        /// What to do.
        command: Command,
        /// `code(value)` or `(password)`; empty without STX.
        data: &'a [u8],
    },
    /// `STX data ETX BCC`: an answer.
    Answer {
        /// `code(value)` or `(value)`.
        data: &'a [u8],
        /// Ended by EOT: more follows when it is acknowledged.
        more: bool,
    },
    /// Understood.
    Ack,
    /// Repeat.
    Nak,
}

/// A command: letter and digit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Command(pub u8, pub u8);

impl Command {
    /// The meter asks for the password; its data may be an operand for a secure algorithm.
    pub const PASSWORD_REQUEST: Self = Self(b'P', b'0');
    /// The password.
    pub const PASSWORD: Self = Self(b'P', b'1');
    /// The password as a secure algorithm made it.
    pub const PASSWORD_RESULT: Self = Self(b'P', b'2');
    /// Read one register.
    pub const READ: Self = Self(b'R', b'1');
    /// Read a profile.
    pub const READ_PROFILE: Self = Self(b'R', b'5');
    /// Write one register.
    pub const WRITE: Self = Self(b'W', b'1');
    /// Write formatted.
    pub const WRITE_FORMATTED: Self = Self(b'W', b'5');
    /// End of the session; no answer follows.
    pub const BREAK: Self = Self(b'B', b'0');
}

impl<'a> Message<'a> {
    /// Reads exactly one message; `None` when it is none or cut.
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, Bcc)> {
        match *bytes {
            [ACK] => Some((Self::Ack, Bcc::Absent)),
            [NAK] => Some((Self::Nak, Bcc::Absent)),
            [begin @ (SOH | STX), ref covered @ .., got] => {
                let verdict = Bcc::verdict(covered, got);
                let (end, body) = covered.split_last()?;
                if !matches!(*end, ETX | EOT) {
                    return None;
                }
                let more = *end == EOT;
                let message = match *body {
                    _ if begin == STX => Self::Answer { data: body, more },
                    [letter, digit, STX, ref data @ ..] => Self::Command {
                        command: Command(letter, digit),
                        data,
                    },
                    [letter, digit] => Self::Command {
                        command: Command(letter, digit),
                        data: &[],
                    },
                    _ => return None,
                };
                Some((message, verdict))
            }
            _ => None,
        }
    }

    /// Writes the message with its BCC.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match *self {
            Self::Ack => return Vec::from([ACK]),
            Self::Nak => return Vec::from([NAK]),
            Self::Command {
                command: Command(letter, digit),
                data,
            } => {
                bytes.extend_from_slice(&[SOH, letter, digit]);
                if !data.is_empty() {
                    bytes.push(STX);
                    bytes.extend_from_slice(data);
                }
                bytes.push(ETX);
            }
            Self::Answer { data, more } => {
                bytes.push(STX);
                bytes.extend_from_slice(data);
                bytes.push(if more { EOT } else { ETX });
            }
        }
        let check = bcc(bytes.get(1..).unwrap_or_default());
        bytes.push(check);
        bytes
    }
}

/// Follows a message of the programming mode byte by byte to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageScanner {
    last: Option<u8>,
    checked: bool,
}

/// Where a message scanner stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scan {
    /// The byte belongs to no message.
    Noise,
    /// More bytes are needed.
    More,
    /// That was the last byte.
    Whole,
}

impl MessageScanner {
    pub(crate) fn push(&mut self, byte: u8) -> Scan {
        match self.last.replace(byte) {
            None if matches!(byte, ACK | NAK) => {
                *self = Self::default();
                Scan::Whole
            }
            None if !matches!(byte, SOH | STX) => {
                *self = Self::default();
                Scan::Noise
            }
            _ if self.checked => {
                *self = Self::default();
                Scan::Whole
            }
            _ => {
                self.checked = matches!(byte, ETX | EOT);
                Scan::More
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_the_standard_prints_them() {
        let end = Message::Command {
            command: Command::BREAK,
            data: &[],
        };
        assert_eq!(end.encode(), b"\x01B0\x03q");
        let password = b"\x01P1\x02(00000000)\x03";
        let line = [&password[..], &[bcc(&password[1..])]].concat();
        let (message, verdict) = Message::decode(&line).unwrap();
        assert_eq!(verdict, Bcc::Good);
        assert_eq!(
            message,
            Message::Command {
                command: Command::PASSWORD,
                data: b"(00000000)"
            }
        );
        assert_eq!(message.encode(), line);
        assert_eq!(request("Bla0"), b"/?Bla0!\r\n");
        assert_eq!(requested(b"/?!\r\n"), Some(""));
        assert_eq!(requested(b"/ISk5!\r\n"), None);
    }
}
