// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection to the gateway's proxy from greeting to end, without network or clock
//! (TR-03109-1 detail specifications §11, REQ.SOCKS.*).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smgw_cls::command::{self, Command, MessageError, Report};
use smgw_cls::defect::Defect;
use smgw_socks::{
    ConnectName, FrameDecoder, FrameError, FrameState, Greeting, Method, MethodChoice, Reply,
    ReplyCode, Request, encode_header,
};

use crate::defects::Defects;
use crate::session::Session;

/// How far a channel has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The method is awaited.
    Method,
    /// The handshake goes on.
    Handshake,
    /// The reply to CONNECT is awaited.
    Reply,
    /// Commands and reports pass.
    Open,
    /// The peer's direction is closed; what it asked for before is still answered.
    Finishing,
    /// Our direction is closed, the peer's not yet.
    Closing(End),
    /// It is over.
    Over(End),
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The gateway closed in order.
    ByPeer,
    /// The application closed in order.
    ByUs,
    /// The gateway chose another method than TLS; its octet.
    Method(u8),
    /// The gateway answered CONNECT with this code.
    Refused(u8),
    /// The gateway sent what SOCKS does not allow here.
    Socks,
    /// A frame was wrong.
    Frame(FrameError),
    /// TLS failed: an alert of the gateway's, or a fault of its.
    Tls,
    /// The market participant sent no command of ours.
    Command(MessageError),
    /// TCP ended early.
    Truncated,
    /// A step took too long.
    TooSlow,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the gateway closed the channel"),
            Self::ByUs => f.write_str("we closed the channel"),
            Self::Method(method) => {
                write!(f, "the gateway chose method {method:#04x}, expected 0x06")
            }
            Self::Refused(code) => {
                write!(f, "the gateway refused the channel with reply {code:#04x}")
            }
            Self::Socks => f.write_str("the gateway sent no SOCKS message where one was due"),
            Self::Frame(error) => write!(f, "{error}"),
            Self::Tls => f.write_str("TLS with the gateway failed"),
            Self::Command(error) => write!(f, "{error}"),
            Self::Truncated => f.write_str("the connection ended without closing handshake"),
            Self::TooSlow => f.write_str("the gateway did not answer in time"),
        }
    }
}

/// What one step may take, in milliseconds; the values are assumptions but for the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From the first octet to the method.
    pub method_ms: u64,
    /// The handshake; a small core computes for seconds.
    pub handshake_ms: u64,
    /// From CONNECT to the reply; a gateway waits for the participant meanwhile.
    pub reply_ms: u64,
    /// From our closing to the peer's (REQ.SOCKS.ClosingHandshake.20 has 5 s; REQ.SOCKS.Connect.80 10 s in all).
    pub closing_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            method_ms: 10_000,
            handshake_ms: 60_000,
            reply_ms: 90_000,
            closing_ms: 5_000,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Channel {
    stage: Stage,
    since: u64,
    limits: Limits,
    session: Session,
    frames: FrameDecoder,
    request: Vec<u8>,
    /// Octets before TLS.
    head: Vec<u8>,
    /// Plaintext received and not yet understood.
    plain: Vec<u8>,
    /// Octets for TCP.
    out: Vec<u8>,
    defects: Defects,
}

impl Channel {
    /// A channel by `name` on a connection that stands since `now`; the greeting waits to be sent.
    ///
    /// # Errors
    /// rustls's, for a configuration without anything to negotiate.
    pub fn open(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
        name: &ConnectName,
        now: u64,
    ) -> Result<Self, rustls::Error> {
        let greeting = Greeting::new([Method::TLS].into());
        // The port means nothing to a gateway: the profile has it (REQ.SOCKS.Connect.30).
        let request = Request::connect(name.as_str().as_bytes(), PORT);
        Ok(Self {
            stage: Stage::Method,
            since: now,
            limits: Limits::default(),
            session: Session::new(config, server)?,
            frames: FrameDecoder::new(),
            request: request.map(|request| request.encode()).unwrap_or_default(),
            head: Vec::new(),
            plain: Vec::new(),
            out: greeting
                .map(|greeting| greeting.encode())
                .unwrap_or_default(),
            defects: Defects::default(),
        })
    }

