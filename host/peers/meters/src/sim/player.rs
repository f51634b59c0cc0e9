// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives a simulator a line: a pseudo terminal, a serial port, or standard output.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serialport::{DataBits, Parity, SerialPort, TTYPort};
use smgw_peers::meters::{Clock, Format, Line, LineConfig, MeterError, Tap};
use smgw_units::{Nanos, UtcNanos};

use super::{Piece, Simulator, Transmission};
use crate::profile::Profile;

/// Why a meter cannot be played; the host is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayerError {
    /// No pseudo terminal.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// No serial port.
    #[error("{path}: {error}")]
    Serial {
        /// Which.
        path: String,
        /// Why.
        error: serialport::Error,
    },
    /// The line broke.
    #[error("the line broke: {0}")]
    Io(#[from] std::io::Error),
}

/// What a simulator is played on.
pub trait Port {
    /// The present instant on the port's clock.
    fn now(&self) -> Nanos;

    /// From now on at this speed and format, in both directions.
    ///
    /// # Errors
    /// When the line refuses.
    fn configure(&mut self, line: LineConfig) -> Result<(), PlayerError>;

    /// Takes what came in, each byte with the instant of its last bit.
    fn receive(&mut self) -> Vec<(u8, Nanos)>;

    /// Waits for input or until the instant, and never longer than a moment.
    fn wait(&mut self, until: Option<Nanos>);

    /// Sends one piece from `start` on; gives the instant its last byte was handed over, and whether somebody took it.
    ///
    /// # Errors
    /// When the line broke for good.
    fn send(
        &mut self,
        start: Nanos,
        piece: &Piece,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Nanos, bool), PlayerError>;

    /// Goes away, and is back when `false` is told.
    ///
    /// # Errors
    /// When it cannot come back.
    fn vanish(&mut self, gone: bool) -> Result<(), PlayerError>;
}

/// Plays until `stop` says so, or `told` has enough: it is told of each transmission when it was sent, and whether
/// somebody took it.
///
/// # Errors
/// When the line broke for good.
pub fn play(
    simulator: &mut Simulator,
    port: &mut dyn Port,
    stop: &dyn Fn() -> bool,
    told: &mut dyn FnMut(&Transmission, Nanos, bool) -> bool,
) -> Result<(), PlayerError> {
    while !stop() {
        port.configure(simulator.line())?;
        for (byte, at) in port.receive() {
            simulator.handle_input(at, byte);
        }
        let due = simulator.poll_timeout();
        let lead = due.map(|due| Nanos(due.0.saturating_sub(LEAD)));
        if lead.is_none_or(|lead| port.now() < lead) {
            port.wait(lead);
            continue;
        }
        let Some(transmission) = due.and_then(|due| simulator.poll_transmit(due)) else {
            continue;
        };
        while !stop() && port.now().0 < transmission.due.0.saturating_sub(LEAD) {
            port.wait(Some(Nanos(transmission.due.0.saturating_sub(LEAD))));
        }
        if stop() {
            break;
        }
        port.configure(transmission.line)?;
        let mut start = transmission.due;
        let mut delivered = true;
        for piece in &transmission.pieces {
            let (end, taken) = port.send(start + piece.pause, piece, stop)?;
            delivered &= taken;
            start = end;
        }
        if !told(&transmission, start, delivered) {
            break;
        }
        if let Some(length) = transmission.vanish {
            port.vanish(true)?;
            let back = port.now() + length;
            while !stop() && port.now() < back {
                port.wait(Some(back));
            }
            port.vanish(false)?;
        }
    }
    Ok(())
}

/// A pseudo terminal with the pace of a line.
pub struct Pty {
    line: Option<Line>,
    config: LineConfig,
    link: Option<PathBuf>,
    tap: Option<Arc<dyn Tap>>,
}

impl Pty {
    /// A new pseudo terminal; `link` is a symbolic link that leads to it as long as it exists, also when it was gone.
    ///
    /// # Errors
    /// When the host gives no pseudo terminal, or something else than a link is at `link`.
    pub fn open(
        config: LineConfig,
        link: Option<PathBuf>,
        tap: Option<Arc<dyn Tap>>,
    ) -> Result<Self, PlayerError> {
        let mut pty = Self {
            line: None,
            config,
            link,
            tap,
        };
        pty.vanish(false)?;
        Ok(pty)
    }

    /// Where the other end is opened.
    pub fn path(&self) -> PathBuf {
        let own = self.line.as_ref().map(|line| line.path().to_owned());
        self.link.clone().or(own).unwrap_or_default()
    }

    fn unlink(&self) {
        if let Some(link) = self.link.as_ref().filter(|link| link.is_symlink()) {
            // Gone already is as good.
            let _ = std::fs::remove_file(link);
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.unlink();
    }
}

impl Port for Pty {
    fn now(&self) -> Nanos {
        Clock::now()
    }

