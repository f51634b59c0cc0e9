// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reader's side of a dialogue in modes A to E (IEC 62056-21 §6): request, change of speed, readout or
//! programming mode.
//!
//! Call [`Reader::start`], hand in every received byte, call [`Reader::handle_timeout`] when
//! [`Reader::poll_timeout`] is reached, and after each of these do what [`Reader::poll_transmit`] says and
//! take [`Reader::poll_event`]. An echo of what was sent is recognised and dropped. Stamps rise.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use smgw_units::Nanos;

use crate::block::{Bcc, Block, Scanner};
use crate::command::{Command, Message, MessageScanner, OptionSelect, Scan, request};
use crate::identification::{Baud, Identification, MAX_IDENTIFICATION, Mode};
use crate::outbox::{Outbox, Transmit};
use crate::telegram::{self, Framer};

/// What a reader wants from the meter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// All the meter shows in its readout.
    Readout,
    /// Programming mode: the password, then these commands, then the break.
    Programming {
        /// Between the brackets of P1; `None` sends none.
        password: Option<String>,
        /// Each with its data, such as `1.8.0()`.
        commands: Vec<(Command, Vec<u8>)>,
    },
    /// HDLC, where the meter offers it by `\2`: the dialogue ends with [`Event::Handover`]. Meters that
    /// do not offer it are read out.
    Hdlc,
}

/// How a reader behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Second character of the request: `?`, or what the maker of the meter put in its place (heat meters
    /// are known that want `#` or `2`).
    pub sign_on: u8,
    /// Address of the meter; empty for the only one.
    pub address: String,
    /// Wakes battery meters: NULs for 2.2 s, then 1.6 s of silence. Assumption: the middle of what the
    /// standard is remembered to ask for (2.1 to 2.3 s, 1.5 to 1.7 s).
    pub wake_up: bool,
    /// Speed of the request; that of the unasked telegrams in mode D.
    pub initial: Baud,
    /// What to do.
    pub access: Access,
    /// In place of the mode the identification tells; mode D listens only.
    pub mode: Option<Mode>,
    /// Longest wait for the first character of an answer, and between two characters. Assumption: 1.5 s,
    /// as the standard is remembered.
    pub timeout: Duration,
    /// Repeats: of the request, and of a block with a wrong check.
    pub retries: u8,
    /// Most bytes of a block.
    pub limit: usize,
    /// Clears the highest bit of each byte: for lines opened with eight bits and no parity.
    pub strip_parity: bool,
}

impl Default for Config {
    /// A readout at 300 Bd, two repeats, blocks of up to 64 KiB.
    fn default() -> Self {
        Self {
            sign_on: b'?',
            address: String::new(),
            wake_up: false,
            initial: Baud::INITIAL,
            access: Access::Readout,
            mode: None,
            timeout: Duration::from_millis(1500),
            retries: 2,
            limit: 0x1_0000,
            strip_parity: false,
        }
    }
}

/// What came of a dialogue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The meter told who it is.
    Identified {
        /// Its line, for [`Identification::parse`].
        line: Vec<u8>,
        /// The mode the dialogue goes on in.
        mode: Mode,
    },
    /// A data block.
    Readout {
        /// Its bytes, for [`Block::parse`].
        block: Vec<u8>,
        /// The block check; wrong when no repeat was better.
        bcc: Bcc,
        /// Speed it came at.
        baud: Baud,
        /// Stamp of its first byte.
        first: Nanos,
        /// Stamp of its last byte.
        last: Nanos,
    },
    /// An answer in programming mode.
    Answer {
        /// The command; P1 for the password.
        command: Command,
        /// What the meter said, for [`Message::decode`].
        message: Vec<u8>,
    },
    /// The session of the programming mode is over.
    Ended,
    /// HDLC goes on from here.
    Handover {
        /// At this speed.
        baud: Baud,
    },
    /// Nothing useful came.
    Failed(Failure),
}

/// Why a dialogue failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Failure {
    /// No identification at any try.
    NoIdentification,
    /// An identification with a reserved Z, in mode B or C.
    UnknownSpeed(u8),
    /// No whole block behind an identification.
    NoBlock,
    /// A block larger than the limit.
    Oversize,
    /// No good answer in programming mode at any try.
    NoAnswer(Command),
}

