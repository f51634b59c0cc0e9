// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asking side: what a question holds, and which answers are believed
//! (detail specifications §14.3, REQ.TA.NTP.BuildRequest.*, ProcessResponse.*).

use core::fmt;
use core::time::Duration;

use smgw_units::{Nanos, UtcNanos};

use crate::packet::{LEN, Leap, Mode, Packet, VERSION};
use crate::timestamp::{Short, Timestamp};

/// What answers have to keep to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientRules {
    /// Longest time between question and answer (REQ.TA.NTP.ProcessResponse.10: 9 s).
    pub longest_round_trip: Duration,
    /// The earliest date an answer may tell; it also settles the era of timestamps.
    pub earliest: UtcNanos,
    /// The latest date an answer may tell (the declaration's limit); dates end with 2^32 s behind `earliest` anyway.
    pub latest: UtcNanos,
}

impl Default for ClientRules {
    /// 9 s; dates of 2020 to 2155.
    fn default() -> Self {
        Self {
            longest_round_trip: Duration::from_secs(9),
            earliest: UtcNanos::from_seconds(1_577_836_800),
            latest: UtcNanos::from_seconds(5_869_583_999),
        }
    }
}

/// A believed answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// When it arrived.
    pub at: Nanos,
    /// The time it was then, when both ways took equally long.
    pub utc: UtcNanos,
    /// How long question and answer travelled, without the server's own time.
    pub delay: Duration,
    /// Round trip between server and reference clock.
    pub root_delay: Duration,
    /// The server's own error bound.
    pub root_dispersion: Duration,
    /// The server's stratum, 1 to 15.
    pub stratum: u8,
    /// Leap second warning; never [`Leap::Unsynchronised`].
    pub leap: Leap,
}

impl Answer {
    /// The most that `utc` can be off, if the server tells the truth: half of the way there and back, and what the
    /// server says of itself (RFC 5905 §11.1, the root distance).
    pub fn uncertainty(&self) -> Duration {
        // Both timestamps were rounded to nanoseconds, and half of an odd delay too.
        const ROUNDING: Duration = Duration::from_nanos(2);
        (self.delay + self.root_delay) / 2 + self.root_dispersion + ROUNDING
    }
}

/// Why an answer is ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ignored {
    /// Not 48 octets.
    Length(usize),
    /// Nothing was asked, or it has been answered already.
    Unasked,
    /// The origin timestamp is not the transmit timestamp of the question (ProcessResponse.30).
    Origin,
    /// A version other than 4 (ProcessResponse.51 names the lower ones; higher ones have other fields).
    Version(u8),
    /// A mode other than 4 (ProcessResponse.52).
    Mode(u8),
    /// Leap indicator 3: the server has no time (ProcessResponse.50).
    Unsynchronised,
    /// Stratum 0: the server wants to be left alone, for the reason of this code (RFC 5905 §7.4).
    Kiss([u8; 4]),
    /// A stratum that stands for no time (RFC 5905: 16 and above).
    Stratum(u8),
    /// The answer took longer than allowed (ProcessResponse.10).
    RoundTrip(Duration),
    /// Receive or transmit timestamp unknown, in the wrong order, or further apart than question and answer were.
    Impossible,
    /// A date before or behind those allowed (ProcessResponse.40).
    Date,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "server sent {len} octets, expected {LEN}"),
            Self::Unasked => f.write_str("server answered what was not asked"),
            Self::Origin => f.write_str("server answered another question"),
            Self::Version(version) => write!(f, "server speaks version {version}, not {VERSION}"),
            Self::Mode(mode) => write!(f, "server answered in mode {mode}, not 4"),
            Self::Unsynchronised => f.write_str("server has no time"),
            Self::Kiss(code) => write!(f, "server refuses: {}", code.escape_ascii()),
            Self::Stratum(stratum) => write!(f, "server is of stratum {stratum}"),
            Self::RoundTrip(took) => write!(f, "server answered after {took:?}"),
            Self::Impossible => f.write_str("server's timestamps contradict each other"),
            Self::Date => f.write_str("server tells a date beyond those allowed"),
        }
    }
}

impl core::error::Error for Ignored {}

