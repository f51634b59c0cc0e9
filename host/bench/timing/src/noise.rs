// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rig measures itself: what the host adds to a stamp before any device is involved.
//!
//! Every probe runs on an absolute schedule, so that a late sample does not hide the ones behind it
//! (coordinated omission), and stops at the common deadline.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use smgw_units::Nanos;

use crate::{BenchClock, Budget, Distribution, Shape};

/// One self-measurement.
#[derive(Clone, Debug)]
pub struct NoiseProbe {
    /// Stable name, e.g. `pty-read`.
    pub name: &'static str,
    /// What was measured, one phrase.
    pub what: &'static str,
    /// The samples in nanoseconds.
    pub samples: Distribution,
    /// Why there are fewer samples than asked for.
    pub trouble: Option<String>,
}

/// The noise floor of the host, measured on the spot.
#[derive(Clone, Debug)]
pub struct NoiseFloor {
    /// Cost of two neighbouring clock readings.
    pub clock_pair: NoiseProbe,
    /// From just before `write()` on one end of a pty to just after `read()` returns in a blocking thread.
    pub pty_read: NoiseProbe,
    /// How late an absolute sleep returns.
    pub sleep_overshoot: NoiseProbe,
    /// Round trip of 16 bytes over TCP on the loopback interface between two threads.
    pub tcp_echo: NoiseProbe,
}

impl NoiseFloor {
    /// Takes about `n` samples in all, shared among the probes, and ends within `limit` plus one
    /// scheduling delay. [`Self::DEFAULT_SAMPLES`] and [`Self::DEFAULT_LIMIT`] suit a run's start.
    pub fn measure(n: usize, limit: Duration) -> Self {
        let share = (n / 4).max(1);
        let start = BenchClock::now();
        let until = |quarters: u32| start + limit * quarters / 4;
        Self {
            clock_pair: clock_pair(share, until(1)),
            pty_read: pty_read(share, until(2)),
            sleep_overshoot: sleep_overshoot(share, until(3)),
            tcp_echo: tcp_echo(share, until(4)),
        }
    }

    /// Samples of a routine measurement.
    pub const DEFAULT_SAMPLES: usize = 2_000;
    /// Time limit of a routine measurement.
    pub const DEFAULT_LIMIT: Duration = Duration::from_secs(2);

    /// The probes in a fixed order.
    pub fn probes(&self) -> [&NoiseProbe; 4] {
        [
            &self.clock_pair,
            &self.pty_read,
            &self.sleep_overshoot,
            &self.tcp_echo,
        ]
    }

    /// Budget in milliseconds of one stamp taken behind a blocking read on a serial tap.
    pub fn serial_stamp(&self) -> Budget {
        Budget::new("ms")
            .with(
                "clock reading",
                millis(self.clock_pair.samples.p99_95()),
                Shape::Quantile,
            )
            .with(
                "read path, p99.95 of this run",
                millis(self.pty_read.samples.p99_95()),
                Shape::Quantile,
            )
    }

    /// Budget in milliseconds of a round trip over a local socket.
    pub fn network_round_trip(&self) -> Budget {
        Budget::new("ms")
            .with(
                "clock reading",
                millis(self.clock_pair.samples.p99_95()),
                Shape::Quantile,
            )
            .with(
                "loopback round trip, p99.95 of this run",
                millis(self.tcp_echo.samples.p99_95()),
                Shape::Quantile,
            )
    }
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn probe(
    name: &'static str,
    what: &'static str,
    run: impl FnOnce(&mut Distribution) -> io::Result<()>,
) -> NoiseProbe {
    let mut samples = Distribution::new();
    let trouble = run(&mut samples).err().map(|error| error.to_string());
    NoiseProbe {
        name,
        what,
        samples,
        trouble,
    }
}

/// Calls `step` on an absolute grid until `n` samples are in or the deadline is reached.
fn paced(
    n: usize,
    deadline: Nanos,
    mut step: impl FnMut(Nanos) -> io::Result<()>,
) -> io::Result<()> {
    let start = BenchClock::now();
    for tick in 1..=n as u32 {
        let due = start + PERIOD * tick;
        if due > deadline {
            let done = tick - 1;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("time was up after {done} of {n} samples"),
            ));
        }
        step(due)?;
    }
    Ok(())
}

fn clock_pair(n: usize, deadline: Nanos) -> NoiseProbe {
    probe("clock-pair", "two neighbouring clock readings", |samples| {
        for _ in 0..n {
            let before = BenchClock::now();
            let after = BenchClock::now();
            samples.record(after.saturating_since(before));
            if after > deadline {
                break;
            }
        }
        Ok(())
    })
}

