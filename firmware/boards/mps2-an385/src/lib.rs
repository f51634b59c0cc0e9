// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board MPS2 with FPGA image AN385 (Cortex-M3), as QEMU 7.2 emulates it: registers and memory, no application.
#![no_std]

pub mod ethernet;
pub mod flash;
pub mod pins;
pub mod random;
mod registers;
pub mod timing;
pub mod watchdog;

use core::mem::MaybeUninit;

use board_runtime::{Clock, Console};
use ethernet::{Ethernet, Missing};
use flash::Flash;
use pins::{Button, Led, Pulses};
use random::Random;
use registers::Registers;
use timing::Timing;
use watchdog::Watchdog;

/// Cycles of the core in a second.
pub const CORE_HERTZ: u32 = 25_000_000;

/// Bytes for the application's buffers.
const HEAP_BYTES: usize = 512 * 1024;

/// Everything the board has, each part once.
pub struct Board {
    /// Text from and to the host.
    pub console: Console,
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
    /// Edges and pulses of the timing probe.
    pub timing: Timing,
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
        let console = Console::start();
        let core = cortex_m::Peripherals::take().expect("the board is started once");
        let heap = cortex_m::singleton!(HEAP: [MaybeUninit<u8>; HEAP_BYTES] = [MaybeUninit::uninit(); HEAP_BYTES]);
        board_runtime::give_heap(heap.expect("the board is started once"));
        // SAFETY: the FPGA's block of LEDs, buttons and counters; relay, signal and button use different bits or words,
        // and bits are changed in a critical section.
        let fpga = || unsafe { Registers::at(0x4002_8000) };
        // SAFETY: the LAN9118 of the AN385 image.
        let ethernet = unsafe { Registers::at(0x4020_0000) };
        // SAFETY: the CMSDK dual timer.
        let timer = unsafe { Registers::at(0x4000_2000) };
        // SAFETY: the CMSDK watchdog.
        let watchdog = unsafe { Registers::at(0x4000_8000) };
        // SAFETY: settings and seed are different parts of the PSRAM, which no other part of the image uses.
        let [settings, seed] =
            [flash::SETTINGS, flash::SEED].map(|part| unsafe { Flash::at(part, ()) });
        Self {
            console,
            clock: Clock::start(core.SYST, CORE_HERTZ),
            relay: Led::new(fpga(), 0),
            signal: Led::new(fpga(), 1),
            button: Button::new(fpga()),
            pulses: Pulses(()),
            settings,
            random: Random::start(seed),
            ethernet: Ethernet::start(ethernet),
            timing: timing::start(timer, Led::new(fpga(), 2)),
            watchdog: Watchdog::new(watchdog),
        }
    }
}
