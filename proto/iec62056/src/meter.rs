// SPDX-License-Identifier: MIT OR Apache-2.0
//! The meter's side of a dialogue in modes A to E (IEC 62056-21 §6), with faults on demand.
//!
//! Hand in every received byte, call [`Meter::handle_timeout`] when [`Meter::poll_timeout`] is reached, and
//! after each of these do what [`Meter::poll_transmit`] says and take [`Meter::poll_event`].

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::block::{ACK, Bcc, ETX, NAK, encode_block};
use crate::command::{Command, Message, MessageScanner, OptionSelect, Scan, requested};
use crate::identification::{Baud, Identification, MAX_IDENTIFICATION, Mode};
use crate::line::{DataSets, write_set};
use crate::outbox::{Outbox, Transmit};
use crate::telegram::encode_unchecked;

/// How a meter behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Its identification line; the mode and the speed follow from it.
    pub identification: Vec<u8>,
    /// Sends unasked (mode D) in this rhythm, whatever the identification says.
    pub unasked: Option<Duration>,
    /// Speed of the request, of everything in mode D.
    pub initial: Baud,
    /// Its address; requests without one are for every meter.
    pub address: String,
    /// Its readout: registers in the order they are sent, code and what stands in brackets.
    pub registers: Vec<(String, String)>,
    /// The password of the programming mode; `None` takes any, and none at all.
    pub password: Option<String>,
    /// What it does wrong.
    pub faults: Faults,
    /// How long it waits for a reaction. Assumption: 1.5 s, as the standard is remembered.
    pub timeout: Duration,
}

/// What a meter does wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// So many blocks and answers have a wrong check.
    pub wrong_bcc: u8,
    /// Blocks end behind `!`, without ETX and BCC.
    pub missing_etx: bool,
    /// Every answer is late by this much.
    pub late: Duration,
    /// Received bytes are sent back, as simple optical heads do.
    pub echo: bool,
    /// It goes on at this speed, whatever the identification says.
    pub wrong_speed: Option<Baud>,
    /// So many requests stay without an answer.
    pub deaf: u8,
}

impl Config {
    /// A meter without faults and without registers.
    pub fn new(identification: &Identification<'_>) -> Self {
        Self {
            identification: identification.encode(),
            unasked: None,
            initial: Baud::INITIAL,
            address: String::new(),
            registers: Vec::new(),
            password: None,
            faults: Faults::default(),
            timeout: Duration::from_millis(1500),
        }
    }
}

/// What a reader did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The readout was sent.
    ReadOut,
    /// A register was written.
    Written {
        /// Its code.
        code: String,
        /// What stands in its brackets from now on.
        value: String,
    },
    /// A wrong password was given; the session is over.
    WrongPassword,
    /// The reader ended the session, or fell silent.
    Ended,
    /// HDLC goes on from here.
    Handover {
        /// At this speed.
        baud: Baud,
    },
}

/// A meter with one reader.
#[derive(Clone, Debug)]
pub struct Meter {
    config: Config,
    state: State,
    outbox: Outbox,
    pending: Vec<u8>,
    /// The latest block or answer, for repeats.
    sent: Vec<u8>,
    silence: Option<Nanos>,
    next_unasked: Option<Nanos>,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug)]
enum State {
    AwaitRequest,
    AwaitSelect,
    /// Behind a readout: NAK asks for it again.
    AwaitVerdict,
    Programming {
        scanner: MessageScanner,
        open: bool,
    },
}

/// Longest message taken in programming mode.
const MAX_MESSAGE: usize = 1024;

impl Meter {
    /// Waiting for a request, or sending from `now` on in mode D.
    pub fn new(config: Config, now: Nanos) -> Self {
        let mut outbox = Outbox::new(config.initial);
        outbox.baud(now, config.initial);
        Self {
            next_unasked: config.unasked.map(|_| now),
            outbox,
            config,
            state: State::AwaitRequest,
            pending: Vec::new(),
            sent: Vec::new(),
            silence: None,
            events: VecDeque::new(),
        }
    }

    /// The registers as they are now.
    pub fn registers(&self) -> &[(String, String)] {
        &self.config.registers
    }

