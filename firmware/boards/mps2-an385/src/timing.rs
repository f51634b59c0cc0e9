// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from the CMSDK dual timer: one half runs freely, the other makes pulses.
//!
//! The emulated board has no pins. Its pulses are wired to its capture: an edge is stamped when the interrupt that makes it
//! reads the free-running counter, and LED 2 shows it.

use core::cell::RefCell;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embedded_hal::digital::OutputPin;
use timing_probe::{Capture, Edge, EdgeQueue, PulseOutput, PulseTrain, Refusal};

use crate::CORE_HERTZ;
use crate::pins::Led;
use crate::registers::Registers;

/// Offset of the second timer from the first.
const SECOND: usize = 0x20;

const LOAD: usize = 0x00;
const VALUE: usize = 0x04;
const CONTROL: usize = 0x08;
const CLEAR: usize = 0x0C;

/// In CONTROL: all 32 bits count.
const WIDE: u32 = 1 << 1;
const ENABLED: u32 = 1 << 7;
const INTERRUPTS: u32 = 1 << 5;
/// In CONTROL: stop at zero.
const ONCE: u32 = 1;

/// Shortest level of a pulse, 10 µs: an interrupt must fit.
const SHORTEST: u32 = CORE_HERTZ / 100_000;

/// The dual timer's line to the interrupt controller.
#[derive(Clone, Copy)]
struct DualTimer;

// SAFETY: 10 is the line of the dual timer in the AN385 image.
unsafe impl InterruptNumber for DualTimer {
    fn number(self) -> u16 {
        10
    }
}

/// What the interrupt works with.
struct Shared {
    timer: Registers,
    led: Led,
    level: bool,
    train: PulseTrain,
    edges: EdgeQueue<64>,
}

static SHARED: Mutex<RefCell<Option<Shared>>> = Mutex::new(RefCell::new(None));

fn with<R>(work: impl FnOnce(&mut Shared) -> R) -> Option<R> {
    critical_section::with(|section| SHARED.borrow_ref_mut(section).as_mut().map(work))
}

impl Shared {
    fn counter(&self) -> u32 {
        // It counts down.
        !self.timer.read(VALUE)
    }

    /// Makes an edge, stamps it, and sets the timer for the next.
    fn edge(&mut self) {
        self.level = !self.level;
        let Ok(()) = self.led.set_state(self.level.into());
        let counter = self.counter();
        self.edges.push(counter, self.level);
        if let Some(counts) = self.train.edge() {
            self.timer.write(SECOND + CONTROL, 0);
            self.timer.write(SECOND + LOAD, counts);
            self.timer
                .write(SECOND + CONTROL, ENABLED | INTERRUPTS | WIDE | ONCE);
        }
    }
}

#[exception]
unsafe fn DefaultHandler(line: i16) {
    if line == 10 {
        with(|shared| {
            shared.timer.write(SECOND + CLEAR, 1);
            shared.edge();
        });
    }
}

/// The dual timer as both halves of a timing probe.
#[derive(Clone, Copy, Debug)]
pub struct Timing(());

impl Timing {
    pub(crate) fn start(timer: Registers, led: Led) -> Self {
        timer.write(LOAD, u32::MAX);
        timer.write(CONTROL, ENABLED | WIDE);
        critical_section::with(|section| {
            SHARED.replace(
                section,
                Some(Shared {
                    timer,
                    led,
                    level: false,
                    train: PulseTrain::idle(),
                    edges: EdgeQueue::new(),
                }),
            )
        });
        // SAFETY: the handler is the one above, and what it shares lies behind a critical section.
        unsafe { NVIC::unmask(DualTimer) };
        Self(())
    }
}

impl Capture for Timing {
    const HERTZ: u32 = CORE_HERTZ;

    fn counter(&mut self) -> u32 {
        with(|shared| shared.counter()).unwrap_or_default()
    }

    fn next_edge(&mut self) -> Option<Edge> {
        with(|shared| shared.edges.pop()).flatten()
    }
}

impl PulseOutput for Timing {
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal> {
        let begun = with(|shared| {
            shared.train.begin(count, period, SHORTEST)?;
            shared.edge();
            Ok(())
        });
        begun.unwrap_or(Err(Refusal::Busy))
    }
}
