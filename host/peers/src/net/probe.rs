// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bare octets at a TLS port, without a TLS library: old versions, foreign suites, no TLS at all (TLS-02, TLS-03, TLS-05).

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::event::PollFlags;
use smgw_socks::{FrameDecoder, FrameState, Method, encode_header};

use super::alert::Alert;
use super::cls::send_raw;
use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::tap::{Tap, TappedStream};
use super::transfer::Pattern;
use super::wait::{Woken, wait};

/// A ClientHello made by hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HelloSpec {
    /// Version in the record header; 0x0301 is usual.
    pub record_version: u16,
    /// `client_version`: 0x0300 SSL 3, 0x0301 TLS 1.0, 0x0302 TLS 1.1, 0x0303 TLS 1.2.
    pub version: u16,
    /// Cipher suites in order.
    pub suites: Vec<u16>,
    /// Compression methods; `[0]` is none.
    pub compression: Vec<u8>,
    /// Named groups; with none neither supported_groups nor ec_point_formats is sent.
    pub groups: Vec<u16>,
    /// signature_algorithms; not sent when empty.
    pub signature_schemes: Vec<u16>,
    /// Server name; not sent when empty.
    pub server_name: String,
    /// Further extensions, number and content.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl HelloSpec {
    /// A ClientHello of an old `version` that offers the gateway's suites and groups as far as that version knows them.
    pub fn old_version(version: u16) -> Self {
        Self {
            record_version: version.min(0x0301),
            version,
            // ECDHE-ECDSA with AES-CBC-SHA1 and TLS 1.2's mandatory four, so that only the version can be refused.
            suites: vec![
                0xc009, 0xc00a, 0xc023, 0xc02b, 0xc024, 0xc02c, 0x002f, 0x0035,
            ],
            compression: vec![0],
            groups: vec![23, 24, 26, 27, 28],
            signature_schemes: vec![0x0403, 0x0503, 0x0603],
            server_name: String::new(),
            extensions: Vec::new(),
        }
    }

    /// A TLS 1.2 ClientHello with these suites and groups, extended_master_secret and renegotiation_info.
    pub fn tls12(suites: &[u16], groups: &[u16]) -> Self {
        Self {
            record_version: 0x0301,
            version: 0x0303,
            suites: suites.to_vec(),
            groups: groups.to_vec(),
            extensions: vec![(23, vec![]), (0xff01, vec![0])],
            ..Self::old_version(0x0303)
        }
    }

    /// The record; `random` fills the client random. Lists too long for their length fields are cut.
    pub fn encode(&self, random: [u8; 32]) -> Vec<u8> {
        let mut extensions = Vec::new();
        if !self.server_name.is_empty() {
            let name = vec16(self.server_name.as_bytes());
            extension(&mut extensions, 0, &vec16(&[&[0], &name[..]].concat()));
        }
        if !self.groups.is_empty() {
            extension(&mut extensions, 10, &vec16(&numbers(&self.groups)));
            extension(&mut extensions, 11, &[1, 0]);
        }
        if !self.signature_schemes.is_empty() {
            extension(
                &mut extensions,
                13,
                &vec16(&numbers(&self.signature_schemes)),
            );
        }
        for (number, content) in &self.extensions {
            extension(&mut extensions, *number, content);
        }
        let compression = self.compression.get(..255).unwrap_or(&self.compression);
        let mut hello = self.version.to_be_bytes().to_vec();
        hello.extend(random);
        hello.push(0);
        hello.extend(vec16(&numbers(&self.suites)));
        hello.push(compression.len() as u8);
        hello.extend(compression);
        // SSL 3 knows no extensions, but servers skip them; a hello without any stays without the field.
        if !extensions.is_empty() {
            hello.extend(vec16(&extensions));
        }
        let mut handshake = vec![HANDSHAKE_CLIENT_HELLO, 0];
        handshake.extend(vec16(&hello));
        let mut record = vec![RECORD_HANDSHAKE];
        record.extend(self.record_version.to_be_bytes());
        record.extend(vec16(&handshake));
        record
    }
}

