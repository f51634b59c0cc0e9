// SPDX-License-Identifier: MIT OR Apache-2.0
//! A learning Ethernet switch (IEEE 802.1D §7, without spanning tree or ageing) whose ports may be impaired: frames
//! and the time in, frames out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use smgw_units::Nanos;

use crate::Impairments;

/// Longest frame taken: 1500 bytes of payload, the header, one VLAN tag.
pub const FRAME_LIMIT: usize = 1518;
/// Destination, source, type.
const HEADER: usize = 14;
/// Stations remembered; a board has one or two, so only a flood of forged sources comes near.
const STATIONS: usize = 256;
/// Frames on their way at once; beyond that the switch is congested and drops, as a real one does.
const ON_THE_WAY: usize = 4096;

/// One port of a switch.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortId(pub usize);

/// What one port has seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Frames that came in.
    pub received: u64,
    /// Frames that went out, each copy counted.
    pub sent: u64,
    /// Frames that the impairments took.
    pub lost: u64,
    /// Frames that waited behind later ones.
    pub reordered: u64,
    /// Frames that were doubled.
    pub duplicated: u64,
    /// Frames that were cut short.
    pub truncated: u64,
    /// No Ethernet frames: too short or too long.
    pub malformed: u64,
    /// Dropped because too many were on their way.
    pub congested: u64,
}

/// A frame that leaves the switch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Where it came in.
    pub from: PortId,
    /// Where it leaves.
    pub to: PortId,
    /// The frame.
    pub frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Port {
    impairments: Impairments,
    counters: Counters,
    /// When the last frame that keeps the order leaves: none of the later ones goes before it.
    last_due: Nanos,
}

/// A frame that waits for its time; earliest first, equal times in order of arrival.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Waiting {
    due: Nanos,
    order: u64,
    from: PortId,
    frame: Vec<u8>,
}

/// The switch. The same seed, frames and times give the same result.
#[derive(Debug)]
pub struct Switch {
    ports: Vec<Port>,
    stations: HashMap<[u8; 6], PortId>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    leaving: Vec<Forwarded>,
    arrivals: u64,
    dice: fastrand::Rng,
}

impl Switch {
    /// A switch without ports; `seed` decides what the impairments hit.
    pub fn new(seed: u64) -> Self {
        Self {
            ports: Vec::new(),
            stations: HashMap::new(),
            waiting: BinaryHeap::new(),
            leaving: Vec::new(),
            arrivals: 0,
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// Another port.
    pub fn add_port(&mut self) -> PortId {
        self.ports.push(Port::default());
        PortId(self.ports.len() - 1)
    }

    /// What happens from now on to frames that come in at `port`; those on their way are not touched.
    pub fn impair(&mut self, port: PortId, impairments: Impairments) {
        if let Some(port) = self.ports.get_mut(port.0) {
            port.impairments = impairments;
        }
    }

    /// What `port` has seen; nothing for one that does not exist.
    pub fn counters(&self, port: PortId) -> Counters {
        let port = self.ports.get(port.0);
        port.map(|port| port.counters).unwrap_or_default()
    }

    /// A frame came in.
    pub fn receive(&mut self, now: Nanos, port: PortId, frame: &[u8]) {
        let Some(at) = self.ports.get_mut(port.0) else {
            return;
        };
        at.counters.received += 1;
        if !(HEADER..=FRAME_LIMIT).contains(&frame.len()) {
            at.counters.malformed += 1;
            return;
        }
        let bad = at.impairments;
        // A cut cable carries no frame, so the switch must not learn from one either.
        if bad.loss.strikes(&mut self.dice) {
            at.counters.lost += 1;
            return;
        }
        self.learn(port, frame);
        let Some(at) = self.ports.get_mut(port.0) else {
            return;
        };
        let mut copies = 1;
        if bad.duplicate.strikes(&mut self.dice) {
            at.counters.duplicated += 1;
            copies = 2;
        }
        for _ in 0..copies {
            let mut kept = frame;
            if frame.len() > HEADER && bad.truncate.strikes(&mut self.dice) {
                at.counters.truncated += 1;
                let length = self.dice.usize(HEADER..frame.len());
                kept = frame.get(..length).unwrap_or(frame);
            }
            let mut due = later(later(now, bad.delay), part_of(bad.jitter, &mut self.dice));
            if bad.reorder.strikes(&mut self.dice) {
                at.counters.reordered += 1;
                due = later(due, bad.reorder_by);
            } else {
                due = due.max(at.last_due);
                at.last_due = due;
            }
            if self.waiting.len() >= ON_THE_WAY {
                at.counters.congested += 1;
                continue;
            }
            self.arrivals += 1;
            self.waiting.push(Reverse(Waiting {
                due,
                order: self.arrivals,
                from: port,
                frame: kept.to_vec(),
            }));
        }
    }

    /// When something is to be done next without another frame: call [`Self::poll_transmit`] then.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.waiting.peek().map(|Reverse(next)| next.due)
    }

    /// The next frame that leaves by now.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Forwarded> {
        while self.leaving.is_empty() {
            let due = self.poll_timeout()?;
            if due > now {
                return None;
            }
            let Reverse(next) = self.waiting.pop()?;
            self.forward(next);
        }
        self.leaving.pop()
    }

    fn learn(&mut self, port: PortId, frame: &[u8]) {
        let Some(source) = address(frame, 6) else {
            return;
        };
        let known = self.stations.contains_key(&source);
        if !is_group(source) && (known || self.stations.len() < STATIONS) {
            self.stations.insert(source, port);
        }
    }

    /// To the station's port, or to all others for groups and stations nobody has heard of.
    fn forward(&mut self, waiting: Waiting) {
        let known = address(&waiting.frame, 0).and_then(|to| self.stations.get(&to).copied());
        for (index, port) in self.ports.iter_mut().enumerate() {
            let to = PortId(index);
            if to != waiting.from && known.is_none_or(|known| known == to) {
                port.counters.sent += 1;
                self.leaving.push(Forwarded {
                    from: waiting.from,
                    to,
                    frame: waiting.frame.clone(),
                });
            }
        }
    }
}

fn later(at: Nanos, by: Duration) -> Nanos {
    Nanos(at.0.saturating_add(nanos(by)))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time between zero and `spread`.
fn part_of(spread: Duration, dice: &mut fastrand::Rng) -> Duration {
    match nanos(spread) {
        0 => Duration::ZERO,
        spread => Duration::from_nanos(dice.u64(0..=spread)),
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// Broadcast and multicast addresses have the lowest bit of their first octet set.
fn is_group(address: [u8; 6]) -> bool {
    address.first().is_some_and(|first| first & 1 == 1)
}
