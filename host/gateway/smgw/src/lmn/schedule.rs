// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a polled meter is asked: shortly before every grid point, each of which is asked for once (catalogue row MET-01).

use std::io;
use std::time::Duration;

use serialport::SerialPort;
use smgw_units::UtcNanos;

use super::{Line, READ_TIMEOUT};

/// The polls of one line.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    line: &'a Line,
    lead: i64,
    last: Option<UtcNanos>,
}

/// One grid point to be asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poll {
    start: UtcNanos,
    closes: UtcNanos,
}

impl<'a> Schedule<'a> {
    /// Polls that start `lead` before their grid points.
    pub(super) fn new(line: &'a Line, lead: Duration) -> Self {
        Self {
            line,
            lead: i64::try_from(lead.as_nanos()).unwrap_or(0),
            last: None,
        }
    }

    /// Waits for the next poll, reading what nobody asked for, so that a port that goes away is noticed; `None` when the
    /// gateway stops.
    ///
    /// # Errors
    /// When the port is lost.
    pub(super) fn next(&mut self, port: &mut dyn SerialPort) -> io::Result<Option<Poll>> {
        // An exchange that woke a moment early must not ask for the same point again; a clock that was stepped back may.
        let earliest = UtcNanos(self.line.clock.now().0.saturating_add(self.lead));
        let just_asked = |last: &UtcNanos| (0..ONE_SECOND).contains(&last.signed_since(earliest));
        let after = self.last.filter(just_asked).unwrap_or(earliest);
        let (point, grid) = self.line.grids.first_after(after);
        self.last = Some(point);
        let (_, closes) = grid.window_of(point);
        let poll = Poll {
            start: UtcNanos(point.0 - self.lead),
            closes,
        };
        Ok(self.wait_until(poll.start, port)?.then_some(poll))
    }

    /// Whether there is no use in asking again for this point.
    pub(super) fn is_over(&self, poll: Poll) -> bool {
        self.line.clock.now() >= poll.closes
    }

    /// `false` when the gateway stops.
    fn wait_until(&self, start: UtcNanos, port: &mut dyn SerialPort) -> io::Result<bool> {
        let mut unasked = [0; 64];
        loop {
            if self.line.stopping() {
                return Ok(false);
            }
            let left = self.line.clock.until(start);
            if left <= READ_TIMEOUT + MARGIN {
                std::thread::sleep(left);
                return Ok(true);
            }
            port.set_timeout(READ_TIMEOUT)?;
            super::read(&self.line.clock, port, &mut unasked)?;
        }
    }
}

const ONE_SECOND: i64 = 1_000_000_000;
/// Slack before the start of a poll that is slept, not read.
const MARGIN: Duration = Duration::from_millis(20);
