// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taps on network legs: the octets of a TCP connection as they pass, below TLS and below SOCKS-TLS frames.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use smgw_units::Nanos;

use super::deadline::{Deadline, now};
use super::failure::Failure;

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConnId {
    /// The end that connected.
    pub client: SocketAddr,
    /// The end that accepted.
    pub server: SocketAddr,
}

/// Which way octets go.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the end that connected.
    ClientToServer,
    /// From the end that accepted.
    ServerToClient,
}

/// Which end of a connection ended it, as its owner saw it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CloseKind {
    /// We closed first.
    Local,
    /// The peer closed first, in order (FIN).
    Peer,
    /// The peer broke it (RST).
    Reset,
}

/// Watches TCP connections. Called from the thread that owns the connection; must not block.
pub trait Tap: Send + Sync {
    /// A connection stands.
    fn opened(&self, conn: ConnId, at: Nanos);

    /// Octets passed. The stamp is taken right before the `send` of ours and right after the `recv` of theirs.
    fn bytes(&self, conn: ConnId, direction: Direction, at: Nanos, octets: &[u8]);

    /// Our end let go of the connection.
    fn closed(&self, conn: ConnId, at: Nanos, how: CloseKind);
}

/// A tap that watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn opened(&self, _: ConnId, _: Nanos) {}
    fn bytes(&self, _: ConnId, _: Direction, _: Nanos, _: &[u8]) {}
    fn closed(&self, _: ConnId, _: Nanos, _: CloseKind) {}
}

/// A non-blocking TCP connection with a tap on it; `TCP_NODELAY` is set.
pub struct TappedStream {
    stream: TcpStream,
    id: ConnId,
    outgoing: Direction,
    tap: Arc<dyn Tap>,
    ended: Option<CloseKind>,
}

impl fmt::Debug for TappedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TappedStream")
            .field("id", &self.id)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl TappedStream {
    /// Connects to `server`.
    ///
    /// # Errors
    /// [`Failure::Refused`], [`Failure::Timeout`] or [`Failure::Io`].
    pub fn connect(
        server: SocketAddr,
        tap: Arc<dyn Tap>,
        deadline: Deadline,
    ) -> Result<Self, Failure> {
        // The standard library refuses a zero timeout.
        let left = deadline.left().max(Duration::from_millis(1));
        let stream = TcpStream::connect_timeout(&server, left)?;
        let id = ConnId {
            client: stream.local_addr()?,
            server,
        };
        Self::new(stream, id, Direction::ClientToServer, tap)
    }

    /// Takes over a connection that a listener accepted.
    ///
    /// # Errors
    /// [`Failure::Io`] when the socket is already gone.
    pub fn accepted(
        stream: TcpStream,
        client: SocketAddr,
        tap: Arc<dyn Tap>,
    ) -> Result<Self, Failure> {
        let id = ConnId {
            client,
            server: stream.local_addr()?,
        };
        Self::new(stream, id, Direction::ServerToClient, tap)
    }

    fn new(
        stream: TcpStream,
        id: ConnId,
        outgoing: Direction,
        tap: Arc<dyn Tap>,
    ) -> Result<Self, Failure> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        tap.opened(id, now());
        Ok(Self {
            stream,
            id,
            outgoing,
            tap,
            ended: None,
        })
    }

    /// The two ends.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// How the peer ended the connection, if it did.
    pub fn ended(&self) -> Option<CloseKind> {
        self.ended
    }

    /// Sends FIN; reading goes on.
    pub(crate) fn shutdown_write(&self) {
        // Fails only when the connection is gone already, which the next read tells.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Makes the coming close an abort (RST).
    pub(crate) fn abort_on_close(&self) {
        // Without the option the close is merely orderly.
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    fn incoming(&self) -> Direction {
        match self.outgoing {
            Direction::ClientToServer => Direction::ServerToClient,
            Direction::ServerToClient => Direction::ClientToServer,
        }
    }

    fn note(&mut self, error: &io::Error) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        ) {
            self.ended.get_or_insert(CloseKind::Reset);
        }
    }
}

impl Read for TappedStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out) {
            Ok(0) if !out.is_empty() => {
                self.ended.get_or_insert(CloseKind::Peer);
                Ok(0)
            }
            Ok(len) => {
                let at = now();
                self.tap.bytes(
                    self.id,
                    self.incoming(),
                    at,
                    out.get(..len).unwrap_or_default(),
                );
                Ok(len)
            }
            Err(error) => {
                self.note(&error);
                Err(error)
            }
        }
    }
}

impl Write for TappedStream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let at = now();
        match self.stream.write(octets) {
            Ok(len) => {
                self.tap.bytes(
                    self.id,
                    self.outgoing,
                    at,
                    octets.get(..len).unwrap_or_default(),
                );
                Ok(len)
            }
            Err(error) => {
                self.note(&error);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for TappedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for TappedStream {
    fn drop(&mut self) {
        self.tap
            .closed(self.id, now(), self.ended.unwrap_or(CloseKind::Local));
    }
}
