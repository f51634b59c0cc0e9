// SPDX-License-Identifier: MIT OR Apache-2.0
//! Milliseconds since the start, counted by SysTick; its interrupt also wakes a core that waits.

use core::cell::Cell;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;

/// Its name is for who looks from outside: a clock that goes on shows that the board neither hangs nor starts anew.
#[unsafe(no_mangle)]
static SMGW_MILLISECONDS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// A clock that runs.
#[derive(Clone, Copy, Debug)]
pub struct Clock(());

impl Clock {
    /// Starts it on a core that runs at `hertz`.
    pub fn start(mut timer: SYST, hertz: u32) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(hertz / 1000 - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Self(())
    }

    /// Milliseconds since the start.
    pub fn milliseconds(self) -> u64 {
        critical_section::with(|section| SMGW_MILLISECONDS.borrow(section).get())
    }

    /// Does `step` again and again, at least once in a millisecond, each time with the time.
    pub fn run(self, mut step: impl FnMut(u64)) -> ! {
        loop {
            step(self.milliseconds());
            self.wait();
        }
    }

    /// Sleeps until something happens: the next millisecond at the latest.
    pub fn wait(self) {
        cortex_m::asm::wfi();
    }
}

#[exception]
fn SysTick() {
    critical_section::with(|section| {
        let milliseconds = SMGW_MILLISECONDS.borrow(section);
        milliseconds.set(milliseconds.get() + 1);
    });
}
