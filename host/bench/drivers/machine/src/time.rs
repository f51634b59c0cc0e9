// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells machines the bench's time (SNTP, RFC 4330): a board without a battery has none, and one with a clock of whole
//! seconds has none that is good enough for stamps.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use smgw_units::UtcNanos;

/// A time server on the loopback interface; ends when dropped.
#[derive(Debug)]
pub struct TimeServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TimeServer {
    /// Starts serving the time that `now` tells.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(now: impl Fn() -> UtcNanos + Send + 'static) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("time".into()).spawn({
            let stop = Arc::clone(&stop);
            move || serve(&socket, &now, &stop)
        })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it.
        let woken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], self.address));
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, now: &impl Fn() -> UtcNanos, stop: &AtomicBool) {
    let mut question = [0; 128];
    while !stop.load(Ordering::SeqCst) {
        let Ok((len, from)) = socket.recv_from(&mut question) else {
            continue;
        };
        let received = now();
        if let Some(mut answer) = answer(question.get(..len).unwrap_or_default(), received) {
            if let Some(transmit) = answer.last_chunk_mut() {
                *transmit = timestamp(now());
            }
            // Lost answers are asked for again.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// An answer without its own time, `None` to what is no question.
fn answer(question: &[u8], received: UtcNanos) -> Option<[u8; LEN]> {
    let question = question.first_chunk::<LEN>()?;
    let (version, mode) = (question[0] & 0x38, question[0] & 7);
    if mode != CLIENT {
        return None;
    }
    let mut answer = [0; LEN];
    // Its version, server; stratum 1, no polling, precision of 2^-20 s; a reference of its own.
    answer[..4].copy_from_slice(&[version | SERVER, 1, 0, 0xec]);
    answer[12..16].copy_from_slice(b"LOCL");
    answer[16..24].copy_from_slice(&timestamp(received));
    answer[24..32].copy_from_slice(question.last_chunk::<8>()?);
    answer[32..40].copy_from_slice(&timestamp(received));
    Some(answer)
}

/// Seconds since 1900 and their 2^-32nd parts.
fn timestamp(at: UtcNanos) -> [u8; 8] {
    let nanos = i128::from(at.0);
    let seconds = nanos.div_euclid(SECOND) + TO_1970;
    let part = (nanos.rem_euclid(SECOND) << 32) / SECOND;
    (((seconds as u64) << 32) | part as u64).to_be_bytes()
}

const LEN: usize = 48;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const SECOND: i128 = 1_000_000_000;
/// Seconds from 1900 to 1970.
const TO_1970: i128 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_gets_the_time_it_asked_for() {
        let server = TimeServer::start(|| UtcNanos::from_seconds(1_700_000_000)).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        client.connect(server.address()).unwrap();
        // What is no question gets no answer, and does not end the server.
        for wrong in [&[0x23u8][..], &[0x24; 48], &[0; 100]] {
            client.send(wrong).unwrap();
        }
        let mut question = [0; 48];
        question[0] = 0x1b;
        question[40..].copy_from_slice(b"whatever");
        client.send(&question).unwrap();
        let mut answer = [0; 64];
        assert_eq!(client.recv(&mut answer).unwrap(), 48);
        assert_eq!((answer[0], answer[1]), (0x1c, 1));
        assert_eq!(&answer[24..32], b"whatever");
        // 1 700 000 000 s after 1970 are 3 908 988 800 after 1900.
        assert_eq!(answer[40..44], 3_908_988_800u32.to_be_bytes());
        assert_eq!(answer[32..40], answer[40..48]);
    }
}
