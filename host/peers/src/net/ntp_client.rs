// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks a gateway's time service in the home area network, in the right way or any other
//! (TR-03109-1 detail specifications §9; catalogue rows TIM-13, TIM-14).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use smgw_ntp::{Client, ClientRules, LEN, Packet};
use smgw_units::Nanos;

use super::deadline::{Deadline, now};
use super::failure::Failure;

/// What the time service answered.
#[derive(Clone, Debug)]
pub struct TimeAnswer {
    /// When the question left.
    pub asked: Nanos,
    /// When the answer came.
    pub answered: Nanos,
    /// The question's transmit timestamp.
    pub transmit: u64,
    /// The answer.
    pub packet: Packet,
}

/// Sends `question`; the octets of the answer with when the question left and the answer came, `None` when none came.
///
/// # Errors
/// [`Failure::Io`]: the bench's operating system.
pub fn ask_time_with(
    server: SocketAddr,
    question: &[u8],
    deadline: Deadline,
) -> Result<Option<(Nanos, Nanos, Vec<u8>)>, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    let asked = now();
    socket.send(question)?;
    let mut answer = [0; 8 * LEN];
    let left = deadline.left();
    if left.is_zero() {
        return Ok(None);
    }
    socket.set_read_timeout(Some(left))?;
    match socket.recv(&mut answer) {
        Ok(len) => {
            let octets = answer.get(..len).unwrap_or_default().to_vec();
            Ok(Some((asked, now(), octets)))
        }
        Err(error) => match Failure::from(error) {
            Failure::Timeout | Failure::Refused => Ok(None),
            failure => Err(failure),
        },
    }
}

/// Asks once, as a client that keeps to the rules.
///
/// # Errors
/// [`Failure::Timeout`] without an answer, [`Failure::Protocol`] when it cannot be read.
pub fn ask_time(server: SocketAddr, deadline: Deadline) -> Result<TimeAnswer, Failure> {
    // No secret: the loopback interface has no strangers.
    let random = now().0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let question = Client::new(ClientRules::default()).ask(random, Nanos(0));
    let answered = ask_time_with(server, &question, deadline)?;
    let (asked, answered, octets) = answered.ok_or(Failure::Timeout)?;
    let packet = Packet::parse(&octets).map_err(|error| Failure::Protocol(error.to_string()))?;
    Ok(TimeAnswer {
        asked,
        answered,
        transmit: u64::from_be_bytes(random),
        packet,
    })
}
