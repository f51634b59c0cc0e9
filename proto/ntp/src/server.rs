// SPDX-License-Identifier: MIT OR Apache-2.0
//! The answering side, for systems in the home area network
//! (detail specifications §9, REQ.TA.NTP.ProcessRequest.10, BuildResponse.10–41).

use core::fmt;
use core::time::Duration;

use smgw_units::UtcNanos;

use crate::packet::{LEN, Leap, Mode, Packet, VERSION};
use crate::timestamp::{Short, Timestamp};

/// What the server says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerState {
    /// [`Leap::Unsynchronised`] while the clock is not valid.
    pub leap: Leap,
    /// Stratum of the server's own source; 0 when the server itself is a reference, 15 and above when it has none.
    pub upstream: u8,
    /// Who the source is.
    pub reference_id: [u8; 4],
    /// When the clock was last set; `None` when never.
    pub set_at: Option<UtcNanos>,
    /// Round trip to the reference clock.
    pub root_delay: Duration,
    /// Error bound of the clock.
    pub root_dispersion: Duration,
}

impl ServerState {
    /// A server that is a reference itself.
    pub const fn primary(reference_id: [u8; 4]) -> Self {
        Self {
            leap: Leap::None,
            upstream: 0,
            reference_id,
            set_at: None,
            root_delay: Duration::ZERO,
            root_dispersion: Duration::ZERO,
        }
    }
}

/// Why a question gets no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unanswered {
    /// Not 48 octets.
    Length(usize),
    /// A version other than 4.
    Version(u8),
    /// A mode other than 3.
    Mode(u8),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "client sent {len} octets, expected {LEN}"),
            Self::Version(version) => write!(f, "client speaks version {version}, not {VERSION}"),
            Self::Mode(mode) => write!(f, "client asked in mode {mode}, not 3"),
        }
    }
}

impl core::error::Error for Unanswered {}

/// The answer to a question that arrived at `received` and is answered at `transmit`.
///
/// A server without a source, or one whose source is of stratum 15, has no stratum to name: it says 0, as RFC 5905
/// §7.3 sends the 16 that it holds.
///
/// # Errors
/// [`Unanswered`]; the client is at fault and hears nothing.
pub fn answer(
    question: &[u8],
    received: UtcNanos,
    transmit: UtcNanos,
    state: &ServerState,
) -> Result<[u8; LEN], Unanswered> {
    let question = Packet::parse(question).map_err(|error| Unanswered::Length(error.0))?;
    if question.version != VERSION {
        return Err(Unanswered::Version(question.version));
    }
    if question.mode != Mode::CLIENT {
        return Err(Unanswered::Mode(question.mode.number()));
    }
    let stratum = match state.upstream {
        below @ 0..=14 => below + 1,
        _ => 0,
    };
    let answer = Packet {
        leap: state.leap,
        version: VERSION,
        mode: Mode::SERVER,
        stratum,
        poll: question.poll,
        precision: PRECISION,
        root_delay: Short::at_least(state.root_delay),
        root_dispersion: Short::at_least(state.root_dispersion),
        reference_id: state.reference_id,
        reference: state.set_at.map_or(Timestamp::UNKNOWN, Timestamp::of),
        origin: question.transmit,
        receive: Timestamp::of(received),
        transmit: Timestamp::of(transmit),
    };
    Ok(answer.encode())
}

/// 2^-20 s, about a microsecond: far below the half second that is asked for.
const PRECISION: i8 = -20;

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UtcNanos = UtcNanos::from_seconds(4_000_000_000);

    fn question(change: impl FnOnce(&mut Packet)) -> [u8; LEN] {
        let mut question = [0; LEN];
        question[0] = 0x23;
        question[40..].copy_from_slice(b"question");
        let mut packet = Packet::parse(&question).unwrap();
        change(&mut packet);
        packet.encode()
    }

    #[test]
    fn only_version_4_mode_3_and_48_octets_are_answered() {
        let state = ServerState::primary(*b"PTB\0");
        let ask = |octets: &[u8]| answer(octets, NOON, NOON, &state);
        for version in 0..8 {
            for mode in 0..8 {
                let octets = question(|p| (p.version, p.mode) = (version, Mode::new(mode)));
                assert_eq!(ask(&octets).is_ok(), (version, mode) == (4, 3));
            }
        }
        for len in (0..=100).filter(|len| *len != LEN) {
            let mut octets = [0x23; 100];
            octets[1..].fill(0);
            assert_eq!(ask(&octets[..len]), Err(Unanswered::Length(len)));
        }
    }

    #[test]
    fn the_answer_tells_source_and_state() {
        let later = UtcNanos(NOON.0 + 1);
        let state = ServerState {
            leap: Leap::Unsynchronised,
            upstream: 2,
            reference_id: [127, 0, 0, 1],
            set_at: Some(UtcNanos::from_seconds(3_999_999_000)),
            root_delay: Duration::from_millis(500),
            root_dispersion: Duration::from_millis(250),
        };
        let octets = answer(&question(|p| p.poll = 6), NOON, later, &state).unwrap();
        // LI 3, VN 4, mode 4; stratum 3; poll as asked; 2^-20 s; 0.5 s and 0.25 s in 2^-16 s.
        assert_eq!(octets[..4], [0xe4, 3, 6, 0xec]);
        assert_eq!(octets[4..16], [0, 0, 0x80, 0, 0, 0, 0x40, 0, 127, 0, 0, 1]);
        assert_eq!(octets[24..32], *b"question");
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(packet.receive.utc(NOON), Some(NOON));
        assert_eq!(packet.transmit.utc(NOON), Some(later));
        for (upstream, stratum) in [(0, 1), (1, 2), (14, 15), (15, 0), (16, 0), (255, 0)] {
            let state = ServerState { upstream, ..state };
            let octets = answer(&question(|_| ()), NOON, NOON, &state).unwrap();
            assert_eq!(octets[1], stratum);
        }
    }
}
