// SPDX-License-Identifier: MIT OR Apache-2.0
//! The search for all slaves of a line by their secondary addresses (EN 13757-7 §8.4).
//!
//! A selection with wildcards is asked for. Silence: nobody. A good answer of the selected slave with
//! nothing around it: found. Anything else, also an acknowledgement with garbage around it: several
//! answer at once, or a disturbance; the next digit tells, and when all digits are fixed, the version,
//! the manufacturer and the type.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smgw_units::Nanos;

use crate::command::{Command, SECONDARY};
use crate::master::{self, Master};
use crate::select::Mask;
use crate::{Device, Telegram};

/// When digits A to E are tried: some meters have them, the standard knows none. A digit F is a wildcard
/// and cannot be asked for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Hex {
    /// Never.
    Never,
    /// When 0 to 9 bring fewer than the two slaves a collision needs.
    #[default]
    WhenUnexplained,
    /// At every collision.
    Always,
}

/// What the search tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A selection was tried.
    Progress {
        /// What was selected.
        mask: Mask,
        /// What came back.
        outcome: Outcome,
    },
    /// A slave was found.
    Found {
        /// Its address.
        device: Device,
        /// Its answer.
        frame: Vec<u8>,
    },
    /// Something answers, but not the two slaves a collision needs were found: a disturbance, slaves with
    /// digits F or with the same address, or one that acknowledges and then says nothing.
    Unexplained(Mask),
    /// The search is over.
    Done,
}

/// What came back from a selection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Silence,
    /// A whole answer of one slave.
    One,
    /// More or less than a whole answer.
    Collision,
    /// An acknowledgement and no data.
    Mute,
}

/// A search under way; to be driven as a [`Master`].
#[derive(Clone, Debug)]
pub struct Search {
    master: Master,
    hex: Hex,
    probe: Probe,
    nodes: Vec<Node>,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Probe {
    Select(Mask),
    Read(Mask),
    Over,
}

/// A collision being taken apart at one place of its mask.
#[derive(Clone, Copy, Debug)]
struct Node {
    mask: Mask,
    place: Place,
    next: u8,
    found: usize,
}

/// A part of a mask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Digit 0 (the first one printed) to 7.
    Digit(u8),
    Version,
    ManufacturerLow,
    ManufacturerHigh,
    Medium,
}

impl Search {
    /// A search of the slaves `mask` names, [`Mask::ANY`] for all, by a master that behaves as `config`
    /// says; its address does not matter.
    pub fn new(config: master::Config, mask: Mask, hex: Hex) -> Self {
        let mut search = Self {
            master: Master::new(master::Config {
                listen_on: true,
                ..config
            }),
            hex,
            probe: Probe::Over,
            nodes: Vec::new(),
            events: VecDeque::new(),
        };
        search.probe(mask);
        search
    }

    /// Ends the search; only what was told so far is known.
    pub fn abort(&mut self) {
        self.master.abort();
        self.nodes.clear();
        self.probe = Probe::Over;
    }

    /// Whether the search is over.
    pub fn is_over(&self) -> bool {
        self.probe == Probe::Over
    }

