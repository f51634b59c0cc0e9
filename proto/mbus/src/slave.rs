// SPDX-License-Identifier: MIT OR Apache-2.0
//! The slave's side of a line (EN 13757-2 §5.6, EN 13757-3 §8): a played meter, with faults on demand.
//!
//! Hand in every received byte; when that asks for data, answer with [`Slave::respond`]; at
//! [`Slave::poll_timeout`] send what [`Slave::poll_transmit`] gives.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::command::{Command, SECONDARY};
use crate::frame::{Frame, control};
use crate::framer::{Event as LineEvent, Framer};
use crate::select::Mask;
use crate::timing::Timing;
use crate::{Device, Header, alarm_response, response};

/// Who a slave is and how fast it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Primary address, 0 to 250.
    pub address: u8,
    /// Its secondary address.
    pub device: Device,
    /// Speed of the line.
    pub timing: Timing,
    /// Time from the last bit of a request to the first bit of the answer; kept inside the window of
    /// the standard.
    pub delay: Duration,
}

/// What goes wrong with the answers of a slave.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// Never answers.
    pub silent: bool,
    /// Wrong checksum.
    pub bad_checksum: bool,
    /// Stops after half of the frame.
    pub half: bool,
    /// The two lengths differ.
    pub length_mismatch: bool,
    /// Bytes sent before the frame.
    pub garbage: Vec<u8>,
    /// Bytes sent behind the frame.
    pub trailing: Vec<u8>,
    /// The request comes back before the answer, as some level converters do.
    pub echo: bool,
    /// Says "busy" (DFC).
    pub busy: bool,
    /// Ignores the frame count bit: every request gets new data.
    pub stuck_fcb: bool,
    /// Delay used as it is, inside the window or not.
    pub delay: Option<Duration>,
    /// Silence in the middle of the answer.
    pub gap: Option<Duration>,
    /// The answer is sent twice.
    pub twice: bool,
    /// Both lengths are too large by this.
    pub length_off_by: u8,
    /// The last byte is none of 16.
    pub bad_stop: bool,
}

/// What a received byte leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The link was reset.
    Reset,
    /// Data is asked for; answer with [`Slave::respond`].
    DataRequested {
        /// 0 for the first telegram, counted up by toggled frame count bits.
        telegram: usize,
    },
    /// The master asks for the same answer again; it is being repeated.
    Repeated,
    /// The slave was selected by its secondary address, or deselected.
    Selected(bool),
    /// Data from the master, acknowledged.
    Command {
        /// Control information field.
        ci: u8,
        /// Data behind it.
        data: Vec<u8>,
    },
}

/// One slave.
#[derive(Clone, Debug)]
pub struct Slave {
    config: Config,
    /// What goes wrong from now on.
    pub faults: Faults,
    /// One memory of the frame count bit for all addresses, as some meters have it; else one for the
    /// primary and one for the secondary address.
    pub shared_fcb: bool,
    /// State told when alarms are asked for; while there is one, answers say so (ACD).
    pub alarm: Option<u8>,
    framer: Framer,
    fcb: [Option<bool>; 2],
    telegram: usize,
    access: u8,
    selected: bool,
    request: Vec<u8>,
    request_end: Nanos,
    /// The latest command, to know its repeat.
    last_command: Vec<u8>,
    last_reply: Vec<u8>,
    pending: Option<(Nanos, Vec<u8>)>,
    /// What is left of an answer with a gap.
    second_half: Option<(Nanos, Vec<u8>)>,
    rate: Rate,
}

/// The rate of a slave on its way to another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rate {
    Settled,
    /// To be taken once the acknowledgement is out.
    Asked(u32),
    /// Taken at a time, until a good frame comes or it is given up for the old one.
    Trial {
        since: Nanos,
        old: u32,
    },
}

impl Slave {
    /// How long a slave waits at a new rate for a good frame; the standard allows 2 to 10 minutes
    /// (assumed).
    pub const RATE_TRIAL: Duration = Duration::from_secs(120);

