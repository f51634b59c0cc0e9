// SPDX-License-Identifier: MIT OR Apache-2.0
//! One TLS connection over TCP, bare or inside SOCKS-TLS frames, driven without blocking and waited for with deadlines.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustls::Connection;
use smgw_socks::FrameState;
use smgw_socks::stream::SocksTlsStream;
use smgw_units::Nanos;

use super::alert::Alert;
use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::tap::{CloseKind, TappedStream};
use super::wait::{Signal, Woken, wait};

/// What carries the TLS records.
#[derive(Debug)]
pub(crate) enum Wire {
    Bare(TappedStream),
    Framed(SocksTlsStream<TappedStream>),
}

impl Wire {
    pub(crate) fn tcp(&self) -> &TappedStream {
        match self {
            Self::Bare(stream) => stream,
            Self::Framed(frames) => frames.inner(),
        }
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut TappedStream {
        match self {
            Self::Bare(stream) => stream,
            Self::Framed(frames) => frames.inner_mut(),
        }
    }

    /// The state of the frames sent from now on; nothing without framing.
    pub(crate) fn set_state(&self, state: FrameState) {
        if let Self::Framed(frames) = self {
            frames.state_handle().set(state);
        }
    }

    fn has_unsent(&self) -> bool {
        matches!(self, Self::Framed(frames) if frames.has_unsent())
    }
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(stream) => stream.read(out),
            Self::Framed(frames) => frames.read(out),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Bare(stream) => stream.write(octets),
            Self::Framed(frames) => frames.write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Bare(stream) => {
                // One segment for a flight of records; the tap wants contiguous octets anyway.
                match slices {
                    [one] => stream.write(one),
                    many => {
                        let octets: Vec<u8> = many
                            .iter()
                            .flat_map(|slice| slice.iter().copied())
                            .collect();
                        stream.write(&octets)
                    }
                }
            }
            Self::Framed(frames) => frames.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Bare(stream) => stream.flush(),
            Self::Framed(frames) => frames.flush(),
        }
    }
}

/// What a handshake settled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// When the handshake was complete on our side.
    pub at: Nanos,
    /// Protocol version on the wire, 0x0303 for TLS 1.2.
    pub version: u16,
    /// Cipher suite number.
    pub suite: u16,
    /// Named group number of the key exchange, if there was one.
    pub group: Option<u16>,
    /// The peer's leaf certificate, DER.
    pub peer_certificate: Option<Vec<u8>>,
    /// The server name the client asked for; servers only.
    pub sni: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// When the transport end was seen.
    pub at: Nanos,
    /// Time since the wait began.
    pub after: Duration,
    /// Who ended the transport, and how.
    pub how: CloseKind,
    /// Whether the peer sent close_notify before.
    pub close_notify: bool,
    /// A fatal alert that came before.
    pub alert: Option<Alert>,
    /// Plaintext octets that came while waiting, and were dropped.
    pub discarded: u64,
}

/// What a look at the transport brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pulled {
    /// Octets; perhaps plaintext.
    Some,
    /// Nothing for now: wait before the next look.
    Nothing,
    /// The transport ended, or the peer closed TLS.
    End,
}

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct TlsLink {
    pub(crate) wire: Wire,
    pub(crate) tls: Connection,
    signal: Option<Arc<Signal>>,
}

impl TlsLink {
    pub(crate) fn new(wire: Wire, tls: impl Into<Connection>, signal: Option<Arc<Signal>>) -> Self {
        let mut tls = tls.into();
        // What is buffered is bounded by what the callers hand in between two flushes.
        tls.set_buffer_limit(None);
        Self { wire, tls, signal }
    }

    /// Waits go on although the signal is raised.
    pub(crate) fn ignore_signal(&mut self) {
        self.signal = None;
    }

    /// Completes the handshake, then sends data frames.
    pub(crate) fn handshake(&mut self, deadline: Deadline) -> Result<TlsFacts, Failure> {
        loop {
            self.push()?;
            if !self.tls.is_handshaking() && !self.has_unsent() {
                self.wire.set_state(FrameState::Data);
                return Ok(self.facts());
            }
            match self.pull()? {
                Pulled::Some => {}
                Pulled::Nothing => self.wait(deadline)?,
                Pulled::End => return Err(Failure::Closed),
            }
        }
    }

    fn facts(&self) -> TlsFacts {
        TlsFacts {
            at: now(),
            version: self.tls.protocol_version().map_or(0, Into::into),
            suite: self
                .tls
                .negotiated_cipher_suite()
                .map_or(0, |suite| suite.suite().into()),
            group: self
                .tls
                .negotiated_key_exchange_group()
                .map(|group| group.name().into()),
            peer_certificate: self
                .tls
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.as_ref().to_vec()),
            sni: match &self.tls {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
        }
    }

