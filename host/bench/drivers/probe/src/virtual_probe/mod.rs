// SPDX-License-Identifier: MIT OR Apache-2.0
//! A debug probe in software: the Black Magic remote protocol on a loopback port, in front of an emulated Cortex-M core.
//!
//! probe-rs connects to it as to the real probe when the selector's serial number is `127.0.0.1:PORT`. One host at a time
//! may use it, as with a probe on USB. What the core and its debug registers hold outlives a connection.

pub mod cortex_m;
pub mod dap;
pub mod packet;
pub mod swd;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::cortex_m::{CortexM, Machine};
use self::dap::Dap;
use self::packet::{Answer, Command, Framer};
use self::swd::Line;
use crate::Selector;

/// What the probe calls itself.
const NAME: &str = "smgw-bench virtual probe";

/// SWD clock before a host sets one, in Hz.
const CLOCK: u32 = 4_000_000;

/// How long a new host waits for the one before it to leave.
const HAND_OVER: Duration = Duration::from_secs(2);

/// When the probe's cable is pulled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unplug {
    /// After so many more commands were answered.
    AfterCommands(u64),
    /// After so many more bytes were received.
    AfterBytes(u64),
}

/// A running probe. Dropping it ends it; the machine behind it stays as it is.
#[derive(Debug)]
pub struct VirtualProbe {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl VirtualProbe {
    /// Starts a probe on a free loopback port, in front of a machine that is stopped at power-up.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(machine: impl Machine + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let target = Arc::new(Mutex::new(Target::new(machine)));
        let listening = Arc::clone(&shared);
        let listener = thread::Builder::new()
            .name("virtual probe".to_owned())
            .spawn(move || listen(&listener, &listening, &target))?;
        Ok(Self {
            address,
            shared,
            listener: Some(listener),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How probe-rs finds it.
    pub fn selector(&self) -> Selector {
        Selector::virtual_probe(self.address)
    }

    /// Pulls the cable at a moment to come; hosts find nobody until [`VirtualProbe::plug`].
    pub fn unplug(&self, when: Unplug) {
        self.shared.state().unplug = Some(when);
    }

    /// Plugs the cable in again.
    pub fn plug(&self) {
        let mut state = self.shared.state();
        state.unplugged = false;
        state.unplug = None;
    }

    /// Commands answered since the probe was started.
    pub fn answered(&self) -> u64 {
        self.shared.state().answered
    }
}

impl Drop for VirtualProbe {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            if let Some(host) = &state.host {
                drop(host.shutdown(Shutdown::Both));
            }
        }
        // Wakes the listener, which then sees that all is over.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// The connection of the host that is served.
    host: Option<TcpStream>,
    unplug: Option<Unplug>,
    unplugged: bool,
    answered: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the served host as soon as it is free.
    fn enter(&self, host: &TcpStream) -> io::Result<bool> {
        let taken = |state: &mut State| state.host.is_some() && !state.ended;
        let (mut state, _) = self
            .left
            .wait_timeout_while(self.state(), HAND_OVER, taken)
            .unwrap_or_else(PoisonError::into_inner);
        let free = state.host.is_none() && !state.ended && !state.unplugged;
        if free {
            state.host = Some(host.try_clone()?);
        }
        Ok(free)
    }

    fn leave(&self) {
        self.state().host = None;
        self.left.notify_all();
    }

    /// Counts received bytes; how many of them arrived before the cable was pulled.
    fn received(&self, length: usize) -> usize {
        let mut state = self.state();
        let Some(Unplug::AfterBytes(left)) = &mut state.unplug else {
            return length;
        };
        let arrived = length.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left = left.saturating_sub(arrived as u64);
        state.pull_when(Unplug::AfterBytes(0));
        arrived
    }

    /// Counts an answered command.
    fn answered(&self) {
        let mut state = self.state();
        state.answered += 1;
        if let Some(Unplug::AfterCommands(left)) = &mut state.unplug {
            *left = left.saturating_sub(1);
        }
        state.pull_when(Unplug::AfterCommands(0));
    }

    /// Whether the cable is still in.
    fn plugged(&self) -> bool {
        !self.state().unplugged
    }
}

impl State {
    fn pull_when(&mut self, due: Unplug) {
        if self.unplug == Some(due) {
            self.unplug = None;
            self.unplugged = true;
        }
    }
}

fn listen<M: Machine + Send + 'static>(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    target: &Arc<Mutex<Target<M>>>,
) {
    let mut servants: Vec<JoinHandle<()>> = Vec::new();
    for host in listener.incoming().flatten() {
        if shared.state().ended {
            break;
        }
        if !matches!(shared.enter(&host), Ok(true)) {
            // In use or unplugged: closing the connection says so.
            continue;
        }
        servants.retain(|servant| !servant.is_finished());
        let (sharing, target) = (Arc::clone(shared), Arc::clone(target));
        let servant = thread::Builder::new()
            .name("virtual probe host".to_owned())
            .spawn(move || {
                let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
                // A host that goes away ends its connection only.
                drop(serve(&host, &sharing, &mut target));
                drop(host.shutdown(Shutdown::Both));
                sharing.leave();
            });
        match servant {
            Ok(servant) => servants.push(servant),
            Err(_) => shared.leave(),
        }
    }
    for servant in servants {
        drop(servant.join());
    }
}

fn serve<M: Machine>(
    mut host: &TcpStream,
    shared: &Shared,
    target: &mut Target<M>,
) -> io::Result<()> {
    host.set_nodelay(true)?;
    let mut framer = Framer::default();
    let mut buffer = [0; 4096];
    loop {
        let length = host.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        for byte in buffer.iter().take(shared.received(length)) {
            let answer = match framer.push(*byte) {
                None => continue,
                Some(Err(refusal)) => Answer::Refused(refusal),
                Some(Ok(command)) => target.answer(&command),
            };
            host.write_all(&answer.encode())?;
            shared.answered();
            if !shared.plugged() {
                return Ok(());
            }
        }
        if !shared.plugged() {
            return Ok(());
        }
    }
}

/// What hangs on the probe: the line, the port and the core behind it.
#[derive(Debug)]
pub struct Target<M> {
    dap: Dap<M>,
    line: Line,
    clock: u32,
}

impl<M: Machine> Target<M> {
    /// A target whose machine is stopped at power-up.
    pub fn new(machine: M) -> Self {
        Self {
            dap: Dap::new(CortexM::new(machine)),
            line: Line::default(),
            clock: CLOCK,
        }
    }