    /// Does something wrong.
    pub fn with_defects(self, defects: Defects) -> Self {
        Self { defects, ..self }
    }

    /// Whether commands and reports pass.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Finishing)
    }

    /// Why it is over, once it is; TCP should end when [`Self::transmit`] is empty.
    pub fn end(&self) -> Option<End> {
        match self.stage {
            Stage::Over(end) => Some(end),
            _ => None,
        }
    }

    /// When the present step has taken too long.
    pub fn deadline(&self) -> Option<u64> {
        let limit = match self.stage {
            Stage::Method => self.limits.method_ms,
            Stage::Handshake => self.limits.handshake_ms,
            Stage::Reply => self.limits.reply_ms,
            Stage::Closing(_) | Stage::Finishing => self.limits.closing_ms,
            Stage::Open | Stage::Over(_) => return None,
        };
        Some(self.since.saturating_add(limit))
    }

    /// Ends what took too long.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            let end = match self.stage {
                Stage::Closing(end) => end,
                Stage::Finishing => End::ByPeer,
                _ => End::TooSlow,
            };
            self.enter(Stage::Over(end), now);
        }
    }

    /// How many octets [`Self::receive`] takes now: none while the peer does not take what we answer.
    pub fn room(&self) -> usize {
        match self.out.len() < MAX_OUT && self.plain.len() <= 2 + command::MAX_LEN {
            true => self.session.room(),
            false => 0,
        }
    }

    /// Takes octets from TCP, at most [`Self::room`].
    pub fn receive(&mut self, octets: &[u8], now: u64) {
        if self.stage == Stage::Method {
            self.head.extend_from_slice(octets);
            match MethodChoice::parse(&self.head) {
                Ok(None) => return,
                Ok(Some((MethodChoice(Method::TLS), taken))) => {
                    let rest = self.head.split_off(taken);
                    self.enter(Stage::Handshake, now);
                    self.advance(now);
                    self.frames(&rest, now);
                    return;
                }
                Ok(Some((MethodChoice(method), _))) => {
                    return self.enter(Stage::Over(End::Method(method.0)), now);
                }
                Err(_) => return self.enter(Stage::Over(End::Socks), now),
            }
        }
        self.frames(octets, now);
    }

    /// TCP ended on the peer's side.
    pub fn receive_end(&mut self, now: u64) {
        let end = match self.stage {
            Stage::Over(_) => return,
            Stage::Closing(end) => end,
            Stage::Finishing => End::ByPeer,
            _ => End::Truncated,
        };
        self.enter(Stage::Over(end), now);
    }

    /// The next command of the participant. Something else ends the channel, after a report that says so; when none is
    /// left and the peer has closed the channel, so do we.
    pub fn command(&mut self, now: u64) -> Option<Command> {
        if !self.is_open() {
            return None;
        }
        match Command::parse(&self.plain) {
            Ok(Some((command, taken))) => {
                self.plain.drain(..taken);
                return Some(command);
            }
            Ok(None) => {}
            Err(error) => {
                let reason = error.into();
                self.report(&Report::Refused { reason }, now);
                self.shut(End::Command(error), now);
            }
        }
        if self.stage == Stage::Finishing {
            self.shut(End::ByPeer, now);
        }
        None
    }

    /// Sends a report, while the channel is open.
    pub fn report(&mut self, report: &Report, now: u64) {
        if self.is_open() {
            self.session.write(&report.encode());
            self.advance(now);
        }
    }

    /// Ends the channel in order.
    pub fn close(&mut self, now: u64) {
        match self.stage {
            Stage::Closing(_) | Stage::Over(_) => {}
            Stage::Reply | Stage::Open | Stage::Finishing => self.shut(End::ByUs, now),
            Stage::Method | Stage::Handshake => self.enter(Stage::Over(End::ByUs), now),
        }
    }

    /// Octets for TCP.
    pub fn transmit(&self) -> &[u8] {
        &self.out
    }

    /// So many octets of [`Self::transmit`] were taken.
    pub fn transmitted(&mut self, octets: usize) {
        self.out.drain(..octets.min(self.out.len()));
    }

    fn enter(&mut self, stage: Stage, now: u64) {
        self.stage = stage;
        self.since = now;
    }

    fn shut(&mut self, end: End, now: u64) {
        self.session.close();
        self.enter(Stage::Closing(end), now);
        self.advance(now);
    }

    fn frames(&mut self, octets: &[u8], now: u64) {
        let mut octets = octets;
        loop {
            if self.end().is_some() {
                return;
            }
            match self.frames.decode(&mut octets) {
                Ok(None) => return,
                Ok(Some(fragment)) => {
                    if self.session.receive(fragment.payload).is_err() {
                        return self.enter(Stage::Over(End::Tls), now);
                    }
                    self.advance(now);
                    if fragment.state == FrameState::Closing && fragment.ends_frame {
                        // Without close_notify, too, nothing follows this frame.
                        self.peer_closes(now);
                    }
                }
                Err(error) => return self.enter(Stage::Over(End::Frame(error)), now),
            }
        }
    }

    /// Lets TLS go on, and what its plaintext makes possible.
    fn advance(&mut self, now: u64) {
        let out = &mut self.out;
        let went = self.session.advance(&mut self.plain, |state, records| {
            for payload in records.chunks(usize::from(u16::MAX)) {
                out.extend_from_slice(&encode_header(state, payload.len() as u16));
                out.extend_from_slice(payload);
            }
        });
        if let Err(_error) = went {
            crate::log::warning!("TLS: {}", crate::log::Shown(&_error));
            let end = match self.stage {
                Stage::Closing(end) => end,
                _ => End::Tls,
            };
            return self.enter(Stage::Over(end), now);
        }
        if self.stage == Stage::Handshake && self.session.is_established() {
            let request = core::mem::take(&mut self.request);
            self.session.write(&request);
            self.enter(Stage::Reply, now);
            return self.advance(now);
        }
        if self.stage == Stage::Reply {
            self.read_reply(now);
        }
        if self.session.peer_closed() {
            self.peer_closes(now);
        }
    }

    fn read_reply(&mut self, now: u64) {
        match Reply::parse(&self.plain) {
            Ok(None) => {}
            Ok(Some((reply, taken))) => {
                let odd = reply != Reply::new(reply.code);
                self.plain.drain(..taken);
                match reply.code {
                    _ if odd && self.defects.has(Defect::ReadBound) => self.shut(End::Socks, now),
                    _ if self.defects.has(Defect::AnyReply) => self.enter(Stage::Open, now),
                    ReplyCode::Succeeded => self.enter(Stage::Open, now),
                    _ if self.defects.has(Defect::LingeringRefusal) => {}
                    code => self.shut(End::Refused(code.code()), now),
                }
            }
            // A code that RFC 1928 does not have is a refusal, too.
            Err(smgw_socks::SocksError::Reply(code)) => self.shut(End::Refused(code), now),
            Err(_) => self.shut(End::Socks, now),
        }
    }

    /// The peer closed its direction. Before there is a channel, nothing is left to be answered.
    fn peer_closes(&mut self, now: u64) {
        match self.stage {
            Stage::Over(_) | Stage::Finishing => {}
            Stage::Closing(end) => self.enter(Stage::Over(end), now),
            Stage::Open => self.enter(Stage::Finishing, now),
            Stage::Method | Stage::Handshake | Stage::Reply => self.shut(End::ByPeer, now),
        }
    }
}

/// CONNECT wants a port.
const PORT: u16 = 443;

/// With so many octets unsent nothing more is taken.
const MAX_OUT: usize = 16 * 1_024;
