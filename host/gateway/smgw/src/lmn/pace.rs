// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a polled meter is asked: shortly before every grid point, and not twice for one.

use std::io;
use std::time::Duration;

use serialport::SerialPort;
use smgw_units::UtcNanos;

use super::{Line, READ_TIMEOUT};

/// Goes from grid point to grid point.
pub(super) struct Pace {
    lead: i64,
    last: Option<UtcNanos>,
}

impl Pace {
    /// Asks this long before each grid point.
    pub(super) fn new(lead: Duration) -> Self {
        Self {
            lead: i64::try_from(lead.as_nanos()).unwrap_or(0),
            last: None,
        }
    }

    /// Waits until it is time to ask; the end of the window in which an answer counts, or `None` when the gateway stops.
    ///
    /// # Errors
    /// When the port is lost.
    pub(super) fn next(
        &mut self,
        line: &Line,
        port: &mut dyn SerialPort,
    ) -> io::Result<Option<UtcNanos>> {
        // An exchange that woke a moment early must not ask for the same point again; a clock that was stepped back may.
        let earliest = UtcNanos(line.clock.now().0.saturating_add(self.lead));
        let just_asked = |last: &UtcNanos| (0..ONE_SECOND).contains(&last.signed_since(earliest));
        let after = self.last.filter(just_asked).unwrap_or(earliest);
        let (point, grid) = line.grids.first_after(after);
        self.last = Some(point);
        let start = UtcNanos(point.0 - self.lead);
        let (_, closes) = grid.window_of(point);
        Ok(wait_until(line, port, start)?.then_some(closes))
    }
}

/// Waits, reading what nobody asked for, so that a port that goes away is noticed; `false` when the gateway stops.
fn wait_until(line: &Line, port: &mut dyn SerialPort, start: UtcNanos) -> io::Result<bool> {
    let mut unasked = [0; 64];
    loop {
        if line.stopping() {
            return Ok(false);
        }
        let left = line.clock.until(start);
        if left <= READ_TIMEOUT + MARGIN {
            std::thread::sleep(left);
            return Ok(true);
        }
        port.set_timeout(READ_TIMEOUT)?;
        super::read(&line.clock, port, &mut unasked)?;
    }
}

const ONE_SECOND: i64 = 1_000_000_000;
/// Slack before the start of a poll that is slept, not read.
const MARGIN: Duration = Duration::from_millis(20);