/// What carries the probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProbeTransport {
    /// TCP alone (HAN, EMT).
    Tcp,
    /// The CLS proxy: greeting for method 06, then SOCKS-TLS frames.
    SocksTls,
}

/// The first thing that came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProbeOutcome {
    /// An alert record.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// What it says.
        description: Alert,
    },
    /// A ServerHello: the server is willing.
    ServerHello {
        /// The version it chose (by supported_versions if present).
        version: u16,
        /// The suite it chose.
        suite: u16,
        /// The compression method it chose.
        compression: u8,
    },
    /// The server closed or reset the connection without a word.
    Closed,
    /// Nothing until the deadline, or only part of a record.
    Silence,
    /// Something else.
    Garbage(Vec<u8>),
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert {
                level: 2,
                description,
            } => write!(f, "fatal alert {description}"),
            Self::Alert { description, .. } => write!(f, "warning {description}"),
            Self::ServerHello { version, suite, .. } => {
                write!(f, "ServerHello, version {version:04x}, suite {suite:04x}")
            }
            Self::Closed => f.write_str("closed without a word"),
            Self::Silence => f.write_str("silence"),
            Self::Garbage(octets) => write!(f, "{} octets that are no TLS", octets.len()),
        }
    }
}

impl fmt::Display for PlainOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable(octets) => {
                let text = String::from_utf8_lossy(octets.get(..40).unwrap_or(octets));
                write!(
                    f,
                    "readable text {:?}",
                    text.lines().next().unwrap_or_default()
                )
            }
            Self::Alert { description, .. } => write!(f, "TLS alert {description}"),
            Self::Closed => f.write_str("closed without a word"),
            Self::Silence => f.write_str("silence"),
            Self::Garbage(octets) => write!(f, "{} unreadable octets", octets.len()),
        }
    }
}

/// Sends a ClientHello and reads the first record back.
///
/// # Errors
/// [`Failure::Refused`] or [`Failure::Timeout`] when TCP does not stand, [`Failure::Protocol`] when the proxy does not
/// choose method 06.
pub fn probe(
    server: SocketAddr,
    transport: ProbeTransport,
    hello: &HelloSpec,
    tap: Arc<dyn Tap>,
    deadline: Deadline,
) -> Result<ProbeOutcome, Failure> {
    let mut stream = TappedStream::connect(server, tap, deadline)?;
    let mut random = [0; 32];
    // A probe needs no secrecy, only a fresh value.
    Pattern::new(now().0).fill(&mut random);
    let record = hello.encode(random);
    let mut frames = match transport {
        ProbeTransport::Tcp => {
            send_raw(&mut stream, &record, deadline)?;
            None
        }
        ProbeTransport::SocksTls => {
            send_raw(&mut stream, &[5, 1, Method::TLS.0], deadline)?;
            let choice = read_some(&mut stream, deadline, |octets| octets.len() >= 2)?;
            if choice.octets != [5, Method::TLS.0] {
                return Err(Failure::Protocol(format!(
                    "proxy answered the greeting with {:02x?}",
                    choice.octets
                )));
            }
            let mut framed = encode_header(FrameState::Handshake, record.len() as u16).to_vec();
            framed.extend(&record);
            send_raw(&mut stream, &framed, deadline)?;
            Some(FrameDecoder::new())
        }
    };
    let mut plain = Vec::new();
    let mut seen = 0;
    let mut unframe = |octets: &[u8]| {
        match &mut frames {
            None => plain = octets.to_vec(),
            Some(decoder) => {
                let mut rest = octets.get(seen..).unwrap_or_default();
                seen = octets.len();
                // A broken frame ends the reading; what came of the record is judged.
                while let Ok(Some(fragment)) = decoder.decode(&mut rest) {
                    plain.extend(fragment.payload);
                }
            }
        }
        judge(&plain)
    };
    let answer = read_some(&mut stream, deadline, |octets| unframe(octets).is_some())?;
    let outcome = judge(&plain);
    Ok(match outcome {
        Some(outcome) => outcome,
        None if answer.closed && plain.is_empty() && answer.octets.is_empty() => {
            ProbeOutcome::Closed
        }
        None if answer.closed => ProbeOutcome::Garbage(answer.octets),
        None => ProbeOutcome::Silence,
    })
}