    /// Changes faults from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.config.faults = faults;
    }

    /// What to do with the line now.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Transmit> {
        if let Some((next, rhythm)) = self.next_unasked.zip(self.config.unasked)
            && now >= next
            && self.outbox.is_empty()
        {
            self.next_unasked = Some(next + rhythm);
            let lines = self.lines();
            if let Some(identification) = Identification::parse(&self.config.identification) {
                self.outbox
                    .bytes(now, encode_unchecked(&identification, &lines));
                self.events.push_back(Event::ReadOut);
            }
        }
        let action = self.outbox.poll(now)?;
        if !matches!(self.state, State::AwaitRequest) {
            self.silence = Some(now.max(self.outbox.free()) + self.config.timeout);
        }
        Some(action)
    }

    /// When [`Meter::handle_timeout`] or [`Meter::poll_transmit`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        if !self.outbox.is_empty() {
            return self.outbox.due();
        }
        self.silence.into_iter().chain(self.next_unasked).min()
    }

    /// Goes back to the beginning when the reader fell silent.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.outbox.is_empty() && self.silence.is_some_and(|silence| now >= silence) {
            if let State::Programming { .. } = self.state {
                self.events.push_back(Event::Ended);
            }
            self.rest(now);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        if self.config.faults.echo {
            self.outbox.bytes(at, Vec::from([byte]));
        }
        if self.next_unasked.is_some() {
            return;
        }
        if self.silence.is_some() {
            self.silence = Some(at + self.config.timeout);
        }
        match &mut self.state {
            State::AwaitRequest => self.request_byte(at, byte),
            State::AwaitSelect => self.select_byte(at, byte),
            State::AwaitVerdict if byte == NAK => self.send_block(at),
            State::AwaitVerdict if byte == ACK => self.rest(at),
            State::AwaitVerdict => {
                // No verdict, so this is the next request.
                self.rest(at);
                self.request_byte(at, byte);
            }
            State::Programming { scanner, open } => {
                let (scan, open) = (scanner.push(byte), *open);
                if scan == Scan::Noise {
                    return;
                }
                self.pending.push(byte);
                if scan == Scan::Whole {
                    self.message(at, open);
                } else if self.pending.len() >= MAX_MESSAGE {
                    self.rest(at);
                }
            }
        }
    }

    fn rest(&mut self, at: Nanos) {
        self.state = State::AwaitRequest;
        self.pending.clear();
        self.silence = None;
        if self.outbox.speed() != self.config.initial {
            self.outbox.baud(at, self.config.initial);
        }
    }

    /// When an answer to what came at `at` is sent.
    fn answer_at(&self, at: Nanos) -> Nanos {
        let reaction = Identification::parse(&self.config.identification)
            .map_or(Duration::ZERO, |identification| identification.reaction());
        at + reaction + self.config.faults.late
    }

    fn request_byte(&mut self, at: Nanos, byte: u8) {
        if byte == b'/' {
            self.pending.clear();
        } else if self.pending.is_empty() {
            return;
        }
        self.pending.push(byte);
        if self.pending.len() > MAX_IDENTIFICATION {
            self.pending.clear();
        }
        if byte != b'\n' {
            return;
        }
        let line = core::mem::take(&mut self.pending);
        let own = |address: &str| {
            let plain = |text: &str| String::from(text.trim_start_matches('0'));
            address.is_empty() || plain(address) == plain(&self.config.address)
        };
        if !requested(&line).is_some_and(own) {
            return;
        }
        if self.config.faults.deaf > 0 {
            self.config.faults.deaf -= 1;
            return;
        }
        let Some(identification) = Identification::parse(&self.config.identification) else {
            return;
        };
        let (mode, speed) = (identification.mode(), identification.speed());
        let then = self.answer_at(at);
        self.outbox.bytes(then, self.config.identification.clone());
        match (mode, self.config.faults.wrong_speed.or(speed)) {
            (Mode::C | Mode::E, _) => {
                self.state = State::AwaitSelect;
                return;
            }
            (Mode::B, Some(speed)) => self.outbox.baud(then, speed),
            _ => {}
        }
        self.send_block(then);
    }

    fn select_byte(&mut self, at: Nanos, byte: u8) {
        if byte == ACK {
            self.pending.clear();
        } else if self.pending.is_empty() {
            return;
        }
        self.pending.push(byte);
        if self.pending.len() < 6 {
            return;
        }
        let line = core::mem::take(&mut self.pending);
        let Some(select) = OptionSelect::decode(&line) else {
            return;
        };
        let Some(identification) = Identification::parse(&self.config.identification) else {
            return;
        };
        // Another speed than the offered one keeps the old one.
        let offered = (select.baud == identification.baud).then(|| identification.speed());
        let speed = self.config.faults.wrong_speed.or(offered.flatten());
        let speed = speed.unwrap_or(self.config.initial);
        self.outbox.baud(at, speed);
        match (select.protocol, select.control) {
            (b'0', b'0') => self.send_block(at),
            (b'0', b'1') => {
                self.state = State::Programming {
                    scanner: MessageScanner::default(),
                    open: self.config.password.is_none(),
                };
                let ask = Message::Command {
                    command: Command::PASSWORD_REQUEST,
                    data: b"()",
                };
                self.say(at, ask);
            }
            (b'2', b'2') if identification.offers_hdlc() => {
                self.events.push_back(Event::Handover { baud: speed });
                self.state = State::AwaitRequest;
                self.silence = None;
            }
            _ => self.rest(at),
        }
    }

    /// The readout without its frame.
    fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (code, value) in &self.config.registers {
            write_set(&mut lines, code, &[value]);
        }
        lines
    }

    fn send_block(&mut self, at: Nanos) {
        let mut block = encode_block(&self.lines());
        if self.config.faults.missing_etx {
            block.retain(|byte| *byte != ETX);
            block.pop();
        }
        self.state = State::AwaitVerdict;
        self.events.push_back(Event::ReadOut);
        self.send(at, block);
    }

    fn say(&mut self, at: Nanos, message: Message<'_>) {
        self.send(at, message.encode());
    }

    fn send(&mut self, at: Nanos, mut bytes: Vec<u8>) {
        self.sent.clone_from(&bytes);
        if self.config.faults.wrong_bcc > 0 && bytes.len() > 1 {
            self.config.faults.wrong_bcc -= 1;
            if let Some(check) = bytes.last_mut() {
                *check ^= 0x55;
            }
        }
        self.outbox.bytes(self.answer_at(at), bytes);
        // Counted from the end of what is sent, once it is.
        self.silence = Some(at + self.config.timeout + self.config.faults.late);
    }

    fn message(&mut self, at: Nanos, open: bool) {
        let bytes = core::mem::take(&mut self.pending);
        let (command, data) = match Message::decode(&bytes) {
            Some((Message::Command { command, data }, Bcc::Good)) => (command, data),
            Some((Message::Nak, _)) => {
                let again = self.sent.clone();
                return self.send(at, again);
            }
            Some((Message::Ack | Message::Answer { .. }, _)) => return,
            _ => return self.say(at, Message::Nak),
        };
        let set = DataSets::new(data).flatten().next();
        let (code, value) = set.map_or(("", ""), |set| {
            (set.address, set.brackets().next().unwrap_or_default())
        });
        let registers = &mut self.config.registers;
        let register = registers.iter_mut().find(|(known, _)| known == code);
        match (command, register) {
            (Command::BREAK, _) => {
                self.events.push_back(Event::Ended);
                self.rest(at);
            }
            (Command::PASSWORD, _) => {
                let right = self.config.password.as_ref();
                if right.is_none_or(|right| right == value) {
                    self.state = State::Programming {
                        scanner: MessageScanner::default(),
                        open: true,
                    };
                    return self.say(at, Message::Ack);
                }
                self.events.push_back(Event::WrongPassword);
                let end = Message::Command {
                    command: Command::BREAK,
                    data: &[],
                };
                self.say(at, end);
                self.rest(at);
            }
            (Command::READ | Command::READ_PROFILE, Some((_, value))) if open => {
                let data = [b"(", value.as_bytes(), b")"].concat();
                self.say(
                    at,
                    Message::Answer {
                        data: &data,
                        more: false,
                    },
                );
            }
            (Command::WRITE | Command::WRITE_FORMATTED, Some((_, known))) if open => {
                *known = String::from(value);
                self.events.push_back(Event::Written {
                    code: String::from(code),
                    value: String::from(value),
                });
                self.say(at, Message::Ack);
            }
            // What cannot be done is answered by an error in brackets.
            _ => {
                let data = b"(ER01)";
                self.say(at, Message::Answer { data, more: false });
            }
        }
    }
}
