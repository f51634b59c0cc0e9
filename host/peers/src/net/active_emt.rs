// SPDX-License-Identifier: MIT OR Apache-2.0
//! An active external market participant (aEMT): it commands controllable systems through the channels that they open
//! (BSI TR-03109-5; §14a EnWG).

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConnection;
use smgw_cls::command::{Command, Report, State};
use smgw_units::Nanos;

use super::acceptor::{Acceptor, Serve};
use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{TlsFacts, TlsLink, Wire};
use super::party::ServerTls;
use super::tap::{Tap, TappedStream};
use super::wait::Signal;

/// The TLS server of an active market participant on a loopback port. Dropping it ends it.
#[derive(Debug)]
pub struct ActiveEmt(Acceptor<Shared>);

struct Shared {
    tls: ServerTls,
    tap: Arc<dyn Tap>,
    /// Ends handshakes that are under way.
    stop: Arc<Signal>,
    state: Mutex<Met>,
    changed: Condvar,
}

#[derive(Default)]
struct Met {
    sessions: VecDeque<Session>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Met> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `find` finds something; `None` when it does not in time.
    fn wait<T>(
        &self,
        deadline: Deadline,
        mut find: impl FnMut(&mut Met) -> Option<T>,
    ) -> Option<T> {
        let mut met = self.lock();
        loop {
            if let Some(found) = find(&mut met) {
                return Some(found);
            }
            let left = deadline.left();
            if left.is_zero() {
                return None;
            }
            met = self
                .changed
                .wait_timeout(met, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl ActiveEmt {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(tls: ServerTls, tap: Arc<dyn Tap>) -> io::Result<Self> {
        let service = Shared {
            tls,
            tap,
            stop: Signal::new()?,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self(Acceptor::start(addr, service)?))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// The session that was opened last and nobody has taken yet; waits for one. Older ones are dropped.
    pub fn session(&self, deadline: Deadline) -> Option<Session> {
        self.0.service().wait(deadline, |met| {
            let newest = met.sessions.pop_back();
            met.sessions.clear();
            newest
        })
    }

    /// Drops the sessions that nobody has taken: the systems behind them have to come again.
    pub fn forget_sessions(&self) {
        self.0.service().lock().sessions.clear();
    }
}

/// A channel to a controllable system, from the participant's side.
#[derive(Debug)]
pub struct Session {
    link: TlsLink,
    facts: TlsFacts,
    received: Vec<u8>,
}

impl Session {
    /// A channel that stands.
    pub(super) fn new(link: TlsLink, facts: TlsFacts) -> Self {
        Self {
            link,
            facts,
            received: Vec::new(),
        }
    }

    /// What the handshake with the gateway settled.
    pub fn facts(&self) -> &TlsFacts {
        &self.facts
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`Failure`] of the connection.
    pub fn send(&mut self, command: &Command, deadline: Deadline) -> Result<(), Failure> {
        self.link.write(&command.encode(), deadline)
    }

    /// The next report of the system.
    ///
    /// # Errors
    /// [`Failure::Timeout`], [`Failure::Closed`] at the end of the channel, [`Failure::Protocol`] for octets that are
    /// no report.
    pub fn receive(&mut self, deadline: Deadline) -> Result<Report, Failure> {
        let mut buffer = [0; 4096];
        loop {
            match Report::parse(&self.received) {
                Ok(Some((report, taken))) => {
                    self.received.drain(..taken);
                    return Ok(report);
                }
                Ok(None) => {}
                Err(error) => return Err(Failure::Protocol(error.to_string())),
            }
            match self.link.read(&mut buffer, deadline)? {
                0 => return Err(Failure::Closed),
                len => self.received.extend(buffer.get(..len).unwrap_or_default()),
            }
        }
    }

    /// Reads reports until one has what is looked for, which is given back with when it was there.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn wait_for<T>(
        &mut self,
        deadline: Deadline,
        mut wanted: impl FnMut(&Report) -> Option<T>,
    ) -> Result<(T, Nanos), Failure> {
        loop {
            let report = self.receive(deadline)?;
            if let Some(found) = wanted(&report) {
                return Ok((found, now()));
            }
        }
    }

    /// Sends a command and waits for a state that fits; gives it with how long that took.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub fn command(
        &mut self,
        command: &Command,
        deadline: Deadline,
        fits: impl Fn(&State) -> bool,
    ) -> Result<(State, Duration), Failure> {
        let start = now();
        self.send(command, deadline)?;
        let (state, at) = self.wait_for(deadline, |report| match report {
            Report::State(state) if fits(state) => Some(*state),
            _ => None,
        })?;
        Ok((state, Duration::from_nanos(at.0.saturating_sub(start.0))))
    }

    /// Ends the channel in order.
    pub fn close(mut self, deadline: Deadline) {
        // The system may be gone: nothing depends on its hearing the end.
        let _ = self.link.close_write(deadline);
        self.link.wire.tcp().shutdown_write();
        let _ = self.link.wait_transport_end(deadline);
    }

    /// Breaks the channel (RST).
    pub fn abort(self) {
        self.link.wire.tcp().abort_on_close();
    }
}

impl Serve for Shared {
    const NAME: &'static str = "aemt";

    fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
    ) -> Result<JoinHandle<()>, Failure> {
        let stream = TappedStream::accepted(stream, client, Arc::clone(&self.tap))?;
        let shared = Arc::clone(self);
        let worker = std::thread::Builder::new()
            .name("aemt-handshake".into())
            .spawn(move || shared.greet(stream))?;
        Ok(worker)
    }

    fn call_off(&self) {
        self.stop.raise(1);
    }
}

impl Shared {
    fn greet(&self, stream: TappedStream) {
        match self.handshake(stream) {
            Ok(session) => {
                let mut met = self.lock();
                if met.sessions.len() == SESSIONS {
                    met.sessions.pop_front();
                }
                met.sessions.push_back(session);
                drop(met);
                self.changed.notify_all();
            }
            Err(failure) => tracing::warn!(%failure, "no channel at the active EMT"),
        }
    }

    fn handshake(&self, stream: TappedStream) -> Result<Session, Failure> {
        let tls = ServerConnection::new(Arc::clone(&self.tls.0))?;
        let mut link = TlsLink::new(Wire::Bare(stream), tls, Some(Arc::clone(&self.stop)));
        let facts = link.handshake(Deadline::within(HANDSHAKE_LIMIT))?;
        link.ignore_signal();
        Ok(Session::new(link, facts))
    }
}

/// Sessions kept for somebody to take.
const SESSIONS: usize = 8;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
