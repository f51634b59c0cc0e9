// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages between a market participant (EMT) and a controllable local system inside the gateway's proxy channel.
//!
//! A message is a length of two octets, big-endian, and one CBOR map with that many octets, at most [`MAX_LEN`]. The
//! protocol is our own (assumption `cls-commands`): boxes in the field speak IEC 61850 MMS or EEBUS there. Each value has
//! exactly one encoding, and nothing else is accepted. Parsers take what has arrived so far and answer `Ok(None)` while
//! octets are missing.
//!
//! | key | value | in |
//! |---|---|---|
//! | 0 | kind of message | all |
//! | 1 | power in W | limit, state |
//! | 2 | duration in s | limit |
//! | 3 | octets | echo, echoed |
//! | 4 | protocol version | hello |
//! | 5 | name of the firmware | hello |
//! | 6 | build id of the image | hello |
//! | 7 | mode, 0 to 4 as [`Mode`] counts them | state |
//! | 8 | relay releases the load | state |
//! | 9 | pulses of the meter since the start | state |
//! | 10 | milliseconds since the start | state |
//! | 11 | reason, 0 or 1 as [`Refusal`] counts them | refused |

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use minicbor::bytes::ByteVec;
use minicbor::{CborLen, Decode, Encode};

use crate::limiter::Mode;

/// The version of this protocol, as [`Report::Hello`] tells it.
pub const VERSION: u8 = 1;

/// The longest map in octets.
pub const MAX_LEN: usize = 4_096;

/// The most octets of an [`Command::Echo`], so that its answer fits a message too.
pub const MAX_ECHO: usize = MAX_LEN - 16;

/// What a market participant says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Draw no more than this.
    Limit {
        /// Power at the connection point in W.
        watts: u32,
        /// For so many seconds; until further notice when missing.
        seconds: Option<u32>,
    },
    /// Draw what you like.
    Unlimited,
    /// The participant is there.
    Heartbeat,
    /// Tell the state.
    Status,
    /// Send these octets back, at most [`MAX_ECHO`].
    Echo(Vec<u8>),
}

/// What a controllable local system says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// The first message of a channel.
    Hello {
        /// [`VERSION`].
        version: u8,
        /// Name of the firmware.
        name: String,
        /// Build id of the image.
        build_id: Vec<u8>,
    },
    /// Follows each command but an echo, and each change.
    State(State),
    /// The octets of an echo.
    Echoed(Vec<u8>),
    /// A command was not carried out.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// The state of a controllable local system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct State {
    /// The limit that holds, in W.
    pub watts: Option<u32>,
    /// The state of the limit.
    pub mode: Mode,
    /// Whether the relay releases the load.
    pub relay: bool,
    /// Pulses of the meter since the start, modulo 2^32.
    pub pulses: u32,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Refusal {
    /// No command of this protocol; the channel ends.
    Malformed = 0,
    /// A message longer than [`MAX_LEN`]; the channel ends.
    TooLong = 1,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::Malformed, Self::TooLong];
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Length(_) => Self::TooLong,
            MessageError::Malformed => Self::Malformed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "no command of this protocol",
            Self::TooLong => "the message is too long",
        })
    }
}

/// Octets that are no message. Their sender is at fault; the channel must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// The length is zero or beyond [`MAX_LEN`].
    Length(u16),
    /// The map is not the one encoding of a message.
    Malformed,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(
                f,
                "peer announced a message of {len} octets, expected 1 to {MAX_LEN}"
            ),
            Self::Malformed => f.write_str("peer sent octets that are no message"),
        }
    }
}

impl core::error::Error for MessageError {}

impl Command {
    /// The message on the wire.
    ///
    /// An echo is cut to [`MAX_ECHO`] octets.
    pub fn encode(&self) -> Vec<u8> {
        Map::from(self).framed()
    }

    /// The message at the front of `received` and the octets it takes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(received: &[u8]) -> Result<Option<(Self, usize)>, MessageError> {
        parse(received, Self::of, Self::encode)
    }

    fn of(map: Map<'_>) -> Option<Self> {
        Some(match map.kind {
            kind::LIMIT => Self::Limit {
                watts: map.watts?,
                seconds: map.seconds,
            },
            kind::UNLIMITED => Self::Unlimited,
            kind::HEARTBEAT => Self::Heartbeat,
            kind::STATUS => Self::Status,
            kind::ECHO => Self::Echo(map.octets?.into()),
            _ => return None,
        })
    }
}

impl Report {
    /// The message on the wire.
    ///
    /// An echo is cut to [`MAX_ECHO`] octets, a name and a build id to [`MAX_NAME`].
    pub fn encode(&self) -> Vec<u8> {
        Map::from(self).framed()
    }

