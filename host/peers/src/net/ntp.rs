// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's time server: NTP inside TLS, well-behaved or not, and it remembers what it was asked
//! (TR-03109-1 detail specifications §14; catalogue rows TIM-01 to TIM-12).

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use rustls::ServerConnection;
use smgw_ntp::{LEN, Leap, Mode, Packet, Timestamp};
use smgw_units::{Nanos, UtcNanos};

use super::deadline::{Deadline, now};
use super::failure::Failure;
use super::link::{TlsLink, Wire};
use super::party::ServerTls;
use super::tap::{Tap, TappedStream};
use super::wait::{Signal, Woken, wait};

/// One thing wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeFault {
    /// Comes so much later, with timestamps as if the way back had taken so long.
    Late(Duration),
    /// Its origin is not the question's transmit timestamp.
    WrongOrigin,
    /// Is, octet for octet, an answer to an earlier question; a good one when there was none.
    Replayed,
    /// Comes twice.
    Twice,
    /// Leap indicator 3.
    NoTime,
    /// Another version.
    Version(u8),
    /// Another mode.
    Mode(u8),
    /// Stratum 0 with this code.
    Kiss([u8; 4]),
    /// Another stratum.
    Stratum(u8),
    /// Does not come.
    Silence,
    /// Only so many octets of it come.
    Cut(usize),
    /// So many octets come behind it.
    Trailing(usize),
    /// The connection is closed instead.
    Close,
}

/// How the server answers from now on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TimeMode {
    /// What its time differs from the true one by, in nanoseconds.
    pub offset: i64,
    /// The time it tells instead, whenever it is asked.
    pub standing: Option<UtcNanos>,
    /// What is wrong with each answer.
    pub faults: Vec<TimeFault>,
    /// How many questions are answered; all of them when not given.
    pub answers: Option<u32>,
}

