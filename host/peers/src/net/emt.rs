// SPDX-License-Identifier: MIT OR Apache-2.0
//! An external market participant: the TLS server a gateway connects to, well-behaved or not (DS §11; PRX-04, -07, -10, -11, -18).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use rustls::ServerConnection;
use sha2::{Digest, Sha256};
use smgw_units::Nanos;

use super::acceptor::{Acceptor, Serve};
use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{Pulled, TlsFacts, TlsLink, WRITE_LEN, Wire};
use super::party::ServerTls;
use super::tap::{ConnId, Tap, TappedStream};
use super::wait::{Signal, Woken, wait};

/// What the EMT does with connections accepted from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmtMode {
    /// Sends back what comes, and closes behind the peer.
    Echo,
    /// Takes what comes.
    Sink,
    /// Sends these octets, ends its direction, and takes what comes.
    Script(Arc<[u8]>),
    /// Completes the handshake, then reads and sends nothing.
    Stall,
    /// Closes before TLS.
    RefuseTls,
    /// Accepts TCP, then does nothing.
    Silent,
}

/// How far a connection has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmtPhase {
    /// TCP stands.
    Accepted,
    /// TLS stands.
    Open,
    /// It is over.
    Ended(EmtEnd),
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmtEnd {
    /// The peer ended TLS in order (close_notify).
    PeerClosed,
    /// We ended it, as the mode or the owner told us.
    WeClosed,
    /// What broke it; [`Failure::Closed`] is an end without close_notify.
    Broken(Failure),
}

/// What the EMT knows of one connection.
#[derive(Clone, Debug)]
pub struct EmtConnection {
    /// The two ends; `client` is the gateway.
    pub id: ConnId,
    /// When TCP was accepted.
    pub accepted_at: Nanos,
    /// What the handshake settled, once it has: SNI, client certificate, suite.
    pub tls: Option<TlsFacts>,
    /// How far it has come.
    pub phase: EmtPhase,
    /// When it ended.
    pub ended_at: Option<Nanos>,
    /// Plaintext octets received.
    pub received: u64,
    /// Their SHA-256.
    pub received_sha256: [u8; 32],
    /// The first of them, at most 4096.
    pub received_head: Vec<u8>,
    /// Plaintext octets sent.
    pub sent: u64,
}

/// The TLS server of an external market participant on a loopback port. Dropping it ends its connections and threads.
#[derive(Debug)]
pub struct Emt(Acceptor<Shared>);

