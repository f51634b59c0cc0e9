// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from the CMSDK dual timer: one half runs freely, the other makes pulses.
//!
//! The emulated board has no pins. Its pulses are wired to its capture: an edge is stamped when the interrupt that makes it
//! reads the free-running counter, and LED 2 shows it.

use board_runtime::timing::{Course, SharedTimer, Timer};
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;
use embedded_hal::digital::OutputPin;

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

/// The dual timer's line to the interrupt controller.
#[derive(Clone, Copy)]
struct Line;

// SAFETY: 10 is the line of the dual timer in the AN385 image.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        10
    }
}

/// The dual timer and the LED that shows the pulses.
pub struct DualTimer {
    registers: Registers,
    led: Led,
    level: bool,
}

static SHARED: SharedTimer<DualTimer> = SharedTimer::new();

impl DualTimer {
    /// Makes an edge, stamps it, and sets the timer for the next.
    fn edge(&mut self, course: &mut Course) {
        self.level = !self.level;
        let Ok(()) = self.led.set_state(self.level.into());
        let counter = self.counter();
        course.edges.push(counter, self.level);
        if let Some(counts) = course.train.edge() {
            self.registers.write(SECOND + CONTROL, 0);
            self.registers.write(SECOND + LOAD, counts);
            self.registers
                .write(SECOND + CONTROL, ENABLED | INTERRUPTS | WIDE | ONCE);
        }
    }
}

impl Timer for DualTimer {
    const HERTZ: u32 = CORE_HERTZ;

    /// 10 µs.
    const SHORTEST: u32 = CORE_HERTZ / 100_000;

    fn counter(&self) -> u32 {
        // It counts down.
        !self.registers.read(VALUE)
    }

    /// Edges are stamped where they are made.
    fn take_edges(&mut self, _course: &mut Course) {}

    fn begin(&mut self, course: &mut Course) {
        self.edge(course);
    }
}

#[exception]
unsafe fn DefaultHandler(line: i16) {
    if line == 10 {
        SHARED.with(|timer, course| {
            timer.registers.write(SECOND + CLEAR, 1);
            timer.edge(course);
        });
    }
}

/// The dual timer as both halves of a timing probe.
pub type Timing = board_runtime::timing::Timing<DualTimer>;

pub(crate) fn start(registers: Registers, led: Led) -> Timing {
    registers.write(LOAD, u32::MAX);
    registers.write(CONTROL, ENABLED | WIDE);
    let timing = SHARED.start(DualTimer {
        registers,
        led,
        level: false,
    });
    // SAFETY: the handler is the one above, and what it shares lies behind a critical section.
    unsafe { NVIC::unmask(Line) };
    timing
}
