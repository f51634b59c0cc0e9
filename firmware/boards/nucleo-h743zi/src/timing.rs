// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from the 32-bit timer TIM2 at 200 MHz.
//!
//! Input PA0 (CN10 29, D32): channel 1 captures rising, channel 2 falling edges of the same pin in hardware. Output PB10
//! (CN10 32, D36): channel 3 toggles by compare match, so that its edges are exact to one count.

use core::cell::RefCell;

use cortex_m::peripheral::NVIC;
use critical_section::Mutex;
use stm32h7xx_hal::gpio::{Alternate, Pin};
use stm32h7xx_hal::pac::{Interrupt, TIM2, interrupt};
use stm32h7xx_hal::rcc::{ResetEnable, rec};
use timing_probe::{Capture, Edge, EdgeQueue, PulseOutput, PulseTrain, Refusal};

/// Counts of the timer in a second.
pub(crate) const HERTZ: u32 = 200_000_000;

/// Shortest level of a pulse, 10 µs: an interrupt must fit.
const SHORTEST: u32 = HERTZ / 100_000;

/// In CCMR2: toggle on a match, or stay low.
const TOGGLE: u8 = 0b011;
const STAY_LOW: u8 = 0b100;

struct Shared {
    timer: TIM2,
    train: PulseTrain,
    edges: EdgeQueue<128>,
}

static SHARED: Mutex<RefCell<Option<Shared>>> = Mutex::new(RefCell::new(None));

fn with<R>(work: impl FnOnce(&mut Shared) -> R) -> Option<R> {
    critical_section::with(|section| SHARED.borrow_ref_mut(section).as_mut().map(work))
}

impl Shared {
    /// Takes what the channels captured, in the order of time.
    fn take_edges(&mut self) {
        let status = self.timer.sr.read();
        let now = self.timer.cnt.read().bits();
        let rising = status
            .cc1if()
            .bit()
            .then(|| self.timer.ccr1().read().bits());
        let falling = status
            .cc2if()
            .bit()
            .then(|| self.timer.ccr2().read().bits());
        let age = |edge: Option<u32>| edge.map(|counter| now.wrapping_sub(counter));
        let mut captured = [(rising, true), (falling, false)];
        if age(falling) > age(rising) {
            captured.reverse();
        }
        for overrun in [status.cc1of().bit(), status.cc2of().bit()] {
            if overrun {
                self.edges.miss();
            }
        }
        // Flags of overruns are cleared by writing zero; those of captures by reading the captured value.
        self.timer
            .sr
            .modify(|_, w| w.cc1of().clear_bit().cc2of().clear_bit());
        for (counter, rising) in captured {
            if let Some(counter) = counter {
                self.edges.push(counter, rising);
            }
        }
    }

    /// Sets the output's next edge, or ends the train.
    fn edge_is_out(&mut self) {
        self.timer.sr.modify(|_, w| w.cc3if().clear_bit());
        match self.train.edge() {
            Some(counts) => {
                let at = self.timer.ccr3().read().bits().wrapping_add(counts);
                self.set_edge(at);
            }
            None => {
                self.timer.dier.modify(|_, w| w.cc3ie().clear_bit());
                self.set_mode(STAY_LOW);
            }
        }
    }

    fn set_edge(&mut self, at: u32) {
        self.timer.ccr3().write(|w| w.ccr().bits(at));
    }

    fn set_mode(&mut self, mode: u8) {
        // Both modes are those of the reference manual for OC3M.
        self.timer.ccmr2_output().modify(|_, w| w.oc3m().bits(mode));
    }
}

#[interrupt]
fn TIM2() {
    with(|shared| {
        shared.take_edges();
        let status = shared.timer.sr.read();
        if status.cc3if().bit() && shared.timer.dier.read().cc3ie().bit() {
            shared.edge_is_out();
        }
    });
}

/// The timer as both halves of a timing probe.
#[derive(Clone, Copy, Debug)]
pub struct Timing(());

impl Timing {
    pub(crate) fn start(
        timer: TIM2,
        clock: rec::Tim2,
        _input: Pin<'A', 0, Alternate<1>>,
        _output: Pin<'B', 10, Alternate<1>>,
    ) -> Self {
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
        critical_section::with(|section| {
            let mut shared = Shared {
                timer,
                train: PulseTrain::idle(),
                edges: EdgeQueue::new(),
            };
            shared.set_mode(STAY_LOW);
            SHARED.replace(section, Some(shared))
        });
        // SAFETY: the handler is the one above, and what it shares lies behind a critical section.
        unsafe { NVIC::unmask(Interrupt::TIM2) };
        Self(())
    }
}

impl Capture for Timing {
    const HERTZ: u32 = HERTZ;

    fn counter(&mut self) -> u32 {
        with(|shared| shared.timer.cnt.read().bits()).unwrap_or_default()
    }

    fn next_edge(&mut self) -> Option<Edge> {
        with(|shared| {
            shared.take_edges();
            shared.edges.pop()
        })
        .flatten()
    }
}

impl PulseOutput for Timing {
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal> {
        let begun = with(|shared| {
            shared.train.begin(count, period, SHORTEST)?;
            let now = shared.timer.cnt.read().bits();
            shared.set_edge(now.wrapping_add(SHORTEST));
            shared.timer.sr.modify(|_, w| w.cc3if().clear_bit());
            shared.set_mode(TOGGLE);
            shared.timer.dier.modify(|_, w| w.cc3ie().set_bit());
            Ok(())
        });
        begun.unwrap_or(Err(Refusal::Busy))
    }
}
