// SPDX-License-Identifier: MIT OR Apache-2.0
//! The meter's side of a line in normal response mode: it speaks only when asked.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::address::Address;
use crate::control::Control;
use crate::frame::{Fault, Frame, Profile};
use crate::framer::{self, Framer};
use crate::primary::{MAX_WAITING, SendError};
use crate::transfer::Transfer;

/// How a secondary behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Frames of the line.
    pub profile: Profile,
    /// The secondary's own address.
    pub address: Address,
    /// The information its UA to SNRM carries: parameters in DLMS, nothing on the LMN.
    pub ua_info: Vec<u8>,
    /// Silence that ends a frame begun.
    pub gap: Duration,
    /// Most bytes of a received message, over all its segments.
    pub max_message: usize,
}

impl Config {
    /// 20 ms gap, messages of 64 KiB.
    pub const fn new(profile: Profile, address: Address) -> Self {
        Self {
            profile,
            address,
            ua_info: Vec::new(),
            gap: Duration::from_millis(20),
            max_message: 0x1_0000,
        }
    }
}

/// What happened on the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A primary set the link up; when it was up before, what was under way is dropped.
    Connected {
        /// The primary.
        primary: Address,
    },
    /// The primary ended the link.
    Disconnected,
    /// A frame had to be rejected (FRMR); the primary must set the link up anew.
    Rejected {
        /// Its control byte.
        control: Control,
    },
    /// A whole message.
    Message {
        /// All its segments.
        message: Vec<u8>,
        /// Stamp of the first byte of its last frame.
        first: Nanos,
        /// Stamp of the last byte of its last frame.
        last: Nanos,
    },
    /// A message of ours is wholly acknowledged.
    Delivered,
    /// Information without connection (UI), to us or to all.
    Datagram {
        /// From whom.
        source: Address,
        /// To whom.
        destination: Address,
        /// What.
        info: Vec<u8>,
        /// Stamp of its last byte.
        last: Nanos,
    },
    /// Bytes that belong to no good frame.
    Discarded {
        /// How many.
        bytes: usize,
        /// Stamp of the first.
        first: Nanos,
        /// What was wrong.
        reason: Fault,
    },
}

/// A station that answers one primary.
#[derive(Clone, Debug)]
pub struct Secondary {
    config: Config,
    framer: Framer,
    state: State,
    transfer: Transfer,
    busy: bool,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Disconnected,
    Connected(Address),
    /// The information of the FRMR that answers everything but SNRM and DISC.
    Rejecting([u8; 3]),
}

/// Responses that may wait to be sent: one, and a datagram or two.
const MAX_OUT: usize = 4;

impl Secondary {
    /// Disconnected.
    pub fn new(config: Config) -> Self {
        Self {
            framer: Framer::new(config.profile, config.gap),
            config,
            state: State::Disconnected,
            transfer: Transfer::default(),
            busy: false,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Queues a message; it goes out when the primary asks.
    ///
    /// # Errors
    /// [`SendError::Unconnected`] without a link, [`SendError::Full`] behind 64 others.
    pub fn send(&mut self, message: Vec<u8>) -> Result<(), SendError> {
        if !matches!(self.state, State::Connected(_)) {
            return Err(SendError::Unconnected);
        }
        if self.transfer.waiting() >= MAX_WAITING {
            return Err(SendError::Full);
        }
        self.transfer.push(message);
        Ok(())
    }

    /// While busy, information is not taken and RNR answers.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// Loses the link without a word, as a meter does that restarts.
    pub fn restart(&mut self) {
        self.state = State::Disconnected;
        self.transfer.clear();
    }

    /// Whether a primary has set the link up.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// The bytes to send now, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        self.handle_timeout(at);
        self.framer.push(byte, at);
        self.drain();
    }

    /// When [`Secondary::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.framer.deadline()
    }