    /// The message at the front of `received` and the octets it takes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(received: &[u8]) -> Result<Option<(Self, usize)>, MessageError> {
        parse(received, Self::of, Self::encode)
    }

    fn of(map: Map<'_>) -> Option<Self> {
        Some(match map.kind {
            kind::HELLO => Self::Hello {
                version: map.version?,
                name: map.name?.into_owned(),
                build_id: map.build_id?.into(),
            },
            kind::STATE => Self::State(State {
                watts: map.watts,
                mode: *Mode::ALL.get(usize::from(map.mode?))?,
                relay: map.relay?,
                pulses: map.pulses?,
                uptime_ms: map.uptime_ms?,
            }),
            kind::ECHOED => Self::Echoed(map.octets?.into()),
            kind::REFUSED => Self::Refused {
                reason: *Refusal::ALL.get(usize::from(map.reason?))?,
            },
            _ => return None,
        })
    }
}

/// The most octets of the name and of the build id in a hello.
pub const MAX_NAME: usize = 64;

/// Kinds of messages; those of a device have the high bit.
mod kind {
    pub const LIMIT: u8 = 0;
    pub const UNLIMITED: u8 = 1;
    pub const HEARTBEAT: u8 = 2;
    pub const STATUS: u8 = 3;
    pub const ECHO: u8 = 4;
    pub const HELLO: u8 = 0x80;
    pub const STATE: u8 = 0x81;
    pub const ECHOED: u8 = 0x82;
    pub const REFUSED: u8 = 0x83;
}

/// Every message has some of these.
#[derive(Default, Encode, Decode, CborLen)]
#[cbor(map)]
struct Map<'a> {
    #[n(0)]
    kind: u8,
    #[n(1)]
    watts: Option<u32>,
    #[n(2)]
    seconds: Option<u32>,
    #[n(3)]
    octets: Option<ByteVec>,
    #[n(4)]
    version: Option<u8>,
    #[b(5)]
    name: Option<Cow<'a, str>>,
    #[n(6)]
    build_id: Option<ByteVec>,
    #[n(7)]
    mode: Option<u8>,
    #[n(8)]
    relay: Option<bool>,
    #[n(9)]
    pulses: Option<u32>,
    #[n(10)]
    uptime_ms: Option<u64>,
    #[n(11)]
    reason: Option<u8>,
}

impl From<&Command> for Map<'_> {
    fn from(command: &Command) -> Self {
        let map = |kind| Map {
            kind,
            ..Map::default()
        };
        match command {
            Command::Limit { watts, seconds } => Map {
                watts: Some(*watts),
                seconds: *seconds,
                ..map(kind::LIMIT)
            },
            Command::Unlimited => map(kind::UNLIMITED),
            Command::Heartbeat => map(kind::HEARTBEAT),
            Command::Status => map(kind::STATUS),
            Command::Echo(octets) => Map {
                octets: Some(cut(octets, MAX_ECHO)),
                ..map(kind::ECHO)
            },
        }
    }
}

impl<'a> From<&'a Report> for Map<'a> {
    fn from(report: &'a Report) -> Self {
        let map = |kind| Map {
            kind,
            ..Map::default()
        };
        match report {
            Report::Hello {
                version,
                name,
                build_id,
            } => Map {
                version: Some(*version),
                name: Some(
                    name.get(..name.floor_char_boundary(MAX_NAME))
                        .unwrap_or_default()
                        .into(),
                ),
                build_id: Some(cut(build_id, MAX_NAME)),
                ..map(kind::HELLO)
            },
            Report::State(state) => Map {
                watts: state.watts,
                mode: Some(state.mode as u8),
                relay: Some(state.relay),
                pulses: Some(state.pulses),
                uptime_ms: Some(state.uptime_ms),
                ..map(kind::STATE)
            },
            Report::Echoed(octets) => Map {
                octets: Some(cut(octets, MAX_ECHO)),
                ..map(kind::ECHOED)
            },
            Report::Refused { reason } => Map {
                reason: Some(*reason as u8),
                ..map(kind::REFUSED)
            },
        }
    }
}

fn cut(octets: &[u8], limit: usize) -> ByteVec {
    octets.get(..limit).unwrap_or(octets).to_vec().into()
}

impl Map<'_> {
    fn framed(&self) -> Vec<u8> {
        // Writing into a vector cannot fail.
        let map = minicbor::to_vec(self).unwrap_or_default();
        // The parts are cut so that the sum stays below MAX_LEN.
        let len = map.len() as u16;
        [&len.to_be_bytes(), map.as_slice()].concat()
    }
}

