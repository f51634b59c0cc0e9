// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from the 32-bit timer TIM2 at 200 MHz.
//!
//! Input PA0 (CN10 29, D32): channel 1 captures rising, channel 2 falling edges of the same pin in hardware. Output PB10
//! (CN10 32, D36): channel 3 toggles by compare match, so that its edges are exact to one count.

use board_runtime::timing::{Course, SharedTimer, Timer};
use cortex_m::peripheral::NVIC;
use stm32h7xx_hal::gpio::{Alternate, Pin};
use stm32h7xx_hal::pac::{Interrupt, TIM2, interrupt};
use stm32h7xx_hal::rcc::{ResetEnable, rec};

/// Counts of the timer in a second.
pub(crate) const HERTZ: u32 = 200_000_000;

/// In CCMR2: toggle on a match, or stay low.
const TOGGLE: u8 = 0b011;
const STAY_LOW: u8 = 0b100;

/// TIM2.
#[derive(Debug)]
pub struct Registers(TIM2);

static SHARED: SharedTimer<Registers> = SharedTimer::new();

impl Registers {
    /// Sets the output's next edge, or ends the train.
    fn edge_is_out(&mut self, course: &mut Course) {
        self.0.sr.modify(|_, w| w.cc3if().clear_bit());
        match course.train.edge() {
            Some(counts) => {
                let at = self.0.ccr3().read().bits().wrapping_add(counts);
                self.set_edge(at);
            }
            None => {
                self.0.dier.modify(|_, w| w.cc3ie().clear_bit());
                self.set_mode(STAY_LOW);
            }
        }
    }

    fn set_edge(&mut self, at: u32) {
        self.0.ccr3().write(|w| w.ccr().bits(at));
    }

    fn set_mode(&mut self, mode: u8) {
        // Both modes are those of the reference manual for OC3M.
        self.0.ccmr2_output().modify(|_, w| w.oc3m().bits(mode));
    }
}

impl Timer for Registers {
    const HERTZ: u32 = HERTZ;

    /// 10 µs.
    const SHORTEST: u32 = HERTZ / 100_000;

    fn counter(&self) -> u32 {
        self.0.cnt.read().bits()
    }

    fn take_edges(&mut self, course: &mut Course) {
        let status = self.0.sr.read();
        let now = self.0.cnt.read().bits();
        let rising = status.cc1if().bit().then(|| self.0.ccr1().read().bits());
        let falling = status.cc2if().bit().then(|| self.0.ccr2().read().bits());
        let age = |edge: Option<u32>| edge.map(|counter| now.wrapping_sub(counter));
        let mut captured = [(rising, true), (falling, false)];
        if age(falling) > age(rising) {
            captured.reverse();
        }
        for overrun in [status.cc1of().bit(), status.cc2of().bit()] {
            if overrun {
                course.edges.miss();
            }
        }
        // Flags of overruns are cleared by writing zero; those of captures by reading the captured value.
        self.0
            .sr
            .modify(|_, w| w.cc1of().clear_bit().cc2of().clear_bit());
        for (counter, rising) in captured {
            if let Some(counter) = counter {
                course.edges.push(counter, rising);
            }
        }
    }

    fn begin(&mut self, _course: &mut Course) {
        let now = self.counter();
        self.set_edge(now.wrapping_add(Self::SHORTEST));
        self.0.sr.modify(|_, w| w.cc3if().clear_bit());
        self.set_mode(TOGGLE);
        self.0.dier.modify(|_, w| w.cc3ie().set_bit());
    }
}

#[interrupt]
fn TIM2() {
    SHARED.with(|registers, course| {
        registers.take_edges(course);
        let status = registers.0.sr.read();
        if status.cc3if().bit() && registers.0.dier.read().cc3ie().bit() {
            registers.edge_is_out(course);
        }
    });
}

/// The timer as both halves of a timing probe.
pub type Timing = board_runtime::timing::Timing<Registers>;

pub(crate) fn start(
    timer: TIM2,
    clock: rec::Tim2,
    _input: Pin<'A', 0, Alternate<1>>,
    _output: Pin<'B', 10, Alternate<1>>,
) -> Timing {
    let _clock = clock.enable().reset();
    timer.arr.write(|w| w.arr().bits(u32::MAX));
    // Both capture channels listen to input 1; channel 2 takes falling edges.
    timer.ccmr1_input().write(|w| w.cc1s().ti1().cc2s().ti1());
    timer.ccer.write(|w| {
        w.cc1e().set_bit();
        w.cc2e().set_bit().cc2p().set_bit();
        w.cc3e().set_bit()
    });
    timer.dier.write(|w| w.cc1ie().set_bit().cc2ie().set_bit());
    timer.cr1.write(|w| w.cen().set_bit());
    let mut registers = Registers(timer);
    registers.set_mode(STAY_LOW);
    let timing = SHARED.start(registers);
    // SAFETY: the handler is the one above, and what it shares lies behind a critical section.
    unsafe { NVIC::unmask(Interrupt::TIM2) };
    timing
}
