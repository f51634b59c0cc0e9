// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is on the line: the [`Discovery`] trait, and one scheme with time slots behind it.
//!
//! The messages of DIN VDE V 0418-63-7 are not public. [`SlotDiscovery`] follows what an experimental
//! LMN bridge of 2019 does, with the frames of [`Profile::SLOTTED`]; it is a profile of this bench and
//! no statement on the norm. What that source leaves open is ours and marked as assumption.
//!
//! A broadcast opens `slots` slots, each a `slot` long and followed by a guard time of the same length.
//! Protocol 1 (address assignment) lists the known meters; a meter not listed takes a slot and an
//! address by chance and answers there. Protocol 2 (presence) lists them with a slot each, in which they
//! answer. Two answers in one slot, or one in the guard time, count for nothing: the meter tries again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::address::{Address, Addressing};
use crate::control::Control;
use crate::frame::{Frame, Profile};

/// The gateway's side of any discovery: frames and stamps in, frames and events out.
pub trait Discovery {
    /// Takes a frame with the stamps of its first and last byte; whether it was one of the discovery.
    fn handle_frame(&mut self, first: Nanos, last: Nanos, frame: &Frame<'_>) -> bool;
    /// The bytes to send now, if any. `now` counts as the start of the first bit.
    fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>>;
    /// When `handle_timeout` and then `poll_transmit` want to be called.
    fn poll_timeout(&self) -> Option<Nanos>;
    /// Judges a round that is over.
    fn handle_timeout(&mut self, now: Nanos);
    /// The next event.
    fn poll_event(&mut self) -> Option<DiscoveryEvent>;
}

/// What a discovery found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiscoveryEvent {
    /// A meter is new on the line.
    Appeared(Entry),
    /// A meter did not answer when it was its turn.
    Vanished(Entry),
    /// A meter wants an address another one has; it was ignored.
    AddressTaken(Entry),
    /// Answers of this slot were ignored: two of them, or one in the guard time behind it.
    Collision {
        /// 1 to the number of slots.
        slot: u8,
    },
}

/// A meter as broadcasts list it: `address, slot, device id (14), second device id (14), status (2)`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Entry {
    /// 2 to 126.
    pub address: u8,
    /// 1 to the number of slots; 0 where it has none.
    pub slot: u8,
    /// Text of DIN 43863-5, e.g. `1EMH0012345678`.
    pub device: [u8; 14],
    /// A second such text; what for is not known.
    pub second_device: [u8; 14],
    /// What for is not known.
    pub status: [u8; 2],
}

impl Entry {
    /// Bytes of an entry.
    pub const LENGTH: usize = 32;

    /// Reads one entry.
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Self {
        let [address, slot, devices @ .., high, low] = *bytes;
        let (mut device, mut second_device) = ([0; 14], [0; 14]);
        let (first, second) = devices.split_at(14);
        device.copy_from_slice(first);
        second_device.copy_from_slice(second);
        Self {
            address,
            slot,
            device,
            second_device,
            status: [high, low],
        }
    }

    /// Writes the entry behind `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[self.address, self.slot]);
        bytes.extend_from_slice(&self.device);
        bytes.extend_from_slice(&self.second_device);
        bytes.extend_from_slice(&self.status);
    }

    /// Reads a list of whole entries.
    fn list(info: &[u8]) -> Option<Vec<Self>> {
        let (entries, rest) = info.as_chunks();
        rest.is_empty()
            .then(|| entries.iter().map(Self::decode).collect())
    }
}

/// Times and sizes of the slot scheme, the same on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DiscoveryConfig {
    /// Frames of the line; its addressing must be [`Addressing::Slotted`].
    pub profile: Profile,
    /// Slots per round, 1 to 63.
    pub slots: u8,
    /// Length of a slot, and of the guard time behind it.
    pub slot: Duration,
    /// From one assignment round to the next.
    pub interval: Duration,
    /// Time of one character on the line.
    pub character: Duration,
}

impl Default for DiscoveryConfig {
    /// 32 slots of 5 ms each 10 s at 460.8 kBd, as the source has them.
    fn default() -> Self {
        Self {
            profile: Profile::SLOTTED,
            slots: 32,
            slot: Duration::from_millis(5),
            interval: Duration::from_secs(10),
            character: Duration::from_nanos(21_701),
        }
    }
}

impl DiscoveryConfig {
    fn period(&self) -> Duration {
        self.slot * 2
    }

    /// When all slots of a round that began at `start` are over.
    fn end(&self, start: Nanos) -> Nanos {
        start + self.period() * u32::from(self.slots)
    }

    /// The start of a slot.
    fn begin(&self, start: Nanos, slot: u8) -> Nanos {
        start + self.period() * u32::from(slot.saturating_sub(1))
    }