impl Emt {
    /// Listens on a free loopback port, in mode [`EmtMode::Echo`].
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(tls: ServerTls, tap: Arc<dyn Tap>) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls, tap)
    }

    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start_at(addr: SocketAddr, tls: ServerTls, tap: Arc<dyn Tap>) -> io::Result<Self> {
        let service = Shared {
            state: Mutex::new(State {
                mode: EmtMode::Echo,
                tls,
                connections: Vec::new(),
            }),
            tap,
            changed: Condvar::new(),
        };
        Ok(Self(Acceptor::start(addr, service)?))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Serves connections accepted from now on by `mode`.
    pub fn set_mode(&self, mode: EmtMode) {
        self.0.service().lock().mode = mode;
    }

    /// Serves connections accepted from now on with another identity or other rules.
    pub fn set_tls(&self, tls: ServerTls) {
        self.0.service().lock().tls = tls;
    }

    /// Ends all running connections in order: close_notify, then FIN.
    pub fn close_connections(&self) {
        self.0.service().lock().raise_all(CLOSE);
    }

    /// Breaks all running connections (RST).
    pub fn abort_connections(&self) {
        self.0.service().lock().raise_all(ABORT);
    }

    /// All connections so far, in the order accepted.
    pub fn connections(&self) -> Vec<EmtConnection> {
        self.0.service().lock().snapshot()
    }

    /// Waits until `condition` holds for the connections so far; `None` when it does not in time.
    pub fn wait_until(
        &self,
        mut condition: impl FnMut(&[EmtConnection]) -> bool,
        deadline: Deadline,
    ) -> Option<Vec<EmtConnection>> {
        let mut state = self.0.service().lock();
        loop {
            let connections = state.snapshot();
            if condition(&connections) {
                return Some(connections);
            }
            let left = deadline.left();
            if left.is_zero() {
                return None;
            }
            state = self
                .0
                .service()
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until `count` connections have been accepted; `None` when they are not in time.
    pub fn wait_for(&self, count: usize, deadline: Deadline) -> Option<Vec<EmtConnection>> {
        self.wait_until(|connections| connections.len() >= count, deadline)
    }
}

struct Shared {
    state: Mutex<State>,
    tap: Arc<dyn Tap>,
    changed: Condvar,
}

struct State {
    mode: EmtMode,
    tls: ServerTls,
    connections: Vec<Entry>,
}

struct Entry {
    connection: EmtConnection,
    received_hash: Sha256,
    /// While it runs.
    signal: Option<Arc<Signal>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().connections.get_mut(index) {
            change(entry);
        }
        self.changed.notify_all();
    }
}

impl State {
    fn raise_all(&self, code: u8) {
        for signal in self
            .connections
            .iter()
            .filter_map(|entry| entry.signal.as_ref())
        {
            signal.raise(code);
        }
    }

    fn snapshot(&self) -> Vec<EmtConnection> {
        self.connections
            .iter()
            .map(|entry| EmtConnection {
                received_sha256: entry.received_hash.clone().finalize().into(),
                ..entry.connection.clone()
            })
            .collect()
    }
}

impl Serve for Shared {
    const NAME: &'static str = "emt-accept";

    fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
    ) -> Result<JoinHandle<()>, Failure> {
        let stream = TappedStream::accepted(stream, client, Arc::clone(&self.tap))?;
        let signal = Signal::new()?;
        let (index, mode, tls) = {
            let mut state = self.lock();
            state.connections.push(Entry {
                connection: EmtConnection {
                    id: stream.id(),
                    accepted_at: now(),
                    tls: None,
                    phase: EmtPhase::Accepted,
                    ended_at: None,
                    received: 0,
                    received_sha256: [0; 32],
                    received_head: Vec::new(),
                    sent: 0,
                },
                received_hash: Sha256::new(),
                signal: Some(Arc::clone(&signal)),
            });
            (
                state.connections.len() - 1,
                state.mode.clone(),
                state.tls.clone(),
            )
        };
        self.changed.notify_all();
        let worker = Worker {
            index,
            shared: Arc::clone(self),
            signal,
        };
        let thread = std::thread::Builder::new()
            .name(format!("emt-{index}"))
            .spawn(move || worker.run(stream, mode, &tls))?;
        Ok(thread)
    }

    fn call_off(&self) {
        self.lock().raise_all(ABORT);
    }
}

/// One connection's thread.
struct Worker {
    index: usize,
    shared: Arc<Shared>,
    signal: Arc<Signal>,
}

impl Worker {
    fn run(&self, stream: TappedStream, mode: EmtMode, tls: &ServerTls) {
        let end = match mode {
            EmtMode::RefuseTls => {
                drop(stream);
                EmtEnd::WeClosed
            }
            EmtMode::Silent => {
                let end = self.idle(&stream);
                drop(stream);
                end
            }
            mode => self.run_tls(stream, mode, tls),
        };
        self.shared.update(self.index, |entry| {
            entry.signal = None;
            entry.connection.phase = EmtPhase::Ended(end);
            entry.connection.ended_at = Some(now());
        });
    }

    /// Waits to be ended by the owner, or by the peer without looking at what it sends.
    fn idle(&self, stream: &TappedStream) -> EmtEnd {
        // RDHUP: the peer's FIN counts although its octets stay unread.
        match wait(
            stream,
            PollFlags::RDHUP,
            Deadline::NEVER,
            Some(&self.signal),
        ) {
            Ok(Woken::Signalled) => {
                if self.signal.raised() == ABORT {
                    stream.abort_on_close();
                }
                EmtEnd::WeClosed
            }
            Ok(_) => EmtEnd::Broken(Failure::Closed),
            Err(error) => EmtEnd::Broken(error.into()),
        }
    }

