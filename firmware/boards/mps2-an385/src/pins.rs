// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the board shows and senses: the relay (a LED), the button, and S0 pulses.

use core::convert::Infallible;
use core::sync::atomic::{AtomicU32, Ordering};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

use crate::registers::Registers;

/// Offset of the LEDs' register in the FPGA's block.
const LEDS: usize = 0x00;
/// Offset of the buttons' register.
const BUTTONS: usize = 0x08;

/// A LED of the FPGA's block; the first one stands for the relay.
#[derive(Debug)]
pub struct Led {
    registers: Registers,
    bit: u32,
}

impl Led {
    pub(crate) fn new(registers: Registers, number: u32) -> Self {
        Self {
            registers,
            bit: 1 << number,
        }
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.registers.modify(LEDS, self.bit, 0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.registers.modify(LEDS, self.bit, self.bit);
        Ok(())
    }
}

impl StatefulOutputPin for Led {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.registers.read(LEDS) & self.bit != 0)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        self.is_set_high().map(|high| !high)
    }
}

/// The first button; QEMU never presses it.
#[derive(Debug)]
pub struct Button {
    registers: Registers,
}

impl Button {
    pub(crate) fn new(registers: Registers) -> Self {
        Self { registers }
    }
}

impl ErrorType for Button {
    type Error = Infallible;
}

impl InputPin for Button {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.registers.read(BUTTONS) & 1 != 0)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        self.is_high().map(|high| !high)
    }
}

/// Pulses of the meter since the start. The emulated board has no input for them: the bench raises this cell through the
/// debug probe.
#[unsafe(no_mangle)]
#[used]
static SMGW_S0_PULSES: AtomicU32 = AtomicU32::new(0);

/// The S0 input.
#[derive(Clone, Copy, Debug)]
pub struct Pulses(pub(crate) ());

impl cls_app::PulseCounter for Pulses {
    fn pulses(&mut self) -> u32 {
        self.count()
    }
}

impl Pulses {
    /// Pulses since the start, modulo 2^32.
    pub fn count(self) -> u32 {
        SMGW_S0_PULSES.load(Ordering::Relaxed)
    }
}
