// SPDX-License-Identifier: MIT OR Apache-2.0
//! The master's side of a line with one primary address (EN 13757-2 §5.6): resets, requests, repeats.
//!
//! Call [`Master::reset`] or [`Master::request`], send what [`Master::poll_transmit`] gives, hand in
//! every received byte, call [`Master::handle_timeout`] when [`Master::poll_timeout`] is reached,
//! and take the outcome from [`Master::poll_event`].

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::frame::{Frame, control};
use crate::framer::{Event as LineEvent, Framer};
use crate::timing::Timing;

/// How a master behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Primary address of the slave.
    pub address: u8,
    /// Speed of the line.
    pub timing: Timing,
    /// Repeats after the first try; the standard asks for two at most.
    pub repeats: u8,
    /// Silence that ends an answer.
    pub gap: Duration,
}

impl Config {
    /// Two repeats, 50 ms gap.
    pub const fn new(address: u8, timing: Timing) -> Self {
        Self {
            address,
            timing,
            repeats: 2,
            gap: Duration::from_millis(50),
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The slave acknowledged the reset.
    Reset,
    /// The slave sent data.
    Response {
        /// The frame, for [`crate::Telegram::parse`].
        frame: Vec<u8>,
        /// Stamp of its first byte.
        first: Nanos,
        /// Stamp of its last byte.
        last: Nanos,
        /// Repeats it took.
        repeats: u8,
    },
    /// The slave stayed silent at every try.
    NoAnswer,
    /// The slave sent something at some try, but never a good answer.
    BadAnswer {
        /// Bytes it sent in all tries.
        bytes: usize,
        /// Stamp of the first of them.
        first: Nanos,
    },
}

/// One exchange at a time with one slave.
#[derive(Clone, Debug)]
pub struct Master {
    config: Config,
    framer: Framer,
    fcb: bool,
    state: State,
    heard: Option<(usize, Nanos)>,
    event: Option<Event>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    /// A frame is to be sent.
    Send {
        task: Task,
        tries: u8,
    },
    /// Nothing was heard yet.
    Await {
        task: Task,
        tries: u8,
        until: Nanos,
    },
    /// Bytes are coming in.
    Receive {
        task: Task,
        tries: u8,
        until: Nanos,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Task {
    Reset,
    Request,
}

impl Master {
    /// Idle; the first request after a reset carries FCB = 1.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            framer: Framer::new(config.gap),
            fcb: true,
            state: State::Idle,
            heard: None,
            event: None,
        }
    }

    /// Whether no exchange is under way.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle && self.event.is_none()
    }

    /// Starts a link reset (SND_NKE); gives up an exchange under way.
    pub fn reset(&mut self) {
        self.start(Task::Reset);
    }

    /// Starts a request of data (REQ_UD2); gives up an exchange under way.
    pub fn request(&mut self) {
        self.start(Task::Request);
    }

    fn start(&mut self, task: Task) {
        self.heard = None;
        self.event = None;
        self.state = State::Send { task, tries: 0 };
    }

    /// The frame to send now, if any. `now` counts as the start of its first bit.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let State::Send { task, tries } = self.state else {
            return None;
        };
        let fcb = if self.fcb { control::FCB } else { 0 };
        let frame = Frame::Short {
            control: match task {
                Task::Reset => control::SND_NKE,
                Task::Request => control::REQ_UD2 | fcb,
            },
            address: self.config.address,
        };
        let line = frame.encode().ok()?;
        let timing = self.config.timing;
        // The first byte of an answer is received when its last bit is.
        let until = now
            + timing.characters(line.len() + 1)
            + timing.latest_answer()
            + timing.adapter_latency;
        self.framer = Framer::new(self.config.gap);
        self.state = State::Await { task, tries, until };
        Some(line)
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        let (State::Await { task, tries, .. } | State::Receive { task, tries, .. }) = self.state
        else {
            return;
        };
        self.heard.get_or_insert((0, at)).0 += 1;
        let good = match self.framer.push(byte, at) {
            Some(LineEvent::Frame {
                bytes, first, last, ..
            }) => self
                .config
                .accepts(task, bytes)
                .then(|| (bytes.to_vec(), first, last)),
            Some(LineEvent::Discarded { .. }) | None => None,
        };
        let Some((frame, first, last)) = good else {
            let until = at + self.config.gap;
            self.state = State::Receive { task, tries, until };
            return;
        };
        self.state = State::Idle;
        self.event = Some(match task {
            Task::Reset => {
                self.fcb = true;
                Event::Reset
            }
            Task::Request => {
                self.fcb = !self.fcb;
                Event::Response {
                    frame,
                    first,
                    last,
                    repeats: tries,
                }
            }
        });
    }

    /// When [`Master::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match self.state {
            State::Await { until, .. } | State::Receive { until, .. } => Some(until),
            State::Idle | State::Send { .. } => None,
        }
    }

    /// Repeats with the same FCB, or gives up.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let (State::Await { task, tries, until } | State::Receive { task, tries, until }) =
            self.state
        else {
            return;
        };
        if now < until {
            return;
        }
        if tries < self.config.repeats {
            self.state = State::Send {
                task,
                tries: tries + 1,
            };
            return;
        }
        self.state = State::Idle;
        self.event = Some(match self.heard {
            Some((bytes, first)) => Event::BadAnswer { bytes, first },
            None => Event::NoAnswer,
        });
    }

    /// How the exchange ended, once.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }
}

impl Config {
    fn accepts(&self, task: Task, bytes: &[u8]) -> bool {
        match (task, Frame::parse(bytes)) {
            (Task::Reset, Ok(Frame::Ack)) => true,
            (
                Task::Request,
                Ok(Frame::Long {
                    control, address, ..
                }),
            ) => {
                // A slave asked at FD or FE answers with an address of its own.
                control::is_response(control)
                    && (address == self.address || matches!(self.address, 0xfd | 0xfe))
            }
            _ => false,
        }
    }
}