fn sleep_overshoot(n: usize, deadline: Nanos) -> NoiseProbe {
    probe(
        "sleep-overshoot",
        "return of an absolute sleep after its deadline",
        |samples| {
            paced(n, deadline, |due| {
                BenchClock::sleep_until(due);
                samples.record(BenchClock::now().saturating_since(due));
                Ok(())
            })
        },
    )
}

fn pty_read(n: usize, deadline: Nanos) -> NoiseProbe {
    probe(
        "pty-read",
        "pty write to return of a blocking read",
        |samples| {
            let (near, mut far) = open_pty()?;
            let mut near = std::fs::File::from(near);
            let (stamps, arrivals) = mpsc::channel();
            // The reader ends when the near end is closed, which makes its read fail or return nothing.
            let reader = thread::Builder::new()
                .name("noise-pty-read".to_owned())
                .spawn(move || {
                    let mut byte = [0];
                    while let Ok(1) = far.read(&mut byte) {
                        if stamps.send(BenchClock::now()).is_err() {
                            break;
                        }
                    }
                })?;
            let outcome = paced(n, deadline, |due| {
                BenchClock::sleep_until(due);
                let sent = BenchClock::now();
                near.write_all(&[0x55])?;
                let arrived = arrivals.recv_timeout(ARRIVAL_LIMIT).map_err(|_| {
                    io::Error::new(
                        io::ErrorKind::TimedOut,
                        "a byte did not come through the pty",
                    )
                })?;
                samples.record(arrived.saturating_since(sent));
                Ok(())
            });
            drop(near);
            let _ = reader.join();
            outcome
        },
    )
}

fn tcp_echo(n: usize, deadline: Nanos) -> NoiseProbe {
    probe(
        "tcp-echo",
        "round trip of 16 bytes over TCP on loopback",
        |samples| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let mut near = TcpStream::connect(listener.local_addr()?)?;
            let (mut far, _) = listener.accept()?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            near.set_read_timeout(Some(ARRIVAL_LIMIT))?;
            let echo = thread::Builder::new()
                .name("noise-tcp-echo".to_owned())
                .spawn(move || {
                    let mut block = [0; 16];
                    while far.read_exact(&mut block).is_ok() && far.write_all(&block).is_ok() {}
                })?;
            let outcome = paced(n, deadline, |due| {
                BenchClock::sleep_until(due);
                let mut block = [0x55; 16];
                let sent = BenchClock::now();
                near.write_all(&block)?;
                near.read_exact(&mut block)?;
                samples.record(BenchClock::now().saturating_since(sent));
                Ok(())
            });
            drop(near);
            let _ = echo.join();
            outcome
        },
    )
}

/// A raw pty pair: the near end to write, the far end to read.
fn open_pty() -> io::Result<(OwnedFd, std::fs::File)> {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&near)?;
    unlockpt(&near)?;
    let path = ptsname(&near, Vec::new())?;
    let far = rustix::fs::open(
        path.as_c_str(),
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let mut termios = tcgetattr(&far)?;
    termios.make_raw();
    tcsetattr(&far, OptionalActions::Now, &termios)?;
    Ok((near, far.into()))
}

/// Distance of the samples on the absolute grid.
const PERIOD: Duration = Duration::from_micros(500);
/// Longest wait for one byte before the probe gives up.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rig_measures_itself_in_bounded_time() {
        let start = BenchClock::now();
        let floor = NoiseFloor::measure(200, Duration::from_secs(20));
        assert!(BenchClock::now().saturating_since(start) < Duration::from_secs(25));
        for probe in floor.probes() {
            assert_eq!(probe.trouble, None, "{}", probe.name);
            assert_eq!(probe.samples.n(), 50, "{}", probe.name);
        }
        assert!(floor.pty_read.samples.min() > 0);
        assert!(floor.tcp_echo.samples.min() > floor.clock_pair.samples.min());
        assert!(floor.serial_stamp().expanded() > 0.0);
    }

    #[test]
    fn a_short_limit_is_kept_and_said() {
        let floor = NoiseFloor::measure(4_000_000, Duration::from_millis(40));
        for probe in floor.probes().iter().skip(1) {
            let trouble = probe.trouble.as_deref().unwrap_or_default();
            assert!(
                trouble.starts_with("time was up after"),
                "{}: {trouble}",
                probe.name
            );
        }
    }
}
