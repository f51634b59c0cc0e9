// SPDX-License-Identifier: MIT OR Apache-2.0
//! A basic meter without a pace and a law of its own: it sends when it is told to, and shows what it is told to. For benches
//! whose time does not flow.

use std::path::Path;

use smgw_units::DeviceId;

use super::clock::{Clock, Grid};
use super::law::EnergyLaw;
use super::line::{Format, Line, LineConfig};
use super::sml::{Pusher, SmlConfig};
use super::worker::MeterError;

/// The meter; dropping it is pulling the plug.
pub struct SmlToldMeter {
    line: Line,
    pusher: Pusher,
}

impl SmlToldMeter {
    /// Faster than any meter, so that a telegram takes a millisecond.
    pub const LINE: LineConfig = LineConfig {
        baud: 4_000_000,
        format: Format::N81,
    };

    /// On a new pseudo terminal.
    ///
    /// # Errors
    /// When the host has none to give.
    pub fn open(id: DeviceId) -> Result<Self, MeterError> {
        let grid = Grid {
            bench: Clock::now(),
            utc: smgw_units::UtcNanos(0),
        };
        let config = SmlConfig {
            line: Self::LINE,
            scaler: 0,
            ..SmlConfig::new(id, grid)
        };
        Ok(Self {
            line: Line::open(Self::LINE, None)?,
            pusher: Pusher {
                config,
                transaction: config.first_transaction,
                previous: None,
            },
        })
    }

    /// The gateway's end of its line.
    pub fn path(&self) -> &Path {
        self.line.path()
    }

    /// Sends one telegram at once: so many Wh imported, none exported. Whether somebody took all of it.
    ///
    /// # Errors
    /// When the line is gone.
    pub fn tell(&mut self, import: i64) -> Result<bool, MeterError> {
        self.pusher.config.import = EnergyLaw::constant(import);
        let now = Clock::now();
        let telegram = self.pusher.compose(now, None);
        Ok(self.line.send(now, &telegram.line, || false)?.delivered)
    }
}
