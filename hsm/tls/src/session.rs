// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a session may live, resumption included: 48 hours in WAN and HAN, 31 days in the LMN (TR-03116-3 §4.1.5,
//! §5.1.5, §6.1.5).
//!
//! A [`SessionClock`] tells when one connection has to end, and [`Limited`] ends it. Without a [`ResumptionWindow`]
//! there is no resumption at all. A window opens with the first full handshake after it was empty and closes one
//! session limit later: then nothing of it can be resumed any more, and connections that were resumed in it have to
//! end. So no chain of resumptions outlives the full handshake it began with by more than the limit; one that began
//! late in a window ends earlier than it would have to.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ClientConfig, CommonState, HandshakeKind, NamedGroup, ServerConfig};

use crate::TlsProfile;

/// When one session has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionClock {
    end: Instant,
}

impl SessionClock {
    /// For a session whose full handshake was at `now`.
    pub fn full(profile: &TlsProfile, now: Instant) -> Self {
        Self {
            end: now + profile.session_limit(),
        }
    }

    /// For a connection whose handshake just ended: a resumed session ends with its window. One that was resumed
    /// without or outside of a window has no time left.
    pub fn of(
        connection: &CommonState,
        profile: &TlsProfile,
        window: Option<&ResumptionWindow>,
        now: Instant,
    ) -> Self {
        match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => Self {
                end: window.and_then(ResumptionWindow::end).unwrap_or(now),
            },
            _ => Self::full(profile, now),
        }
    }

    /// When the session has to be over.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// How long the session may still live: zero when it has to end. Good as a time-out of reads.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.end.saturating_duration_since(now)
    }

    /// Whether the session has to end.
    pub fn is_over(&self, now: Instant) -> bool {
        self.remaining(now).is_zero()
    }
}

/// The session reached its limit; the reason inside the [`io::ErrorKind::TimedOut`] of [`Limited`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionOver;

impl fmt::Display for SessionOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session reached the longest life that TR-03116-3 allows; a new full handshake is needed")
    }
}

impl std::error::Error for SessionOver {}

/// A blocking TLS stream that neither gives nor takes data once its session is over.
///
/// A read that already waits is not interrupted; set [`SessionClock::remaining`] as the socket's time-out before it.
#[derive(Debug)]
pub struct Limited<S, N = fn() -> Instant> {
    stream: S,
    clock: SessionClock,
    now: N,
}

impl<S> Limited<S> {
    /// With the machine's clock.
    pub fn new(stream: S, clock: SessionClock) -> Self {
        Self::with_time(stream, clock, Instant::now)
    }
}

impl<S, N: Fn() -> Instant> Limited<S, N> {
    /// With another clock.
    pub fn with_time(stream: S, clock: SessionClock, now: N) -> Self {
        Self { stream, clock, now }
    }

    /// The clock.
    pub fn clock(&self) -> SessionClock {
        self.clock
    }

    /// The stream, to say good-bye on it.
    pub fn into_inner(self) -> S {
        self.stream
    }

    fn within(&mut self) -> io::Result<&mut S> {
        if self.clock.is_over((self.now)()) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, SessionOver));
        }
        Ok(&mut self.stream)
    }
}

impl<S: Read, N: Fn() -> Instant> Read for Limited<S, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.within()?.read(buffer)
    }
}

impl<S: Write, N: Fn() -> Instant> Write for Limited<S, N> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.within()?.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.within()?.flush()
    }
}

/// Where sessions may be resumed, for as long as TR-03116-3 allows (§4.1.5). 0-RTT stays forbidden.
pub struct ResumptionWindow {
    limit: Duration,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    opened: Option<Instant>,
    servers: Arc<ClientSessionMemoryCache>,
    clients: Arc<ServerSessionMemoryCache>,
}

impl State {
    fn empty() -> Self {
        Self {
            opened: None,
            servers: Arc::new(ClientSessionMemoryCache::new(SESSIONS)),
            clients: ServerSessionMemoryCache::new(SESSIONS),
        }
    }
}

impl ResumptionWindow {
    /// An empty window with the profile's limit and the machine's clock.
    pub fn new(profile: &TlsProfile) -> Arc<Self> {
        Self::with_time(profile, Instant::now)
    }

    /// With another clock.
    pub fn with_time(
        profile: &TlsProfile,
        now: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            limit: profile.session_limit(),
            now: Box::new(now),
            state: Mutex::new(State::empty()),
        })
    }

    /// The same server, which now lets its clients resume within this window.
    pub fn on_server(self: &Arc<Self>, config: &ServerConfig) -> Arc<ServerConfig> {
        let mut config = config.clone();
        config.session_storage = Arc::clone(self) as _;
        config.send_tls13_tickets = 1;
        Arc::new(config)
    }

    /// The same client, which now resumes within this window.
    pub fn on_client(self: &Arc<Self>, config: &ClientConfig) -> Arc<ClientConfig> {
        let mut config = config.clone();
        config.resumption = Resumption::store(Arc::clone(self) as _);
        Arc::new(config)
    }

    /// When the window closes; `None` while it is empty.
    pub fn end(&self) -> Option<Instant> {
        self.current().opened.map(|opened| opened + self.limit)
    }

    /// The state after closing a window that is over.
    fn current(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done when a thread panics with the lock held.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |opened: Instant| opened + self.limit <= (self.now)();
        if state.opened.is_some_and(over) {
            *state = State::empty();
        }
        state
    }

    fn filled(&self) -> MutexGuard<'_, State> {
        let mut state = self.current();
        state.opened.get_or_insert_with(&self.now);
        state
    }
}

impl fmt::Debug for ResumptionWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumptionWindow")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl StoresServerSessions for ResumptionWindow {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.filled().clients.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().clients.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().clients.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl ClientSessionStore for ResumptionWindow {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.current().servers.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.current().servers.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.filled().servers.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.current().servers.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.current().servers.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.filled().servers.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.current().servers.take_tls13_ticket(server)
    }
}

/// Sessions remembered per window; more than that drop the oldest.
const SESSIONS: usize = 256;
