// SPDX-License-Identifier: MIT OR Apache-2.0
//! A serial line on a pseudo terminal, with the pace and the speed check a pseudo terminal lacks.
//!
//! A pseudo terminal passes bytes at once and at any speed. Here byte `k` of a frame that begins at
//! instant `s` is handed over at `s + (k + 1)` character times, which is when a UART would hand it
//! over. Characters shorter than 100 µs are handed over in batches of that length; the first
//! character of a frame is always on its own, so that its stamp is exact. When the other end opened
//! the terminal at another speed it gets garbage, as does the meter. Parity cannot be checked:
//! pseudo terminals drop it silently.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use smgw_units::Nanos;

use super::clock::{Clock, timespec};
use super::worker::{FrameStamp, MeterError};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the meter to the gateway.
    FromMeter,
    /// From the gateway to the meter.
    ToMeter,
}

/// Sees everything that crosses a line. Called from the meter's thread: must not block.
pub trait Tap: Send + Sync {
    /// `bytes` crossed; `at` is the stamp taken right before they were handed over (from the meter)
    /// or when their first one was seen (to the meter).
    fn bytes(&self, direction: Direction, at: Nanos, bytes: &[u8]);

    /// A whole telegram was sent.
    fn telegram(&self, stamp: &FrameStamp) {
        let _ = stamp;
    }
}

/// Character format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// 8 data bits, no parity, 1 stop bit: 10 bits with the start bit.
    N81,
    /// 8 data bits, even parity, 1 stop bit: 11 bits with the start bit.
    E81,
    /// 7 data bits, even parity, 1 stop bit: 10 bits with the start bit.
    E71,
}

/// Speed and format of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LineConfig {
    /// Bits per second.
    pub baud: u32,
    /// Character format.
    pub format: Format,
}

impl LineConfig {
    /// The optical interface of SML meters: 9600 8N1.
    pub const SML: Self = Self {
        baud: 9600,
        format: Format::N81,
    };
    /// Wired M-Bus: 2400 8E1.
    pub const MBUS: Self = Self {
        baud: 2400,
        format: Format::E81,
    };

    /// Time of `count` characters.
    pub fn characters(&self, count: usize) -> Duration {
        let bits = match self.format {
            Format::N81 | Format::E71 => 10,
            Format::E81 => 11,
        };
        let nanos = count as u64 * bits * 1_000_000_000;
        Duration::from_nanos(nanos.div_ceil(u64::from(self.baud.max(1))))
    }

    /// Characters handed over together.
    fn batch(&self) -> usize {
        let character = self.characters(1).as_nanos().max(1);
        usize::try_from(BATCH.as_nanos().div_ceil(character)).unwrap_or(1)
    }
}

/// When bytes were handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Right before the first byte.
    pub first: Nanos,
    /// Right before the last byte.
    pub last: Nanos,
    /// Whether someone had the line open, at the right speed, and took every byte.
    pub delivered: bool,
}

/// The meter's end of a line; dropping it is pulling the plug.
pub struct Line {
    master: OwnedFd,
    path: PathBuf,
    config: LineConfig,
    tap: Option<Arc<dyn Tap>>,
    /// Until when received characters occupy the wire.
    busy_until: Nanos,
}

