// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nordic's nRF52840 DK as timing probe: clocks, timer and pins, no application. **Compiles; untried on hardware.**
#![no_std]

pub mod timing;

use board_runtime::{Clock, Console};
use nrf52840_hal::{clocks::Clocks, gpio::Level, gpio::p0, pac};
use timing::Timing;

/// Cycles of the core in a second.
const CORE_HERTZ: u32 = 64_000_000;

/// Everything the probe needs, each part once.
pub struct Board {
    /// Text from and to the host.
    pub console: Console,
    /// Milliseconds since the start.
    pub clock: Clock,
    /// Edges and pulses of the timing probe.
    pub timing: Timing,
}

impl Board {
    /// Brings up logs, clocks and all parts.
    ///
    /// # Panics
    ///
    /// When it is called a second time.
    pub fn start() -> Self {
        let console = Console::start();
        let core = cortex_m::Peripherals::take().expect("the board is started once");
        let chip = pac::Peripherals::take().expect("the board is started once");
        // The crystal: stamps are as exact as the timer's clock.
        let _clocks = Clocks::new(chip.CLOCK).enable_ext_hfosc();
        let pins = p0::Parts::new(chip.P0);
        let input = pins.p0_03.into_pulldown_input().degrade();
        let output = pins.p0_04.into_push_pull_output(Level::Low).degrade();
        Self {
            console,
            clock: Clock::start(core.SYST, CORE_HERTZ),
            timing: timing::start(chip.TIMER0, chip.GPIOTE, chip.PPI, input, output),
        }
    }
}
