// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's side of a line in normal response mode (ISO/IEC 13239; TR-03109-1 detail
//! specifications ch. 8): one primary, several secondaries, window 1.
//!
//! Hand in every received byte, call [`Primary::handle_timeout`] when [`Primary::poll_timeout`] is
//! reached, and after each of these and every other call send what [`Primary::poll_transmit`] gives and
//! take [`Primary::poll_event`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use smgw_units::Nanos;

use crate::address::Address;
use crate::control::Control;
use crate::frame::{EncodeError, Fault, Frame, Profile};
use crate::framer::{self, Framer};
use crate::transfer::Transfer;

/// How a primary behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Frames of the line.
    pub profile: Profile,
    /// The primary's own address.
    pub address: Address,
    /// Longest wait from the end of a command to the end of its response.
    pub response_timeout: Duration,
    /// Repeats after the first try.
    pub retries: u8,
    /// How often a connected secondary with nothing to receive is asked for data.
    pub poll_interval: Duration,
    /// Time of one character on the line.
    pub character: Duration,
    /// Silence that ends a frame begun.
    pub gap: Duration,
    /// Most bytes of a received message, over all its segments.
    pub max_message: usize,
}

impl Config {
    /// 921.6 kBd, 100 ms to respond, two repeats, polls each 100 ms, messages of 64 KiB. Assumption:
    /// the times are ours, DIN VDE V 0418-63-7 is not public.
    pub const fn new(profile: Profile, address: Address) -> Self {
        Self {
            profile,
            address,
            response_timeout: Duration::from_millis(100),
            retries: 2,
            poll_interval: Duration::from_millis(100),
            character: Duration::from_nanos(10_851),
            gap: Duration::from_millis(20),
            max_message: 0x1_0000,
        }
    }
}

/// What happened on the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A secondary accepted SNRM.
    Connected {
        /// Which one.
        peer: Address,
        /// The information of its UA: parameters in DLMS, mostly nothing on the LMN.
        info: Vec<u8>,
    },
    /// A secondary left normal response mode as it was asked to.
    Disconnected {
        /// Which one.
        peer: Address,
    },
    /// A link is broken; messages not delivered by now are dropped.
    Failed {
        /// With whom.
        peer: Address,
        /// Why.
        why: Failure,
    },
    /// A whole message.
    Message {
        /// From whom.
        peer: Address,
        /// All its segments.
        message: Vec<u8>,
        /// Stamp of the first byte of its last frame.
        first: Nanos,
        /// Stamp of the last byte of its last frame.
        last: Nanos,
    },
    /// A message of ours is wholly acknowledged.
    Delivered {
        /// By whom.
        peer: Address,
    },
    /// Information without connection (UI).
    Datagram {
        /// From whom.
        source: Address,
        /// What.
        info: Vec<u8>,
        /// Stamp of its first byte.
        first: Nanos,
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

/// Why a link broke.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No good response at any try.
    NoAnswer,
    /// DM: the peer is not connected, or refuses to be.
    Refused,
    /// FRMR with its information.
    FrameRejected(Vec<u8>),
    /// The peer acknowledged what was never sent.
    InvalidNumber,
    /// The peer sends a message larger than we take.
    TooLong,
}

/// A message that cannot be taken over for sending; the caller's mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SendError {
    /// No link with this address.
    Unconnected,
    /// Too many messages wait already.
    Full,
    /// The frame cannot be written.
    Frame(EncodeError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconnected => f.write_str("there is no link with this address"),
            Self::Full => f.write_str("too many messages are waiting"),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

/// Messages that may wait on one link.
pub(crate) const MAX_WAITING: usize = 64;

/// The primary of a line.
#[derive(Clone, Debug)]
pub struct Primary {
    config: Config,
    framer: Framer,
    links: Vec<Link>,
    /// Where the search for work goes on.
    turn: usize,
    exchange: Option<Exchange>,
    datagrams: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug)]