impl Line {
    /// A new pseudo terminal.
    ///
    /// # Errors
    /// [`MeterError::Terminal`] when the host has none to give.
    pub fn open(config: LineConfig, tap: Option<Arc<dyn Tap>>) -> Result<Self, MeterError> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?;
        let path = path.into_string().map_err(|_| Errno::ILSEQ)?.into();
        // Only once a slave side was open and closed does the master know that nobody listens.
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        let mut modes = tcgetattr(&slave)?;
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        drop(slave);
        Ok(Self {
            master,
            path,
            config,
            tap,
            busy_until: Nanos(0),
        })
    }

    /// The gateway's end, e.g. `/dev/pts/3`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Speed and format.
    pub const fn config(&self) -> &LineConfig {
        &self.config
    }

    /// From now on at another speed or format, as after a change of speed both sides agreed on.
    pub const fn set_config(&mut self, config: LineConfig) {
        self.config = config;
    }

    /// Whether someone has the other end open.
    pub fn is_connected(&self) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let now = timespec(0);
        poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().contains(PollFlags::HUP)
    }

    /// Whether the other end listens at the line's speed.
    fn speed_fits(&self) -> bool {
        tcgetattr(&self.master).is_ok_and(|modes| modes.output_speed() == self.config.baud)
    }

    /// Sends `bytes` with the first start bit at `start`, or at once when that has passed. Blocks for
    /// as long as the bytes take on the wire; `stop` is asked between batches and ends it early.
    /// Bytes nobody takes are lost, as on a real line.
    ///
    /// # Errors
    /// [`MeterError::Stopped`] when `stop` says so.
    pub fn send(
        &self,
        start: Nanos,
        bytes: &[u8],
        stop: impl Fn() -> bool,
    ) -> Result<Sent, MeterError> {
        let start = start.max(Clock::now());
        let mut sent: Option<Sent> = None;
        let mut done = 0;
        while done < bytes.len() {
            if stop() {
                return Err(MeterError::Stopped);
            }
            let batch = if done == 0 { 1 } else { self.config.batch() };
            let end = bytes.len().min(done + batch);
            let chunk = &bytes[done..end];
            Clock::sleep_until(start + self.config.characters(end));
            let at = Clock::now();
            let delivered = self.hand_over(chunk);
            if let Some(tap) = &self.tap {
                tap.bytes(Direction::FromMeter, at, chunk);
            }
            let (first, before) = sent.map_or((at, true), |sent| (sent.first, sent.delivered));
            sent = Some(Sent {
                first,
                last: at,
                delivered: before && delivered,
            });
            done = end;
        }
        sent.ok_or(MeterError::Stopped)
    }

    /// Hands `bytes` over as fast as the other end takes them, as an adapter gone mad would; what it
    /// does not take within a second is lost. `stop` ends it early.
    ///
    /// # Errors
    /// [`MeterError::Stopped`] when `stop` says so.
    pub fn rush(&self, bytes: &[u8], stop: impl Fn() -> bool) -> Result<Sent, MeterError> {
        let first = Clock::now();
        let mut rest = bytes;
        while !rest.is_empty() && self.is_connected() {
            if stop() {
                return Err(MeterError::Stopped);
            }
            let chunk = rest.get(..RUSH).unwrap_or(rest);
            match rustix::io::write(&self.master, chunk) {
                Ok(count) => {
                    if let Some(tap) = &self.tap {
                        let taken = chunk.get(..count).unwrap_or(chunk);
                        tap.bytes(Direction::FromMeter, Clock::now(), taken);
                    }
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.master, PollFlags::OUT)];
                    if poll(&mut fds, Some(&timespec(1_000_000_000))) == Ok(0) {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let last = Clock::now();
        Ok(Sent {
            first,
            last,
            delivered: rest.is_empty(),
        })
    }

    /// Whether the other end took `chunk` unharmed.
    fn hand_over(&self, chunk: &[u8]) -> bool {
        if !self.is_connected() {
            return false;
        }
        let fits = self.speed_fits();
        let garbled;
        let chunk = if fits {
            chunk
        } else {
            garbled = chunk.iter().map(|byte| garble(*byte)).collect::<Vec<_>>();
            &garbled
        };
        // A full buffer is an overrun: what does not fit is lost.
        rustix::io::write(&self.master, chunk) == Ok(chunk.len()) && fits
    }

    /// Takes what the other end sent, each byte with the instant its last bit would have been on the
    /// wire. Never blocks; nothing when nobody has the line open.
    pub fn receive(&mut self) -> Vec<(u8, Nanos)> {
        let mut buffer = [0; 512];
        let Ok(count) = rustix::io::read(&self.master, &mut buffer) else {
            // EIO: nobody there. EAGAIN: nothing there.
            return Vec::new();
        };
        let at = Clock::now();
        let fits = self.speed_fits();
        let bytes = buffer.get(..count).unwrap_or_default();
        if let (Some(tap), false) = (&self.tap, bytes.is_empty()) {
            tap.bytes(Direction::ToMeter, at, bytes);
        }
        let start = self.busy_until.max(at);
        let received: Vec<_> = bytes
            .iter()
            .enumerate()
            .map(|(index, byte)| {
                let byte = if fits { *byte } else { garble(*byte) };
                (byte, start + self.config.characters(index + 1))
            })
            .collect();
        if let Some((_, end)) = received.last() {
            self.busy_until = *end;
        }
        received
    }

    pub(super) fn notify(&self, stamp: &FrameStamp) {
        if let Some(tap) = &self.tap {
            tap.telegram(stamp);
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

/// What a UART at another speed makes of a byte: something else, always.
pub const fn garble(byte: u8) -> u8 {
    (byte ^ 0x5a).rotate_left(3) | 0x80 & !byte
}

/// Bytes handed over at once when no pace holds.
const RUSH: usize = 4096;
const BATCH: Duration = Duration::from_micros(100);
