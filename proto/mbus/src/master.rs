// SPDX-License-Identifier: MIT OR Apache-2.0
//! The master's side of a line (EN 13757-2 §5.6): resets, requests, commands, repeats, change of rate.
//!
//! Start an exchange, e.g. by [`Master::request`], send what [`Master::poll_transmit`] gives, hand in
//! every received byte, call [`Master::handle_timeout`] when [`Master::poll_timeout`] is reached,
//! and take the outcome from [`Master::poll_event`].

use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::Error;
use crate::command::{Command, Request, SECONDARY};
use crate::frame::{Frame, control};
use crate::framer::{Event as LineEvent, Framer};
use crate::readout::Readout;
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
    /// What is sent comes back first, as some level converters do it; that echo is left out.
    pub echo: bool,
    /// Goes on listening behind a good answer until the window for answers is over, so that what comes
    /// behind it counts as [`Event::Response::noise`].
    pub listen_on: bool,
    /// Waits so much longer for an answer than the standard and the adapter ask for, so that a late one
    /// is told as late, not as missing.
    pub patience: Duration,
}

impl Config {
    /// Two repeats, 50 ms gap, no echo.
    pub const fn new(address: u8, timing: Timing) -> Self {
        Self {
            address,
            timing,
            repeats: 2,
            gap: Duration::from_millis(50),
            echo: false,
            listen_on: false,
            patience: Duration::ZERO,
        }
    }
}

/// How an exchange ended, or what is to be done in the middle of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The slave acknowledged the reset.
    Reset,
    /// The slave acknowledged a command, or has no alarm.
    Acknowledged {
        /// Bytes around the acknowledgement that belong to none.
        noise: usize,
    },
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
        /// Bytes around it that belong to no frame.
        noise: usize,
        /// What was wrong with its timing.
        violation: Option<Violation>,
        /// Another telegram follows and is being requested ([`Master::read`]).
        more: bool,
    },
    /// The line has to change to this rate in Bd before anything else is sent. The exchange goes on: with
    /// a reset at the new rate, or, back at the old one, with its end.
    Rate(u32),
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

/// How an answer breaks the times of EN 13757-2 §5.4, whatever the adapter may have added.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Violation {
    /// It begins so much before 11 bit times are over.
    Early(Duration),
    /// It begins so much after 330 bit times and 50 ms are over.
    Late(Duration),
    /// Its bytes take so much longer than the rate asks for: there are gaps in it.
    Gaps(Duration),
}

/// One exchange at a time with one slave.
#[derive(Clone, Debug)]
pub struct Master {
    config: Config,
    framer: Framer,
    /// The frame count bits of all addresses; a set bit is sent next.
    fcb: [u64; 4],
    state: State,
    /// Frame of the exchange.
    line: Vec<u8>,
    /// Bytes of the echo still to come.
    echo: usize,
    request_end: Nanos,
    heard: Option<(usize, Nanos)>,
    /// A byte of this try had a parity or framing error.
    damaged: bool,
    /// What the latest try brought so far.
    answer: Option<Answer>,
    /// Bytes of this try that are not part of the answer.
    noise: usize,
    readout: Option<Readout>,
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
    Short(Request),
    /// A command, and the rate it sets.
    Command(Option<u32>),
    /// A reset at the new rate; the old one is the way back.
    Confirm(u32),
    /// Back at the old rate.
    GiveUp,
}

#[derive(Clone, Debug)]
struct Answer {
    frame: Vec<u8>,
    first: Nanos,
    last: Nanos,
}