    /// Carries out a command, given without its marks.
    pub fn answer(&mut self, command: &[u8]) -> Answer {
        match Command::parse(command) {
            Ok(command) => self.attempt(command).unwrap_or(Answer::Failed),
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn attempt(&mut self, command: Command) -> io::Result<Answer> {
        Ok(match command {
            Command::Identify => Answer::Text(NAME),
            Command::Voltage => Answer::Text("3.3V"),
            Command::Version => Answer::Number(1),
            Command::Clock => Answer::Number(self.clock),
            Command::SetClock(hertz) => {
                self.clock = hertz;
                Answer::Done
            }
            Command::SetOutput | Command::SwdInit => Answer::Done,
            Command::Reset(hold) => {
                self.dap.core().hold_in_reset(hold)?;
                Answer::Done
            }
            Command::SwdOut {
                bits,
                value,
                parity,
            } => {
                let mut out = |bit| self.line.output(bit, &mut self.dap);
                (0..bits).for_each(|bit| out(u64::from(value) >> bit & 1 == 1));
                if parity {
                    out(value.count_ones() % 2 == 1);
                }
                Answer::Done
            }
            Command::SwdIn { bits, parity } => {
                let word =
                    (0..bits).fold(0u32, |word, bit| word | u32::from(self.line.input()) << bit);
                let expected = word.count_ones() % 2 == 1;
                match parity && self.line.input() != expected {
                    true => Answer::Failed,
                    false => Answer::Number(word),
                }
            }
            Command::Raw {
                read,
                address,
                value,
            } => Answer::Number(self.dap.raw(read, address, value)?),
            Command::ReadDp { address } => Answer::Word(self.dap.read_dp(low(address))),
            Command::ReadAp { ap, address } => Answer::Word(self.dap.read_ap(ap, low(address))?),
            Command::WriteAp { ap, address, value } => {
                self.dap.write_ap(ap, low(address), value)?;
                Answer::Done
            }
            Command::ReadMemory {
                ap: 0,
                address,
                length,
                ..
            } => {
                let mut bytes = vec![0; length];
                self.dap.core().read(address, &mut bytes)?;
                Answer::Bytes(bytes)
            }
            Command::WriteMemory {
                ap: 0,
                address,
                bytes,
                ..
            } => {
                self.dap.core().write(address, &bytes)?;
                Answer::Done
            }
            Command::ReadMemory { .. } | Command::WriteMemory { .. } => Answer::Failed,
        })
    }
}

/// The register of an address, without the bit that tells AP from DP.
fn low(address: u16) -> u8 {
    // The mask leaves one byte.
    (address & 0xff) as u8
}
