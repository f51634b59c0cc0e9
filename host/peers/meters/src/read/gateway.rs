// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks the meters of a wired LMN as a gateway does (BSI TR-03109-1 detail specifications v2.0 ch. 8-9), without TLS:
//! finds them by time slots, or else by asking every address, sets up a link with each, and reads them in turn.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_hdlc::primary::{Config, Event};
use smgw_hdlc::{
    Address, Discovery as _, DiscoveryEvent, Event as LineEvent, Framer, Primary, Profile,
    SlotDiscovery,
};
use smgw_peers::meters::LineConfig;
use smgw_units::Nanos;

use super::detect::{Action, Counters, Options, Report, Worker};
use super::inquiry::Inquiry;
use crate::profile::Protocol;
use crate::sim::lmn::{GATEWAY, SAP, slots};

/// The gateway of one line.
pub(super) struct Gateway {
    config: Config,
    /// Longest wait for a response to begin.
    latency: Duration,
    interval: Duration,
    primary: Primary,
    stage: Stage,
    meters: Vec<Meter>,
    /// When the next round begins.
    next_round: Option<Nanos>,
    reports: VecDeque<Report>,
}

enum Stage {
    Slots(Box<Slots>),
    /// All addresses: those still to answer or to stay silent, and those that answered.
    Scan {
        left: Vec<u8>,
        found: Vec<u8>,
    },
    /// Those found.
    Read,
}

/// The discovery by slots, and the instant it is given up for what it found.
struct Slots {
    discovery: SlotDiscovery,
    framer: Framer,
    until: Nanos,
}

struct Meter {
    address: Address,
    inquiry: Inquiry,
    connected: bool,
    /// It has not told everything of this round.
    busy: bool,
    known: bool,
}

impl Gateway {
    pub(super) fn new(line: LineConfig, options: &Options, now: Nanos) -> Self {
        let character = line.characters(1);
        let latency = options.adapter_latency + RESPONSE;
        let config = Config {
            response_timeout: latency + line.characters(LONGEST),
            character,
            ..Config::new(Profile::LMN, Address::lmn(SAP, GATEWAY))
        };
        let discovery = slots(line);
        let rounds = discovery.slot * 2 * u32::from(discovery.slots) * ROUNDS;
        let mut gateway = Self {
            config,
            latency,
            interval: options.interval,
            primary: Primary::new(config),
            stage: Stage::Slots(Box::new(Slots {
                framer: Framer::new(discovery.profile, discovery.slot),
                discovery: SlotDiscovery::new(
                    smgw_hdlc::DiscoveryConfig {
                        interval: Duration::ZERO,
                        ..discovery
                    },
                    now,
                ),
                until: now + rounds,
            })),
            meters: Vec::new(),
            next_round: None,
            reports: VecDeque::new(),
        };
        if !options.addresses.is_empty() {
            gateway.read(options.addresses.iter().copied());
        }
        gateway
    }

    /// Reads these stations.
    fn read(&mut self, stations: impl Iterator<Item = u8>) {
        self.stage = Stage::Read;
        self.primary = Primary::new(self.config);
        for station in stations {
            let address = Address::lmn(SAP, station);
            self.primary.connect(address);
            let seed = FIRST_TRANSACTION | u32::from(station) << 16;
            self.meters.push(Meter {
                address,
                inquiry: Inquiry::new(Protocol::HdlcLmn, seed),
                connected: false,
                busy: true,
                known: false,
            });
        }
    }

    /// Asks every address, once and without much patience.
    fn scan(&mut self) {
        self.primary = Primary::new(Config {
            response_timeout: self.latency + self.config.character * SHORTEST,
            retries: 0,
            // Nobody is to be read yet.
            poll_interval: Duration::from_secs(3_600),
            ..self.config
        });
        for station in STATIONS {
            self.primary.connect(Address::lmn(SAP, station));
        }
        self.stage = Stage::Scan {
            left: STATIONS.collect(),
            found: Vec::new(),
        };
    }

    /// Bytes of the discovery are none of the link, and the other way round.
    fn discover(&mut self, now: Nanos, byte: Option<u8>) {
        let Stage::Slots(slots) = &mut self.stage else {
            return;
        };
        let Slots {
            discovery,
            framer,
            until,
        } = &mut **slots;
        framer.idle(now);
        if let Some(byte) = byte {
            framer.push(byte, now);
        }
        while let Some(event) = framer.poll() {
            if let LineEvent::Frame {
                frame, first, last, ..
            } = event
            {
                discovery.handle_frame(first, last, &frame);
            }
        }
        discovery.handle_timeout(now);
        while let Some(event) = discovery.poll_event() {
            let report = match event {
                DiscoveryEvent::Appeared(entry) => Report::Meter(format!(
                    "station {}: {}",
                    entry.address,
                    String::from_utf8_lossy(&entry.device)
                )),
                DiscoveryEvent::AddressTaken(entry) => Report::Trouble(format!(
                    "two meters want station {}; the second is {}",
                    entry.address,
                    String::from_utf8_lossy(&entry.device)
                )),
                DiscoveryEvent::Collision { slot } => {
                    Report::Trouble(format!("no good answer in slot {slot} of the discovery"))
                }
                DiscoveryEvent::Vanished(_) => continue,
            };
            self.reports.push_back(report);
        }
        if now >= *until {
            let found: Vec<_> = discovery
                .known()
                .iter()
                .map(|entry| entry.address)
                .collect();
            if found.is_empty() {
                self.scan();
            } else {
                self.read(found.into_iter());
            }
        }
    }

