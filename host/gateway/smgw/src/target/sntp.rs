// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks a server for the time, several times, and believes the quickest answer (SNTP, RFC 4330).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{SOON, wrong};

/// How far this clock is off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Offset {
    /// What must be added to this clock, in nanoseconds.
    pub(super) offset: i128,
    /// How long question and answer travelled; the offset is not off by more than half of it.
    pub(super) delay: Duration,
}

/// Asks until enough good answers have come.
pub(super) fn ask(server: SocketAddr) -> io::Result<Offset> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut best: Option<Offset> = None;
    let mut answered = 0;
    let latest = Instant::now() + 2 * SOON;
    while answered < QUESTIONS && Instant::now() < latest {
        // A lost packet, or a network that is only coming up: the next question will do.
        let Ok(Some(offset)) = once(&socket) else {
            continue;
        };
        answered += 1;
        if best.is_none_or(|best| offset.delay < best.delay) {
            best = Some(offset);
        }
    }
    best.ok_or_else(|| wrong(&format!("the time server {server} does not answer")))
}

fn once(socket: &UdpSocket) -> io::Result<Option<Offset>> {
    let sent = now();
    let began = Instant::now();
    socket.send(&question(sent))?;
    let mut answer = [0; 128];
    let len = socket.recv(&mut answer)?;
    let travelled = began.elapsed();
    Ok(offset(
        answer.get(..len).unwrap_or_default(),
        sent,
        travelled,
    ))
}

/// Nanoseconds since the Unix epoch by this clock.
fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i128)
}

fn question(sent: i128) -> [u8; LEN] {
    let mut question = [0; LEN];
    // No leap warning, version 4, client.
    question[0] = 0x23;
    question[TRANSMIT..].copy_from_slice(&timestamp(sent));
    question
}

/// What an answer says, `None` when it answers something else, comes from a server without time, or cannot be right.
fn offset(answer: &[u8], sent: i128, travelled: Duration) -> Option<Offset> {
    let answer = answer.first_chunk::<LEN>()?;
    let stamp = |at: usize| answer.get(at..at + 8)?.try_into().ok().map(nanos);
    let (leap, mode, stratum) = (answer[0] >> 6, answer[0] & 7, answer[1]);
    let ours = answer.get(ORIGINATE..RECEIVE)? == timestamp(sent);
    if leap == 3 || mode != SERVER || stratum == 0 || !ours {
        return None;
    }
    let (received, transmitted) = (stamp(RECEIVE)?, stamp(TRANSMIT)?);
    let worked = u64::try_from(transmitted - received).ok()?;
    let delay = travelled.checked_sub(Duration::from_nanos(worked))?;
    let arrived = sent + travelled.as_nanos() as i128;
    Some(Offset {
        offset: ((received - sent) + (transmitted - arrived)) / 2,
        delay,
    })
}

/// Seconds since 1900 and their 2^-32nd parts, from nanoseconds since 1970.
fn timestamp(nanos: i128) -> [u8; 8] {
    let seconds = nanos.div_euclid(SECOND) + TO_1970;
    let part = (nanos.rem_euclid(SECOND) << 32) / SECOND;
    // The era is left out, as the format wants it.
    (((seconds as u64) << 32) | part as u64).to_be_bytes()
}

/// The inverse, for the years 1970 to 2105.
fn nanos(timestamp: [u8; 8]) -> i128 {
    let stamp = u64::from_be_bytes(timestamp);
    let seconds = ((stamp >> 32) as u32).wrapping_sub(TO_1970 as u32);
    let part = i128::from(stamp as u32) * SECOND;
    i128::from(seconds) * SECOND + (part >> 32)
}

const LEN: usize = 48;
const ORIGINATE: usize = 24;
const RECEIVE: usize = 32;
const TRANSMIT: usize = 40;
const SERVER: u8 = 4;
const SECOND: i128 = 1_000_000_000;
/// Seconds from 1900 to 1970.
const TO_1970: i128 = 2_208_988_800;
const QUESTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sent: i128, received: i128, transmitted: i128) -> [u8; LEN] {
        let mut answer = [0; LEN];
        answer[..2].copy_from_slice(&[0x24, 1]);
        answer[ORIGINATE..RECEIVE].copy_from_slice(&timestamp(sent));
        answer[RECEIVE..TRANSMIT].copy_from_slice(&timestamp(received));
        answer[TRANSMIT..].copy_from_slice(&timestamp(transmitted));
        answer
    }

    #[test]
    fn an_answer_tells_offset_and_delay() {
        let (ours, theirs) = (1_000 * SECOND, 1_700_000_000 * SECOND);
        let (way, work) = (2_000_000, 500_000);
        let travelled = Duration::from_nanos(2 * way as u64 + work as u64);
        let answer = answer(ours, theirs + way, theirs + way + work);
        let found = offset(&answer, ours, travelled).unwrap();
        // The format's resolution is a quarter of a nanosecond.
        assert!((found.offset - (theirs - ours)).abs() <= 2, "{found:?}");
        assert!(
            found
                .delay
                .abs_diff(Duration::from_nanos(2 * way as u64))
                .as_nanos()
                <= 2
        );
        for wrong in [
            &answer[..47],
            &[&[0xe4, 1], &answer[2..]].concat(),
            &[&[0x23, 1], &answer[2..]].concat(),
            &[&[0x24, 0], &answer[2..]].concat(),
        ] {
            assert_eq!(offset(wrong, ours, travelled), None);
        }
        assert_eq!(offset(&answer, ours + 1_000, travelled), None);
        assert_eq!(offset(&answer, ours, Duration::ZERO), None);
    }

    #[test]
    fn timestamps_survive_beyond_2036() {
        // RFC 4330 §3: the first second of 1970 is 2208988800.
        assert_eq!(timestamp(0), [0x83, 0xaa, 0x7e, 0x80, 0, 0, 0, 0]);
        for seconds in [
            0,
            1_700_000_000,
            2_085_978_495,
            2_085_978_496,
            4_000_000_000,
        ] {
            let nanos_in = seconds * SECOND + 123_456_789;
            assert!((nanos(timestamp(nanos_in)) - nanos_in).abs() <= 1);
        }
    }

    #[test]
    fn arbitrary_answers_never_panic() {
        let good = answer(SECOND, 5 * SECOND, 5 * SECOND);
        for at in 0..LEN {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good;
                bad[at] = value;
                let _ = offset(&bad, SECOND, Duration::from_millis(1));
                let _ = offset(&bad[..at], SECOND, Duration::MAX);
            }
        }
    }
}