/// What a plaintext request at a TLS port brings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlainOutcome {
    /// Readable text: the port gives something away without TLS.
    Readable(Vec<u8>),
    /// A TLS alert record.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// What it says.
        description: Alert,
    },
    /// The server closed or reset the connection without a word.
    Closed,
    /// Nothing until the deadline.
    Silence,
    /// Octets that are neither text nor an alert.
    Garbage(Vec<u8>),
}

/// Sends `GET / HTTP/1.0` in the clear.
///
/// # Errors
/// [`Failure::Refused`] or [`Failure::Timeout`] when TCP does not stand.
pub fn plain_http(
    server: SocketAddr,
    tap: Arc<dyn Tap>,
    deadline: Deadline,
) -> Result<PlainOutcome, Failure> {
    let mut stream = TappedStream::connect(server, tap, deadline)?;
    send_raw(&mut stream, b"GET / HTTP/1.0\r\n\r\n", deadline)?;
    let answer = read_some(&mut stream, deadline, |octets| judge(octets).is_some())?;
    let text = |octets: &[u8]| {
        octets
            .iter()
            .all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n' | b'\t'))
    };
    Ok(match (judge(&answer.octets), answer.octets) {
        (Some(ProbeOutcome::Alert { level, description }), _) => {
            PlainOutcome::Alert { level, description }
        }
        (_, octets) if octets.is_empty() && answer.closed => PlainOutcome::Closed,
        (_, octets) if octets.is_empty() => PlainOutcome::Silence,
        (_, octets) if text(octets.get(..8).unwrap_or(&octets)) => PlainOutcome::Readable(octets),
        (_, octets) => PlainOutcome::Garbage(octets),
    })
}

struct Answer {
    octets: Vec<u8>,
    closed: bool,
}

