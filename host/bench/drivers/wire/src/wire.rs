// SPDX-License-Identifier: MIT OR Apache-2.0
//! A switch whose ports are Unix datagram sockets, one Ethernet frame in each datagram, as QEMU's `-netdev dgram`
//! has it. One thread forwards; it ends when the [`Wire`] is dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bench_timing::BenchClock;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use smgw_units::Nanos;
use thiserror::Error;

use crate::Impairments;
use crate::switch::{Counters, FRAME_LIMIT, PortId, Switch};

/// Sees every frame that a port takes in, before any impairment, and every frame that a port gives out, behind them.
/// Called by the forwarding thread: it must be quick and must not block.
pub trait FrameTap: Send {
    /// A station sent a frame into `port` at this instant of the monotonic clock.
    fn entered(&mut self, port: &str, at: Nanos, frame: &[u8]);
    /// A frame left through `port` towards its station.
    fn left(&mut self, port: &str, at: Nanos, frame: &[u8]);
}

/// Looks at nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTap;

impl FrameTap for NoTap {
    fn entered(&mut self, _port: &str, _at: Nanos, _frame: &[u8]) {}
    fn left(&mut self, _port: &str, _at: Nanos, _frame: &[u8]) {}
}

/// Where a station is plugged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plug {
    /// Name of the port in traces.
    pub name: String,
    /// The switch's socket: what the station sends to (`remote.path` of QEMU).
    pub ours: PathBuf,
    /// The station's socket (`local.path` of QEMU); it may come and go.
    pub theirs: PathBuf,
}

impl Plug {
    /// The two sockets of station `name`, in `directory`.
    pub fn inside(directory: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ours: directory.join(format!("{name}.wire")),
            theirs: directory.join(format!("{name}.nic")),
        }
    }

    /// What `-netdev` of QEMU (7.2 or newer) takes to be plugged in here; `id` names it within that QEMU.
    pub fn qemu_netdev(&self, id: &str) -> String {
        format!(
            "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            self.theirs.display(),
            self.ours.display()
        )
    }
}

/// Why there is no wire.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// A socket cannot be made.
    #[error("cannot make the network socket {path}: {source}", path = path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The forwarding thread cannot be started.
    #[error("cannot start forwarding: {0}")]
    Start(io::Error),
}

/// A running switch.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    plugs: Vec<Plug>,
    forwarding: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    switch: Mutex<Switch>,
    over: AtomicBool,
    /// Written to end the thread's wait.
    wake: OwnedFd,
}

impl Shared {
    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// Starts a switch with a port for each plug; `seed` decides what impairments hit.
    ///
    /// # Errors
    /// [`WireError`]; nothing is left behind.
    pub fn start(
        plugs: Vec<Plug>,
        seed: u64,
        tap: impl FrameTap + 'static,
    ) -> Result<Self, WireError> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| WireError::Start(errno.into()))?;
        let mut switch = Switch::new(seed);
        let mut ports = Vec::new();
        for plug in &plugs {
            switch.add_port();
            let socket = UnixDatagram::bind(&plug.ours)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            let socket = socket.map_err(|source| WireError::Socket {
                path: plug.ours.clone(),
                source,
            })?;
            ports.push(Socket {
                plug: plug.clone(),
                socket,
            });
        }
        let shared = Arc::new(Shared {
            switch: Mutex::new(switch),
            over: AtomicBool::new(false),
            wake,
        });
        let thread = Forwarding {
            shared: Arc::clone(&shared),
            ports,
            tap: Box::new(tap),
        };
        let forwarding = thread::Builder::new()
            .name("wire".into())
            .spawn(move || thread.run())
            .map_err(WireError::Start)?;
        Ok(Self {
            shared,
            plugs,
            forwarding: Some(forwarding),
        })
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<PortId> {
        self.plugs
            .iter()
            .position(|plug| plug.name == name)
            .map(PortId)
    }

    /// All ports.
    pub fn ports(&self) -> impl Iterator<Item = PortId> {
        (0..self.plugs.len()).map(PortId)
    }

    /// What happens from now on to frames that the station at `port` sends.
    pub fn impair(&self, port: PortId, impairments: Impairments) {
        self.shared.switch().impair(port, impairments);
    }

    /// What `port` has seen.
    pub fn counters(&self, port: PortId) -> Counters {
        self.shared.switch().counters(port)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        // It cannot fail but by an overflow, and then the thread is awake already.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
        if let Some(forwarding) = self.forwarding.take() {
            let _ = forwarding.join();
        }
    }
}

struct Socket {
    plug: Plug,
    socket: UnixDatagram,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.plug.ours);
    }
}

struct Forwarding {
    shared: Arc<Shared>,
    ports: Vec<Socket>,
    tap: Box<dyn FrameTap>,
}

impl Forwarding {
    fn run(mut self) {
        while !self.shared.over.load(Ordering::Acquire) {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "the network between the boards stops");
                return;
            }
            self.take_in();
            self.give_out();
        }
    }

    /// Until a frame comes, one is due, or the end.
    fn wait(&self) -> io::Result<()> {
        let due = self.shared.switch().poll_timeout();
        let timeout = due.map(|due| {
            let left = due.0.saturating_sub(BenchClock::now().0);
            Timespec {
                tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (left % 1_000_000_000) as _,
            }
        });
        let sockets = self
            .ports
            .iter()
            .map(|port| PollFd::new(&port.socket, PollFlags::IN));
        let wake = PollFd::new(&self.shared.wake, PollFlags::IN);
        let mut watched: Vec<_> = sockets.chain([wake]).collect();
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn take_in(&mut self) {
        // One more than a frame may have, so that too long ones are known as such.
        let mut frame = [0; FRAME_LIMIT + 1];
        for (index, port) in self.ports.iter().enumerate() {
            // A station that floods must not keep the others waiting.
            for _ in 0..BURST {
                let Ok(length) = port.socket.recv(&mut frame) else {
                    break;
                };
                let frame = frame.get(..length).unwrap_or_default();
                let now = BenchClock::now();
                self.tap.entered(&port.plug.name, now, frame);
                self.shared.switch().receive(now, PortId(index), frame);
            }
        }
    }

    fn give_out(&mut self) {
        loop {
            let now = BenchClock::now();
            let Some(forwarded) = self.shared.switch().poll_transmit(now) else {
                return;
            };
            let Some(port) = self.ports.get(forwarded.to.0) else {
                continue;
            };
            // A station that is not there, or does not take its frames, loses them: so does a real cable.
            if port
                .socket
                .send_to(&forwarded.frame, &port.plug.theirs)
                .is_ok()
            {
                self.tap.left(&port.plug.name, now, &forwarded.frame);
            }
        }
    }
}

/// Frames taken from one port before the next has its turn.
const BURST: usize = 64;
