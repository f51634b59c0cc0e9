// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges and pulses for the timing probe, from TIMER0 at 16 MHz, GPIOTE and PPI: no instruction is between pin and timer.
//!
//! Input P0.03 (A0 of the Arduino header): each edge captures the timer. The pin's level tells which edge it was when the
//! interrupt reads it, so that edges closer than its latency (a few µs) are lost or told the wrong way around; an
//! edge that overtook the interrupt cannot be counted. Output P0.04 (A1): compare matches toggle it.

use core::cell::RefCell;

use cortex_m::peripheral::NVIC;
use critical_section::Mutex;
use nrf52840_hal::gpio::{Input, Output, Pin, PullDown, PushPull};
use nrf52840_hal::pac::{GPIOTE, Interrupt, P0, PPI, TIMER0, interrupt};
use timing_probe::{Capture, Edge, EdgeQueue, PulseOutput, PulseTrain, Refusal};

/// Counts of the timer in a second.
const HERTZ: u32 = 16_000_000;

/// Shortest level of a pulse, 20 µs: an interrupt must fit.
const SHORTEST: u32 = HERTZ / 50_000;

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

struct Shared {
    timer: TIMER0,
    gpiote: GPIOTE,
    ppi: PPI,
    train: PulseTrain,
    edges: EdgeQueue<128>,
}

static SHARED: Mutex<RefCell<Option<Shared>>> = Mutex::new(RefCell::new(None));

fn with<R>(work: impl FnOnce(&mut Shared) -> R) -> Option<R> {
    critical_section::with(|section| SHARED.borrow_ref_mut(section).as_mut().map(work))
}

impl Shared {
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

    fn counter(&self) -> u32 {
        // SAFETY: any value makes the timer copy its count.
        self.timer.tasks_capture[NOW].write(|w| unsafe { w.bits(1) });
        self.timer.cc[NOW].read().bits()
    }

    fn set_next(&self, at: u32) {
        // SAFETY: all values are counts.
        self.timer.cc[NEXT].write(|w| unsafe { w.bits(at) });
    }

    fn take_edge(&mut self) {
        if self.gpiote.events_in[IN].read().bits() == 0 {
            return;
        }
        self.gpiote.events_in[IN].reset();
        let counter = self.timer.cc[CAPTURED].read().bits();
        // SAFETY: reading a port's levels changes nothing.
        let levels = unsafe { &*P0::ptr() }.in_.read().bits();
        self.edges.push(counter, levels & 1 << INPUT != 0);
    }

    fn edge_is_out(&mut self) {
        self.timer.events_compare[NEXT].reset();
        match self.train.edge() {
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

#[interrupt]
fn GPIOTE() {
    with(Shared::take_edge);
}

#[interrupt]
fn TIMER0() {
    with(Shared::edge_is_out);
}

/// The timer as both halves of a timing probe.
#[derive(Clone, Copy, Debug)]
pub struct Timing(());

impl Timing {
    pub(crate) fn start(
        timer: TIMER0,
        gpiote: GPIOTE,
        ppi: PPI,
        _input: Pin<Input<PullDown>>,
        _output: Pin<Output<PushPull>>,
    ) -> Self {
        let shared = Shared {
            timer,
            gpiote,
            ppi,
            train: PulseTrain::idle(),
            edges: EdgeQueue::new(),
        };
        shared.start();
        critical_section::with(|section| SHARED.replace(section, Some(shared)));
        for line in [Interrupt::GPIOTE, Interrupt::TIMER0] {
            // SAFETY: the handlers are those above, and what they share lies behind a critical section.
            unsafe { NVIC::unmask(line) };
        }
        Self(())
    }
}

impl Capture for Timing {
    const HERTZ: u32 = HERTZ;

    fn counter(&mut self) -> u32 {
        with(|shared| shared.counter()).unwrap_or_default()
    }

    fn next_edge(&mut self) -> Option<Edge> {
        with(|shared| {
            shared.take_edge();
            shared.edges.pop()
        })
        .flatten()
    }
}

impl PulseOutput for Timing {
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal> {
        let begun = with(|shared| {
            shared.train.begin(count, period, SHORTEST)?;
            shared.timer.events_compare[NEXT].reset();
            shared.set_next(shared.counter().wrapping_add(SHORTEST));
            // SAFETY: the bit of the output's channel.
            shared.ppi.chenset.write(|w| unsafe { w.bits(1 << OUT) });
            // SAFETY: the bit of the match.
            shared
                .timer
                .intenset
                .write(|w| unsafe { w.bits(NEXT_MATCHED) });
            Ok(())
        });
        begun.unwrap_or(Err(Refusal::Busy))
    }
}
