// SPDX-License-Identifier: MIT OR Apache-2.0
//! Relay, button and S0 input.
//!
//! | what   | pin  | where on the board                        |
//! |--------|------|-------------------------------------------|
//! | relay  | PF12 | CN10 7 (D8), to a relay module            |
//! | signal | PB0  | green LED                                 |
//! | button | PC13 | blue button, high while pressed           |
//! | S0     | PF15 | CN10 12 (D2), to ground through the meter's S0 contact |

use core::convert::Infallible;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::NVIC;
use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use stm32h7xx_hal::gpio::{Edge, ErasedPin, ExtiPin, Input, Output, Pin};
use stm32h7xx_hal::pac::{EXTI, Interrupt, SYSCFG, interrupt};

/// An output of the board.
#[derive(Debug)]
pub struct Out(pub(crate) ErasedPin<Output>);

impl ErrorType for Out {
    type Error = Infallible;
}

impl OutputPin for Out {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set_low();
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set_high();
        Ok(())
    }
}

/// An input of the board.
#[derive(Debug)]
pub struct In(pub(crate) ErasedPin<Input>);

impl ErrorType for In {
    type Error = Infallible;
}

impl InputPin for In {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.is_high())
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.is_low())
    }
}

static PULSES: AtomicU32 = AtomicU32::new(0);

/// In EXTI's pending register: line 15, that of the S0 input.
const LINE: u32 = 1 << 15;

/// The S0 input.
#[derive(Clone, Copy, Debug)]
pub struct Pulses(());

impl Pulses {
    pub(crate) fn start(
        mut pin: Pin<'F', 15, Input>,
        syscfg: &mut SYSCFG,
        exti: &mut EXTI,
    ) -> Self {
        pin.make_interrupt_source(syscfg);
        pin.trigger_on_edge(exti, Edge::Falling);
        pin.enable_interrupt(exti);
        // SAFETY: the handler is the one below and shares an atomic only.
        unsafe { NVIC::unmask(Interrupt::EXTI15_10) };
        Self(())
    }

    /// Pulses since the start, modulo 2^32.
    pub fn count(self) -> u32 {
        PULSES.load(Ordering::Relaxed)
    }
}

impl cls_app::PulseCounter for Pulses {
    fn pulses(&mut self) -> u32 {
        self.count()
    }
}

#[interrupt]
fn EXTI15_10() {
    // SAFETY: only this handler touches the pending register, whose bits are cleared by writing them.
    let exti = unsafe { &*EXTI::ptr() };
    // SAFETY: every value may be written here.
    exti.cpupr1.write(|pending| unsafe { pending.bits(LINE) });
    PULSES.fetch_add(1, Ordering::Relaxed);
}