    /// Reads plaintext, at least one octet; 0 when the peer closed TLS.
    ///
    /// # Errors
    /// [`Failure::Closed`] when the transport ended without close_notify.
    pub(crate) fn read(&mut self, out: &mut [u8], deadline: Deadline) -> Result<usize, Failure> {
        loop {
            if let Some(len) = self.take(out)? {
                return Ok(len);
            }
            self.push()?;
            if self.pull()? == Pulled::Nothing {
                self.wait(deadline)?;
            }
        }
    }

    /// Plaintext that is already here: `None` when there is none yet, 0 when the peer closed TLS.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> Result<Option<usize>, Failure> {
        match self.tls.reader().read(out) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all of `plaintext` as records of their own and sends them.
    pub(crate) fn write(&mut self, plaintext: &[u8], deadline: Deadline) -> Result<(), Failure> {
        for piece in plaintext.chunks(WRITE_LEN) {
            self.tls.writer().write_all(piece)?;
            self.flush(deadline)?;
        }
        Ok(())
    }

    /// Sends everything buffered, taking in what the peer sends meanwhile as far as it fits.
    pub(crate) fn flush(&mut self, deadline: Deadline) -> Result<(), Failure> {
        while !self.push()? {
            self.wait_for(PollFlags::OUT, deadline)?;
        }
        Ok(())
    }

    /// Ends our direction: close_notify, inside a closing frame when framed. Reading goes on.
    pub(crate) fn close_write(&mut self, deadline: Deadline) -> Result<(), Failure> {
        self.flush(deadline)?;
        self.wire.set_state(FrameState::Closing);
        self.tls.send_close_notify();
        self.flush(deadline)
    }

    /// Reads and drops until the transport ends.
    pub(crate) fn wait_transport_end(&mut self, deadline: Deadline) -> Result<Ended, Failure> {
        let start = now();
        let mut scratch = [0; 4096];
        let (mut close_notify, mut alert, mut discarded) = (false, None, 0);
        // Records first, as far as they go.
        loop {
            match self.take(&mut scratch) {
                Ok(Some(0)) => {
                    close_notify = true;
                    break;
                }
                Ok(Some(len)) => {
                    discarded += len as u64;
                    continue;
                }
                Ok(None) => {}
                Err(_) => break,
            }
            match self.push().and_then(|_| self.pull()) {
                Ok(Pulled::Nothing) => self.wait(deadline)?,
                Ok(_) => {}
                Err(failure) => {
                    alert = failure.alert();
                    break;
                }
            }
        }
        // Then whatever is behind them.
        while self.wire.tcp().ended().is_none() {
            match self.wire.tcp_mut().read(&mut scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::IN, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.wire.tcp().ended().is_none() => return Err(error.into()),
                // Octets to drop, or the end, which the stream remembers.
                _ => {}
            }
        }
        let at = now();
        Ok(Ended {
            at,
            after: at.saturating_since(start),
            how: self.wire.tcp().ended().unwrap_or(CloseKind::Peer),
            close_notify,
            alert,
            discarded,
        })
    }

    /// Sends what is buffered as far as the transport takes it; whether that was all.
    pub(crate) fn push(&mut self) -> Result<bool, Failure> {
        let mut sent = || {
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.wire)?;
            }
            self.wire.flush()
        };
        match sent() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.reason(error.into())),
        }
    }

    /// Why sending failed: perhaps an alert that was sent right before the reset lies in the receive queue.
    fn reason(&mut self, failure: Failure) -> Failure {
        while let Ok(len) = self.tls.read_tls(&mut self.wire) {
            match self.tls.process_new_packets() {
                Err(error) => return error.into(),
                Ok(_) if len == 0 => break,
                Ok(_) => {}
            }
        }
        failure
    }

    /// Looks at the transport once. Take the plaintext before the next look.
    pub(crate) fn pull(&mut self) -> Result<Pulled, Failure> {
        match self.tls.read_tls(&mut self.wire) {
            Ok(0) => {
                // Lets the reader tell a cut stream from a closed one.
                self.process()?;
                Ok(Pulled::End)
            }
            Ok(_) => {
                self.process()?;
                Ok(Pulled::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Pulled::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Pulled::Some),
            Err(error) => Err(error.into()),
        }
    }

    fn process(&mut self) -> Result<(), Failure> {
        match self.tls.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => {
                // Our own alert should reach the peer, if it can still be reached.
                let _ = self.push();
                Err(error.into())
            }
        }
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.wants_write() || self.wire.has_unsent()
    }

    /// Waits until the transport has something, or takes what is unsent.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<(), Failure> {
        let out = if self.has_unsent() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        };
        self.wait_for(PollFlags::IN | out, deadline)
    }

    pub(crate) fn wait_for(&self, interest: PollFlags, deadline: Deadline) -> Result<(), Failure> {
        match wait(self.wire.tcp(), interest, deadline, self.signal.as_deref())? {
            Woken::Ready => Ok(()),
            Woken::Signalled => Err(Failure::CalledOff),
            Woken::TimedOut => Err(Failure::Timeout),
        }
    }
}

/// Plaintext handed to TLS between two flushes: one largest record.
pub(crate) const WRITE_LEN: usize = 16 * 1024;
