// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters on one wired LMN (BSI TR-03109-1 detail specifications v2.0 ch. 8-9): HDLC in normal response mode, SML in it,
//! and discovery by time slots where the profile wants it.
//!
//! The TLS of a real LMN is not played: a link is set up, loses frames and recovers below it, in the same way with any
//! bytes inside. SAP 1 for all is an assumption, DIN VDE V 0418-63-7 is not public.

use std::collections::VecDeque;

use smgw_hdlc::secondary::{Config, Event};
use smgw_hdlc::{
    Address, Control, DiscoveryConfig, Entry, Event as LineEvent, Frame as Hdlc, Framer,
    Profile as Layout, Secondary, SlotParticipant,
};
use smgw_peers::meters::LineConfig;
use smgw_units::{DeviceId, Nanos};

use super::fault::Fault;
use super::server::{Responder, Served};
use super::world::World;
use super::{Frame, Machine, Places};
use crate::profile::{Discovery, Identity};

/// SAP of all stations.
pub(crate) const SAP: u8 = 1;
/// Station of the gateway.
pub(crate) const GATEWAY: u8 = 1;

/// The slot scheme on a line of this speed.
pub(crate) fn slots(line: LineConfig) -> DiscoveryConfig {
    DiscoveryConfig {
        character: line.characters(1),
        ..DiscoveryConfig::default()
    }
}

/// All meters of a line.
pub(super) struct Lmn {
    stations: Vec<Station>,
    /// Hears the frames of the discovery, where there is one.
    discovery: Option<Framer>,
    /// What is to be sent, by the instant it is due.
    replies: VecDeque<Reply>,
    line: LineConfig,
}

struct Station {
    address: u8,
    secondary: Secondary,
    responder: Responder,
    participant: Option<SlotParticipant>,
    served: Option<Served>,
    /// What is served was sent before: segments and repeats have faults of their own.
    sent: bool,
}

struct Reply {
    due: Nanos,
    station: usize,
    bytes: Vec<u8>,
}

impl Lmn {
    pub(super) fn new(world: &World) -> Self {
        let line = world.profile.line;
        let by_slots = world.profile.layout.discovery == Discovery::Slots;
        let devices = world.profile.devices.iter().enumerate();
        let stations = devices
            .filter_map(|(index, device)| match device.identity {
                Identity::Lmn { station, device } => Some(Station {
                    address: station,
                    secondary: secondary(station),
                    responder: Responder::new(world, index),
                    participant: by_slots
                        .then(|| SlotParticipant::new(slots(line), entry(station, &device))),
                    served: None,
                    sent: false,
                }),
                _ => None,
            })
            .collect();
        let config = slots(line);
        Self {
            stations,
            discovery: by_slots.then(|| Framer::new(config.profile, config.slot)),
            replies: VecDeque::new(),
            line,
        }
    }

    fn reply(&mut self, due: Nanos, station: usize, bytes: Vec<u8>) {
        let place = self.replies.partition_point(|other| other.due <= due);
        let reply = Reply {
            due,
            station,
            bytes,
        };
        self.replies.insert(place, reply);
        // A line that nobody reads must not fill the memory.
        self.replies.truncate(MOST_REPLIES);
    }

    /// A byte as a part of the discovery.
    fn discover(&mut self, world: &mut World, at: Nanos, byte: u8) {
        let Some(framer) = &mut self.discovery else {
            return;
        };
        framer.idle(at);
        framer.push(byte, at);
        let mut answers = Vec::new();
        while let Some(event) = framer.poll() {
            let LineEvent::Frame { frame, last, .. } = event else {
                continue;
            };
            for (index, station) in self.stations.iter_mut().enumerate() {
                let Some(participant) = &mut station.participant else {
                    continue;
                };
                let dice = world.faults.random().next() as u32;
                if !participant.handle_frame(last, &frame, dice) {
                    continue;
                }
                if participant.address() != station.address {
                    station.address = participant.address();
                    station.secondary = secondary(station.address);
                }
                answers.extend(participant.poll_timeout().and_then(|due| {
                    let bytes = participant.poll_transmit(due)?;
                    Some((due, index, bytes))
                }));
            }
        }
        for (due, index, bytes) in answers {
            self.reply(due, index, bytes);
        }
    }
}

