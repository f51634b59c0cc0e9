// SPDX-License-Identifier: MIT OR Apache-2.0
//! SOCKS-TLS frames `01 | state | length | payload` (REQ.SOCKS.ReceiveSocksTlsRecord.10; draft-ietf-aft-socks-ssl-00).
//!
//! The field order and widths stand in the draft; that the length is big endian, and which state carries what, are
//! the assumption `socks-tls-frame`. The payloads of one direction, in order, are one TLS byte stream: frame limits
//! and TLS record limits need not agree.

use core::fmt;

/// The version octet of a frame.
pub const FRAME_VERSION: u8 = 1;
/// Octets before the payload.
pub const HEADER_LEN: usize = 4;
/// The longest payload the length field can tell.
pub const MAX_PAYLOAD: usize = u16::MAX as usize;

/// What a frame carries. States only move forward, from a handshake state to data to closing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum FrameState {
    /// 01: TLS handshake.
    Handshake = 1,
    /// 02: TLS handshake, as sub-authentication; a gateway never starts one (REQ.SOCKS.NegotiateAuth.30).
    SubAuthentication = 2,
    /// 03: data flow.
    Data = 3,
    /// 04: closing handshake, the last frame of its direction.
    Closing = 4,
}

impl FrameState {
    /// The octet on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state of a wire octet.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Handshake),
            2 => Some(Self::SubAuthentication),
            3 => Some(Self::Data),
            4 => Some(Self::Closing),
            _ => None,
        }
    }

    /// 01 and 02 carry the handshake.
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Handshake | Self::SubAuthentication)
    }
}

/// The four octets before a payload of `len` octets.
pub const fn encode_header(state: FrameState, len: u16) -> [u8; HEADER_LEN] {
    let [high, low] = len.to_be_bytes();
    [FRAME_VERSION, state.code(), high, low]
}

/// A piece of one frame's payload, as much as has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fragment<'a> {
    /// State of the frame it belongs to.
    pub state: FrameState,
    /// Payload octets; empty only for a frame that has none.
    pub payload: &'a [u8],
    /// Whether the frame ends here.
    pub ends_frame: bool,
}

/// A frame that cannot be accepted. The sender is at fault; the connection must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// The version octet is not 01.
    Version(u8),
    /// The state octet is outside 01 to 04.
    State(u8),
    /// A state that comes too late: behind a later one, or a handshake state when the handshake is over.
    OutOfOrder {
        /// The earliest state still allowed.
        earliest: FrameState,
        /// The state of the frame.
        got: FrameState,
    },
    /// A frame behind the closing frame.
    AfterClosing(FrameState),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(got) => write!(f, "peer sent frame version {got:#04x}, expected 0x01"),
            Self::State(got) => {
                write!(f, "peer sent frame state {got:#04x}, expected 0x01 to 0x04")
            }
            Self::OutOfOrder { earliest, got } => write!(
                f,
                "peer sent a frame of state {:#04x}, expected {:#04x} or later",
                got.code(),
                earliest.code()
            ),
            Self::AfterClosing(got) => {
                write!(
                    f,
                    "peer sent a frame of state {:#04x} behind its closing frame",
                    got.code()
                )
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Push parser for one direction; keeps at most a header, never a payload.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    phase: Phase,
    /// The earliest state the next frame may have.
    earliest: FrameState,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Header {
        octets: [u8; HEADER_LEN],
        filled: usize,
    },
    Payload {
        state: FrameState,
        left: usize,
    },
    Failed(FrameError),
}

