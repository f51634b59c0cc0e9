// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stamps kept until the host has them, numbered so that a gap shows what was lost.

/// An edge and its instant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stamp {
    /// Counts all edges since the start, lost ones too.
    pub number: u64,
    /// When, in counts of the timer.
    pub ticks: u64,
    /// From low to high.
    pub rising: bool,
}

/// A ring of `N` stamps; when it is full, new ones are lost and counted.
#[derive(Clone, Debug)]
pub struct Stamps<const N: usize> {
    ring: [Stamp; N],
    first: usize,
    held: usize,
    next_number: u64,
    lost: u64,
}

impl<const N: usize> Stamps<N> {
    /// An empty ring whose first stamp has number zero.
    pub const fn new() -> Self {
        const NONE: Stamp = Stamp {
            number: 0,
            ticks: 0,
            rising: false,
        };
        Self {
            ring: [NONE; N],
            first: 0,
            held: 0,
            next_number: 0,
            lost: 0,
        }
    }

    /// Keeps the stamp of an edge, or counts it as lost.
    pub fn push(&mut self, ticks: u64, rising: bool) {
        if self.held == N {
            self.skip(1);
            return;
        }
        let at = (self.first + self.held) % N;
        self.ring[at] = Stamp {
            number: self.next_number,
            ticks,
            rising,
        };
        self.held += 1;
        self.next_number += 1;
    }

    /// Counts edges that nobody has a stamp of.
    pub fn skip(&mut self, edges: u32) {
        self.lost += u64::from(edges);
        self.next_number += u64::from(edges);
    }

    /// Makes room: the host has all stamps with smaller numbers.
    pub fn forget_before(&mut self, number: u64) {
        while self.held > 0 && self.ring[self.first].number < number {
            self.first = (self.first + 1) % N;
            self.held -= 1;
        }
    }

    /// The stamps, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Stamp> {
        let (later, earlier) = self.ring.split_at(self.first);
        earlier.iter().chain(later).take(self.held).copied()
    }

    /// The number that the next edge gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Edges since the start without a stamp.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl<const N: usize> Default for Stamps<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn numbers<const N: usize>(stamps: &Stamps<N>) -> Vec<u64> {
        stamps.iter().map(|stamp| stamp.number).collect()
    }

    #[test]
    fn a_full_ring_loses_new_stamps_and_counts_them() {
        let mut stamps = Stamps::<3>::new();
        for ticks in 0..5 {
            stamps.push(ticks, ticks % 2 == 0);
        }
        assert_eq!(numbers(&stamps), [0, 1, 2]);
        assert_eq!((stamps.lost(), stamps.next_number()), (2, 5));
        stamps.forget_before(2);
        stamps.push(50, true);
        stamps.push(60, false);
        stamps.push(70, true);
        assert_eq!(numbers(&stamps), [2, 5, 6]);
        assert_eq!((stamps.lost(), stamps.next_number()), (3, 8));
        stamps.forget_before(u64::MAX);
        assert_eq!(numbers(&stamps), [] as [u64; 0]);
    }

    #[test]
    fn a_ring_without_room_counts_only() {
        let mut stamps = Stamps::<0>::new();
        stamps.push(1, true);
        stamps.forget_before(9);
        assert_eq!((stamps.lost(), stamps.iter().count()), (1, 0));
    }
}
