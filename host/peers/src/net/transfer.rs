// SPDX-License-Identifier: MIT OR Apache-2.0
//! Octets out and back over one connection at the same time, and what became of them (PRX-11: byte transparency).

use std::time::Duration;

use sha2::{Digest, Sha256};
use smgw_socks::FrameState;

use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{Pulled, TlsLink, WRITE_LEN};

/// Seeded pseudo-random octets (SplitMix64): the same seed gives the same stream.
#[derive(Clone, Debug)]
pub struct Pattern {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Pattern {
    /// The stream of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            word: [0; 8],
            used: 8,
        }
    }

    /// The next octets.
    pub fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            if self.used == self.word.len() {
                self.word = self.next_word().to_le_bytes();
                self.used = 0;
            }
            *octet = self.word.get(self.used).copied().unwrap_or_default();
            self.used += 1;
        }
    }

    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// What to send; everything is expected back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransferPlan {
    /// Seed of the [`Pattern`].
    pub seed: u64,
    /// Octets to send.
    pub len: u64,
    /// Octets per write, each a TLS record of its own; 1 to 16384.
    pub write_len: usize,
    /// Whether to end our direction behind the last octet, and to expect the other to end behind its last.
    pub half_close: bool,
}

/// What became of a transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransferReport {
    /// Octets sent.
    pub sent: u64,
    /// Octets received, also those beyond what was sent.
    pub received: u64,
    /// SHA-256 of the octets sent.
    pub sha256_sent: [u8; 32],
    /// SHA-256 of the octets received.
    pub sha256_received: [u8; 32],
    /// Position of the first octet that came back different.
    pub first_mismatch: Option<u64>,
    /// Whether the peer ended its direction in order (close_notify).
    pub peer_closed: bool,
    /// What cut the transfer short.
    pub failure: Option<Failure>,
    /// From before the first octet out to behind the last octet in.
    pub duration: Duration,
}

impl TransferReport {
    /// Whether everything came back unchanged, and in order to the end.
    pub fn is_transparent(&self) -> bool {
        self.failure.is_none()
            && self.first_mismatch.is_none()
            && self.sha256_sent == self.sha256_received
    }
}

/// Runs `plan` on `link`, sending and receiving as the transport allows, in the calling thread.
pub(crate) fn transfer(
    link: &mut TlsLink,
    plan: &TransferPlan,
    deadline: Deadline,
) -> TransferReport {
    let start = now();
    let mut run = Run {
        outgoing: Pattern::new(plan.seed),
        expected: Pattern::new(plan.seed),
        hash_sent: Sha256::new(),
        hash_received: Sha256::new(),
        report: TransferReport {
            sent: 0,
            received: 0,
            sha256_sent: [0; 32],
            sha256_received: [0; 32],
            first_mismatch: None,
            peer_closed: false,
            failure: None,
            duration: Duration::ZERO,
        },
    };
    run.report.failure = run.drive(link, plan, deadline).err();
    run.report.duration = now().saturating_since(start);
    run.report.sha256_sent = run.hash_sent.finalize().into();
    run.report.sha256_received = run.hash_received.finalize().into();
    run.report
}

struct Run {
    outgoing: Pattern,
    expected: Pattern,
    hash_sent: Sha256,
    hash_received: Sha256,
    report: TransferReport,
}

impl Run {
    fn drive(
        &mut self,
        link: &mut TlsLink,
        plan: &TransferPlan,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; WRITE_LEN];
        let mut closed = !plan.half_close;
        loop {
            // One flight at a time, and only once the last is out: that bounds what is buffered.
            let all_out = link.push()?;
            let more = self.report.sent < plan.len || !closed;
            if all_out && more {
                if self.report.sent == plan.len {
                    link.wire.set_state(FrameState::Closing);
                    link.tls.send_close_notify();
                    closed = true;
                } else {
                    self.write_flight(link, plan, &mut buffer)?;
                }
                link.push()?;
            }
            let mut pulled = Pulled::Some;
            while pulled == Pulled::Some {
                while let Some(len) = link.take(&mut buffer)? {
                    if len == 0 {
                        self.report.peer_closed = true;
                        let complete =
                            self.report.sent == plan.len && self.report.received >= plan.len;
                        return if complete {
                            Ok(())
                        } else {
                            Err(Failure::Closed)
                        };
                    }
                    self.compare(buffer.get(..len).unwrap_or_default(), plan.len);
                }
                if self.report.received >= plan.len
                    && !plan.half_close
                    && self.report.sent == plan.len
                {
                    return Ok(());
                }
                pulled = link.pull()?;
            }
            if pulled == Pulled::Nothing && !(all_out && more) {
                link.wait(deadline)?;
            }
        }
    }

    fn write_flight(
        &mut self,
        link: &mut TlsLink,
        plan: &TransferPlan,
        buffer: &mut [u8],
    ) -> Result<(), Failure> {
        let left = usize::try_from(plan.len - self.report.sent).unwrap_or(usize::MAX);
        let flight = buffer.get_mut(..left.min(WRITE_LEN)).unwrap_or_default();
        let write_len = plan.write_len.clamp(1, WRITE_LEN);
        // Small writes still fill a flight of a few, so that one transfer does not take one system call per octet.
        let flight_len = flight.len().min(write_len * SMALL_WRITES);
        let flight = flight.get_mut(..flight_len).unwrap_or_default();
        self.outgoing.fill(flight);
        self.hash_sent.update(&*flight);
        for write in flight.chunks(write_len) {
            std::io::Write::write_all(&mut link.tls.writer(), write)?;
        }
        self.report.sent += flight.len() as u64;
        Ok(())
    }

    fn compare(&mut self, received: &[u8], len: u64) {
        let mut expected = vec![0; received.len()];
        self.expected.fill(&mut expected);
        self.hash_received.update(received);
        if self.report.first_mismatch.is_none() {
            let differs = received
                .iter()
                .zip(&expected)
                .position(|(got, expected)| got != expected);
            // Octets beyond the plan are a mismatch whatever they are.
            let beyond = Some(len.saturating_sub(self.report.received))
                .filter(|room| *room < received.len() as u64);
            self.report.first_mismatch = [differs.map(|at| at as u64), beyond]
                .into_iter()
                .flatten()
                .min()
                .map(|at| self.report.received + at);
        }
        self.report.received += received.len() as u64;
    }
}

/// Writes per flight when each is small.
const SMALL_WRITES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_split_mix_64_whatever_the_cutting() {
        let mut whole = [0; 24];
        Pattern::new(1_234_567).fill(&mut whole);
        // Known answers of SplitMix64 for seed 1234567.
        let words = [
            6_457_827_717_110_365_317u64,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(
            whole.to_vec(),
            words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>()
        );
        let mut pieces = Pattern::new(1_234_567);
        let mut again = [0; 24];
        let (head, tail) = again.split_at_mut(5);
        pieces.fill(head);
        pieces.fill(tail);
        assert_eq!(again, whole);
    }
}
