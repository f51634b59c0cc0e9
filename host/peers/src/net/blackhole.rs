// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses where nobody answers, or everybody is turned away (PRX-07: reply 04 and reply 05).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
};

use super::deadline::Deadline;
use super::wait::{Woken, wait};

/// A loopback port that answers every SYN with RST.
///
/// The socket is bound and never listens: the kernel refuses connections, and nobody else can take the port.
#[derive(Debug)]
pub struct RefusingPort {
    _socket: OwnedFd,
    addr: SocketAddr,
}

impl RefusingPort {
    /// Takes a free port.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn new() -> io::Result<Self> {
        let (socket, addr) = bound_socket()?;
        Ok(Self {
            _socket: socket,
            addr,
        })
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A loopback port that answers no SYN, as a host behind a dead link does.
///
/// The socket listens with the shortest backlog, which our own connections fill; Linux then drops further SYNs.
#[derive(Debug)]
pub struct BlackholePort {
    _listener: OwnedFd,
    _fillers: Vec<OwnedFd>,
    addr: SocketAddr,
}

impl BlackholePort {
    /// Takes a free port and fills its backlog.
    ///
    /// # Errors
    /// `Unsupported` when connections still succeed behind a full backlog (not Linux, or its rules have changed); a
    /// rig then needs a real dead address, for instance one dropped by a firewall.
    pub fn new() -> io::Result<Self> {
        let (listener, addr) = bound_socket()?;
        listen(&listener, 0)?;
        let mut fillers = Vec::new();
        for _ in 0..MOST_FILLERS {
            let filler = tcp_socket()?;
            match connect(&filler, &addr) {
                Ok(()) => {}
                Err(rustix::io::Errno::INPROGRESS) => {
                    // The last filler proves the point: its SYN is dropped.
                    if wait(&filler, PollFlags::OUT, Deadline::within(PROOF), None)?
                        == Woken::TimedOut
                    {
                        fillers.push(filler);
                        return Ok(Self {
                            _listener: listener,
                            _fillers: fillers,
                            addr,
                        });
                    }
                }
                Err(error) => return Err(error.into()),
            }
            fillers.push(filler);
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "connections succeed behind a full backlog",
        ))
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn tcp_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

fn bound_socket() -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = tcp_socket()?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let addr = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, addr))
}

/// A backlog of 0 holds one connection on Linux; more are tried in case a kernel rounds up.
const MOST_FILLERS: usize = 16;
/// Loopback connects within microseconds when it connects at all.
const PROOF: Duration = Duration::from_millis(100);
