// SPDX-License-Identifier: MIT OR Apache-2.0
//! The independent watchdog: it has a clock of its own, resets the chip, and stands still while a debugger halts the core.

use stm32h7xx_hal::independent_watchdog::IndependentWatchdog;
use stm32h7xx_hal::pac::{DBGMCU, IWDG};
use stm32h7xx_hal::prelude::*;

/// Longest time that the counter can wait for: 4095 counts of 32 kHz / 256.
pub const LONGEST_MILLISECONDS: u32 = 32_760;

/// The watchdog, asleep until it is started.
pub struct Watchdog(IndependentWatchdog);

impl Watchdog {
    pub(crate) fn new(watchdog: IWDG, debug: &DBGMCU) -> Self {
        // The bench halts the core to write settings, which takes its time.
        debug.apb4fz1.modify(|_, w| w.dbg_iwdg1().set_bit());
        Self(IndependentWatchdog::new(watchdog))
    }
}

impl cls_app::Watchdog for Watchdog {
    /// Times beyond [`LONGEST_MILLISECONDS`] are shortened.
    fn start(&mut self, milliseconds: u32) {
        self.0
            .start(milliseconds.min(LONGEST_MILLISECONDS).millis());
    }

    fn feed(&mut self) {
        self.0.feed();
    }
}
