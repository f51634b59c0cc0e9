// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all Cortex-M boards share: logs and console over RTT, heap, a clock of milliseconds, and what a panic does.
#![no_std]

mod clock;
mod console;
mod heap;

use core::panic::PanicInfo;

pub use clock::Clock;
pub use console::Console;
pub use heap::give_heap;

/// Says why and starts the board anew.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    defmt::error!("panic: {}", defmt::Display2Format(info));
    cortex_m::peripheral::SCB::sys_reset()
}