struct Link {
    peer: Address,
    connected: bool,
    wish: Option<Task>,
    transfer: Transfer,
    /// The peer said RNR.
    peer_busy: bool,
    next_poll: Nanos,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Task {
    Connect,
    Disconnect,
    Transfer,
}

#[derive(Clone, Debug)]
struct Exchange {
    peer: Address,
    task: Task,
    line: Vec<u8>,
    tries: u8,
    /// `None` while the line is yet to be sent.
    until: Option<Nanos>,
}

impl Primary {
    /// No links yet.
    pub fn new(config: Config) -> Self {
        Self {
            framer: Framer::new(config.profile, config.gap),
            config,
            links: Vec::new(),
            turn: 0,
            exchange: None,
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Sets up a link (SNRM), anew where there is one.
    pub fn connect(&mut self, peer: Address) {
        let known = self.links.iter().any(|link| link.peer == peer);
        if !known {
            self.links.push(Link {
                peer,
                connected: false,
                wish: None,
                transfer: Transfer::default(),
                peer_busy: false,
                next_poll: Nanos(0),
            });
        }
        if let Some(link) = self.link(peer) {
            link.wish = Some(Task::Connect);
        }
    }

    /// Ends a link (DISC); nothing happens when there is none.
    pub fn disconnect(&mut self, peer: Address) {
        if let Some(link) = self.link(peer) {
            link.wish = Some(Task::Disconnect);
        }
    }

    /// Whether a link is set up.
    pub fn is_connected(&self, peer: Address) -> bool {
        let mut links = self.links.iter();
        links.any(|link| link.peer == peer && link.connected)
    }

    /// Queues a message; [`Event::Delivered`] or [`Event::Failed`] will tell what became of it.
    ///
    /// # Errors
    /// [`SendError::Unconnected`] without a link, [`SendError::Full`] behind 64 others.
    pub fn send(&mut self, peer: Address, message: Vec<u8>) -> Result<(), SendError> {
        let link = self.link(peer).filter(|link| link.connected);
        let link = link.ok_or(SendError::Unconnected)?;
        if link.transfer.waiting() >= MAX_WAITING {
            return Err(SendError::Full);
        }
        link.transfer.push(message);
        Ok(())
    }

    /// Queues information without connection or acknowledgement (UI), to one station or to all.
    ///
    /// # Errors
    /// [`SendError::Frame`] when it does not fit a frame, [`SendError::Full`] behind 64 others.
    pub fn send_datagram(&mut self, to: Address, info: &[u8]) -> Result<(), SendError> {
        if self.datagrams.len() >= MAX_WAITING {
            return Err(SendError::Full);
        }
        let line = self
            .line(to, Control::Ui { poll: false }, false, info)
            .map_err(SendError::Frame)?;
        self.datagrams.push_back(line);
        Ok(())
    }

    /// The bytes to send now, if any. `now` counts as the start of the first bit.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.exchange.is_none() {
            if let Some(line) = self.datagrams.pop_front() {
                return Some(line);
            }
            self.exchange = self.next_exchange(now);
        }
        let exchange = self.exchange.as_mut()?;
        if exchange.until.is_some() {
            return None;
        }
        let sent = self.config.character * exchange.line.len() as u32;
        exchange.until = Some(now + sent + self.config.response_timeout);
        Some(exchange.line.clone())
    }

    /// Takes a byte and the stamp it was received at.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        self.framer.idle(at);
        self.drain(at);
        self.framer.push(byte, at);
        self.drain(at);
    }