#[derive(Clone, Copy, Debug)]
struct Question {
    transmit: Timestamp,
    sent: Nanos,
}

/// Asks one question at a time and judges what comes back.
#[derive(Clone, Debug)]
pub struct Client {
    rules: ClientRules,
    question: Option<Question>,
}

impl Client {
    /// Nothing has been asked.
    pub fn new(rules: ClientRules) -> Self {
        Self {
            rules,
            question: None,
        }
    }

    /// The data-minimised question to send at `now` (detail specifications table 14.1): version 4, mode 3, precision
    /// 0x20, a random transmit timestamp, all else zero. It tells nothing of this clock and takes the place of an
    /// earlier question. Of eight zero octets, which would mean no timestamp, one bit is set.
    pub fn ask(&mut self, random: [u8; 8], now: Nanos) -> [u8; LEN] {
        let transmit = Timestamp(u64::from_be_bytes(random).max(1));
        self.question = Some(Question {
            transmit,
            sent: now,
        });
        Packet {
            leap: Leap::None,
            version: VERSION,
            mode: Mode::CLIENT,
            stratum: 0,
            poll: 0,
            precision: 0x20,
            root_delay: Short(0),
            root_dispersion: Short(0),
            reference_id: [0; 4],
            reference: Timestamp::UNKNOWN,
            origin: Timestamp::UNKNOWN,
            receive: Timestamp::UNKNOWN,
            transmit,
        }
        .encode()
    }

    /// What the octets that arrived at `at` say. The first message that answers the question closes it, believed or not.
    ///
    /// # Errors
    /// [`Ignored`]; the server is at fault, or the way to it.
    pub fn judge(&mut self, octets: &[u8], at: Nanos) -> Result<Answer, Ignored> {
        let answer = Packet::parse(octets).map_err(|error| Ignored::Length(error.0))?;
        let question = self.question.ok_or(Ignored::Unasked)?;
        if answer.origin != question.transmit {
            return Err(Ignored::Origin);
        }
        self.question = None;
        if answer.version != VERSION {
            return Err(Ignored::Version(answer.version));
        }
        if answer.mode != Mode::SERVER {
            return Err(Ignored::Mode(answer.mode.number()));
        }
        match (answer.leap, answer.stratum) {
            (_, 0) => return Err(Ignored::Kiss(answer.reference_id)),
            (Leap::Unsynchronised, _) => return Err(Ignored::Unsynchronised),
            (_, 16..) => return Err(Ignored::Stratum(answer.stratum)),
            _ => {}
        }
        let travelled = at.saturating_since(question.sent);
        if travelled > self.rules.longest_round_trip {
            return Err(Ignored::RoundTrip(travelled));
        }
        self.read(&answer, travelled, at)
    }

    fn read(&self, answer: &Packet, travelled: Duration, at: Nanos) -> Result<Answer, Ignored> {
        if answer.receive == Timestamp::UNKNOWN || answer.transmit == Timestamp::UNKNOWN {
            return Err(Ignored::Impossible);
        }
        let rules = &self.rules;
        let date = |stamp: Timestamp| {
            let instant = stamp.utc(rules.earliest);
            instant.filter(|instant| *instant <= rules.latest)
        };
        let (Some(received), Some(sent)) = (date(answer.receive), date(answer.transmit)) else {
            return Err(Ignored::Date);
        };
        let worked = u64::try_from(sent.signed_since(received)).map_err(|_| Ignored::Impossible)?;
        // Both clocks may differ in rate by this much of so short a time, and in resolution.
        let slack = travelled / 1_000 + RESOLUTION;
        let worked = Duration::from_nanos(worked);
        if worked > travelled + slack {
            return Err(Ignored::Impossible);
        }
        let delay = travelled.saturating_sub(worked);
        let half = i64::try_from(delay.as_nanos() / 2).map_err(|_| Ignored::Impossible)?;
        Ok(Answer {
            at,
            utc: UtcNanos(sent.0.checked_add(half).ok_or(Ignored::Date)?),
            delay,
            root_delay: answer.root_delay.duration(),
            root_dispersion: answer.root_dispersion.duration(),
            stratum: answer.stratum,
            leap: answer.leap,
        })
    }
}