    fn configure(&mut self, config: LineConfig) -> Result<(), PlayerError> {
        self.config = config;
        if let Some(line) = &mut self.line {
            line.set_config(config);
        }
        Ok(())
    }

    fn receive(&mut self) -> Vec<(u8, Nanos)> {
        self.line.as_mut().map(Line::receive).unwrap_or_default()
    }

    fn wait(&mut self, until: Option<Nanos>) {
        let left = until.map_or(TICK, |until| until.saturating_since(Clock::now()).min(TICK));
        match self.line.as_ref().filter(|line| line.is_connected()) {
            Some(line) => {
                let timeout = Timespec {
                    tv_sec: 0,
                    tv_nsec: left.subsec_nanos().into(),
                };
                let mut fds = [PollFd::new(line, PollFlags::IN)];
                // An interrupted wait ends early, as after input.
                let _ = poll(&mut fds, Some(&timeout));
            }
            // Nothing tells when the other end is opened.
            None => Clock::sleep_until(Clock::now() + left.min(RECONNECT)),
        }
    }

    fn send(
        &mut self,
        start: Nanos,
        piece: &Piece,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Nanos, bool), PlayerError> {
        let Some(line) = &mut self.line else {
            return Ok((start, false));
        };
        let sent = if piece.rushed {
            line.rush(&piece.bytes, stop)
        } else {
            line.send(start, &piece.bytes, stop)
        };
        match sent {
            Ok(sent) => Ok((sent.last, sent.delivered)),
            Err(MeterError::Stopped) => Ok((start, false)),
            Err(error) => Err(error.into()),
        }
    }

    fn vanish(&mut self, gone: bool) -> Result<(), PlayerError> {
        self.unlink();
        self.line = None;
        if gone {
            return Ok(());
        }
        let line = Line::open(self.config, self.tap.clone())?;
        if let Some(link) = &self.link {
            std::os::unix::fs::symlink(line.path(), link)?;
        }
        self.line = Some(line);
        Ok(())
    }
}

/// A real serial port; its UART keeps the pace.
pub struct Tty {
    path: String,
    config: LineConfig,
    port: Option<TTYPort>,
    received: Vec<(u8, Nanos)>,
}

impl Tty {
    /// Opens the port for itself alone.
    ///
    /// # Errors
    /// When it is not there, or another process has it.
    pub fn open(path: &Path, config: LineConfig) -> Result<Self, PlayerError> {
        let mut tty = Self {
            path: path.to_string_lossy().into_owned(),
            config,
            port: None,
            received: Vec::new(),
        };
        tty.vanish(false)?;
        Ok(tty)
    }
}

/// Opens a serial port at that speed and format, exclusively.
pub(crate) fn open_serial(path: &str, config: LineConfig) -> serialport::Result<TTYPort> {
    let mut port = serialport::new(path, config.baud)
        .timeout(TICK)
        .open_native()?;
    configure_serial(&mut port, config)?;
    Ok(port)
}

/// Sets speed and format; what is on its way stays.
pub(crate) fn configure_serial(port: &mut TTYPort, config: LineConfig) -> serialport::Result<()> {
    let (data_bits, parity) = match config.format {
        Format::N81 => (DataBits::Eight, Parity::None),
        Format::E81 => (DataBits::Eight, Parity::Even),
        Format::E71 => (DataBits::Seven, Parity::Even),
    };
    port.set_baud_rate(config.baud)?;
    port.set_data_bits(data_bits)?;
    port.set_parity(parity)
}

impl Port for Tty {
    fn now(&self) -> Nanos {
        Clock::now()
    }

    fn configure(&mut self, config: LineConfig) -> Result<(), PlayerError> {
        if let Some(port) = self.port.as_mut().filter(|_| self.config != config) {
            configure_serial(port, config).map_err(|error| PlayerError::Serial {
                path: self.path.clone(),
                error,
            })?;
        }
        self.config = config;
        Ok(())
    }

    fn receive(&mut self) -> Vec<(u8, Nanos)> {
        std::mem::take(&mut self.received)
    }

    fn wait(&mut self, until: Option<Nanos>) {
        let left = until.map_or(TICK, |until| until.saturating_since(Clock::now()).min(TICK));
        let mut buffer = [0; 256];
        let Some(port) = &mut self.port else {
            Clock::sleep_until(Clock::now() + left);
            return;
        };
        // A port that lets no timeout be set waits for its last one, which is as short.
        let _ = port.set_timeout(left.max(Duration::from_millis(1)));
        if let Ok(count) = port.read(&mut buffer) {
            let at = Clock::now();
            self.received
                .extend(buffer.iter().take(count).map(|byte| (*byte, at)));
        }
    }

