// SPDX-License-Identifier: MIT OR Apache-2.0
//! The slave's side of a line (EN 13757-2 §5.6, EN 13757-3 §8): a played meter, with faults on demand.
//!
//! Hand in every received byte; when that asks for data, answer with [`Slave::respond`]; at
//! [`Slave::poll_timeout`] send what [`Slave::poll_transmit`] gives.

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::frame::{Frame, control};
use crate::framer::{Event as LineEvent, Framer};
use crate::timing::Timing;
use crate::{Device, Header, response};

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
    framer: Framer,
    fcb: Option<bool>,
    telegram: usize,
    access: u8,
    selected: bool,
    request: Vec<u8>,
    request_end: Nanos,
    last_reply: Vec<u8>,
    pending: Option<(Nanos, Vec<u8>)>,
}

impl Slave {
    /// A slave after power-on.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            faults: Faults::default(),
            // A silence of 33 bits ends a frame; 11 more for the character under way.
            framer: Framer::new(config.timing.bits(44)),
            fcb: None,
            telegram: 0,
            access: 0,
            selected: false,
            request: Vec::new(),
            request_end: Nanos(0),
            last_reply: Vec::new(),
            pending: None,
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

    /// Takes a byte and the stamp at which its last bit was on the line.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) -> Option<Event> {
        let Some(LineEvent::Frame { bytes, last, .. }) = self.framer.push(byte, at) else {
            return None;
        };
        let request = bytes.to_vec();
        self.request.clone_from(&request);
        self.request_end = last;
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
                self.fcb = None;
                self.telegram = 0;
                if address == SECONDARY {
                    self.selected = false;
                }
                self.acknowledge(address);
                Some(Event::Reset)
            }
            code if code == control::REQ_UD2 & !control::FCV && address != BROADCAST_SILENT => {
                Some(self.request_data(control))
            }
            code if code == control::REQ_UD1 & !control::FCV => {
                // No alarms.
                self.acknowledge(address);
                None
            }
            _ => None,
        }
    }

    fn request_data(&mut self, control: u8) -> Event {
        let fcb = (control & control::FCV != 0).then_some(control & control::FCB != 0);
        let repeated = fcb.is_some() && fcb == self.fcb && !self.faults.stuck_fcb;
        if repeated && !self.last_reply.is_empty() {
            let reply = self.last_reply.clone();
            self.schedule(reply);
            return Event::Repeated;
        }
        self.telegram = match (self.fcb, fcb) {
            (Some(_), Some(_)) => self.telegram + 1,
            _ => 0,
        };
        self.fcb = fcb;
        Event::DataRequested {
            telegram: self.telegram,
        }
    }

    fn long(&mut self, control: u8, address: u8, ci: u8, data: &[u8]) -> Option<Event> {
        if control & !control::FCB != control::SND_UD {
            return None;
        }
        if address == SECONDARY && matches!(ci, SELECT | DESELECT) {
            let matches = ci == SELECT && self.matches(data);
            let changed = matches != self.selected;
            self.selected = matches;
            if matches {
                self.acknowledge(address);
            }
            return (matches || changed).then_some(Event::Selected(matches));
        }
        if !self.concerns(address) {
            return None;
        }
        if ci == APPLICATION_RESET {
            self.telegram = 0;
            self.fcb = None;
        }
        self.acknowledge(address);
        Some(Event::Command {
            ci,
            data: data.to_vec(),
        })
    }

    /// Whether a secondary address with wildcards (nibble F, byte FF) names this slave.
    fn matches(&self, mask: &[u8]) -> bool {
        let Some((&[i0, i1, i2, i3, m0, m1, version, medium], _)) = mask.split_first_chunk::<8>()
        else {
            return false;
        };
        let device = &self.config.device;
        let nibble = |mask: u8, own: u8| mask == 0x0f || mask == own;
        let digits = [i0, i1, i2, i3]
            .iter()
            .zip(&device.id)
            .all(|(mask, own)| nibble(mask >> 4, own >> 4) && nibble(mask & 15, own & 15));
        let [o0, o1] = device.manufacturer.0.to_le_bytes();
        let rest = [
            (m0, o0),
            (m1, o1),
            (version, device.version),
            (medium, device.medium),
        ]
        .iter()
        .all(|(mask, own)| *mask == 0xff || mask == own);
        digits && rest
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
        self.pending = Some((self.request_end + delay, reply));
    }

    fn spoil(&self, reply: &mut Vec<u8>) {
        let faults = &self.faults;
        let long = reply.first() == Some(&0x68);
        if let (true, true, Some([control, .., sum, _])) = (faults.busy, long, reply.get_mut(4..)) {
            *control |= control::DFC;
            *sum = sum.wrapping_add(control::DFC);
        }
        if let (true, Some([.., sum, _])) = (faults.bad_checksum && long, reply.get_mut(..)) {
            *sum = sum.wrapping_add(1);
        }
        if let (true, Some(length)) = (faults.length_mismatch && long, reply.get_mut(2)) {
            *length = length.wrapping_add(1);
        }
        if faults.half {
            reply.truncate(reply.len() / 2);
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

    /// The answer to send, once it is due.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let due = self.poll_timeout()?;
        (due <= now).then(|| self.pending.take().map(|(_, reply)| reply))?
    }
}

const SECONDARY: u8 = 0xfd;
const BROADCAST_ANSWERED: u8 = 0xfe;
const BROADCAST_SILENT: u8 = 0xff;
const SELECT: u8 = 0x52;
const DESELECT: u8 = 0x56;
const APPLICATION_RESET: u8 = 0x50;