/// Since a message has one encoding, comparing with ours is a strict parser.
fn parse<T>(
    received: &[u8],
    of: impl Fn(Map<'_>) -> Option<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Result<Option<(T, usize)>, MessageError> {
    let Some((len, rest)) = received.split_first_chunk() else {
        return Ok(None);
    };
    let announced = u16::from_be_bytes(*len);
    let len = usize::from(announced);
    if len == 0 || len > MAX_LEN {
        return Err(MessageError::Length(announced));
    }
    let Some(map) = rest.get(..len) else {
        return Ok(None);
    };
    let taken = 2 + len;
    minicbor::decode(map)
        .ok()
        .and_then(of)
        .filter(|message| received.get(..taken) == Some(&encode(message)))
        .map(|message| Some((message, taken)))
        .ok_or(MessageError::Malformed)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_octet_for_octet() {
        for (command, wire) in [
            (Command::Heartbeat, &[0, 3, 0xa1, 0, 2][..]),
            (
                Command::Limit {
                    watts: 4_200,
                    seconds: Some(60),
                },
                &[0, 10, 0xa3, 0, 0, 1, 0x19, 0x10, 0x68, 2, 0x18, 60],
            ),
            (Command::Echo(vec![7]), &[0, 6, 0xa2, 0, 4, 3, 0x41, 7]),
        ] {
            assert_eq!(command.encode(), wire);
            assert_eq!(Command::parse(wire), Ok(Some((command, wire.len()))));
            assert_eq!(Report::parse(wire), Err(MessageError::Malformed));
        }
        let refused = Report::Refused {
            reason: Refusal::TooLong,
        };
        assert_eq!(refused.encode(), [0, 6, 0xa2, 0, 0x18, 0x83, 0x0b, 1]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        use MessageError::{Length, Malformed};
        for (wire, error) in [
            (&[0, 0][..], Length(0)),
            (&[0x10, 1], Length(4_097)),
            (&[0, 1, 0xa0], Malformed),
            (&[0, 3, 0xa1, 0, 9], Malformed),
            // A number that is longer than it must be.
            (&[0, 4, 0xa1, 0, 0x18, 2], Malformed),
            // A limit without power, and a heartbeat with one.
            (&[0, 3, 0xa1, 0, 0], Malformed),
            (&[0, 5, 0xa2, 0, 2, 1, 1], Malformed),
            // A negative power.
            (&[0, 5, 0xa2, 0, 0, 1, 0x20], Malformed),
            // A map without length, and something behind the map.
            (&[0, 5, 0xbf, 0, 2, 0xff, 0], Malformed),
        ] {
            assert_eq!(Command::parse(wire), Err(error), "{wire:02x?}");
        }
    }

    #[test]
    fn the_longest_messages_fit() {
        let octets = vec![0xa5; MAX_LEN];
        for len in [
            Command::Echo(octets.clone()).encode().len(),
            Report::Echoed(octets).encode().len(),
        ] {
            assert!(len <= 2 + MAX_LEN);
        }
        let hello = Report::Hello {
            version: VERSION,
            name: "é".repeat(MAX_NAME),
            build_id: vec![1; 200],
        };
        let (hello, _) = Report::parse(&hello.encode()).unwrap().unwrap();
        let Report::Hello { name, build_id, .. } = hello else {
            panic!("{hello:?}");
        };
        assert_eq!((name.len(), build_id.len()), (MAX_NAME, MAX_NAME));
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(vec![1; MAX_ECHO])
        ]
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            (any::<u32>(), any::<Option<u32>>())
                .prop_map(|(watts, seconds)| Command::Limit { watts, seconds }),
            Just(Command::Unlimited),
            Just(Command::Heartbeat),
            Just(Command::Status),
            octets().prop_map(Command::Echo),
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        let state = (
            any::<Option<u32>>(),
            prop::sample::select(Mode::ALL.to_vec()),
            any::<bool>(),
            any::<u32>(),
            any::<u64>(),
        );
        prop_oneof![
            (
                any::<u8>(),
                "[ -~]{0,64}",
                prop::collection::vec(any::<u8>(), 0..=MAX_NAME)
            )
                .prop_map(|(version, name, build_id)| Report::Hello {
                    version,
                    name,
                    build_id
                }),
            state.prop_map(
                |(watts, mode, relay, pulses, uptime_ms)| Report::State(State {
                    watts,
                    mode,
                    relay,
                    pulses,
                    uptime_ms,
                })
            ),
            octets().prop_map(Report::Echoed),
            prop::sample::select(Refusal::ALL.to_vec())
                .prop_map(|reason| Report::Refused { reason }),
        ]
    }

    proptest! {
        #[test]
        fn commands_survive_the_wire(command in command(), behind in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut wire = command.encode();
            for end in 0..wire.len().min(50) {
                prop_assert_eq!(Command::parse(&wire[..end]), Ok(None));
            }
            let len = wire.len();
            wire.extend(behind);
            prop_assert_eq!(Command::parse(&wire), Ok(Some((command, len))));
        }

        #[test]
        fn reports_survive_the_wire(report in report(), behind in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut wire = report.encode();
            let len = wire.len();
            wire.extend(behind);
            prop_assert_eq!(Report::parse(&wire), Ok(Some((report, len))));
        }
    }
}
