// SPDX-License-Identifier: MIT OR Apache-2.0
//! A probe for instants: stamps edges with a hardware timer and generates pulses, told what to do in lines of text.
//!
//! A board implements [`Capture`] and [`PulseOutput`] with a free-running 32-bit counter; the probe extends its readings to
//! 64 bits, keeps stamps in a ring until the host has read them, and counts what the ring had no room for. The host reads
//! the stamps as often as it likes until it says that it has them, so that a lost line costs nothing.
#![no_std]
#![forbid(unsafe_code)]

mod hardware;
mod line;
mod protocol;
mod stamps;
mod ticks;

pub use hardware::{EdgeQueue, PulseTrain};
pub use line::{FrameError, Line, LineReader, MOST_BYTES};
pub use protocol::{Command, Refusal, Reply};
pub use stamps::{Stamp, Stamps};
pub use ticks::Ticks;

/// Most stamps in the answer to one command.
pub const STAMPS_AT_ONCE: usize = 16;

/// An edge as the hardware saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edge {
    /// The counter at the edge.
    pub counter: u32,
    /// From low to high.
    pub rising: bool,
    /// Edges before this one, since the last that was given, that the hardware could not keep.
    pub missed: u32,
}

/// A timer that captures edges.
pub trait Capture {
    /// Counts per second.
    const HERTZ: u32;

    /// The free-running counter now; it counts up and wraps around after 2^32 counts.
    fn counter(&mut self) -> u32;

    /// The next captured edge, in their order; none older than half a turn of the counter.
    fn next_edge(&mut self) -> Option<Edge>;
}

/// An output that generates pulses by itself.
pub trait PulseOutput {
    /// Begins `count` pulses, one each `period` counts of the capture's timer, high for half of it.
    ///
    /// # Errors
    ///
    /// When pulses are still under way, or the hardware cannot make such.
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal>;
}

/// The probe. `N` is the number of stamps it keeps.
#[derive(Debug)]
pub struct Probe<C, P, const N: usize> {
    capture: C,
    pulses: P,
    ticks: Ticks,
    stamps: Stamps<N>,
    running: bool,
    reader: LineReader,
}

impl<C: Capture, P: PulseOutput, const N: usize> Probe<C, P, N> {
    /// A probe at rest.
    pub fn new(capture: C, pulses: P) -> Self {
        Self {
            capture,
            pulses,
            ticks: Ticks::default(),
            stamps: Stamps::new(),
            running: false,
            reader: LineReader::default(),
        }
    }

    /// Takes what was captured. Called at least once in half a turn of the counter, even at rest.
    pub fn poll(&mut self) {
        // Edges first: they are older than the counter now.
        while let Some(edge) = self.capture.next_edge() {
            let ticks = self.ticks.extend(edge.counter);
            if self.running {
                self.stamps.skip(edge.missed);
                self.stamps.push(ticks, edge.rising);
            }
        }
        self.ticks.extend(self.capture.counter());
    }

    /// Takes a byte from the host; gives the lines of an answer to `say`.
    pub fn input(&mut self, byte: u8, mut say: impl FnMut(&[u8])) {
        let command = match self.reader.push(byte) {
            None => return,
            Some(Ok(text)) => Command::parse(text).ok_or(Refusal::Unknown),
            Some(Err(_)) => Err(Refusal::Damaged),
        };
        let mut reply = |reply: Reply| say(Line::new(&reply).bytes());
        match command {
            Ok(command) => self.obey(command, &mut reply),
            Err(refusal) => reply(Reply::Refused(refusal)),
        }
    }

    fn obey(&mut self, command: Command, reply: &mut impl FnMut(Reply)) {
        match command {
            Command::Info => reply(Reply::Info {
                hertz: C::HERTZ,
                capacity: N as u32,
            }),
            Command::Start => {
                // What happened at rest is of no interest.
                self.poll();
                self.stamps = Stamps::new();
                self.running = true;
                reply(Reply::Done);
            }
            Command::Stop => {
                self.poll();
                self.running = false;
                reply(Reply::Done);
            }
            Command::Now => {
                self.poll();
                reply(Reply::Now {
                    ticks: self.ticks.last(),
                });
            }
            Command::Read { from } => {
                // Room first: what comes now shall find it.
                self.stamps.forget_before(from);
                self.poll();
                for stamp in self.stamps.iter().take(STAMPS_AT_ONCE) {
                    reply(Reply::Stamp(stamp));
                }
                reply(Reply::End {
                    next: self.stamps.next_number(),
                    lost: self.stamps.lost(),
                });
            }
            Command::Pulse { count, period } => reply(match self.pulses.begin(count, period) {
                Ok(()) => Reply::Done,
                Err(refusal) => Reply::Refused(refusal),
            }),
        }
    }
}
