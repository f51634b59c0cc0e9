// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board MPS2 with FPGA image AN385 (Cortex-M3), as QEMU 7.2 emulates it: registers and memory, no application.
#![no_std]

extern crate alloc;

pub mod clock;
pub mod ethernet;
pub mod flash;
pub mod pins;
pub mod random;
mod registers;
mod start;
pub mod watchdog;

use clock::Clock;
use ethernet::{Ethernet, Missing};
use flash::Flash;
use pins::{Button, Led, Pulses};
use random::Random;
use registers::Registers;
use watchdog::Watchdog;

/// Everything the board has, each part once.
#[derive(Debug)]
pub struct Board {
    /// Milliseconds since the start.
    pub clock: Clock,
    /// The relay: LED 0.
    pub relay: Led,
    /// Shows that the application runs: LED 1.
    pub signal: Led,
    /// The button of the user.
    pub button: Button,
    /// Pulses of the meter.
    pub pulses: Pulses,
    /// The partition of the settings.
    pub settings: Flash,
    /// Random numbers; see [`random`] for their limits.
    pub random: Random,
    /// The network, unless the emulator was started without.
    pub ethernet: Result<Ethernet, Missing>,
    /// Starts the board anew when the application hangs.
    pub watchdog: Watchdog,
}

impl Board {
    /// Brings up logs, heap and all parts.
    ///
    /// # Panics
    ///
    /// When it is called a second time.
    pub fn start() -> Self {
        start::start();
        let core = cortex_m::Peripherals::take().expect("the board is started once");
        // SAFETY: the FPGA's block of LEDs, buttons and counters; relay, signal and button use different bits or words,
        // and bits are changed by the application alone, not by interrupts.
        let fpga = || unsafe { Registers::at(0x4002_8000) };
        // SAFETY: the LAN9118 of the AN385 image.
        let ethernet = unsafe { Registers::at(0x4020_0000) };
        // SAFETY: the CMSDK watchdog.
        let watchdog = unsafe { Registers::at(0x4000_8000) };
        // SAFETY: settings and seed are different parts of the PSRAM, which no other part of the image uses.
        let [settings, seed] =
            [flash::SETTINGS, flash::SEED].map(|part| unsafe { Flash::at(part, ()) });
        Self {
            clock: Clock::start(core.SYST),
            relay: Led::new(fpga(), 0),
            signal: Led::new(fpga(), 1),
            button: Button::new(fpga()),
            pulses: Pulses(()),
            settings,
            random: Random::start(seed),
            ethernet: Ethernet::start(ethernet),
            watchdog: Watchdog::new(watchdog),
        }
    }
}