    /// The slot an instant lies in or behind, and whether it is in the guard time.
    fn slot_at(&self, start: Nanos, at: Nanos) -> (u8, bool) {
        let since = at.saturating_since(start).as_nanos();
        let period = self.period().as_nanos().max(1);
        let slot = u8::try_from(since / period + 1).unwrap_or(u8::MAX);
        (slot, since % period >= self.slot.as_nanos())
    }

    /// A source address in the length of the profile.
    fn source(&self, address: u8) -> Option<Address> {
        match self.profile.addressing {
            Addressing::Slotted { source: 2 } => Address::from_line(&[address, 0]),
            _ => Address::from_line(&[address]),
        }
    }
}

const GATEWAY: u8 = 1;
const BROADCAST: u8 = 0xff;

/// What a round is for: the lowest bits of the second destination byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Assignment = 1,
    Presence = 2,
}

/// The gateway's side of the slot scheme; knows at most as many meters as there are slots.
#[derive(Clone, Debug)]
pub struct SlotDiscovery {
    config: DiscoveryConfig,
    known: Vec<Entry>,
    next_round: Nanos,
    round: Option<Round>,
    presence_due: bool,
    events: VecDeque<DiscoveryEvent>,
}

#[derive(Clone, Debug)]
struct Round {
    protocol: Protocol,
    /// End of the broadcast.
    start: Nanos,
    answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    slot: u8,
    in_guard: bool,
    entry: Entry,
}

impl SlotDiscovery {
    /// The first round begins at `now`.
    pub fn new(config: DiscoveryConfig, now: Nanos) -> Self {
        Self {
            config,
            known: Vec::new(),
            next_round: now,
            round: None,
            presence_due: false,
            events: VecDeque::new(),
        }
    }

    /// The meters known now.
    pub fn known(&self) -> &[Entry] {
        &self.known
    }

    fn broadcast(&self, protocol: Protocol) -> Option<Vec<u8>> {
        let mut info = Vec::new();
        for (index, entry) in self.known.iter().enumerate() {
            let slot = index as u8 + 1;
            Entry { slot, ..*entry }.encode(&mut info);
        }
        let control = Control::Ui { poll: true };
        let slots = self.config.slots << 2 | protocol as u8;
        let frame = Frame {
            segmented: false,
            destination: Address::from_line(&[BROADCAST, slots])?,
            source: self.config.source(GATEWAY)?,
            control,
            info: &info,
        };
        frame.encode(&self.config.profile).ok()
    }

    fn judge(&mut self, round: &Round) {
        for slot in 1..=self.config.slots {
            let mut answers = round.answers.iter().filter(|answer| answer.slot == slot);
            match (answers.next(), answers.next()) {
                (None, _) => {}
                (Some(answer), None) if !answer.in_guard => self.welcome(answer.entry),
                _ => self.events.push_back(DiscoveryEvent::Collision { slot }),
            }
        }
    }

    fn welcome(&mut self, entry: Entry) {
        let same = |known: &&Entry| known.device == entry.device;
        let address_taken = |known: &&Entry| known.address == entry.address;
        if self.known.iter().any(|known| same(&known)) {
            // It has not heard that it is known yet.
            return;
        }
        if self.known.iter().any(|known| address_taken(&known)) {
            self.events.push_back(DiscoveryEvent::AddressTaken(entry));
        } else if self.known.len() < usize::from(self.config.slots) {
            self.known.push(entry);
            self.events.push_back(DiscoveryEvent::Appeared(entry));
        }
    }

    fn check_presence(&mut self, round: &Round) {
        let mut slot = 0;
        let mut vanished = Vec::new();
        self.known.retain(|entry| {
            slot += 1;
            let mut answers = round.answers.iter().filter(|answer| answer.slot == slot);
            let present =
                answers.any(|answer| !answer.in_guard && answer.entry.device == entry.device);
            if !present {
                vanished.push(DiscoveryEvent::Vanished(*entry));
            }
            present
        });
        self.events.extend(vanished);
    }
}

impl Discovery for SlotDiscovery {
    fn handle_frame(&mut self, first: Nanos, last: Nanos, frame: &Frame<'_>) -> bool {
        let Some(round) = &mut self.round else {
            return false;
        };
        let ([GATEWAY, tail], Control::Ui { .. }) = (frame.destination.as_bytes(), frame.control)
        else {
            return false;
        };
        if tail & 3 != round.protocol as u8 {
            return false;
        }
        let entry = frame.info.try_into().ok().map(Entry::decode);
        let [source, ..] = *frame.source.as_bytes() else {
            return false;
        };
        let Some(entry) = entry.filter(|entry| entry.address == source && source > GATEWAY) else {
            return false;
        };
        let (slot, late) = self.config.slot_at(round.start, first);
        let (ends_in, over) = self.config.slot_at(round.start, last);
        let in_guard = late || over || ends_in != slot || first < round.start;
        // More answers than this are collisions anyway.
        if round.answers.len() < 4 * usize::from(self.config.slots) {
            round.answers.push(Answer {
                slot,
                in_guard,
                entry,
            });
        }
        true
    }

    fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.round.is_some() {
            return None;
        }
        let protocol = if self.presence_due {
            Protocol::Presence
        } else if now >= self.next_round {
            self.next_round = now + self.config.interval;
            Protocol::Assignment
        } else {
            return None;
        };
        self.presence_due = false;
        let line = self.broadcast(protocol)?;
        self.round = Some(Round {
            protocol,
            start: now + self.config.character * line.len() as u32,
            answers: Vec::new(),
        });
        Some(line)
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        Some(match &self.round {
            Some(round) => self.config.end(round.start),
            None => self.next_round,
        })
    }

    fn handle_timeout(&mut self, now: Nanos) {
        let config = self.config;
        let over = |round: &mut Round| now >= config.end(round.start);
        let Some(round) = self.round.take_if(over) else {
            return;
        };
        match round.protocol {
            Protocol::Assignment => {
                self.judge(&round);
                self.presence_due = !self.known.is_empty();
            }
            Protocol::Presence => self.check_presence(&round),
        }
    }

    fn poll_event(&mut self) -> Option<DiscoveryEvent> {
        self.events.pop_front()
    }
}

/// The meter's side of the slot scheme.
#[derive(Clone, Debug)]
pub struct SlotParticipant {
    config: DiscoveryConfig,
    entry: Entry,
    /// Moves answers; a slot's length puts them into the guard time.
    delay: Duration,
    answer: Option<(Nanos, Protocol)>,
}

impl SlotParticipant {
    /// A meter that asks for `entry.address` first; 0 lets chance choose.
    pub fn new(config: DiscoveryConfig, entry: Entry) -> Self {
        Self {
            config,
            entry,
            delay: Duration::ZERO,
            answer: None,
        }
    }

    /// The address in use, 0 before the first answer.
    pub fn address(&self) -> u8 {
        self.entry.address
    }

    /// Answers late by this much from now on, as a faulty meter does.
    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Takes a frame, the stamp of its last byte, and a number thrown by the caller: slot and address
    /// are chosen with it. Whether the frame was one of the discovery.
    pub fn handle_frame(&mut self, last: Nanos, frame: &Frame<'_>, dice: u32) -> bool {
        let ([BROADCAST, tail], Control::Ui { .. }) = (frame.destination.as_bytes(), frame.control)
        else {
            return false;
        };
        let slots = tail >> 2;
        let Some(listed) = Entry::list(frame.info) else {
            return false;
        };
        let own = listed
            .iter()
            .find(|entry| entry.device == self.entry.device);
        let (slot, protocol) = match (tail & 3, own) {
            (1, Some(own)) => {
                // The gateway knows us, by an address it heard from us.
                self.entry.address = own.address;
                self.answer = None;
                return true;
            }
            (1, None) if slots > 0 => {
                let [by_slot, by_address, ..] = dice.to_le_bytes();
                let taken = |address: u8| listed.iter().any(|entry| entry.address == address);
                if self.entry.address == 0 || taken(self.entry.address) {
                    let from = by_address % FREE;
                    let mut tries = (0..FREE).map(|step| FIRST + (from + step) % FREE);
                    self.entry.address = tries.find(|address| !taken(*address)).unwrap_or(0);
                }
                (1 + by_slot % slots, Protocol::Assignment)
            }
            (2, Some(own)) => (own.slot, Protocol::Presence),
            (1 | 2, _) => return true,
            _ => return false,
        };
        self.entry.slot = slot;
        let begin = self.config.begin(last, slot);
        self.answer = (self.entry.address != 0).then_some((begin + self.delay, protocol));
        true
    }

    /// When [`SlotParticipant::poll_transmit`] has something to send.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.answer.map(|(at, _)| at)
    }

    /// The answer, in its slot.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let (_, protocol) = self.answer.take_if(|(at, _)| now >= *at)?;
        let mut info = Vec::with_capacity(Entry::LENGTH);
        self.entry.encode(&mut info);
        let frame = Frame {
            segmented: false,
            destination: Address::from_line(&[GATEWAY, protocol as u8])?,
            source: self.config.source(self.entry.address)?,
            control: Control::Ui { poll: true },
            info: &info,
        };
        frame.encode(&self.config.profile).ok()
    }
}

/// Addresses a meter may take: 2 and 3 to 126 on the LMN; 2 to 126 here.
const FIRST: u8 = 2;
const FREE: u8 = 125;
