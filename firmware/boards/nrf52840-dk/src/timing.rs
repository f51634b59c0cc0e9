// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from TIMER0 at 16 MHz, GPIOTE and PPI: no instruction is between pin and timer.
//!
//! Input P0.03 (A0 of the Arduino header): each edge captures the timer. The pin's level tells which edge it was when the
//! interrupt reads it, so that edges closer than its latency (a few µs) are lost or told the wrong way around; an
//! edge that overtook the interrupt cannot be counted. Output P0.04 (A1): compare matches toggle it.

use board_runtime::timing::{Course, SharedTimer, Timer};
use cortex_m::peripheral::NVIC;
use nrf52840_hal::gpio::{Input, Output, Pin, PullDown, PushPull};
use nrf52840_hal::pac::{GPIOTE, Interrupt, P0, PPI, TIMER0, interrupt};

/// Counts of the timer in a second.
const HERTZ: u32 = 16_000_000;

/// Channels of the GPIOTE and of the PPI.
const IN: usize = 0;
const OUT: usize = 1;

/// Registers of the timer: captured edge, next edge of the output, the time now.
const CAPTURED: usize = 0;
const NEXT: usize = 1;
const NOW: usize = 2;

/// In GPIOTE's CONFIG: an event or a task, and on any edge or to toggle.
const EVENT: u32 = 1;
const TASK: u32 = 3;
const PIN: u32 = 8;
const TOGGLE: u32 = 3 << 16;

/// In the timer's INTEN: a match of register [`NEXT`].
const NEXT_MATCHED: u32 = 1 << (16 + NEXT);

/// Pin of the input in its port.
const INPUT: u32 = 3;
const OUTPUT: u32 = 4;

/// The timer and what connects it with the pins.
#[derive(Debug)]
pub struct Registers {
    timer: TIMER0,
    gpiote: GPIOTE,
    ppi: PPI,
}

static SHARED: SharedTimer<Registers> = SharedTimer::new();

impl Registers {
    fn start(&self) {
        let timer = &self.timer;
        timer.mode.write(|w| w.mode().timer());
        timer.bitmode.write(|w| w.bitmode()._32bit());
        // SAFETY: 16 MHz divided by 2^0.
        timer.prescaler.write(|w| unsafe { w.prescaler().bits(0) });
        // SAFETY: the fields are those of the product specification, the pin is the input's.
        self.gpiote.config[IN].write(|w| unsafe { w.bits(EVENT | INPUT << PIN | TOGGLE) });
        // SAFETY: as above, with the output's pin.
        self.gpiote.config[OUT].write(|w| unsafe { w.bits(TASK | OUTPUT << PIN | TOGGLE) });
        let event = self.gpiote.events_in[IN].as_ptr() as u32;
        let capture = timer.tasks_capture[CAPTURED].as_ptr() as u32;
        self.connect(IN, event, capture);
        let matched = timer.events_compare[NEXT].as_ptr() as u32;
        let toggle = self.gpiote.tasks_out[OUT].as_ptr() as u32;
        self.connect(OUT, matched, toggle);
        // SAFETY: channel 0 carries edges to the timer; that of the output is opened when pulses begin.
        self.ppi.chenset.write(|w| unsafe { w.bits(1 << IN) });
        // SAFETY: bit 0 is the event of the input's channel.
        self.gpiote.intenset.write(|w| unsafe { w.bits(1 << IN) });
        // SAFETY: any value starts the timer.
        timer.tasks_start.write(|w| unsafe { w.bits(1) });
    }

    /// Makes an event start a task.
    fn connect(&self, channel: usize, event: u32, task: u32) {
        // SAFETY: the address of an event register.
        self.ppi.ch[channel].eep.write(|w| unsafe { w.bits(event) });
        // SAFETY: the address of a task register.
        self.ppi.ch[channel].tep.write(|w| unsafe { w.bits(task) });
    }

    fn set_next(&self, at: u32) {
        // SAFETY: all values are counts.
        self.timer.cc[NEXT].write(|w| unsafe { w.bits(at) });
    }

    fn edge_is_out(&mut self, course: &mut Course) {
        self.timer.events_compare[NEXT].reset();
        match course.train.edge() {
            Some(counts) => {
                let at = self.timer.cc[NEXT].read().bits().wrapping_add(counts);
                self.set_next(at);
            }
            None => {
                // SAFETY: the bit of the output's channel.
                self.ppi.chenclr.write(|w| unsafe { w.bits(1 << OUT) });
                // SAFETY: the bit of the match.
                self.timer
                    .intenclr
                    .write(|w| unsafe { w.bits(NEXT_MATCHED) });
            }
        }
    }
}

impl Timer for Registers {
    const HERTZ: u32 = HERTZ;

    /// 20 µs.
    const SHORTEST: u32 = HERTZ / 50_000;

    fn counter(&self) -> u32 {
        // SAFETY: any value makes the timer copy its count.
        self.timer.tasks_capture[NOW].write(|w| unsafe { w.bits(1) });
        self.timer.cc[NOW].read().bits()
    }

    fn take_edges(&mut self, course: &mut Course) {
        if self.gpiote.events_in[IN].read().bits() == 0 {
            return;
        }
        self.gpiote.events_in[IN].reset();
        let counter = self.timer.cc[CAPTURED].read().bits();
        // SAFETY: reading a port's levels changes nothing.
        let levels = unsafe { &*P0::ptr() }.in_.read().bits();
        course.edges.push(counter, levels & 1 << INPUT != 0);
    }

    fn begin(&mut self, _course: &mut Course) {
        self.timer.events_compare[NEXT].reset();
        self.set_next(self.counter().wrapping_add(Self::SHORTEST));
        // SAFETY: the bit of the output's channel.
        self.ppi.chenset.write(|w| unsafe { w.bits(1 << OUT) });
        // SAFETY: the bit of the match.
        self.timer
            .intenset
            .write(|w| unsafe { w.bits(NEXT_MATCHED) });
    }
}

#[interrupt]
fn GPIOTE() {
    SHARED.with(Timer::take_edges);
}

#[interrupt]
fn TIMER0() {
    SHARED.with(Registers::edge_is_out);
}

/// The timer as both halves of a timing probe.
pub type Timing = board_runtime::timing::Timing<Registers>;

pub(crate) fn start(
    timer: TIMER0,
    gpiote: GPIOTE,
    ppi: PPI,
    _input: Pin<Input<PullDown>>,
    _output: Pin<Output<PushPull>>,
) -> Timing {
    let registers = Registers { timer, gpiote, ppi };
    registers.start();
    let timing = SHARED.start(registers);
    for line in [Interrupt::GPIOTE, Interrupt::TIMER0] {
        // SAFETY: the handlers are those above, and what they share lies behind a critical section.
        unsafe { NVIC::unmask(line) };
    }
    timing
}
