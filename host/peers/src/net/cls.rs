// SPDX-License-Identifier: MIT OR Apache-2.0
//! A CLS at the gateway's proxy, step by step, so that each step can be done wrong (DS §11; PRX-01 to PRX-12, PRX-19).

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use smgw_socks::stream::SocksTlsStream;
use smgw_socks::{FrameState, MethodChoice, Reply, Request};
use smgw_units::Nanos;

use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{Ended, TlsFacts, TlsLink, Wire};
use super::party::ClientTls;
use super::tap::{ConnId, Tap, TappedStream};
use super::transfer::{TransferPlan, TransferReport, transfer};
use super::wait::{Woken, wait};

/// A TCP connection to the proxy, before TLS.
#[derive(Debug)]
pub struct ClsClient {
    stream: TappedStream,
    /// Octets read and not yet understood.
    received: Vec<u8>,
}

/// The gateway's answer to a greeting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GreetingOutcome {
    /// It chose this method; 06 is TLS, FF is none.
    Method(u8),
    /// It closed without an answer.
    Closed,
    /// It answered something that is no choice of method.
    Raw(Vec<u8>),
}

/// What came back on the bare TCP connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawAnswer {
    /// Octets received, at most 64 KiB.
    pub octets: Vec<u8>,
    /// Whether the gateway ended the connection behind them.
    pub closed: bool,
}

/// The gateway's reply to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClsReply {
    /// The reply code as it came, also an unknown one.
    pub code: u8,
    /// The octets of the reply.
    pub raw: Vec<u8>,
    /// When its last octet was there, deciphered.
    pub at: Nanos,
}

impl ClsClient {
    /// Connects to the proxy.
    ///
    /// # Errors
    /// [`Failure::Refused`] or [`Failure::Timeout`].
    pub fn open(proxy: SocketAddr, tap: Arc<dyn Tap>, deadline: Deadline) -> Result<Self, Failure> {
        Ok(Self {
            stream: TappedStream::connect(proxy, tap, deadline)?,
            received: Vec::new(),
        })
    }

    /// The two ends.
    pub fn id(&self) -> ConnId {
        self.stream.id()
    }

    /// Sends a greeting that offers `methods` (none, or up to 255) and reads the answer.
    ///
    /// # Errors
    /// [`Failure::Timeout`] when there is neither answer nor close.
    pub fn greet(
        &mut self,
        methods: &[u8],
        deadline: Deadline,
    ) -> Result<GreetingOutcome, Failure> {
        let methods = methods.get(..255).unwrap_or(methods);
        let mut greeting = vec![smgw_socks::SOCKS_VERSION, methods.len() as u8];
        greeting.extend(methods);
        self.greet_raw(&greeting, deadline)
    }