impl Machine for Lmn {
    fn handle_input(&mut self, world: &mut World, at: Nanos, byte: u8) {
        self.discover(world, at, byte);
        let mut answers = Vec::new();
        for (index, station) in self.stations.iter_mut().enumerate() {
            station.secondary.handle_input(at, byte);
            while let Some(event) = station.secondary.poll_event() {
                if let Event::Message { message, last, .. } = event
                    && let Some(served) = station.responder.serve(world, last, &message)
                    && station.secondary.send(served.payload.clone()).is_ok()
                {
                    station.served = Some(served);
                    station.sent = false;
                }
            }
            while let Some(bytes) = station.secondary.poll_transmit() {
                answers.push((at + world.profile.delay, index, bytes));
            }
        }
        for (due, index, bytes) in answers {
            self.reply(due, index, bytes);
        }
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        self.replies.front().map(|reply| reply.due)
    }

    fn poll_transmit(&mut self, world: &mut World, _: Nanos) -> Option<Frame> {
        let Reply {
            due,
            station,
            mut bytes,
        } = self.replies.pop_front()?;
        let mut frame = self
            .stations
            .get_mut(station)?
            .frame(world, due, &bytes, self.line);
        // Who begins before the first has ended talks into it.
        let character = self.line.characters(1).as_nanos().max(1);
        while let Some(other) = self
            .replies
            .pop_front_if(|other| other.due < due + self.line.characters(bytes.len()))
        {
            let offset = other.due.saturating_since(due).as_nanos() / character;
            overlay(
                &mut bytes,
                usize::try_from(offset).unwrap_or(0),
                &other.bytes,
            );
            frame.samples.clear();
            frame.faults.push(Fault::Collision);
        }
        if frame.faults.contains(&Fault::DuplicateAddress)
            && let Some(behind) = bytes.get_mut(HEADER + 2..)
            && let Some((_flag, behind)) = behind.split_last_mut()
        {
            world.faults.random().talk_into(behind);
        }
        frame.bytes = bytes;
        Some(frame)
    }
}

impl Station {
    fn frame(&mut self, world: &mut World, due: Nanos, bytes: &[u8], line: LineConfig) -> Frame {
        let places = Places {
            checksum: bytes.len().checked_sub(2),
            length: Some(2),
            header_checksum: Some(HEADER),
            stop: bytes.len().checked_sub(1),
        };
        let read = Hdlc::decode(&Layout::LMN, bytes).ok();
        let data = read.filter(|read| matches!(read.control, Control::Information { .. }));
        let (Some(data), Some(served)) = (data, &mut self.served) else {
            return Frame {
                due,
                bytes: bytes.to_vec(),
                data: false,
                telegram: String::new(),
                samples: Vec::new(),
                sampled_at: due,
                faults: world.draw(due, false),
                places,
                line,
            };
        };
        if std::mem::replace(&mut self.sent, true) {
            served.faults = world.draw(due, true);
        }
        let mut frame = served.clone().frame(due, bytes.to_vec(), places, line);
        // The values are there once the last segment is.
        if data.segmented {
            frame.samples.clear();
        }
        frame
    }
}

/// Two that talk at once: of each bit the zero wins (assumed; on RS-485 the stronger one does). Equal bytes stay.
fn overlay(bytes: &mut Vec<u8>, offset: usize, other: &[u8]) {
    let end = (offset + other.len()).max(bytes.len());
    bytes.resize(end, 0xff);
    bytes
        .iter_mut()
        .skip(offset)
        .zip(other)
        .for_each(|(byte, other)| *byte &= other);
}

fn secondary(station: u8) -> Secondary {
    Secondary::new(Config::new(Layout::LMN, Address::lmn(SAP, station)))
}

fn entry(address: u8, device: &DeviceId) -> Entry {
    let mut text = [0; 14];
    text.iter_mut()
        .zip(device.as_str().bytes())
        .for_each(|(own, letter)| *own = letter.to_ascii_uppercase());
    Entry {
        address,
        slot: 0,
        device: text,
        second_device: [0; 14],
        status: [0; 2],
    }
}

/// Bytes before the check of the header: flag, format, addresses, control.
const HEADER: usize = 8;
/// Each station answers once, in normal response mode.
const MOST_REPLIES: usize = 256;