    /// A slave after power-on.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            faults: Faults::default(),
            shared_fcb: false,
            alarm: None,
            framer: framer(&config.timing),
            fcb: [None; 2],
            telegram: 0,
            access: 0,
            selected: false,
            request: Vec::new(),
            request_end: Nanos(0),
            last_command: Vec::new(),
            last_reply: Vec::new(),
            pending: None,
            second_half: None,
            rate: Rate::Settled,
        }
    }

    /// Who this slave is.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Access number of the next new answer.
    pub const fn access(&self) -> u8 {
        self.access
    }

    /// Rate of the line in Bd, as this slave has it at `now`: it changes behind the acknowledgement of a
    /// command to do so, and back when no good frame follows.
    pub fn rate(&mut self, now: Nanos) -> u32 {
        if let Rate::Trial { since, old } = self.rate {
            if now < since {
                return old;
            }
            if now >= since + Self::RATE_TRIAL {
                self.change_rate(old);
                self.rate = Rate::Settled;
            }
        }
        self.config.timing.baud
    }

    fn change_rate(&mut self, rate: u32) {
        self.config.timing.baud = rate;
        self.framer = framer(&self.config.timing);
    }

    /// The rate asked for is taken at `since`.
    fn try_rate(&mut self, since: Nanos) {
        if let Rate::Asked(rate) = self.rate {
            let old = self.config.timing.baud;
            self.change_rate(rate);
            self.rate = Rate::Trial { since, old };
        }
    }

    /// Takes a byte and the stamp at which its last bit was on the line.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) -> Option<Event> {
        let Some(LineEvent::Frame { bytes, last, .. }) = self.framer.push(byte, at) else {
            return None;
        };
        let request = bytes.to_vec();
        self.request.clone_from(&request);
        self.request_end = last;
        self.rate = Rate::Settled;
        match Frame::parse(&request).ok()? {
            Frame::Ack => None,
            Frame::Short { control, address } => self.short(control, address),
            Frame::Long {
                control,
                address,
                ci,
                data,
            } => self.long(control, address, ci, data),
        }
    }

    /// Which memory of the frame count bit an address has.
    fn memory(&mut self, address: u8) -> &mut Option<bool> {
        let [primary, secondary] = &mut self.fcb;
        if address == SECONDARY && !self.shared_fcb {
            secondary
        } else {
            primary
        }
    }

    fn concerns(&self, address: u8) -> bool {
        address == self.config.address
            || matches!(address, BROADCAST_ANSWERED | BROADCAST_SILENT)
            || (address == SECONDARY && self.selected)
    }

    fn short(&mut self, control: u8, address: u8) -> Option<Event> {
        if !self.concerns(address) {
            return None;
        }
        match control & !(control::FCB | control::FCV) {
            code if code == control::SND_NKE => {
                *self.memory(address) = None;
                self.last_command.clear();
                self.telegram = 0;
                if address == SECONDARY {
                    self.selected = false;
                }
                self.acknowledge(address);
                Some(Event::Reset)
            }
            code if code == control::REQ_UD2 & !control::FCV && address != BROADCAST_SILENT => {
                Some(self.request_data(control, address))
            }
            code if code == control::REQ_UD1 & !control::FCV && address != BROADCAST_SILENT => {
                match self.alarm {
                    Some(state) => {
                        let reply = alarm_response(self.config.address, state);
                        self.schedule(reply.unwrap_or_default());
                    }
                    None => self.acknowledge(address),
                }
                None
            }
            _ => None,
        }
    }

    fn request_data(&mut self, control: u8, address: u8) -> Event {
        self.last_command.clear();
        let fcb = (control & control::FCV != 0).then_some(control & control::FCB != 0);
        let stuck = self.faults.stuck_fcb;
        let memory = self.memory(address);
        let before = core::mem::replace(memory, fcb);
        if fcb.is_some() && fcb == before && !stuck && !self.last_reply.is_empty() {
            let reply = self.last_reply.clone();
            self.schedule(reply);
            return Event::Repeated;
        }
        self.telegram = match (before, fcb) {
            (Some(_), Some(_)) => self.telegram + 1,
            _ => 0,
        };
        Event::DataRequested {
            telegram: self.telegram,
        }
    }

    fn long(&mut self, control: u8, address: u8, ci: u8, data: &[u8]) -> Option<Event> {
        if control & !control::FCB != control::SND_UD {
            return None;
        }
        let command = Command::parse(ci, data);
        if address == SECONDARY && (matches!(ci, SELECT | DESELECT)) {
            return self.select(&command);
        }
        if !self.concerns(address) {
            return None;
        }
        self.acknowledge(address);
        // The same bytes with the same frame count bit: the acknowledgement was lost.
        if self.last_command == self.request {
            return None;
        }
        self.last_command.clone_from(&self.request);
        self.obey(&command);
        Some(Event::Command {
            ci,
            data: data.to_vec(),
        })
    }

    fn select(&mut self, command: &Command<'_>) -> Option<Event> {
        // Fabrication numbers are taken for the identification number.
        let matches = match command {
            Command::Select { mask, fabrication } => {
                let number = fabrication.map(|id| Mask { id, ..Mask::ANY });
                let own = &self.config.device;
                mask.matches(own) && number.is_none_or(|number| number.matches(own))
            }
            _ => false,
        };
        let changed = matches != self.selected;
        self.selected = matches;
        if matches {
            *self.memory(SECONDARY) = None;
            self.acknowledge(SECONDARY);
        }
        (matches || changed).then_some(Event::Selected(matches))
    }

    /// What a slave does by itself at a command.
    fn obey(&mut self, command: &Command<'_>) {
        match *command {
            Command::ApplicationReset(_) => {
                self.telegram = 0;
                self.fcb = [None; 2];
            }
            Command::SetAddress(address) if address <= HIGHEST_PRIMARY => {
                self.config.address = address;
            }
            Command::SetId(id) => self.config.device.id = id,
            Command::SetDevice(device) => self.config.device = device,
            Command::SetBaud(rate) if rate != self.config.timing.baud => {
                self.rate = Rate::Asked(rate);
                // Without an acknowledgement there is nothing to wait for.
                if self.pending.is_none() {
                    self.try_rate(self.request_end);
                }
            }
            _ => {}
        }
    }

    /// Answers a [`Event::DataRequested`] with records behind a long header of `status`.
    /// Records that do not fit one frame are not sent.
    pub fn respond(&mut self, status: u8, records: &[u8]) {
        let header = Header {
            device: Some(self.config.device),
            access: self.access,
            status,
            config: 0,
        };
        if let Ok(reply) = response(self.config.address, &header, records) {
            self.access = self.access.wrapping_add(1);
            self.respond_raw(reply);
        }
    }

    /// Answers a [`Event::DataRequested`] for one of several telegrams: with the records of its part, and
    /// a last DIF 1F while others follow. Behind the last one the first follows again.
    pub fn respond_part(&mut self, status: u8, parts: &[&[u8]], telegram: usize) {
        let at = telegram.checked_rem(parts.len()).unwrap_or(0);
        let mut records = parts.get(at).copied().unwrap_or_default().to_vec();
        if at + 1 < parts.len() {
            records.push(MORE_FOLLOWS);
        }
        self.respond(status, &records);
    }

    /// Answers a [`Event::DataRequested`] with bytes as they are.
    pub fn respond_raw(&mut self, reply: Vec<u8>) {
        self.last_reply.clone_from(&reply);
        self.schedule(reply);
    }

    fn acknowledge(&mut self, address: u8) {
        if address != BROADCAST_SILENT {
            self.schedule(Frame::Ack.encode().unwrap_or_default());
        }
    }

    fn schedule(&mut self, mut reply: Vec<u8>) {
        self.pending = None;
        self.second_half = None;
        if self.faults.silent {
            return;
        }
        self.spoil(&mut reply);
        let timing = &self.config.timing;
        let delay = self.faults.delay.unwrap_or_else(|| {
            self.config
                .delay
                .clamp(timing.earliest_answer(), timing.latest_answer())
        });
        let due = self.request_end + delay;
        if let Some(gap) = self.faults.gap {
            let rest = reply.split_off(reply.len() / 2);
            self.second_half = Some((due + timing.characters(reply.len()) + gap, rest));
        }
        self.pending = Some((due, reply));
    }

    fn spoil(&self, reply: &mut Vec<u8>) {
        let faults = &self.faults;
        let mut flags = 0;
        if faults.busy {
            flags |= control::DFC;
        }
        if self.alarm.is_some() {
            flags |= control::ACD;
        }
        if let [0x68, first, second, _, control, .., sum, stop] = reply.as_mut_slice() {
            *control |= flags;
            *sum = sum.wrapping_add(flags);
            *first = first.wrapping_add(faults.length_off_by);
            *second = second.wrapping_add(faults.length_off_by);
            if faults.bad_checksum {
                *sum = sum.wrapping_add(1);
            }
            if faults.length_mismatch {
                *second = second.wrapping_add(1);
            }
            if faults.bad_stop {
                *stop = stop.wrapping_add(1);
            }
        }
        if faults.half {
            reply.truncate(reply.len() / 2);
        }
        if faults.twice {
            reply.extend_from_within(..);
        }
        reply.splice(0..0, faults.garbage.iter().copied());
        if faults.echo {
            reply.splice(0..0, self.request.iter().copied());
        }
        reply.extend_from_slice(&faults.trailing);
    }

    /// When the first bit of the pending answer is due.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.pending.as_ref().map(|(due, _)| *due)
    }

    /// The answer to send, once it is due; one with a gap comes in two parts.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let due = self.poll_timeout()?;
        if now < due {
            return None;
        }
        let (_, reply) = self.pending.take()?;
        self.pending = self.second_half.take();
        if self.pending.is_none() {
            self.try_rate(due + self.config.timing.characters(reply.len()));
        }
        Some(reply)
    }
}

/// A silence of 33 bits ends a frame; 11 more for the character under way.
fn framer(timing: &Timing) -> Framer {
    Framer::new(timing.bits(44))
}

const BROADCAST_ANSWERED: u8 = 0xfe;
const BROADCAST_SILENT: u8 = 0xff;
const SELECT: u8 = 0x52;
const DESELECT: u8 = 0x56;
const HIGHEST_PRIMARY: u8 = 250;
const MORE_FOLLOWS: u8 = 0x1f;