    /// As [`Master::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        self.master.poll_transmit(now)
    }

    /// As [`Master::handle_input`].
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        self.master.handle_input(at, byte);
        self.proceed();
    }

    /// As [`Master::handle_damaged`].
    pub fn handle_damaged(&mut self, at: Nanos) {
        self.master.handle_damaged(at);
    }

    /// As [`Master::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.master.poll_timeout()
    }

    /// As [`Master::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.master.handle_timeout(now);
        self.proceed();
    }

    /// What is new.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn probe(&mut self, mask: Mask) {
        let select = Command::Select {
            mask,
            fabrication: None,
        };
        self.probe = match self.master.command(&select) {
            Ok(()) => Probe::Select(mask),
            Err(_) => Probe::Over,
        };
    }

    fn proceed(&mut self) {
        let Some(event) = self.master.poll_event() else {
            return;
        };
        match (self.probe, event) {
            (Probe::Select(mask), master::Event::Acknowledged { .. }) => {
                self.master.turn_to(SECONDARY);
                self.master.request();
                self.probe = Probe::Read(mask);
            }
            (Probe::Select(mask), master::Event::NoAnswer) => self.conclude(mask, Outcome::Silence),
            (Probe::Read(mask), master::Event::NoAnswer) => self.conclude(mask, Outcome::Mute),
            (
                Probe::Read(mask),
                master::Event::Response {
                    frame, noise: 0, ..
                },
            ) => match device(&frame, &mask) {
                Some(device) => {
                    self.events.push_back(Event::Found { device, frame });
                    self.conclude(mask, Outcome::One);
                }
                None => self.conclude(mask, Outcome::Collision),
            },
            (Probe::Select(mask) | Probe::Read(mask), _) => {
                self.conclude(mask, Outcome::Collision);
            }
            (Probe::Over, _) => {}
        }
    }

    /// Goes on behind the outcome of a selection.
    fn conclude(&mut self, mask: Mask, outcome: Outcome) {
        self.events.push_back(Event::Progress { mask, outcome });
        match outcome {
            Outcome::Silence => {}
            Outcome::One => {
                if let Some(node) = self.nodes.last_mut() {
                    node.found += 1;
                }
            }
            Outcome::Mute => self.events.push_back(Event::Unexplained(mask)),
            Outcome::Collision => match Place::first_open(&mask) {
                Some(place) => self.nodes.push(Node {
                    mask,
                    place,
                    next: 0,
                    found: 0,
                }),
                None => self.events.push_back(Event::Unexplained(mask)),
            },
        }
        while let Some(node) = self.nodes.last_mut() {
            if let Some(mask) = node.step(self.hex) {
                self.probe(mask);
                return;
            }
            let Node { mask, found, .. } = *node;
            self.nodes.pop();
            if found < 2 {
                self.events.push_back(Event::Unexplained(mask));
            }
            if let Some(parent) = self.nodes.last_mut() {
                parent.found += found;
            }
        }
        self.probe = Probe::Over;
        self.events.push_back(Event::Done);
    }
}

/// The device an answer is of, if the mask names it.
fn device(frame: &[u8], mask: &Mask) -> Option<Device> {
    let telegram = Telegram::parse(frame).ok()?;
    let device = telegram.header()?.device?;
    mask.matches(&device).then_some(device)
}

impl Node {
    /// The next mask to try.
    fn step(&mut self, hex: Hex) -> Option<Mask> {
        let last = match (self.place, hex) {
            (Place::Digit(_), Hex::Always) => 0x0e,
            (Place::Digit(_), Hex::WhenUnexplained) if self.found < 2 => 0x0e,
            (Place::Digit(_), _) => 9,
            // FF is the wildcard.
            _ => 0xfe,
        };
        if self.next > last {
            return None;
        }
        let mask = self.place.set(self.mask, self.next);
        self.next += 1;
        Some(mask)
    }
}

impl Place {
    /// The first wildcard.
    fn first_open(mask: &Mask) -> Option<Self> {
        let digit = (0..8).find(|place| {
            let byte = mask.id.get(3 - usize::from(place / 2)).copied();
            let byte = byte.unwrap_or(0);
            let nibble = if place % 2 == 0 { byte >> 4 } else { byte & 15 };
            nibble == 0x0f
        });
        let [low, high] = mask.manufacturer;
        match (digit, mask.version, low, high, mask.medium) {
            (Some(place), ..) => Some(Self::Digit(place)),
            (_, 0xff, ..) => Some(Self::Version),
            (_, _, 0xff, ..) => Some(Self::ManufacturerLow),
            (_, _, _, 0xff, _) => Some(Self::ManufacturerHigh),
            (.., 0xff) => Some(Self::Medium),
            _ => None,
        }
    }

    fn set(self, mut mask: Mask, value: u8) -> Mask {
        let [low, high] = mask.manufacturer;
        match self {
            Self::Digit(place) => {
                if let Some(byte) = mask.id.get_mut(3 - usize::from(place / 2) % 4) {
                    *byte = if place % 2 == 0 {
                        *byte & 0x0f | value << 4
                    } else {
                        *byte & 0xf0 | value & 0x0f
                    };
                }
            }
            Self::Version => mask.version = value,
            Self::ManufacturerLow => mask.manufacturer = [value, high],
            Self::ManufacturerHigh => mask.manufacturer = [low, value],
            Self::Medium => mask.medium = value,
        }
        mask
    }
}
