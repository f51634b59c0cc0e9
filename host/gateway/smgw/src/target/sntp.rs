// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks a server for the time, several times, and believes the quickest answer (SNTP, RFC 4330).

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use smgw_ntp::{Answer, Client, ClientRules, LEN};
use smgw_units::{Nanos, UtcNanos};

use super::{SOON, wrong};

/// The time, and how well it is known.
#[derive(Debug)]
pub(super) struct Time {
    answer: Answer,
    /// Zero of the answer's monotonic instant.
    origin: Instant,
}

impl Time {
    /// UTC now.
    pub(super) fn now(&self) -> UtcNanos {
        let since = since(self.origin).signed_since(self.answer.at);
        UtcNanos(self.answer.utc.0 + since)
    }

    /// How long question and answer travelled; the time is not off by more than half of it.
    pub(super) fn delay(&self) -> Duration {
        self.answer.delay
    }
}

/// Asks until enough good answers have come.
pub(super) fn ask(server: SocketAddr) -> io::Result<Time> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let origin = Instant::now();
    let mut client = Client::new(ClientRules::default());
    let mut best: Option<Answer> = None;
    let mut answered = 0;
    while answered < QUESTIONS && origin.elapsed() < 2 * SOON {
        // A lost packet, or a network that is only coming up: the next question will do.
        let Ok(Some(answer)) = once(&socket, &mut client, origin) else {
            continue;
        };
        answered += 1;
        if best.is_none_or(|best| answer.delay < best.delay) {
            best = Some(answer);
        }
    }
    let answer = best.ok_or_else(|| wrong(&format!("the time server {server} does not answer")))?;
    Ok(Time { answer, origin })
}

fn once(socket: &UdpSocket, client: &mut Client, origin: Instant) -> io::Result<Option<Answer>> {
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    socket.send(&client.ask(random, since(origin)))?;
    let mut answer = [0; LEN + 1];
    // What answers another question may come before what answers this one.
    for _ in 0..MOST_ANSWERS {
        let len = socket.recv(&mut answer)?;
        let judged = client.judge(answer.get(..len).unwrap_or_default(), since(origin));
        if let Ok(answer) = judged {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

fn since(origin: Instant) -> Nanos {
    // 2^64 ns are 584 years.
    Nanos(origin.elapsed().as_nanos() as u64)
}

const QUESTIONS: usize = 8;
/// Packets looked at for one question.
const MOST_ANSWERS: usize = 16;
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use smgw_ntp::{ServerState, answer};

    use super::*;

    #[test]
    fn the_quickest_answer_of_a_server_is_believed() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = socket.local_addr().unwrap();
        let noon = UtcNanos::from_seconds(1_900_000_000);
        let began = Instant::now();
        std::thread::spawn(move || {
            let mut question = [0; 64];
            while let Ok((len, from)) = socket.recv_from(&mut question) {
                let now = UtcNanos(noon.0 + began.elapsed().as_nanos() as i64);
                let state = ServerState::primary(*b"LOCL");
                let answer = answer(&question[..len], now, now, &state).unwrap();
                // Somebody else's answer comes first.
                let mut foreign = answer;
                foreign[24] ^= 1;
                socket.send_to(&foreign, from).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        });
        let time = ask(server).unwrap();
        let (found, truth) = (time.now(), noon.0 + began.elapsed().as_nanos() as i64);
        let slack = Duration::from_secs(1).as_nanos() as u64;
        assert!(found.0.abs_diff(truth) <= time.delay().as_nanos() as u64 / 2 + slack);
    }
}