/// A reader of one meter.
#[derive(Clone, Debug)]
pub struct Reader {
    config: Config,
    state: State,
    outbox: Outbox,
    /// What our own line may echo.
    echo: VecDeque<u8>,
    /// What came so far and may be that echo.
    echoed: Vec<u8>,
    pending: Vec<u8>,
    first: Nanos,
    last: Nanos,
    /// Latest time for the next byte; runs while nothing is to be sent.
    silence: Option<Nanos>,
    /// What the meter needs before it is spoken to.
    reaction: Duration,
    /// Our latest message in programming mode.
    sent: Vec<u8>,
    tries: u8,
    repeats: u8,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    Listening(Framer),
    AwaitIdentification,
    AwaitBlock(Scanner),
    /// In programming mode; the password request is step 0, the password step 1.
    AwaitMessage {
        scanner: MessageScanner,
        step: usize,
    },
}

impl Reader {
    /// Idle.
    pub fn new(config: Config) -> Self {
        Self {
            outbox: Outbox::new(config.initial),
            config,
            state: State::Idle,
            echo: VecDeque::new(),
            echoed: Vec::new(),
            reaction: Duration::ZERO,
            sent: Vec::new(),
            pending: Vec::new(),
            first: Nanos(0),
            last: Nanos(0),
            silence: None,
            tries: 0,
            repeats: 0,
            events: VecDeque::new(),
        }
    }

    /// Starts a dialogue, or listening in mode D; gives up one under way.
    pub fn start(&mut self, now: Nanos) {
        self.tries = 0;
        self.sign_on(now);
    }