impl TimeMode {
    /// The true time plus `offset` nanoseconds.
    pub fn offset(offset: i64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// Time that stands still at `instant`.
    pub fn standing(instant: UtcNanos) -> Self {
        Self {
            standing: Some(instant),
            ..Self::default()
        }
    }

    /// The same with something wrong.
    pub fn with(mut self, fault: TimeFault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// A question as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimeQuestion {
    /// When its last octets came.
    pub at: Nanos,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// All octets that came at once.
    pub octets: Vec<u8>,
    /// Whether an answer was sent.
    pub answered: bool,
}

/// The time server on a loopback port. Dropping it ends its connections and threads.
pub struct TimeServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<Signal>,
    acceptor: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TimeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: ServerTls,
    tap: Arc<dyn Tap>,
    utc: Box<dyn Fn() -> UtcNanos + Send + Sync>,
}

#[derive(Default)]
struct State {
    mode: TimeMode,
    questions: Vec<TimeQuestion>,
    earlier: VecDeque<[u8; LEN]>,
    connections: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeServer {
    /// Listens on a free loopback port; `utc` tells the true time.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(
        tls: ServerTls,
        tap: Arc<dyn Tap>,
        utc: impl Fn() -> UtcNanos + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            tls,
            tap,
            utc: Box::new(utc),
        });
        let stop = Signal::new()?;
        let acceptor = std::thread::Builder::new().name("time".into()).spawn({
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            move || accept(&listener, &shared, &stop)
        })?;
        Ok(Self {
            addr,
            shared,
            stop,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers questions that come from now on by `mode`.
    pub fn set_mode(&self, mode: TimeMode) {
        self.shared.lock().mode = mode;
    }

    /// All questions so far, in the order they came.
    pub fn questions(&self) -> Vec<TimeQuestion> {
        self.shared.lock().questions.clone()
    }

    /// Waits until there are `count` questions; `None` when there are not in time.
    pub fn wait_for(&self, count: usize, deadline: Deadline) -> Option<Vec<TimeQuestion>> {
        let mut state = self.shared.lock();
        while state.questions.len() < count {
            let left = deadline.left();
            if left.is_zero() {
                return None;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Some(state.questions.clone())
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.stop.raise(1);
        if let Some(acceptor) = self.acceptor.take() {
            // A panic in there was reported by the panic hook; dropping must not panic again.
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, stop: &Arc<Signal>) {
    let mut workers: Vec<JoinHandle<()>> = Vec::new();
    while let Ok(Woken::Ready) = wait(listener, PollFlags::IN, Deadline::NEVER, Some(stop)) {
        workers.retain(|worker| !worker.is_finished());
        let Ok((stream, client)) = listener.accept() else {
            continue;
        };
        let (shared, stop) = (Arc::clone(shared), Arc::clone(stop));
        let serve = move || {
            // The gateway may end a connection as it likes; its cases judge what it asked.
            if let Err(failure) = serve(stream, client, &shared, &stop) {
                tracing::debug!(%failure, "connection of the time server ended");
            }
        };
        workers.extend(std::thread::Builder::new().name("time".into()).spawn(serve));
    }
    for worker in workers {
        let _ = worker.join();
    }
}

fn serve(
    stream: TcpStream,
    client: SocketAddr,
    shared: &Shared,
    stop: &Arc<Signal>,
) -> Result<(), Failure> {
    let stream = TappedStream::accepted(stream, client, Arc::clone(&shared.tap))?;
    let tls = ServerConnection::new(Arc::clone(&shared.tls.0))?;
    let mut link = TlsLink::new(Wire::Bare(stream), tls, Some(Arc::clone(stop)));
    link.handshake(Deadline::within(HANDSHAKE_LIMIT))?;
    let connection = {
        let mut state = shared.lock();
        state.connections += 1;
        state.connections - 1
    };
    let mut buffer = [0; 4 * LEN];
    loop {
        let len = link.read(&mut buffer, Deadline::NEVER)?;
        let (at, received) = (now(), (shared.utc)());
        let octets = buffer.get(..len).unwrap_or_default().to_vec();
        if octets.is_empty() {
            let _ = link.close_write(Deadline::within(CLOSE_LIMIT));
            return Ok(());
        }
        let (number, mode) = {
            let mut state = shared.lock();
            let answered = state.mode.answers != Some(0);
            if let Some(left) = &mut state.mode.answers {
                *left = left.saturating_sub(1);
            }
            state.questions.push(TimeQuestion {
                at,
                connection,
                octets: octets.clone(),
                answered: false,
            });
            (
                state.questions.len() - 1,
                answered.then(|| state.mode.clone()),
            )
        };
        shared.changed.notify_all();
        let (Some(mode), Some(question)) = (mode, octets.first_chunk::<LEN>()) else {
            continue;
        };
        let late = mode.faults.iter().find_map(|fault| match fault {
            TimeFault::Late(span) => Some(*span),
            _ => None,
        });
        if let Some(span) = late {
            // Nothing comes meanwhile but the end, which is as good a reason to go on.
            match wait(
                link.wire.tcp(),
                PollFlags::empty(),
                Deadline::within(span),
                Some(stop),
            )? {
                Woken::Signalled => return Err(Failure::CalledOff),
                Woken::Ready | Woken::TimedOut => {}
            }
        }
        let sent = match late {
            Some(_) => received,
            None => (shared.utc)(),
        };
        let answer = answer(question, received, sent, &mode, &mut shared.lock().earlier);
        match answer {
            Some(answer) if answer.is_empty() => {
                let _ = link.close_write(Deadline::within(CLOSE_LIMIT));
                return Ok(());
            }
            Some(answer) => {
                link.write(&answer, Deadline::within(CLOSE_LIMIT))?;
                if let Some(question) = shared.lock().questions.get_mut(number) {
                    question.answered = true;
                }
                shared.changed.notify_all();
            }
            None => {}
        }
    }
}

/// The octets that answer a question: none for silence, an empty answer to close.
fn answer(
    question: &[u8; LEN],
    received: UtcNanos,
    sent: UtcNanos,
    mode: &TimeMode,
    earlier: &mut VecDeque<[u8; LEN]>,
) -> Option<Vec<u8>> {
    let stamp = |instant: UtcNanos| {
        let instant = mode.standing.unwrap_or(instant);
        Timestamp::of(UtcNanos(instant.0.saturating_add(mode.offset)))
    };
    let transmit = question.last_chunk::<8>().copied().unwrap_or_default();
    let mut packet = Packet {
        leap: Leap::None,
        version: smgw_ntp::VERSION,
        mode: Mode::SERVER,
        stratum: STRATUM,
        poll: 6,
        precision: -20,
        root_delay: smgw_ntp::Short(0),
        root_dispersion: smgw_ntp::Short(16),
        reference_id: *b"PTB\0",
        reference: stamp(received),
        origin: Timestamp(u64::from_be_bytes(transmit)),
        receive: stamp(received),
        transmit: stamp(sent),
    };
    for fault in &mode.faults {
        match *fault {
            TimeFault::WrongOrigin => packet.origin.0 ^= 1,
            TimeFault::NoTime => packet.leap = Leap::Unsynchronised,
            TimeFault::Version(version) => packet.version = version,
            TimeFault::Mode(mode) => packet.mode = Mode::new(mode),
            TimeFault::Kiss(code) => (packet.stratum, packet.reference_id) = (0, code),
            TimeFault::Stratum(stratum) => packet.stratum = stratum,
            _ => {}
        }
    }
    let mut octets = packet.encode().to_vec();
    if mode.faults.contains(&TimeFault::Replayed)
        && let Some(old) = earlier.front()
    {
        octets = old.to_vec();
    } else if let Some(whole) = octets.first_chunk::<LEN>() {
        earlier.push_back(*whole);
        if earlier.len() > REMEMBERED {
            earlier.pop_front();
        }
    }
    for fault in &mode.faults {
        match *fault {
            TimeFault::Silence => return None,
            TimeFault::Close => octets.clear(),
            TimeFault::Cut(len) => octets.truncate(len),
            TimeFault::Trailing(len) => octets.resize(octets.len() + len, 0),
            TimeFault::Twice => octets = octets.repeat(2),
            _ => {}
        }
    }
    Some(octets)
}

/// What the server says its stratum is.
const STRATUM: u8 = 1;
/// Answers kept for [`TimeFault::Replayed`].
const REMEMBERED: usize = 4;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
