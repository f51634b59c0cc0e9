// SPDX-License-Identifier: MIT OR Apache-2.0
//! What boards share behind their registers: edges on their way from the interrupt, and the course of a train of pulses.

use crate::{Edge, Refusal};

/// Edges that an interrupt captured and nobody has taken yet.
#[derive(Debug)]
pub struct EdgeQueue<const N: usize> {
    edges: [Edge; N],
    first: usize,
    held: usize,
    missed: u32,
}

impl<const N: usize> EdgeQueue<N> {
    /// An empty queue.
    pub const fn new() -> Self {
        const NONE: Edge = Edge {
            counter: 0,
            rising: false,
            missed: 0,
        };
        Self {
            edges: [NONE; N],
            first: 0,
            held: 0,
            missed: 0,
        }
    }

    /// Keeps an edge, or counts it as missed by the next one that is kept.
    pub fn push(&mut self, counter: u32, rising: bool) {
        if self.held == N {
            self.miss();
            return;
        }
        self.edges[(self.first + self.held) % N] = Edge {
            counter,
            rising,
            missed: core::mem::take(&mut self.missed),
        };
        self.held += 1;
    }

    /// Counts an edge that the hardware saw but did not keep.
    pub fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }

    /// The oldest edge.
    pub fn pop(&mut self) -> Option<Edge> {
        self.held = self.held.checked_sub(1)?;
        let edge = self.edges[self.first];
        self.first = (self.first + 1) % N;
        Some(edge)
    }
}

impl<const N: usize> Default for EdgeQueue<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The edges that are left of a train of pulses.
#[derive(Debug, Default)]
pub struct PulseTrain {
    edges: u64,
    high: u32,
    low: u32,
}

impl PulseTrain {
    /// No pulses.
    pub const fn idle() -> Self {
        Self {
            edges: 0,
            high: 0,
            low: 0,
        }
    }

    /// Begins a train.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when one is under way, [`Refusal::Range`] when there are no pulses in it or a level would last less
    /// than `shortest` or more than 2^31 counts.
    pub fn begin(&mut self, count: u32, period: u32, shortest: u32) -> Result<(), Refusal> {
        if self.edges > 0 {
            return Err(Refusal::Busy);
        }
        let high = period / 2;
        if count == 0 || high < shortest.max(1) {
            return Err(Refusal::Range);
        }
        *self = Self {
            edges: u64::from(count) * 2,
            high,
            low: period - high,
        };
        Ok(())
    }

    /// An edge has happened, the first of all being a rising one: counts until the next, or `None` after the last.
    pub fn edge(&mut self) -> Option<u32> {
        self.edges = self.edges.saturating_sub(1);
        match self.edges {
            0 => None,
            // After a rising edge, an odd number is left.
            left if !left.is_multiple_of(2) => Some(self.high),
            _ => Some(self.low),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn what_finds_no_room_is_told_with_the_next_edge() {
        let mut queue = EdgeQueue::<2>::new();
        assert_eq!(queue.pop(), None);
        for counter in 0..5 {
            queue.push(counter, true);
        }
        queue.miss();
        let edge = |counter, rising, missed| {
            Some(Edge {
                counter,
                rising,
                missed,
            })
        };
        assert_eq!(queue.pop(), edge(0, true, 0));
        queue.push(9, false);
        assert_eq!(queue.pop(), edge(1, true, 0));
        assert_eq!(queue.pop(), edge(9, false, 4));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_train_has_two_edges_in_each_period() {
        let mut train = PulseTrain::idle();
        assert_eq!(train.edge(), None);
        assert_eq!(train.begin(3, 101, 50), Ok(()));
        assert_eq!(train.begin(1, 101, 50), Err(Refusal::Busy));
        let gaps: Vec<_> = core::iter::from_fn(|| train.edge()).collect();
        assert_eq!(gaps, [50, 51, 50, 51, 50]);
        assert_eq!(train.begin(1, 101, 50), Ok(()));
    }

    #[test]
    fn trains_out_of_range_are_refused() {
        let mut train = PulseTrain::idle();
        for (count, period) in [(0, 1000), (1, 0), (1, 1), (1, 99)] {
            assert_eq!(train.begin(count, period, 50), Err(Refusal::Range));
        }
        assert_eq!(train.begin(1, 1, 0), Err(Refusal::Range));
        assert_eq!(train.begin(u32::MAX, u32::MAX, 50), Ok(()));
    }
}
