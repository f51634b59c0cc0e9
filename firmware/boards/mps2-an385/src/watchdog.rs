// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CMSDK watchdog: when it is not fed in time, it raises the non-maskable interrupt, and we start anew.

use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;

use crate::CORE_HERTZ;
use crate::registers::Registers;

const LOAD: usize = 0x000;
const CONTROL: usize = 0x008;
const CLEAR: usize = 0x00C;
const LOCK: usize = 0xC00;

/// Opens the other registers for writing.
const UNLOCK: u32 = 0x1ACC_E551;

/// Raises the interrupt after the first time-out, and resets after a second one should that not help.
const INTERRUPT_AND_RESET: u32 = 0b11;

/// Longest time the counter can wait for.
pub const LONGEST_MILLISECONDS: u32 = u32::MAX / (CORE_HERTZ / 1000);

/// The watchdog, asleep until it is started.
#[derive(Debug)]
pub struct Watchdog {
    registers: Registers,
}

impl Watchdog {
    pub(crate) fn new(registers: Registers) -> Self {
        Self { registers }
    }

    /// From now on [`Self::feed`] must be called at least so often; nothing stops a started watchdog. Times beyond
    /// [`LONGEST_MILLISECONDS`] are shortened.
    pub fn start(&mut self, milliseconds: u32) {
        let milliseconds = milliseconds.min(LONGEST_MILLISECONDS);
        self.registers.write(LOCK, UNLOCK);
        self.registers
            .write(LOAD, milliseconds * (CORE_HERTZ / 1000));
        self.registers.write(CONTROL, INTERRUPT_AND_RESET);
        self.registers.write(LOCK, 0);
    }

    /// Lets the time begin anew.
    pub fn feed(&mut self) {
        self.registers.write(LOCK, UNLOCK);
        self.registers.write(CLEAR, 1);
        let load = self.registers.read(LOAD);
        self.registers.write(LOAD, load);
        self.registers.write(LOCK, 0);
    }
}

#[exception]
unsafe fn NonMaskableInt() {
    defmt::error!("watchdog: no progress, starting anew");
    SCB::sys_reset()
}

impl cls_app::Watchdog for Watchdog {
    fn start(&mut self, milliseconds: u32) {
        Watchdog::start(self, milliseconds);
    }

    fn feed(&mut self) {
        Watchdog::feed(self);
    }
}
