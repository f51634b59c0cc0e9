// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several slaves on one pair of wires, and what a master hears when they answer at once
//! (EN 13757-2 §4): a space of any slave covers the marks of the others.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::slave::{Event, Slave};
use crate::timing::Timing;

/// A character as the master's receiver takes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heard {
    /// When its last bit is over.
    pub at: Nanos,
    /// Its eight bits.
    pub byte: u8,
    /// Its parity or stop bit is wrong.
    pub damaged: bool,
}

/// Slaves on one line, in one virtual time.
#[derive(Clone, Debug, Default)]
pub struct Bus {
    slaves: Vec<Slave>,
}

/// What one slave puts onto the line.
struct Sending {
    start: Nanos,
    timing: Timing,
    bytes: Vec<u8>,
}

impl Bus {
    /// A line with these slaves.
    pub const fn new(slaves: Vec<Slave>) -> Self {
        Self { slaves }
    }

    /// The slaves.
    pub fn slaves(&self) -> &[Slave] {
        &self.slaves
    }

    /// The slaves, to let them answer and fail.
    pub fn slaves_mut(&mut self) -> &mut [Slave] {
        &mut self.slaves
    }

    /// Gives all slaves at this rate (Bd) a byte of the master with the stamp of its last bit; slaves at
    /// another rate hear nothing they understand. Tells what it leads to, by slave.
    pub fn handle_input(&mut self, at: Nanos, rate: u32, byte: u8) -> Vec<(usize, Event)> {
        let slaves = self.slaves.iter_mut().enumerate();
        slaves
            .filter_map(|(index, slave)| {
                let same = slave.rate(at) == rate;
                let event = same.then(|| slave.handle_input(at, byte))?;
                event.map(|event| (index, event))
            })
            .collect()
    }

    /// When the next answer begins.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.slaves.iter().filter_map(Slave::poll_timeout).min()
    }

    /// What the master hears, at its `rate` in Bd, of the answers that begin by `now` and of those that
    /// begin before these are over. The stamps may lie ahead of `now`.
    pub fn poll_receive(&mut self, now: Nanos, rate: u32) -> Vec<Heard> {
        let mut sendings = Vec::new();
        let mut until = now;
        // Each further answer may cover a beginning that was still too far before.
        while self.take_due(until, &mut sendings) {
            let end = sendings.iter().map(Sending::end).max();
            until = end.map_or(until, |end| end.max(until));
        }
        let receiver = Timing::at(rate);
        match sendings.as_slice() {
            [alone] if alone.timing.baud == rate => alone.heard(),
            _ => receive(&sendings, &receiver),
        }
    }

    fn take_due(&mut self, until: Nanos, sendings: &mut Vec<Sending>) -> bool {
        let before = sendings.len();
        for slave in &mut self.slaves {
            if let Some(start) = slave.poll_timeout().filter(|start| *start <= until) {
                let timing = slave.config().timing;
                let bytes = slave.poll_transmit(start).unwrap_or_default();
                sendings.push(Sending {
                    start,
                    timing,
                    bytes,
                });
            }
        }
        sendings.len() > before
    }
}

impl Sending {
    fn end(&self) -> Nanos {
        self.start + self.timing.characters(self.bytes.len())
    }

    fn heard(&self) -> Vec<Heard> {
        let bytes = self.bytes.iter().enumerate();
        bytes
            .map(|(index, byte)| Heard {
                at: self.start + self.timing.characters(index + 1),
                byte: *byte,
                damaged: false,
            })
            .collect()
    }

    /// Whether it pulls the line to space at `at`.
    fn is_space(&self, at: Nanos) -> bool {
        if at < self.start {
            return false;
        }
        let passed = at.saturating_since(self.start).as_nanos();
        let bit = passed * u128::from(self.timing.baud) / NANOS;
        let place = |bit: u128| usize::try_from(bit / 11).ok();
        let Some(&byte) = place(bit).and_then(|index| self.bytes.get(index)) else {
            return false;
        };
        match bit % 11 {
            0 => true,
            place @ 1..=8 => byte >> (place - 1) & 1 == 0,
            // Even parity.
            9 => byte.count_ones() % 2 == 0,
            _ => false,
        }
    }
}

/// A receiver with sixteen samples a bit, as serial ports have it.
fn receive(sendings: &[Sending], timing: &Timing) -> Vec<Heard> {
    let mut heard = Vec::new();
    let start = sendings.iter().map(|sending| sending.start).min();
    let end = sendings.iter().map(Sending::end).max();
    let (Some(mut at), Some(end)) = (start, end) else {
        return heard;
    };
    let is_space = |at| sendings.iter().any(|sending| sending.is_space(at));
    // Not zero at any rate, so that time goes on.
    let sample = (timing.bits(1) / 16).max(Duration::from_nanos(1));
    while at < end {
        if !is_space(at) {
            at = at + sample;
            continue;
        }
        // The middles of the eleven bits.
        let middle = |bit: u64| is_space(at + timing.bits(bit) + timing.bits(1) / 2);
        if !middle(0) {
            at = at + timing.bits(1) / 2;
            continue;
        }
        let byte = (0..8).fold(0, |byte, bit| byte | u8::from(!middle(bit + 1)) << bit);
        let odd = byte.count_ones() % 2 == 1;
        let parity = !middle(9);
        heard.push(Heard {
            at: at + timing.bits(11),
            byte,
            damaged: parity != odd || middle(10),
        });
        at = at + timing.bits(10) + timing.bits(1) / 2;
    }
    heard
}

const NANOS: u128 = 1_000_000_000;