    fn collect(&mut self, now: Nanos, counters: &mut Counters) {
        let mut round_ended = false;
        while let Some(event) = self.primary.poll_event() {
            match (&mut self.stage, event) {
                (Stage::Scan { left, found }, Event::Connected { peer, .. }) => {
                    left.retain(|station| u16::from(*station) != peer.station());
                    found.extend(u8::try_from(peer.station()));
                }
                (Stage::Scan { left, .. }, Event::Failed { peer, .. }) => {
                    left.retain(|station| u16::from(*station) != peer.station());
                }
                (_, Event::Connected { peer, .. }) => {
                    if let Some(meter) = self.meter(peer) {
                        meter.connected = true;
                        meter.inquiry.begin(now);
                    }
                }
                (_, Event::Message { peer, message, .. }) => {
                    if let Some(meter) = self.meter(peer) {
                        let telegram = meter.inquiry.handle_payload(now, &message, counters);
                        meter.known |= telegram.is_some();
                        meter.busy = meter.inquiry.is_asking();
                        round_ended |= !meter.busy;
                        self.reports.extend(telegram.map(Report::Telegram));
                    }
                }
                (_, Event::Failed { peer, .. }) => {
                    counters.unanswered += 1;
                    if let Some(meter) = self.meter(peer) {
                        meter.connected = false;
                        meter.busy = false;
                        meter.inquiry.give_up();
                        round_ended = true;
                        if meter.known {
                            let what =
                                format!("station {} does not answer any more", peer.station());
                            self.reports.push_back(Report::Trouble(what));
                        }
                    }
                }
                (_, Event::Discarded { bytes, reason, .. }) => match reason {
                    smgw_hdlc::Fault::Hcs | smgw_hdlc::Fault::Fcs => counters.checksum_errors += 1,
                    smgw_hdlc::Fault::NoStartFlag => counters.noise_bytes += bytes as u64,
                    _ => counters.incomplete += 1,
                },
                _ => {}
            }
        }
        if let Stage::Scan { left, found } = &mut self.stage
            && left.is_empty()
        {
            let found = std::mem::take(found);
            self.read(found.into_iter());
        }
        self.send();
        if round_ended {
            self.end_round(now);
        }
    }

    fn meter(&mut self, peer: Address) -> Option<&mut Meter> {
        self.meters.iter_mut().find(|meter| meter.address == peer)
    }

    /// Hands requests to the links.
    fn send(&mut self) {
        for meter in self.meters.iter_mut().filter(|meter| meter.connected) {
            if let Some(payload) = meter.inquiry.poll_transmit() {
                // Without a link nobody answers, and the inquiry times out.
                let _ = self.primary.send(meter.address, payload);
            }
        }
    }

    /// When nobody is being asked any more.
    fn end_round(&mut self, now: Nanos) {
        let known = self.meters.iter().any(|meter| meter.known);
        if known && self.next_round.is_none() && !self.meters.iter().any(|meter| meter.busy) {
            self.next_round = Some(now + self.interval);
            self.reports.push_back(Report::RoundEnded);
        }
    }
}

impl Worker for Gateway {
    fn exhausted(&self) -> bool {
        let lost = |meter: &Meter| !meter.busy && !meter.known;
        matches!(self.stage, Stage::Read) && self.meters.iter().all(lost)
    }

    fn handle_input(&mut self, at: Nanos, byte: u8, counters: &mut Counters) {
        if let Stage::Slots(_) = self.stage {
            self.discover(at, Some(byte));
        } else {
            self.primary.handle_input(at, byte);
            self.collect(at, counters);
        }
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        if let Stage::Slots(slots) = &self.stage {
            let due = slots.discovery.poll_timeout();
            return due.map(|due| due.min(slots.until));
        }
        let inquiries = self.meters.iter().map(|meter| meter.inquiry.poll_timeout());
        inquiries
            .chain([self.primary.poll_timeout(), self.next_round])
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters) {
        if let Stage::Slots(_) = self.stage {
            self.discover(now, None);
            return;
        }
        self.primary.handle_timeout(now);
        let mut round_ended = false;
        for meter in &mut self.meters {
            if meter.inquiry.handle_timeout(now) {
                counters.unanswered += 1;
                meter.busy = false;
                round_ended = true;
            }
        }
        self.collect(now, counters);
        if round_ended {
            self.end_round(now);
        }
        if self.next_round.take_if(|next| now >= *next).is_some() {
            for meter in &mut self.meters {
                meter.busy = true;
                if meter.connected {
                    meter.inquiry.begin(now);
                } else {
                    self.primary.connect(meter.address);
                }
            }
            self.send();
        }
    }

    fn poll_action(&mut self, now: Nanos) -> Option<Action> {
        let line = match &mut self.stage {
            Stage::Slots(slots) => slots.discovery.poll_transmit(now),
            Stage::Scan { .. } | Stage::Read => self.primary.poll_transmit(now),
        };
        line.map(Action::Send)
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }
}

/// How long a meter may take to begin its response.
const RESPONSE: Duration = Duration::from_millis(50);
/// Characters of the longest frame.
const LONGEST: usize = 2_034 + 13;
/// Characters of an SNRM and its UA.
const SHORTEST: u32 = 24;
/// Rounds of the discovery: assignments, and presence in between.
const ROUNDS: u32 = 4;
/// Stations a meter may be.
const STATIONS: std::ops::RangeInclusive<u8> = 2..=126;
const FIRST_TRANSACTION: u32 = 0x6000_0001;