impl Master {
    /// Idle; the first request to each address carries FCB = 1.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            framer: Framer::new(config.gap),
            fcb: [u64::MAX; 4],
            state: State::Idle,
            line: Vec::new(),
            echo: 0,
            request_end: Nanos(0),
            heard: None,
            damaged: false,
            answer: None,
            noise: 0,
            readout: None,
            event: None,
        }
    }

    /// How it behaves now; the rate is the one of the line.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Turns to another slave; each has its own frame count bit. Gives up an exchange under way.
    pub fn turn_to(&mut self, address: u8) {
        self.config.address = address;
        self.abort();
    }

    /// Whether no exchange is under way.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle && self.event.is_none()
    }

    /// Gives up an exchange under way.
    pub fn abort(&mut self) {
        self.state = State::Idle;
        self.heard = None;
        self.readout = None;
        self.event = None;
    }

    /// Starts a link reset (SND_NKE); gives up an exchange under way.
    pub fn reset(&mut self) {
        self.start(Task::Short(Request::Reset));
    }

    /// Starts a request of data (REQ_UD2); gives up an exchange under way.
    pub fn request(&mut self) {
        self.start(Task::Short(Request::Data));
    }

    /// Starts a request of alarms (REQ_UD1), which is answered by data or by
    /// [`Event::Acknowledged`]; gives up an exchange under way.
    pub fn request_alarm(&mut self) {
        self.start(Task::Short(Request::Alarm));
    }

    /// Requests data until no further telegram follows (DIF 1F), with one [`Event::Response`] for each;
    /// gives up an exchange under way.
    pub fn read(&mut self) {
        self.request();
        self.readout = Some(Readout::new());
    }

    /// Starts a command; gives up an exchange under way. A selection goes to FD, and so do the requests
    /// behind it once [`Master::turn_to`] says so.
    ///
    /// # Errors
    /// Of [`Command::frame`].
    pub fn command(&mut self, command: &Command<'_>) -> Result<(), Error> {
        let address = self.target(command);
        let line = command.frame(address, self.bit(address))?;
        self.start(Task::Command(match command {
            Command::SetBaud(rate) => Some(*rate),
            _ => None,
        }));
        self.line = line;
        Ok(())
    }

    const fn target(&self, command: &Command<'_>) -> u8 {
        match command {
            Command::Select { .. } | Command::Deselect => SECONDARY,
            _ => self.config.address,
        }
    }

    fn start(&mut self, task: Task) {
        self.abort();
        self.state = State::Send { task, tries: 0 };
    }

    fn bit(&self, address: u8) -> bool {
        let word = self.fcb.get(usize::from(address >> 6)).unwrap_or(&0);
        word >> (address & 63) & 1 == 1
    }

    /// Sets the bit the next request to the address of the frame sent last carries.
    fn count(&mut self, next: impl Fn(bool) -> bool) {
        let address = match Frame::parse(&self.line) {
            Ok(Frame::Short { address, .. } | Frame::Long { address, .. }) => address,
            _ => return,
        };
        let bit = next(self.bit(address));
        if let Some(word) = self.fcb.get_mut(usize::from(address >> 6)) {
            *word = *word & !(1 << (address & 63)) | u64::from(bit) << (address & 63);
        }
    }

    /// The frame to send now, if any. `now` counts as the start of its first bit. Nothing is sent before
    /// an event is taken.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let State::Send { task, tries } = self.state else {
            return None;
        };
        if self.event.is_some() {
            return None;
        }
        let request = match task {
            Task::GiveUp => {
                self.end_without_answer();
                return None;
            }
            Task::Command(_) => None,
            Task::Confirm(_) => Some(Request::Reset),
            Task::Short(request) => Some(request),
        };
        if let Some(request) = request {
            let address = self.config.address;
            self.line = request.frame(address, self.bit(address)).encode().ok()?;
        }
        let timing = self.config.timing;
        let echo = if self.config.echo { self.line.len() } else { 0 };
        self.request_end = now + timing.characters(self.line.len());
        // The first byte of an answer is received when its last bit is.
        let until = self.request_end
            + timing.characters(1)
            + timing.latest_answer()
            + timing.adapter_latency
            + self.config.patience;
        self.framer = Framer::new(self.config.gap);
        self.echo = echo;
        self.damaged = false;
        self.answer = None;
        self.noise = 0;
        self.state = State::Await { task, tries, until };
        Some(self.line.clone())
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        let (State::Await { task, tries, .. } | State::Receive { task, tries, .. }) = self.state
        else {
            return;
        };
        if self.echo > 0 && self.line.get(self.line.len() - self.echo) == Some(&byte) {
            self.echo -= 1;
            return;
        }
        // Something else: there is no echo any more.
        self.echo = 0;
        self.heard.get_or_insert((0, at)).0 += 1;
        self.noise += 1;
        let frame = match self.framer.push(byte, at) {
            Some(LineEvent::Frame {
                bytes, first, last, ..
            }) if self.answer.is_none()
                && !self.damaged
                && self.config.accepts(task, bytes, &self.line) =>
            {
                Some(Answer {
                    frame: bytes.to_vec(),
                    first,
                    last,
                })
            }
            _ => None,
        };
        if let Some(answer) = frame {
            self.noise -= answer.frame.len();
            self.answer = Some(answer);
            if !self.config.listen_on {
                self.end(task, tries);
                return;
            }
        }
        self.wait_on(at, task, tries);
    }

    /// Takes a character with a parity or framing error: no answer of this try is good any more.
    pub fn handle_damaged(&mut self, at: Nanos) {
        let (State::Await { task, tries, .. } | State::Receive { task, tries, .. }) = self.state
        else {
            return;
        };
        self.heard.get_or_insert((0, at)).0 += 1;
        self.damaged = true;
        self.answer = None;
        self.wait_on(at, task, tries);
    }

    /// Until silence; when listening on, until the window for answers is over, too.
    fn wait_on(&mut self, at: Nanos, task: Task, tries: u8) {
        let timing = self.config.timing;
        let silence = at + self.config.gap;
        let window = self.request_end + timing.characters(1) + timing.latest_answer();
        let until = if self.config.listen_on {
            silence.max(window + timing.adapter_latency)
        } else {
            silence
        };
        self.state = State::Receive { task, tries, until };
    }

    /// When [`Master::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match self.state {
            State::Await { until, .. } | State::Receive { until, .. } => Some(until),
            State::Idle | State::Send { .. } => None,
        }
    }

    /// Ends listening; repeats with the same FCB, or gives up.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let (State::Await { task, tries, until } | State::Receive { task, tries, until }) =
            self.state
        else {
            return;
        };
        if now < until {
            return;
        }
        if self.answer.is_some() {
            self.end(task, tries);
        } else if tries < self.config.repeats {
            self.state = State::Send {
                task,
                tries: tries + 1,
            };
        } else if let Task::Confirm(old) = task {
            // The slave is not there at the new rate: go back.
            self.config.timing.baud = old;
            self.event = Some(Event::Rate(old));
            self.state = State::Send {
                task: Task::GiveUp,
                tries: 0,
            };
        } else {
            self.end_without_answer();
        }
    }

    fn end_without_answer(&mut self) {
        self.state = State::Idle;
        self.readout = None;
        self.event = Some(match self.heard {
            Some((bytes, first)) => Event::BadAnswer { bytes, first },
            None => Event::NoAnswer,
        });
    }

    /// A good answer came.
    fn end(&mut self, task: Task, tries: u8) {
        self.state = State::Idle;
        let Some(answer) = self.answer.take() else {
            return;
        };
        let noise = self.noise;
        let resets = matches!(task, Task::Short(Request::Reset) | Task::Confirm(_));
        // A selected slave counts anew.
        let selects = matches!(task, Task::Command(_)) && self.line.get(6) == Some(&SELECT);
        if task != Task::Short(Request::Status) {
            self.count(|bit| resets || selects || !bit);
        }
        self.event = Some(match task {
            Task::Short(Request::Reset) => Event::Reset,
            Task::Command(Some(rate)) => {
                let old = self.config.timing.baud;
                self.config.timing.baud = rate;
                self.heard = None;
                self.state = State::Send {
                    task: Task::Confirm(old),
                    tries: 0,
                };
                Event::Rate(rate)
            }
            _ if answer.frame.len() == 1 => Event::Acknowledged { noise },
            _ => {
                let more = self.readout.as_mut().is_some_and(|readout| {
                    // What cannot be put together does not go on, nor does a slave that says the same
                    // again and again.
                    let before = readout.len();
                    readout.push(&answer.frame).unwrap_or(false) && readout.len() > before
                });
                if more {
                    self.heard = None;
                    self.state = State::Send { task, tries: 0 };
                }
                Event::Response {
                    violation: self.violation(&answer),
                    frame: answer.frame,
                    first: answer.first,
                    last: answer.last,
                    repeats: tries,
                    noise,
                    more,
                }
            }
        });
    }

    /// An adapter can only add to a delay.
    fn violation(&self, answer: &Answer) -> Option<Violation> {
        let timing = &self.config.timing;
        let latency = timing.adapter_latency;
        let delay = answer
            .first
            .saturating_since(self.request_end + timing.characters(1));
        let took = answer.last.saturating_since(answer.first);
        let owed = timing.characters(answer.frame.len().saturating_sub(1));
        let early = timing.earliest_answer().saturating_sub(delay);
        let late = delay.saturating_sub(timing.latest_answer() + latency);
        let gaps = took.saturating_sub(owed + latency);
        // A bit of tolerance for rounding and rates, a character of it inside the frame.
        if early > timing.bits(1) {
            Some(Violation::Early(early))
        } else if late > timing.bits(1) {
            Some(Violation::Late(late))
        } else if gaps > timing.characters(1) {
            Some(Violation::Gaps(gaps))
        } else {
            None
        }
    }

    /// How the exchange ended, once; an exchange with several answers goes on behind each.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }
}

impl Config {
    fn accepts(&self, task: Task, bytes: &[u8], line: &[u8]) -> bool {
        let asked = match Frame::parse(line) {
            Ok(Frame::Short { address, .. } | Frame::Long { address, .. }) => address,
            _ => self.address,
        };
        let data = matches!(
            task,
            Task::Short(Request::Data | Request::Alarm | Request::Status)
        );
        let acknowledgement = !matches!(task, Task::Short(Request::Data));
        match Frame::parse(bytes) {
            Ok(Frame::Ack) => acknowledgement,
            // A slave asked at FD or FE answers with an address of its own.
            Ok(Frame::Long {
                control, address, ..
            }) if data => {
                control::is_response(control)
                    && (address == asked || matches!(asked, SECONDARY | 0xfe))
            }
            _ => false,
        }
    }
}

const SELECT: u8 = 0x52;