    /// Gives up a frame begun when the line fell silent.
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.framer.idle(now);
        self.drain();
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn drain(&mut self) {
        // The framer is taken out, because its frames are borrowed from it.
        let mut framer = core::mem::replace(
            &mut self.framer,
            Framer::new(self.config.profile, self.config.gap),
        );
        while let Some(event) = framer.poll() {
            match event {
                framer::Event::Frame {
                    frame, first, last, ..
                } => self.handle_frame(&frame, first, last),
                framer::Event::Discarded {
                    bytes,
                    first,
                    reason,
                } => self.events.push_back(Event::Discarded {
                    bytes,
                    first,
                    reason,
                }),
            }
        }
        self.framer = framer;
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, first: Nanos, last: Nanos) {
        let ours = frame.destination == self.config.address;
        if let Control::Ui { .. } = frame.control {
            if ours || frame.destination.is_broadcast() {
                self.events.push_back(Event::Datagram {
                    source: frame.source,
                    destination: frame.destination,
                    info: frame.info.to_vec(),
                    last,
                });
            }
            return;
        }
        if !ours {
            return;
        }
        let primary = frame.source;
        match (frame.control, self.state) {
            (Control::Snrm { .. }, before) => {
                // SNRM again, because our UA was lost, changes nothing.
                let repeated = before == State::Connected(primary) && !self.transfer.used();
                self.transfer.set_up();
                self.state = State::Connected(primary);
                if !repeated {
                    self.events.push_back(Event::Connected { primary });
                }
                let info = self.config.ua_info.clone();
                self.respond(primary, Control::Ua { poll: true }, false, &info);
            }
            (Control::Disc { .. }, State::Disconnected) => self.refuse(primary),
            (Control::Disc { .. }, _) => {
                self.restart();
                self.events.push_back(Event::Disconnected);
                self.respond(primary, Control::Ua { poll: true }, false, &[]);
            }
            (control, State::Disconnected) if control.poll() => self.refuse(primary),
            (control, State::Rejecting(why)) if control.poll() => {
                self.respond(primary, Control::Frmr { poll: true }, false, &why);
            }
            (control, State::Connected(known)) if known == primary => {
                self.transfer(frame, control, first, last);
            }
            _ => {}
        }
    }

    fn refuse(&mut self, primary: Address) {
        self.respond(primary, Control::Dm { poll: true }, false, &[]);
    }

    /// I, RR, RNR and what a connected station cannot take.
    fn transfer(&mut self, frame: &Frame<'_>, control: Control, first: Nanos, last: Nanos) {
        let (Control::Information { receive, .. }
        | Control::ReceiveReady { receive, .. }
        | Control::ReceiveNotReady { receive, .. }) = control
        else {
            return self.reject(frame, W);
        };
        let before = self.transfer.waiting();
        if self.transfer.acknowledge(receive).is_err() {
            return self.reject(frame, Z);
        }
        if self.transfer.waiting() < before {
            self.events.push_back(Event::Delivered);
        }
        if let Control::Information { send, .. } = control
            && !self.busy
        {
            let limit = self.config.max_message;
            match self
                .transfer
                .accept(send, frame.segmented, frame.info, limit)
            {
                Ok(Some(message)) => self.events.push_back(Event::Message {
                    message,
                    first,
                    last,
                }),
                Ok(None) => {}
                Err(_) => return self.reject(frame, Y),
            }
        }
        if !control.poll() {
            return;
        }
        let receive = self.transfer.receive();
        let max_info = usize::from(self.config.profile.max_info);
        let primary_busy = matches!(control, Control::ReceiveNotReady { .. });
        let segment = if primary_busy || self.busy {
            None
        } else {
            self.transfer.segment(max_info)
        };
        match segment {
            Some(segment) => {
                let control = Control::Information {
                    send: segment.send,
                    receive,
                    poll: true,
                };
                let (segmented, info) = (segment.segmented, segment.info.to_vec());
                self.respond(frame.source, control, segmented, &info);
            }
            None => {
                let control = if self.busy {
                    Control::ReceiveNotReady {
                        receive,
                        poll: true,
                    }
                } else {
                    Control::ReceiveReady {
                        receive,
                        poll: true,
                    }
                };
                self.respond(frame.source, control, false, &[]);
            }
        }
    }

    /// FRMR: the rejected control byte, V(R) and V(S), and why (ISO/IEC 13239 §5.5.3.4.2).
    fn reject(&mut self, frame: &Frame<'_>, why: u8) {
        let numbers = self.transfer.receive() << 5 | self.transfer.send() << 1;
        let info = [frame.control.byte(), numbers, why];
        self.state = State::Rejecting(info);
        self.transfer.clear();
        self.events.push_back(Event::Rejected {
            control: frame.control,
        });
        self.respond(frame.source, Control::Frmr { poll: true }, false, &info);
    }

    fn respond(&mut self, to: Address, control: Control, segmented: bool, info: &[u8]) {
        let frame = Frame {
            segmented,
            destination: to,
            source: self.config.address,
            control,
            info,
        };
        // An address that was received can be written; our own may not fit, then we stay silent.
        if let Ok(line) = frame.encode(&self.config.profile)
            && self.out.len() < MAX_OUT
        {
            self.out.push_back(line);
        }
    }
}

/// FRMR: unknown control byte.
const W: u8 = 0x01;
/// FRMR: information too long.
const Y: u8 = 0x04;
/// FRMR: invalid N(R).
const Z: u8 = 0x08;