    /// Whether no dialogue is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && self.outbox.is_empty() && self.events.is_empty()
    }

    /// What to do with the line now.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Transmit> {
        let action = self.outbox.poll(now)?;
        if let Transmit::Bytes(bytes) = &action {
            self.echo.extend(bytes);
        }
        self.silence = Some(now.max(self.outbox.free()) + self.config.timeout);
        Some(action)
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        let byte = if self.config.strip_parity {
            byte & 0x7f
        } else {
            byte
        };
        let Some(sent) = self.echo.pop_front() else {
            return self.handle_byte(at, byte);
        };
        self.echoed.push(byte);
        // The speed may have changed right behind the last byte: it may come back as another one.
        let whole = self.echo.is_empty() && (sent == byte || self.echoed.len() > 2);
        if whole {
            self.echoed.clear();
        } else if sent != byte {
            // No echo after all: what looked like one was the meter.
            self.echo.clear();
            for byte in core::mem::take(&mut self.echoed) {
                self.handle_byte(at, byte);
            }
        }
    }

    /// When [`Reader::handle_timeout`] or [`Reader::poll_transmit`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match &self.state {
            _ if !self.outbox.is_empty() => self.outbox.due(),
            State::Idle => None,
            State::Listening(framer) => framer.deadline(),
            _ => self.silence,
        }
    }

    /// Ends what took too long: a block that lacks its ETX counts as whole, anything else is tried again.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if let State::Listening(framer) = &mut self.state {
            let heard = framer
                .idle(now)
                .and_then(|event| listened(event, self.config.initial));
            return self.events.extend(heard.into_iter().flatten());
        }
        let waited = self.silence.is_some_and(|silence| now >= silence);
        if !waited || !self.outbox.is_empty() {
            return;
        }
        match &self.state {
            State::Idle | State::Listening(_) => {}
            State::AwaitBlock(scanner) if scanner.may_end() => self.finish_block(now),
            State::AwaitMessage { step, .. } => self.repeat(now, *step),
            State::AwaitIdentification | State::AwaitBlock(_) => self.retry(now),
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn sign_on(&mut self, now: Nanos) {
        self.outbox.clear();
        self.forget();
        self.silence = None;
        self.reaction = Duration::ZERO;
        self.outbox.baud(now, self.config.initial);
        if self.config.mode == Some(Mode::D) {
            let framer = Framer::new(self.config.timeout, self.config.limit);
            self.state = State::Listening(framer);
            return;
        }
        let mut at = now;
        if self.config.wake_up {
            let bits = WAKE_UP.as_millis() as usize * self.config.initial.0 as usize / 1000;
            self.outbox.bytes(at, alloc::vec![0; bits / 10]);
            at = at + WAKE_UP + WAKE_UP_PAUSE;
        }
        let mut request = request(&self.config.address);
        if let Some(sign_on) = request.get_mut(1) {
            *sign_on = self.config.sign_on;
        }
        self.outbox.bytes(at, request);
        self.state = State::AwaitIdentification;
    }

    /// Drops what was received and what an echo may bring.
    fn forget(&mut self) {
        self.pending.clear();
        self.echo.clear();
        self.echoed.clear();
        self.repeats = 0;
    }

    fn handle_byte(&mut self, at: Nanos, byte: u8) {
        self.last = at;
        if self.outbox.is_empty() {
            self.silence = Some(at + self.config.timeout);
        }
        match &mut self.state {
            State::Idle => {}
            State::Listening(framer) => {
                let heard = framer
                    .push(byte, at)
                    .and_then(|event| listened(event, self.config.initial));
                self.events.extend(heard.into_iter().flatten());
            }
            State::AwaitIdentification => self.identification_byte(at, byte),
            State::AwaitBlock(scanner) => {
                let whole = scanner.push(byte);
                if self.pending.is_empty() {
                    self.first = at;
                }
                self.pending.push(byte);
                if whole {
                    self.finish_block(at);
                } else if self.pending.len() >= self.config.limit {
                    self.end(Event::Failed(Failure::Oversize));
                }
            }
            State::AwaitMessage { scanner, step } => {
                let (scan, step) = (scanner.push(byte), *step);
                if scan == Scan::Noise {
                    return;
                }
                self.pending.push(byte);
                if scan == Scan::Whole {
                    self.finish_message(at, step);
                } else if self.pending.len() >= self.config.limit {
                    self.end(Event::Failed(Failure::Oversize));
                }
            }
        }
    }

    fn identification_byte(&mut self, at: Nanos, byte: u8) {
        if byte == b'/' && Identification::restarts(&self.pending) {
            self.pending.clear();
        } else if self.pending.is_empty() {
            return;
        }
        self.pending.push(byte);
        if byte == b'\n' {
            let line = core::mem::take(&mut self.pending);
            // Other lines are requests, our own by echo or another reader's.
            if let Some(identification) = Identification::parse(&line) {
                self.identified(at, &identification, &line);
            }
        } else if self.pending.len() > MAX_IDENTIFICATION + 3 {
            self.pending.clear();
        }
    }

    fn identified(&mut self, at: Nanos, identification: &Identification<'_>, line: &[u8]) {
        let mode = self.config.mode.unwrap_or(identification.mode());
        self.events.push_back(Event::Identified {
            line: line.to_vec(),
            mode,
        });
        self.forget();
        self.reaction = identification.reaction();
        self.state = State::AwaitBlock(Scanner::default());
        let speed = match (mode, identification.speed()) {
            (Mode::A | Mode::D, _) => return,
            (_, None) => {
                let failure = Failure::UnknownSpeed(identification.baud);
                return self.end(Event::Failed(failure));
            }
            (_, Some(speed)) => speed,
        };
        if mode == Mode::B {
            return self.outbox.baud(at, speed);
        }
        let hdlc = mode == Mode::E && identification.offers_hdlc();
        let (protocol, control) = match self.config.access {
            Access::Hdlc if hdlc => (b'2', b'2'),
            Access::Programming { .. } => (b'0', b'1'),
            Access::Hdlc | Access::Readout => (b'0', b'0'),
        };
        let select = OptionSelect {
            protocol,
            baud: identification.baud,
            control,
        };
        self.outbox
            .bytes(at + self.reaction, select.encode().to_vec());
        self.outbox.baud(at + self.reaction, speed);
        match control {
            b'1' => self.await_message(0),
            b'2' => self.end(Event::Handover { baud: speed }),
            _ => {}
        }
    }

    fn finish_block(&mut self, at: Nanos) {
        let pending = core::mem::take(&mut self.pending);
        let block = Block::parse(&pending);
        let (bcc, more) = (block.bcc, block.more);
        let answer = match bcc {
            Bcc::Wrong { .. } if self.repeats < self.config.retries => {
                self.repeats += 1;
                Message::Nak
            }
            _ => {
                self.events.push_back(Event::Readout {
                    block: pending,
                    bcc,
                    baud: self.outbox.speed(),
                    first: self.first,
                    last: self.last,
                });
                if !more {
                    return self.idle();
                }
                self.repeats = 0;
                Message::Ack
            }
        };
        self.state = State::AwaitBlock(Scanner::default());
        self.outbox.bytes(at + self.reaction, answer.encode());
    }

    fn await_message(&mut self, step: usize) {
        self.pending.clear();
        self.state = State::AwaitMessage {
            scanner: MessageScanner::default(),
            step,
        };
    }

    /// The command of a step in programming mode.
    fn command(&self, step: usize) -> Option<(Command, &[u8])> {
        let Access::Programming { password, commands } = &self.config.access else {
            return None;
        };
        match step {
            0 => Some((Command::PASSWORD_REQUEST, &[])),
            1 => Some((Command::PASSWORD, password.as_ref()?.as_bytes())),
            step => commands
                .get(step - 2)
                .map(|(command, data)| (*command, data.as_slice())),
        }
    }

    fn finish_message(&mut self, at: Nanos, step: usize) {
        let bytes = core::mem::take(&mut self.pending);
        let Some((command, _)) = self.command(step) else {
            return self.idle();
        };
        match Message::decode(&bytes) {
            None | Some((_, Bcc::Wrong { .. })) => {
                self.sent = Message::Nak.encode();
                self.repeat(at, step);
            }
            Some((Message::Nak, _)) => self.repeat(at, step),
            // The meter ends the session, for instance because the password is wrong.
            Some((Message::Command { command: said, .. }, _)) if said == Command::BREAK => {
                self.end(Event::Failed(Failure::NoAnswer(command)));
            }
            Some((message, _)) => {
                let asked = Message::Command {
                    command: Command::PASSWORD_REQUEST,
                    data: &[],
                };
                let more = matches!(message, Message::Answer { more: true, .. });
                if step > 0 || asked == message {
                    self.events.push_back(Event::Answer {
                        command,
                        message: bytes,
                    });
                }
                self.repeats = 0;
                if more {
                    return self.say(at, step, Message::Ack.encode());
                }
                self.next_step(at, step);
            }
        }
    }

    /// The command behind `step`, or the break when there is none.
    fn next_step(&mut self, at: Nanos, step: usize) {
        let skips_password = step == 0 && self.command(1).is_none();
        let step = step + if skips_password { 2 } else { 1 };
        let bracketed = |data: &[u8]| [b"(", data, b")"].concat();
        let message = self.command(step).map(|(command, data)| {
            let data = if step == 1 {
                bracketed(data)
            } else {
                data.to_vec()
            };
            let message = Message::Command {
                command,
                data: &data,
            };
            message.encode()
        });
        match message {
            Some(message) => self.say(at, step, message),
            None => {
                let end = Message::Command {
                    command: Command::BREAK,
                    data: &[],
                };
                self.outbox.bytes(at + self.reaction, end.encode());
                self.end(Event::Ended);
            }
        }
    }

    fn say(&mut self, at: Nanos, step: usize, message: Vec<u8>) {
        self.await_message(step);
        self.sent.clone_from(&message);
        self.outbox.bytes(at + self.reaction, message);
    }

    /// Says again what was said last in programming mode, or gives up.
    fn repeat(&mut self, at: Nanos, step: usize) {
        if self.repeats < self.config.retries && !self.sent.is_empty() {
            self.repeats += 1;
            let message = core::mem::take(&mut self.sent);
            return self.say(at, step, message);
        }
        let command = self.command(step).map(|(command, _)| command);
        let command = command.unwrap_or(Command::PASSWORD_REQUEST);
        self.end(Event::Failed(Failure::NoAnswer(command)));
    }

    /// Begins again with the request, or gives up.
    fn retry(&mut self, now: Nanos) {
        if self.tries < self.config.retries {
            self.tries += 1;
            return self.sign_on(now);
        }
        self.end(Event::Failed(match self.state {
            State::AwaitIdentification => Failure::NoIdentification,
            _ => Failure::NoBlock,
        }));
    }

    fn end(&mut self, event: Event) {
        self.events.push_back(event);
        self.idle();
    }

    fn idle(&mut self) {
        self.forget();
        self.sent.clear();
        self.silence = None;
        self.state = State::Idle;
    }
}

/// What a telegram of mode D tells.
fn listened(event: telegram::Event<'_>, baud: Baud) -> Option<[Event; 2]> {
    let telegram::Event::Telegram {
        telegram,
        first,
        last,
        ..
    } = event
    else {
        return None;
    };
    let line_end = telegram.bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, block) = telegram.bytes.split_at_checked(line_end + 1)?;
    let identified = Event::Identified {
        line: line.to_vec(),
        mode: Mode::D,
    };
    let readout = Event::Readout {
        block: block.to_vec(),
        bcc: telegram.block.bcc,
        baud,
        first,
        last,
    };
    Some([identified, readout])
}

/// How long a wake-up is sent, and the silence behind it.
const WAKE_UP: Duration = Duration::from_millis(2200);
const WAKE_UP_PAUSE: Duration = Duration::from_millis(1600);
