// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters on serial lines (local metrological network): one blocking thread per port, which stamps
//! what it reads at once and never gives up on a port that vanished (catalogue rows TIM-15, MET-02).

mod hdlc;
mod iec62056;
mod mbus;
mod schedule;
mod session;
mod sml;
mod wmbus;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serialport::{DataBits, FlowControl, Parity, SerialPort, StopBits};
use smgw_core::{GapReason, Grid};
use smgw_units::{Nanos, UtcNanos};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{Meter, Protocol};
use crate::defects::Defects;
use crate::measuring::{LineEvent, LineEventKind, Order};

pub use self::session::MeterTls;
pub use self::wmbus::{Radio, radios};

/// The grids for whose points a polled meter must be asked; changes with the profiles.
#[derive(Debug)]
pub struct Grids(Mutex<Vec<Grid>>);

impl Grids {
    /// Just this one.
    pub fn new(grid: Grid) -> Self {
        Self(Mutex::new(vec![grid]))
    }

    /// Replaces all of them; none leaves them as they are.
    pub fn set(&self, grids: impl Iterator<Item = Grid>) {
        let mut all: Vec<Grid> = Vec::new();
        for grid in grids {
            if !all.contains(&grid) {
                all.push(grid);
            }
        }
        if !all.is_empty() {
            *self.lock() = all;
        }
    }

    /// The first point of any grid after `instant`, with the grid of the widest window that has it.
    pub fn first_after(&self, instant: UtcNanos) -> (UtcNanos, Grid) {
        let grids = self.lock();
        let points = grids.iter().map(|grid| (grid.first_after(instant), *grid));
        points
            .min_by_key(|(point, grid)| (*point, -grid.period_seconds()))
            .expect("there is always a grid")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Grid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything a line thread needs beside its port.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of the meter in the configuration.
    pub number: usize,
    /// The meter; of a radio receiver the first of its meters.
    pub meter: Meter,
    /// All meters of a radio receiver.
    pub radios: Vec<Radio>,
    /// The gateway's registration grid.
    pub grid: Grid,
    /// All grids to be served.
    pub grids: Arc<Grids>,
    /// The gateway's clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Sender<Order>,
    /// Set when the gateway stops.
    pub stop: Arc<AtomicBool>,
    /// TLS of a meter that is asked through it.
    pub tls: Option<MeterTls>,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl Line {
    /// Reports something about one of the meters.
    fn report_of(&self, number: usize, stamp: UtcNanos, kind: LineEventKind) {
        // The measuring thread outlives the lines; if it is gone, the gateway is ending.
        let _ = self.events.send(Order::Line(LineEvent {
            meter: number,
            stamp,
            kind,
        }));
    }

    /// Reports something that concerns every meter of the line.
    fn report_to_all(&self, stamp: UtcNanos, kind: impl Fn() -> LineEventKind) {
        match self.radios.as_slice() {
            [] => self.report_of(self.number, stamp, kind()),
            radios => radios
                .iter()
                .for_each(|radio| self.report_of(radio.number, stamp, kind())),
        }
    }

    /// Reports with the receive stamp of a telegram.
    fn report_telegram(&self, first_byte: UtcNanos, kind: LineEventKind) {
        let stamp = self.defects.receive_stamp(self.grid, first_byte);
        self.report_of(self.number, stamp, kind);
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Opens a meter's port.
///
/// # Errors
/// The operating system's; the environment is at fault.
pub fn open(meter: &Meter) -> io::Result<Box<dyn SerialPort>> {
    let format = meter.format;
    let port = serialport::new(meter.port.to_string_lossy(), meter.baud)
        .data_bits(if format.data_bits == 7 {
            DataBits::Seven
        } else {
            DataBits::Eight
        })
        .parity(match format.parity {
            'E' => Parity::Even,
            'O' => Parity::Odd,
            _ => Parity::None,
        })
        .stop_bits(if format.stop_bits == 1 {
            StopBits::One
        } else {
            StopBits::Two
        })
        .flow_control(FlowControl::None)
        .timeout(READ_TIMEOUT)
        .open_native()?;
    Ok(Box::new(port))
}

/// Starts the thread of one line on a port that is open.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(line: Line, port: Box<dyn SerialPort>) -> io::Result<JoinHandle<()>> {
    let name = format!("lmn-{}", line.number);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run(&line, port))
}

fn run(line: &Line, mut port: Box<dyn SerialPort>) {
    let meter = line.meter.id;
    // Their counters outlive a lost port.
    let mut radios = line.radios.clone();
    loop {
        let lost = match &line.meter.protocol {
            Protocol::Sml { server_id } => sml::listen(line, server_id, port.as_mut()),
            Protocol::Mbus { address, poll_lead } => {
                mbus::poll(line, *address, *poll_lead, port.as_mut())
            }
            Protocol::HdlcLmn(asked) => hdlc::poll(line, asked, port.as_mut()),
            Protocol::Iec62056(readout) => iec62056::poll(line, readout, port.as_mut()),
            Protocol::Iec62056Push { identification } => {
                iec62056::listen(line, identification.as_deref(), port.as_mut())
            }
            Protocol::Wmbus { .. } => wmbus::listen(line, &mut radios, port.as_mut()),
        };
        let Err(error) = lost else { return };
        drop(port);
        warn!(%meter, port = %line.meter.port.display(), %error, "port lost");
        line.report_to_all(line.clock.now(), || {
            LineEventKind::Fault(GapReason::LinkLost)
        });
        match reopen(line) {
            Some(back) => port = back,
            None => return,
        }
        info!(%meter, port = %line.meter.port.display(), "port is back");
        line.report_to_all(line.clock.now(), || LineEventKind::LinkUp);
    }
}

/// Tries until the port is back; `None` when the gateway stops.
fn reopen(line: &Line) -> Option<Box<dyn SerialPort>> {
    let mut pause = FIRST_PAUSE;
    loop {
        pause_unless_stopping(line, pause)?;
        if let Ok(port) = open(&line.meter) {
            return Some(port);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits, in slices so that a stopping gateway is not held up; `None` when it stops.
fn pause_unless_stopping(line: &Line, mut pause: Duration) -> Option<()> {
    while !pause.is_zero() {
        let slice = pause.min(READ_TIMEOUT);
        std::thread::sleep(slice);
        pause -= slice;
        if line.stopping() {
            return None;
        }
    }
    (!line.stopping()).then_some(())
}

/// Reads what is there, `Ok(None)` after a quiet read timeout. The stamp is taken at once.
fn read(
    clock: &Clock,
    port: &mut dyn SerialPort,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, UtcNanos)>> {
    let outcome = port.read(buffer);
    let stamp = clock.now();
    match outcome {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(Some((len, stamp))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Framers only carry stamps through: the gateway's UTC clock fits their type.
fn as_nanos(stamp: UtcNanos) -> Nanos {
    Nanos(stamp.0.max(0) as u64)
}

fn as_utc(stamp: Nanos) -> UtcNanos {
    UtcNanos(i64::try_from(stamp.0).unwrap_or(i64::MAX))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const READ_TIMEOUT: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