    /// When [`Primary::handle_timeout`] and then [`Primary::poll_transmit`] want to be called.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let due = match &self.exchange {
            Some(exchange) => exchange.until,
            None => {
                let connected = self.links.iter().filter(|link| link.connected);
                connected.map(|link| link.next_poll).min()
            }
        };
        let framer = self.framer.deadline();
        due.into_iter().chain(framer).min()
    }

    /// Repeats a command or gives its link up, when its time is over.
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.framer.idle(now);
        self.drain(now);
        let retries = self.config.retries;
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if exchange.until.is_none_or(|until| now < until) {
            return;
        }
        if exchange.tries < retries {
            exchange.tries += 1;
            exchange.until = None;
            return;
        }
        let peer = exchange.peer;
        self.fail(peer, Failure::NoAnswer);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn link(&mut self, peer: Address) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.peer == peer)
    }

    fn line(
        &self,
        to: Address,
        control: Control,
        segmented: bool,
        info: &[u8],
    ) -> Result<Vec<u8>, EncodeError> {
        let frame = Frame {
            segmented,
            destination: to,
            source: self.config.address,
            control,
            info,
        };
        frame.encode(&self.config.profile)
    }

    /// The first link from `turn` on that has something to do.
    fn next_exchange(&mut self, now: Nanos) -> Option<Exchange> {
        let count = self.links.len();
        let max_info = usize::from(self.config.profile.max_info);
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(link) = self.links.get_mut(index) else {
                continue;
            };
            let Some((task, control, segmented, info)) = link.next_command(now, max_info) else {
                continue;
            };
            self.turn = index + 1;
            let peer = link.peer;
            return match self.line(peer, control, segmented, &info) {
                Ok(line) => Some(Exchange {
                    peer,
                    task,
                    line,
                    tries: 0,
                    until: None,
                }),
                // An address that cannot be written reaches nobody.
                Err(_) => {
                    self.fail(peer, Failure::NoAnswer);
                    None
                }
            };
        }
        None
    }

    fn drain(&mut self, now: Nanos) {
        // The framer is taken out, because its frames are borrowed from it.
        let mut framer = core::mem::replace(
            &mut self.framer,
            Framer::new(self.config.profile, self.config.gap),
        );
        while let Some(event) = framer.poll() {
            match event {
                framer::Event::Frame {
                    frame, first, last, ..
                } => self.handle_frame(now, &frame, first, last),
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

    fn handle_frame(&mut self, now: Nanos, frame: &Frame<'_>, first: Nanos, last: Nanos) {
        if frame.destination != self.config.address {
            return;
        }
        let peer = frame.source;
        if let Control::Ui { .. } = frame.control {
            self.events.push_back(Event::Datagram {
                source: peer,
                info: frame.info.to_vec(),
                first,
                last,
            });
            return;
        }
        // Only the final frame of the awaited response counts; anything else is late or not for us.
        let awaited = self.exchange.as_ref().filter(|exchange| {
            exchange.peer == peer && exchange.until.is_some() && frame.control.poll()
        });
        let Some(task) = awaited.map(|exchange| exchange.task) else {
            return;
        };
        match (task, frame.control) {
            (Task::Connect, Control::Ua { .. }) => {
                self.close(peer, |link| {
                    link.connected = true;
                    link.next_poll = now;
                    link.peer_busy = false;
                    link.transfer.set_up();
                });
                self.events.push_back(Event::Connected {
                    peer,
                    info: frame.info.to_vec(),
                });
            }
            (Task::Disconnect, Control::Ua { .. } | Control::Dm { .. }) => {
                self.close(peer, |_| {});
                self.links.retain(|link| link.peer != peer);
                self.events.push_back(Event::Disconnected { peer });
            }
            (_, Control::Dm { .. }) => self.fail(peer, Failure::Refused),
            (_, Control::Frmr { .. }) => {
                self.fail(peer, Failure::FrameRejected(frame.info.to_vec()));
            }
            (Task::Transfer, control) => {
                if let Err(why) = self.transfer(now, frame, control, first, last) {
                    self.fail(peer, why);
                }
            }
            _ => {}
        }
    }

    /// A response to I, RR.
    fn transfer(
        &mut self,
        now: Nanos,
        frame: &Frame<'_>,
        control: Control,
        first: Nanos,
        last: Nanos,
    ) -> Result<(), Failure> {
        let (Control::Information { receive, .. }
        | Control::ReceiveReady { receive, .. }
        | Control::ReceiveNotReady { receive, .. }) = control
        else {
            return Ok(());
        };
        let (interval, limit) = (self.config.poll_interval, self.config.max_message);
        let peer = frame.source;
        let Some(link) = self.link(peer) else {
            return Ok(());
        };
        let before = link.transfer.waiting();
        let acknowledged = link.transfer.acknowledge(receive);
        acknowledged.map_err(|_| Failure::InvalidNumber)?;
        let delivered = link.transfer.waiting() < before;
        link.peer_busy = matches!(control, Control::ReceiveNotReady { .. });
        link.next_poll = now + interval;
        let mut message = None;
        if let Control::Information { send, .. } = control {
            message = link
                .transfer
                .accept(send, frame.segmented, frame.info, limit)
                .map_err(|_| Failure::TooLong)?;
            // The acknowledgement goes out with the next command, at once.
            link.next_poll = now;
        }
        self.exchange = None;
        if delivered {
            self.events.push_back(Event::Delivered { peer });
        }
        if let Some(message) = message {
            self.events.push_back(Event::Message {
                peer,
                message,
                first,
                last,
            });
        }
        Ok(())
    }

    /// Ends the exchange and changes its link.
    fn close(&mut self, peer: Address, change: impl FnOnce(&mut Link)) {
        self.exchange = None;
        if let Some(link) = self.link(peer) {
            change(link);
        }
    }

    fn fail(&mut self, peer: Address, why: Failure) {
        self.exchange = None;
        self.links.retain(|link| link.peer != peer);
        self.events.push_back(Event::Failed { peer, why });
    }
}

impl Link {
    /// The command this link wants to send now: task, control, segmentation, information.
    fn next_command(
        &mut self,
        now: Nanos,
        max_info: usize,
    ) -> Option<(Task, Control, bool, Vec<u8>)> {
        let plain = |task, control| Some((task, control, false, Vec::new()));
        match self.wish.take() {
            Some(Task::Connect) => return plain(Task::Connect, Control::Snrm { poll: true }),
            Some(task) => return plain(task, Control::Disc { poll: true }),
            None if !self.connected => return None,
            None => {}
        }
        let receive = self.transfer.receive();
        let segment = if self.peer_busy {
            None
        } else {
            self.transfer.segment(max_info)
        };
        if let Some(segment) = segment {
            let control = Control::Information {
                send: segment.send,
                receive,
                poll: true,
            };
            let info = segment.info.to_vec();
            return Some((Task::Transfer, control, segment.segmented, info));
        }
        let ready = Control::ReceiveReady {
            receive,
            poll: true,
        };
        (now >= self.next_poll)
            .then(|| plain(Task::Transfer, ready))
            .flatten()
    }
}