    /// Sends any octets in place of a greeting and reads the answer.
    ///
    /// # Errors
    /// As [`Self::greet`].
    pub fn greet_raw(
        &mut self,
        octets: &[u8],
        deadline: Deadline,
    ) -> Result<GreetingOutcome, Failure> {
        self.send_raw(octets, deadline)?;
        loop {
            match MethodChoice::parse(&self.received) {
                Ok(Some((choice, taken))) => {
                    self.received.drain(..taken);
                    return Ok(GreetingOutcome::Method(choice.0.0));
                }
                Ok(None) => {}
                Err(_) => return Ok(GreetingOutcome::Raw(std::mem::take(&mut self.received))),
            }
            match self.receive(deadline) {
                Ok(true) => {}
                Ok(false) | Err(Failure::Reset) if self.received.is_empty() => {
                    return Ok(GreetingOutcome::Closed);
                }
                Ok(false) | Err(Failure::Reset) => {
                    return Ok(GreetingOutcome::Raw(std::mem::take(&mut self.received)));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Sends octets on the bare TCP connection.
    ///
    /// # Errors
    /// [`Failure::Reset`] or [`Failure::Timeout`].
    pub fn send_raw(&mut self, octets: &[u8], deadline: Deadline) -> Result<(), Failure> {
        send_raw(&mut self.stream, octets, deadline)
    }

    /// Collects what comes back until the gateway closes, 64 KiB are there, or the deadline passes (no error).
    ///
    /// # Errors
    /// [`Failure::Io`].
    pub fn read_raw(&mut self, deadline: Deadline) -> Result<RawAnswer, Failure> {
        let closed = loop {
            if self.received.len() >= RAW_LIMIT {
                break false;
            }
            match self.receive(deadline) {
                Ok(true) => {}
                Ok(false) | Err(Failure::Reset) => break true,
                Err(Failure::Timeout) => break false,
                Err(failure) => return Err(failure),
            }
        };
        Ok(RawAnswer {
            octets: std::mem::take(&mut self.received),
            closed,
        })
    }

    /// Does the TLS handshake inside SOCKS-TLS frames of state 01.
    ///
    /// # Errors
    /// [`Failure::Alert`], [`Failure::Closed`], [`Failure::Reset`], [`Failure::Timeout`], [`Failure::Tls`] when the
    /// gateway's certificate is not the pinned one, [`Failure::Protocol`] when its frames are wrong. With TLS 1.3 a
    /// refusal of our certificate shows in the step after this.
    pub fn tls(self, side: &ClientTls, deadline: Deadline) -> Result<ClsTls, Failure> {
        // An address in place of a name: no SNI is sent, as the proxy has no name.
        let name = ServerName::from(self.stream.id().server.ip());
        let tls = ClientConnection::new(Arc::clone(&side.0), name)?;
        let frames = SocksTlsStream::with_received(self.stream, &self.received);
        let mut link = TlsLink::new(Wire::Framed(frames), tls, None);
        let facts = link.handshake(deadline)?;
        Ok(ClsTls { link, facts })
    }

    /// Whether anything came; `false` at the end of the connection.
    fn receive(&mut self, deadline: Deadline) -> Result<bool, Failure> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(len) => {
                    self.received.extend(chunk.get(..len).unwrap_or_default());
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if wait(&self.stream, PollFlags::IN, deadline, None)? == Woken::TimedOut {
                        return Err(Failure::Timeout);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The proxy behind TLS, before or after a request.
#[derive(Debug)]
pub struct ClsTls {
    link: TlsLink,
    facts: TlsFacts,
}

impl ClsTls {
    /// What the handshake settled.
    pub fn facts(&self) -> &TlsFacts {
        &self.facts
    }

    /// The two ends.
    pub fn id(&self) -> ConnId {
        self.link.wire.tcp().id()
    }

    /// Sends a CONNECT for raw name octets, valid or not (at most 255 are sent), and reads the reply.
    ///
    /// # Errors
    /// [`Failure::Closed`] when the gateway ends TLS without a reply, and what else keeps the reply away.
    pub fn connect_name(
        &mut self,
        name: &[u8],
        port: u16,
        deadline: Deadline,
    ) -> Result<ClsReply, Failure> {
        let name = name.get(..255).unwrap_or(name);
        let request = Request::connect(name, port)
            .map(|request| request.encode())
            .unwrap_or_default();
        self.connect_raw(&request, deadline)
    }

    /// Sends any octets in place of a request and reads a reply.
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn connect_raw(&mut self, octets: &[u8], deadline: Deadline) -> Result<ClsReply, Failure> {
        self.link.write(octets, deadline)?;
        let mut raw = Vec::new();
        // Octet by octet, so that channel data right behind the reply stay in the TLS buffer.
        while matches!(Reply::parse(&raw), Ok(None)) {
            let mut octet = [0];
            match self.link.read(&mut octet, deadline)? {
                0 => return Err(Failure::Closed),
                _ => raw.extend(octet),
            }
        }
        match raw.get(1) {
            Some(&code) => Ok(ClsReply {
                code,
                raw,
                at: now(),
            }),
            None => Err(Failure::Protocol(format!("{raw:02x?} is no reply"))),
        }
    }

    /// Sends octets on the TCP connection, past TLS and framing.
    ///
    /// # Errors
    /// [`Failure::Reset`] or [`Failure::Timeout`].
    pub fn inject(&mut self, octets: &[u8], deadline: Deadline) -> Result<(), Failure> {
        send_raw(self.link.wire.tcp_mut(), octets, deadline)
    }

    /// The frames sent from now on carry `state`; a well-behaved CLS never needs it.
    pub fn set_frame_state(&mut self, state: FrameState) {
        self.link.wire.set_state(state);
    }

    /// Reads and drops until the gateway ends the connection; tells how, and how long it took.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn wait_closed(&mut self, deadline: Deadline) -> Result<Ended, Failure> {
        self.link.wait_transport_end(deadline)
    }

    /// The channel to the EMT, after reply 00.
    pub fn into_channel(self) -> ClsChannel {
        ClsChannel {
            tls: self,
            deadline: Deadline::within(DEFAULT_LIMIT),
        }
    }
}

/// A channel to the EMT through the proxy.
///
/// `Read` and `Write` last to [`Self::set_deadline`] (30 s after opening by default). They work in turns: to send more
/// than socket buffers hold while the other end answers, use [`Self::transfer`].
#[derive(Debug)]
pub struct ClsChannel {
    tls: ClsTls,
    deadline: Deadline,
}

impl ClsChannel {
    /// A channel straight to an EMT, without a proxy: what the peers themselves contribute to a latency.
    ///
    /// # Errors
    /// What keeps TCP or TLS from standing.
    pub fn direct(
        emt: SocketAddr,
        side: &ClientTls,
        tap: Arc<dyn Tap>,
        deadline: Deadline,
    ) -> Result<Self, Failure> {
        let stream = TappedStream::connect(emt, tap, deadline)?;
        let tls = ClientConnection::new(Arc::clone(&side.0), ServerName::from(emt.ip()))?;
        let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
        let facts = link.handshake(deadline)?;
        Ok(ClsTls { link, facts }.into_channel())
    }

    /// The latest instant for `Read` and `Write`.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// The two ends.
    pub fn id(&self) -> ConnId {
        self.tls.id()
    }

    /// Sends a pattern and takes it back from an echo at the same time.
    pub fn transfer(&mut self, plan: &TransferPlan, deadline: Deadline) -> TransferReport {
        transfer(&mut self.tls.link, plan, deadline)
    }

    /// Time of one round trip of `payload` through an echo: from right before its encryption to right after the
    /// decryption of its last octet, both stamped in the calling thread.
    ///
    /// # Errors
    /// What broke the channel, or [`Failure::Protocol`] when something else came back.
    pub fn ping(&mut self, payload: &[u8], deadline: Deadline) -> Result<Duration, Failure> {
        let mut back = vec![0; payload.len()];
        let start = now();
        self.tls.link.write(payload, deadline)?;
        let mut filled = 0;
        while let Some(rest) = back.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.tls.link.read(rest, deadline)? {
                0 => return Err(Failure::Closed),
                len => filled += len,
            }
        }
        let duration = now().saturating_since(start);
        if back == payload {
            Ok(duration)
        } else {
            Err(Failure::Protocol("the echo differs".into()))
        }
    }

    /// Ends our direction with close_notify in a closing frame; reading goes on.
    ///
    /// # Errors
    /// What keeps it from being sent.
    pub fn shutdown_write(&mut self, deadline: Deadline) -> Result<(), Failure> {
        self.tls.link.close_write(deadline)
    }

    /// Reads and drops until the gateway ends the connection; tells how, and how long it took.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn wait_closed(&mut self, deadline: Deadline) -> Result<Ended, Failure> {
        self.tls.wait_closed(deadline)
    }

    /// Sends octets on the TCP connection, past TLS and framing.
    ///
    /// # Errors
    /// [`Failure::Reset`] or [`Failure::Timeout`].
    pub fn inject(&mut self, octets: &[u8], deadline: Deadline) -> Result<(), Failure> {
        self.tls.inject(octets, deadline)
    }

    /// The frames sent from now on carry `state`; a well-behaved CLS never needs it.
    pub fn set_frame_state(&mut self, state: FrameState) {
        self.tls.set_frame_state(state);
    }

    /// Ends TCP in order but without close_notify (a truncation).
    pub fn close_tcp(self) {}

    /// Breaks the connection (RST).
    pub fn abort(self) {
        self.tls.link.wire.tcp().abort_on_close();
    }
}

impl Read for ClsChannel {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        Ok(self.tls.link.read(out, self.deadline)?)
    }
}

impl Write for ClsChannel {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.tls.link.write(octets, self.deadline)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.tls.link.flush(self.deadline)?)
    }
}

pub(crate) fn send_raw(
    stream: &mut TappedStream,
    mut octets: &[u8],
    deadline: Deadline,
) -> Result<(), Failure> {
    while !octets.is_empty() {
        match stream.write(octets) {
            Ok(len) => octets = octets.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait(stream, PollFlags::OUT, deadline, None)? == Woken::TimedOut {
                    return Err(Failure::Timeout);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const RAW_LIMIT: usize = 64 * 1024;
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