/// Reads until `enough`, the end, the limit or the deadline.
fn read_some(
    stream: &mut TappedStream,
    deadline: Deadline,
    mut enough: impl FnMut(&[u8]) -> bool,
) -> Result<Answer, Failure> {
    let mut octets = Vec::new();
    let mut chunk = [0; 4096];
    while octets.len() < ANSWER_LIMIT {
        match stream.read(&mut chunk) {
            Ok(0) => {
                return Ok(Answer {
                    octets,
                    closed: true,
                });
            }
            Ok(len) => {
                octets.extend(chunk.get(..len).unwrap_or_default());
                if enough(&octets) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait(stream, PollFlags::IN, deadline, None)? == Woken::TimedOut {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if stream.ended().is_some() => {
                return Ok(Answer {
                    octets,
                    closed: true,
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer {
        octets,
        closed: false,
    })
}

/// The outcome that the first record tells; `None` while octets are missing.
fn judge(octets: &[u8]) -> Option<ProbeOutcome> {
    let garbage = || Some(ProbeOutcome::Garbage(octets.to_vec()));
    match *octets {
        [] | [RECORD_ALERT | RECORD_HANDSHAKE] => None,
        [RECORD_ALERT | RECORD_HANDSHAKE, 3] => None,
        [RECORD_ALERT | RECORD_HANDSHAKE, 3, ref rest @ ..] if rest.len() < 3 => None,
        [RECORD_ALERT, 3, _, 0, 2, level, description, ..] => Some(ProbeOutcome::Alert {
            level,
            description: Alert(description),
        }),
        [RECORD_ALERT, 3, _, 0, 2, ..] => None,
        [RECORD_HANDSHAKE, 3, _, high, low, ref rest @ ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            match rest.get(..len) {
                None if len <= MAX_RECORD => None,
                None => garbage(),
                Some(handshake) => server_hello(handshake).or_else(garbage),
            }
        }
        _ => garbage(),
    }
}

/// Reads a ServerHello that lies whole in the first record.
fn server_hello(handshake: &[u8]) -> Option<ProbeOutcome> {
    let (&[HANDSHAKE_SERVER_HELLO, _, _, _, major, minor], rest) = handshake.split_first_chunk()?
    else {
        return None;
    };
    let (&session_len, rest) = rest.get(32..)?.split_first()?;
    let (&[suite_high, suite_low, compression], extensions) =
        rest.get(usize::from(session_len)..)?.split_first_chunk()?;
    let mut version = u16::from_be_bytes([major, minor]);
    let mut extensions = extensions.get(2..).unwrap_or_default();
    while let Some((&[number_high, number_low, len_high, len_low], rest)) =
        extensions.split_first_chunk()
    {
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let content = rest.get(..len)?;
        if let (SUPPORTED_VERSIONS, &[high, low]) =
            (u16::from_be_bytes([number_high, number_low]), content)
        {
            version = u16::from_be_bytes([high, low]);
        }
        extensions = rest.get(len..)?;
    }
    let suite = u16::from_be_bytes([suite_high, suite_low]);
    Some(ProbeOutcome::ServerHello {
        version,
        suite,
        compression,
    })
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// Content behind its length in two octets.
fn vec16(content: &[u8]) -> Vec<u8> {
    let content = content.get(..usize::from(u16::MAX)).unwrap_or(content);
    let mut out = (content.len() as u16).to_be_bytes().to_vec();
    out.extend(content);
    out
}

fn extension(out: &mut Vec<u8>, number: u16, content: &[u8]) {
    out.extend(number.to_be_bytes());
    out.extend(vec16(content));
}

const RECORD_ALERT: u8 = 21;
const RECORD_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const HANDSHAKE_SERVER_HELLO: u8 = 2;
const SUPPORTED_VERSIONS: u16 = 43;
const MAX_RECORD: usize = 16 * 1024 + 2048;
const ANSWER_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_byte_for_byte() {
        let spec = HelloSpec {
            record_version: 0x0300,
            version: 0x0302,
            suites: vec![0xc02b],
            compression: vec![0],
            groups: vec![23],
            signature_schemes: vec![],
            server_name: "a".into(),
            extensions: vec![],
        };
        let mut expected = vec![22, 3, 0, 0, 71, 1, 0, 0, 67, 3, 2];
        expected.extend([7; 32]);
        expected.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 24]);
        expected.extend([0, 0, 0, 6, 0, 4, 0, 0, 1, b'a']);
        expected.extend([0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
        assert_eq!(spec.encode([7; 32]), expected);
    }

    #[test]
    fn first_records() {
        let alert = [21, 3, 1, 0, 2, 2, 70];
        assert_eq!(
            judge(&alert),
            Some(ProbeOutcome::Alert {
                level: 2,
                description: Alert(70)
            })
        );
        assert_eq!(Alert(70).to_string(), "protocol_version (70)");
        let mut hello = vec![22, 3, 3, 0, 48, 2, 0, 0, 44, 3, 3];
        hello.extend([9; 32]);
        hello.extend([0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        hello[4] = (hello.len() - 5) as u8;
        assert_eq!(
            judge(&hello),
            Some(ProbeOutcome::ServerHello {
                version: 0x0304,
                suite: 0x1301,
                compression: 0
            })
        );
        for end in 0..alert.len() {
            assert_eq!(judge(&alert[..end]), None);
        }
        for end in 0..hello.len() {
            assert_eq!(judge(&hello[..end]), None);
        }
        assert_eq!(
            judge(b"HTTP"),
            Some(ProbeOutcome::Garbage(b"HTTP".to_vec()))
        );
    }
}