/// Of the clocks of servers that stamp in microseconds.
const RESOLUTION: Duration = Duration::from_micros(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{ServerState, answer};

    const SENT: Nanos = Nanos(5_000_000_000);
    const NOON: UtcNanos = UtcNanos::from_seconds(1_800_000_000);

    fn asked() -> (Client, [u8; LEN]) {
        let mut client = Client::new(ClientRules::default());
        let question = client.ask([7; 8], SENT);
        (client, question)
    }

    fn reply(question: &[u8; LEN], change: impl FnOnce(&mut Packet)) -> [u8; LEN] {
        let good = answer(question, NOON, NOON, &ServerState::primary(*b"PTB\0")).unwrap();
        let mut packet = Packet::parse(&good).unwrap();
        change(&mut packet);
        packet.encode()
    }

    #[test]
    fn the_question_is_data_minimised() {
        let (_, question) = asked();
        let mut expected = [0; LEN];
        expected[0] = 0x23;
        expected[3] = 0x20;
        expected[40..].copy_from_slice(&[7; 8]);
        assert_eq!(question, expected);
        let zero = Client::new(ClientRules::default()).ask([0; 8], SENT);
        assert_eq!(zero[40..], [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn each_rule_ignores_with_its_reason() {
        type Change = fn(&mut Packet);
        let table: [(Change, Ignored); 12] = [
            (|p| p.origin.0 ^= 1, Ignored::Origin),
            (|p| p.origin = p.transmit, Ignored::Origin),
            (|p| p.version = 3, Ignored::Version(3)),
            (|p| p.version = 5, Ignored::Version(5)),
            (|p| p.mode = Mode::new(5), Ignored::Mode(5)),
            (|p| p.mode = Mode::CLIENT, Ignored::Mode(3)),
            (|p| p.leap = Leap::Unsynchronised, Ignored::Unsynchronised),
            (
                |p| (p.stratum, p.reference_id) = (0, *b"RATE"),
                Ignored::Kiss(*b"RATE"),
            ),
            (|p| p.stratum = 16, Ignored::Stratum(16)),
            (|p| p.transmit = Timestamp::UNKNOWN, Ignored::Impossible),
            (|p| p.receive.0 += 1 << 32, Ignored::Impossible),
            (
                // 2019, which the window of 136 years reads as 2155-12.
                |p| {
                    p.transmit = Timestamp::of(UtcNanos::from_seconds(1_577_836_799));
                    p.receive = p.transmit;
                },
                Ignored::Date,
            ),
        ];
        for (change, reason) in table {
            let (mut client, question) = asked();
            let octets = reply(&question, change);
            assert_eq!(client.judge(&octets, SENT), Err(reason));
        }
        let (mut client, question) = asked();
        let good = reply(&question, |_| ());
        assert_eq!(client.judge(&good[..47], SENT), Err(Ignored::Length(47)));
        assert_eq!(client.judge(&[0; 52], SENT), Err(Ignored::Length(52)));
        assert!(client.judge(&good, SENT).is_ok());
        assert_eq!(client.judge(&good, SENT), Err(Ignored::Unasked));
    }

    #[test]
    fn nine_seconds_are_the_limit() {
        let (mut client, question) = asked();
        let good = reply(&question, |_| ());
        let limit = SENT + Duration::from_secs(9);
        let late = Nanos(limit.0 + 1);
        assert!(client.clone().judge(&good, limit).is_ok());
        let took = Duration::from_nanos(9_000_000_001);
        assert_eq!(client.judge(&good, late), Err(Ignored::RoundTrip(took)));
    }

    #[test]
    fn a_server_that_works_long_does_not_delay_the_time() {
        let (mut client, question) = asked();
        let sent = UtcNanos(NOON.0 + 300_000_000);
        let octets = reply(&question, |p| p.transmit = Timestamp::of(sent));
        let at = SENT + Duration::from_millis(304);
        let time = client.judge(&octets, at).unwrap();
        assert_eq!(time.delay, Duration::from_millis(4));
        assert_eq!(time.utc, UtcNanos(sent.0 + 2_000_000));
        assert!(time.uncertainty() >= Duration::from_millis(2));
    }
}