impl Phase {
    const START: Self = Self::Header {
        octets: [0; HEADER_LEN],
        filled: 0,
    };
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameDecoder {
    /// A decoder at the start of a direction.
    pub const fn new() -> Self {
        Self {
            phase: Phase::START,
            earliest: FrameState::Handshake,
        }
    }

    /// Takes octets from the front of `input` until it holds a piece of payload; `None` when `input` is used up.
    ///
    /// Call it until it answers `None`: however the octets are cut into calls, the payloads per frame are the same.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the octet at fault is seen, and again on every later call.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Fragment<'a>>, FrameError> {
        loop {
            match self.phase {
                Phase::Failed(error) => return Err(error),
                Phase::Header {
                    mut octets,
                    mut filled,
                } => {
                    let Some((&octet, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    *input = rest;
                    if let Err(error) = self.check(filled, octet) {
                        self.phase = Phase::Failed(error);
                        return Err(error);
                    }
                    if let Some(slot) = octets.get_mut(filled) {
                        *slot = octet;
                    }
                    filled += 1;
                    self.phase = Phase::Header { octets, filled };
                    if filled == HEADER_LEN {
                        let [_, state, high, low] = octets;
                        let state = FrameState::from_code(state).unwrap_or(self.earliest);
                        let left = usize::from(u16::from_be_bytes([high, low]));
                        self.earliest = self.earliest.max(if state.is_handshake() {
                            FrameState::Handshake
                        } else {
                            state
                        });
                        if left == 0 {
                            self.phase = Phase::START;
                            return Ok(Some(Fragment {
                                state,
                                payload: &[],
                                ends_frame: true,
                            }));
                        }
                        self.phase = Phase::Payload { state, left };
                    }
                }
                Phase::Payload { state, left } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let (payload, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    let left = left - payload.len();
                    let ends_frame = left == 0;
                    self.phase = if ends_frame {
                        Phase::START
                    } else {
                        Phase::Payload { state, left }
                    };
                    return Ok(Some(Fragment {
                        state,
                        payload,
                        ends_frame,
                    }));
                }
            }
        }
    }

    /// From the next frame on, only data and closing are accepted ("data only in state 03").
    ///
    /// A server calls it when its handshake is complete. A TLS 1.3 client must not: session tickets may follow in
    /// handshake frames.
    pub fn end_handshake(&mut self) {
        self.earliest = self.earliest.max(FrameState::Data);
    }

    /// Whether the direction stands between two frames, so that its end there is no truncation.
    pub const fn at_frame_limit(&self) -> bool {
        matches!(self.phase, Phase::Header { filled: 0, .. })
    }

    fn check(&self, position: usize, octet: u8) -> Result<(), FrameError> {
        match position {
            0 if octet != FRAME_VERSION => Err(FrameError::Version(octet)),
            1 => {
                let state = FrameState::from_code(octet).ok_or(FrameError::State(octet))?;
                if self.earliest == FrameState::Closing {
                    Err(FrameError::AfterClosing(state))
                } else if state < self.earliest {
                    Err(FrameError::OutOfOrder {
                        earliest: self.earliest,
                        got: state,
                    })
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Frames as (state, payload), a running one last, and the error that ended them.
    type Decoded = (Vec<(FrameState, Vec<u8>, bool)>, Option<FrameError>);

    fn decode_all<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
        let mut decoder = FrameDecoder::new();
        let mut frames: Vec<(FrameState, Vec<u8>, bool)> = Vec::new();
        for mut chunk in chunks {
            loop {
                match decoder.decode(&mut chunk) {
                    Ok(None) => break,
                    Ok(Some(Fragment {
                        state,
                        payload,
                        ends_frame,
                    })) => match frames.last_mut() {
                        Some((running, octets, ended)) if !*ended => {
                            assert_eq!(*running, state);
                            octets.extend(payload);
                            *ended = ends_frame;
                        }
                        _ => frames.push((state, payload.to_vec(), ends_frame)),
                    },
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    #[test]
    fn frames_byte_for_byte() {
        assert_eq!(
            encode_header(FrameState::Handshake, 0x1234),
            [1, 1, 0x12, 0x34]
        );
        assert_eq!(encode_header(FrameState::Closing, 31), [1, 4, 0, 31]);
        let wire = [
            &[1u8, 1, 0, 2, 0x16, 3][..],
            &[1, 2, 0, 1, 3],
            &[1, 3, 0, 0],
            &[1, 4, 0, 1, 0x15],
        ]
        .concat();
        let (frames, error) = decode_all([&wire[..]]);
        assert_eq!(error, None);
        assert_eq!(
            frames,
            vec![
                (FrameState::Handshake, vec![0x16, 3], true),
                (FrameState::SubAuthentication, vec![3], true),
                (FrameState::Data, vec![], true),
                (FrameState::Closing, vec![0x15], true),
            ]
        );
    }

    #[test]
    fn faults_are_told_and_stay() {
        assert_eq!(decode_all([&[2u8][..]]).1, Some(FrameError::Version(2)));
        // A bare TLS record, as a client without framing sends it.
        assert_eq!(
            decode_all([&[0x16u8, 3, 1][..]]).1,
            Some(FrameError::Version(0x16))
        );
        assert_eq!(decode_all([&[1u8, 0][..]]).1, Some(FrameError::State(0)));
        assert_eq!(decode_all([&[1u8, 5][..]]).1, Some(FrameError::State(5)));
        assert_eq!(
            decode_all([&[1u8, 3, 0, 0, 1, 1][..]]).1,
            Some(FrameError::OutOfOrder {
                earliest: FrameState::Data,
                got: FrameState::Handshake
            })
        );
        assert_eq!(
            decode_all([&[1u8, 4, 0, 0, 1, 3][..]]).1,
            Some(FrameError::AfterClosing(FrameState::Data))
        );
        let mut decoder = FrameDecoder::new();
        assert_eq!(decoder.decode(&mut &[9u8][..]), Err(FrameError::Version(9)));
        assert_eq!(
            decoder.decode(&mut &[1u8, 1, 0, 0][..]),
            Err(FrameError::Version(9))
        );
    }

    #[test]
    fn handshake_frames_may_alternate_until_the_handshake_ends() {
        let mut decoder = FrameDecoder::new();
        let mut wire = &[1u8, 2, 0, 0, 1, 1, 0, 0][..];
        assert!(decoder.decode(&mut wire).unwrap().is_some());
        assert!(decoder.decode(&mut wire).unwrap().is_some());
        assert!(decoder.at_frame_limit());
        decoder.end_handshake();
        assert_eq!(
            decoder.decode(&mut &[1u8, 2][..]),
            Err(FrameError::OutOfOrder {
                earliest: FrameState::Data,
                got: FrameState::SubAuthentication
            })
        );
    }

    fn frames() -> impl Strategy<Value = Vec<(FrameState, Vec<u8>)>> {
        let handshake = prop_oneof![
            Just(FrameState::Handshake),
            Just(FrameState::SubAuthentication)
        ];
        let payload = || prop::collection::vec(any::<u8>(), 0..80);
        (
            prop::collection::vec((handshake, payload()), 0..4),
            prop::collection::vec((Just(FrameState::Data), payload()), 0..6),
            prop::option::of((Just(FrameState::Closing), payload())),
        )
            .prop_map(|(mut all, data, closing)| {
                all.extend(data);
                all.extend(closing);
                all
            })
    }

    fn cut(mut bytes: &[u8], cuts: Vec<usize>) -> Vec<&[u8]> {
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, rest) = bytes.split_at(cut.min(bytes.len()));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks.push(bytes);
        chunks
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_frames(frames in frames(), cuts in prop::collection::vec(0usize..9, 0..200)) {
            let wire: Vec<u8> = frames
                .iter()
                .flat_map(|(state, payload)| {
                    encode_header(*state, payload.len() as u16).into_iter().chain(payload.iter().copied())
                })
                .collect();
            let expected: Vec<_> = frames.into_iter().map(|(state, payload)| (state, payload, true)).collect();
            prop_assert_eq!(decode_all(cut(&wire, cuts)), (expected, None));
        }

        #[test]
        fn any_bytes_are_survived_in_any_cutting(
            bytes in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..200),
            cuts in prop::collection::vec(0usize..9, 0..60),
        ) {
            prop_assert_eq!(decode_all(cut(&bytes, cuts)), decode_all([&bytes[..]]));
        }
    }
}
