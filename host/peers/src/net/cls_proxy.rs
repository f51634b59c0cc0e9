// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gateway's CLS proxy played by the bench, so that a controllable system can be given replies that no good gateway
//! gives (REQ.TA.SOCKSTLS.ConnectRequest.50 to .80; PRX-20, PRX-21).

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::{fmt, io};

use rustix::event::PollFlags;
use rustls::ServerConnection;
use smgw_socks::stream::SocksTlsStream;
use smgw_socks::{Address, Greeting, Method, MethodChoice, Request};
use smgw_units::Nanos;

use super::active_emt::Session;
use super::cls::send_raw;
use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{Ended, TlsFacts, TlsLink, Wire};
use super::party::ServerTls;
use super::tap::{Tap, TappedStream};
use super::wait::{Woken, wait};

/// The proxy on a loopback port. It serves one connection at a time, and only while it is asked to.
pub struct ClsProxy {
    listener: TcpListener,
    addr: SocketAddr,
    tls: ServerTls,
    tap: Arc<dyn Tap>,
}

impl ClsProxy {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(tls: ServerTls, tap: Arc<dyn Tap>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            tls,
            tap,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for a system and hears it up to its CONNECT, which is not answered yet.
    ///
    /// # Errors
    /// [`Failure::Timeout`] when none comes; [`Failure::Protocol`] for a greeting or a request that is wrong, and what
    /// else keeps TLS from standing.
    pub fn hear(&self, deadline: Deadline) -> Result<Asked, Failure> {
        let (stream, client) = loop {
            if wait(&self.listener, PollFlags::IN, deadline, None)? == Woken::TimedOut {
                return Err(Failure::Timeout);
            }
            match self.listener.accept() {
                Ok(accepted) => break accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        };
        let called_at = now();
        let mut stream = TappedStream::accepted(stream, client, Arc::clone(&self.tap))?;
        let rest = greet(&mut stream, deadline)?;
        let frames = SocksTlsStream::with_received(stream, &rest);
        let tls = ServerConnection::new(Arc::clone(&self.tls.0))?;
        let mut link = TlsLink::new(Wire::Framed(frames), tls, None);
        let facts = link.handshake(deadline)?;
        let mut plain = Vec::new();
        let mut buffer = [0; 512];
        let request = loop {
            match Request::parse(&plain) {
                Ok(Some((request, taken))) if taken == plain.len() => break request,
                Ok(Some(_)) => return Err(Failure::Protocol("octets behind CONNECT".into())),
                Ok(None) => {}
                Err(error) => return Err(Failure::Protocol(error.to_string())),
            }
            match link.read(&mut buffer, deadline)? {
                0 => return Err(Failure::Closed),
                len => plain.extend(buffer.get(..len).unwrap_or_default()),
            }
        };
        match request.address {
            Address::Name(name) => Ok(Asked {
                link,
                facts,
                name,
                called_at,
            }),
            _ => Err(Failure::Protocol("CONNECT without a name".into())),
        }
    }
}

impl fmt::Debug for ClsProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClsProxy")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// A system that waits for the reply to its CONNECT.
#[derive(Debug)]
pub struct Asked {
    link: TlsLink,
    facts: TlsFacts,
    name: Vec<u8>,
    called_at: Nanos,
}

impl Asked {
    /// The name it asked for.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When its TCP connection came.
    pub fn called_at(&self) -> Nanos {
        self.called_at
    }

    /// Sends these octets as the reply.
    ///
    /// # Errors
    /// [`Failure`] of the connection.
    pub fn reply(&mut self, octets: &[u8], deadline: Deadline) -> Result<(), Failure> {
        self.link.write(octets, deadline)
    }

    /// Reads and drops until the system ends the connection, and answers its closing handshake as a gateway does;
    /// tells how it ended, and how long that took.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn wait_closed(&mut self, deadline: Deadline) -> Result<Ended, Failure> {
        let (start, mut before) = (now(), 0);
        let mut buffer = [0; 512];
        loop {
            match self.link.read(&mut buffer, deadline) {
                Ok(0) => {
                    // A system that has gone already needs no answer.
                    let _ = self.link.close_write(deadline);
                    break;
                }
                Ok(len) => before += len as u64,
                Err(Failure::Timeout) => return Err(Failure::Timeout),
                // What broke TLS shows in how the transport ends.
                Err(_) => break,
            }
        }
        let ended = self.link.wait_transport_end(deadline)?;
        Ok(Ended {
            after: ended.at.saturating_since(start),
            discarded: before + ended.discarded,
            ..ended
        })
    }

    /// The channel, with the bench as market participant behind it.
    pub fn into_session(self) -> Session {
        Session::new(self.link, self.facts)
    }
}

/// Hears a greeting and chooses TLS; gives what came behind it.
fn greet(stream: &mut TappedStream, deadline: Deadline) -> Result<Vec<u8>, Failure> {
    let mut received = Vec::new();
    let mut chunk = [0; 512];
    loop {
        match Greeting::parse(&received) {
            Ok(Some((greeting, taken))) if greeting.offers(Method::TLS) => {
                send_raw(stream, &MethodChoice(Method::TLS).encode(), deadline)?;
                return Ok(received.split_off(taken));
            }
            Ok(Some(_)) => return Err(Failure::Protocol("a greeting without method 06".into())),
            Ok(None) => {}
            Err(error) => return Err(Failure::Protocol(error.to_string())),
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Failure::Closed),
            Ok(len) => received.extend(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait(stream, PollFlags::IN, deadline, None)? == Woken::TimedOut {
                    return Err(Failure::Timeout);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
