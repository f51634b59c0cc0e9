// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a machine wants done with its line, and when.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smgw_units::Nanos;

use crate::identification::Baud;

/// One thing to do with the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transmit {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Change the speed, once everything sent so far has left.
    Baud(Baud),
}

/// Things to do in order, each not before its time.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<(Nanos, Transmit)>,
    baud: Baud,
    /// When the last byte handed out has left.
    free: Nanos,
}

impl Outbox {
    pub(crate) fn new(baud: Baud) -> Self {
        Self {
            queue: VecDeque::new(),
            baud,
            free: Nanos(0),
        }
    }

    pub(crate) fn bytes(&mut self, at: Nanos, bytes: Vec<u8>) {
        self.queue.push_back((at, Transmit::Bytes(bytes)));
    }

    pub(crate) fn baud(&mut self, at: Nanos, baud: Baud) {
        self.queue.push_back((at, Transmit::Baud(baud)));
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The speed after everything handed out so far.
    pub(crate) const fn speed(&self) -> Baud {
        self.baud
    }

    /// When the last byte handed out has left.
    pub(crate) const fn free(&self) -> Nanos {
        self.free
    }

    /// When the next thing is to be done.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.queue.front().map(|(at, action)| match action {
            Transmit::Bytes(_) => *at,
            Transmit::Baud(_) => (*at).max(self.free),
        })
    }

    pub(crate) fn poll(&mut self, now: Nanos) -> Option<Transmit> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let (_, action) = self.queue.pop_front()?;
        match &action {
            Transmit::Bytes(bytes) => {
                self.free = now.max(self.free) + self.baud.characters(bytes.len());
            }
            Transmit::Baud(baud) => self.baud = *baud,
        }
        Some(action)
    }
}