    fn run_tls(&self, stream: TappedStream, mode: EmtMode, tls: &ServerTls) -> EmtEnd {
        let tls = match ServerConnection::new(Arc::clone(&tls.0)) {
            Ok(tls) => tls,
            Err(error) => return EmtEnd::Broken(error.into()),
        };
        let mut link = TlsLink::new(Wire::Bare(stream), tls, Some(Arc::clone(&self.signal)));
        let ended = match link.handshake(Deadline::within(HANDSHAKE_LIMIT)) {
            Err(failure) => Err(failure),
            Ok(facts) => {
                self.shared.update(self.index, |entry| {
                    entry.connection.tls = Some(facts);
                    entry.connection.phase = EmtPhase::Open;
                });
                self.converse(&mut link, mode)
            }
        };
        match ended {
            Ok(end) => {
                // The peer may be gone: nothing depends on its hearing the end.
                let _ = link.close_write(Deadline::within(CLOSE_LIMIT));
                link.wire.tcp().shutdown_write();
                end
            }
            Err(Failure::CalledOff) => {
                if self.signal.raised() == ABORT {
                    link.wire.tcp().abort_on_close();
                } else {
                    self.close_in_order(&mut link);
                }
                EmtEnd::WeClosed
            }
            Err(failure) => EmtEnd::Broken(failure),
        }
    }

    /// Ends our direction, then leaves the peer time to end its own: a close with unread octets would be a reset.
    fn close_in_order(&self, link: &mut TlsLink) {
        link.ignore_signal();
        let _ = link.close_write(Deadline::within(CLOSE_LIMIT));
        link.wire.tcp().shutdown_write();
        let limit = Deadline::within(PEER_CLOSE_LIMIT);
        while self.signal.raised() != ABORT && !limit.left().is_zero() {
            if link.wait_transport_end(limit.but_within(SIGNAL_CHECK)) != Err(Failure::Timeout) {
                break;
            }
        }
    }

    fn converse(&self, link: &mut TlsLink, mode: EmtMode) -> Result<EmtEnd, Failure> {
        let echo = mode == EmtMode::Echo;
        match mode {
            EmtMode::Stall => return Ok(self.idle(link.wire.tcp())),
            EmtMode::Script(octets) => {
                for piece in octets.chunks(WRITE_LEN) {
                    link.write(piece, Deadline::NEVER)?;
                    self.count_sent(piece.len());
                }
                link.close_write(Deadline::NEVER)?;
            }
            _ => {}
        }
        let mut buffer = vec![0; WRITE_LEN];
        loop {
            // Back-pressure: read on only when all echoes are out.
            while !link.push()? {
                link.wait_for(PollFlags::OUT, Deadline::NEVER)?;
            }
            let mut took = false;
            while let Some(len) = link.take(&mut buffer)? {
                let octets = buffer.get(..len).unwrap_or_default();
                if octets.is_empty() {
                    return Ok(EmtEnd::PeerClosed);
                }
                if echo {
                    io::Write::write_all(&mut link.tls.writer(), octets)?;
                    link.push()?;
                }
                self.count_received(octets, echo);
                took = true;
            }
            if !took && link.pull()? == Pulled::Nothing {
                link.wait(Deadline::NEVER)?;
            }
        }
    }

    fn count_received(&self, octets: &[u8], echoed: bool) {
        self.shared.update(self.index, |entry| {
            let connection = &mut entry.connection;
            let room = HEAD_LEN.saturating_sub(connection.received_head.len());
            connection.received_head.extend(octets.iter().take(room));
            connection.received += octets.len() as u64;
            if echoed {
                connection.sent += octets.len() as u64;
            }
            entry.received_hash.update(octets);
        });
    }

    fn count_sent(&self, len: usize) {
        self.shared
            .update(self.index, |entry| entry.connection.sent += len as u64);
    }
}

const CLOSE: u8 = 1;
const ABORT: u8 = 2;
const HEAD_LEN: usize = 4096;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// REQ.TLS.Close.80/90: a peer ends TCP within 20 s of close_notify.
const PEER_CLOSE_LIMIT: Duration = Duration::from_secs(25);
const SIGNAL_CHECK: Duration = Duration::from_millis(200);