    fn send(
        &mut self,
        start: Nanos,
        piece: &Piece,
        _: &dyn Fn() -> bool,
    ) -> Result<(Nanos, bool), PlayerError> {
        let Some(port) = &mut self.port else {
            return Ok((start, false));
        };
        let config = self.config;
        Clock::sleep_until(start);
        let begun = Clock::now();
        port.set_timeout(config.characters(piece.bytes.len()) + Duration::from_secs(1))
            .ok();
        port.write_all(&piece.bytes)?;
        let end = begun + config.characters(piece.bytes.len());
        Clock::sleep_until(end);
        Ok((end, true))
    }

    fn vanish(&mut self, gone: bool) -> Result<(), PlayerError> {
        self.port = None;
        if !gone {
            let opened = open_serial(&self.path, self.config);
            let opened = opened.map_err(|error| PlayerError::Serial {
                path: self.path.clone(),
                error,
            })?;
            self.port = Some(opened);
        }
        Ok(())
    }
}

/// Standard output: what a meter says without being asked, at the pace of the line, faster, or at once.
pub struct Stdout {
    config: LineConfig,
    begun: Nanos,
    /// Times the true speed; none for no waiting at all.
    speed: Option<u32>,
    virtual_now: Nanos,
}

impl Stdout {
    /// Plays at `speed` times the pace of the line, or without waiting.
    pub fn new(config: LineConfig, speed: Option<u32>) -> Self {
        let begun = Clock::now();
        Self {
            config,
            begun,
            speed,
            virtual_now: begun,
        }
    }

    fn reach(&mut self, instant: Nanos) {
        if let Some(speed) = self.speed {
            let length = instant.saturating_since(self.begun) / speed.max(1);
            Clock::sleep_until(self.begun + length);
        }
        self.virtual_now = self.virtual_now.max(instant);
    }
}

impl Port for Stdout {
    fn now(&self) -> Nanos {
        self.virtual_now
    }

    fn configure(&mut self, config: LineConfig) -> Result<(), PlayerError> {
        self.config = config;
        Ok(())
    }

    fn receive(&mut self) -> Vec<(u8, Nanos)> {
        Vec::new()
    }

    fn wait(&mut self, until: Option<Nanos>) {
        // Without an instant to wait for nothing will ever come: nobody can ask over standard output.
        let tick = self.virtual_now + TICK * self.speed.unwrap_or(1);
        self.reach(until.unwrap_or(tick).min(tick));
    }

    fn send(
        &mut self,
        start: Nanos,
        piece: &Piece,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Nanos, bool), PlayerError> {
        let mut output = std::io::stdout().lock();
        let mut at = start.max(self.virtual_now);
        let step = if piece.rushed || self.speed.is_none() {
            piece.bytes.len()
        } else {
            64
        };
        for chunk in piece.bytes.chunks(step.max(1)) {
            if stop() {
                break;
            }
            if !piece.rushed {
                at = at + self.config.characters(chunk.len());
                self.reach(at);
            }
            match output.write_all(chunk).and_then(|()| output.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok((at, false)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((at, true))
    }

    fn vanish(&mut self, _: bool) -> Result<(), PlayerError> {
        Ok(())
    }
}

/// A meter played on a pseudo terminal by a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Player {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Transmission>>>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    /// Plays `profile` from now on, which is `utc`.
    ///
    /// # Errors
    /// When the host has no pseudo terminal or thread to give.
    pub fn start(
        profile: Profile,
        utc: UtcNanos,
        seed: u64,
        tap: Option<Arc<dyn Tap>>,
    ) -> Result<Self, PlayerError> {
        let mut simulator = Simulator::new(profile, Clock::now(), utc, seed);
        let mut pty = Pty::open(simulator.line(), None, tap)?;
        let path = pty.path();
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (own_stop, own_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::Builder::new()
            .name("profiled-meter".to_owned())
            .spawn(move || {
                let stopped = || own_stop.load(Ordering::Acquire);
                let mut told = |transmission: &Transmission, _, _| {
                    let mut sent = own_sent.lock().unwrap_or_else(PoisonError::into_inner);
                    sent.push(transmission.clone());
                    true
                };
                // A pseudo terminal that broke hangs up, which is what the other end has to cope with.
                let _ = play(&mut simulator, &mut pty, &stopped, &mut told);
            })?;
        Ok(Self {
            path,
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// Where to open the other end.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything sent so far.
    pub fn sent(&self) -> Vec<Transmission> {
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// How long a wait lasts at most: how soon a stop is noticed.
const TICK: Duration = Duration::from_millis(50);
/// How soon an opened line is noticed.
const RECONNECT: Duration = Duration::from_millis(5);
/// How long before its instant a transmission is made ready, in nanoseconds.
const LEAD: u64 = 2_000_000;
