// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all Cortex-M boards share: logs and console over RTT, heap, a clock of milliseconds, what a panic does,
//! and the timing probe behind a board's timer.
#![no_std]

mod clock;
mod console;
mod heap;
pub mod timing;

use core::fmt::Display;
use core::panic::PanicInfo;

pub use clock::Clock;
pub use console::Console;
pub use heap::give_heap;

/// The build id of the image: the descriptor of its GNU note, which the linker puts behind `__build_id_note`.
pub fn build_id() -> &'static [u8] {
    unsafe extern "C" {
        static __build_id_note: u8;
    }
    // SAFETY: the linker script keeps the note there: a header of 12 bytes, the name `GNU\0`, 20 bytes of SHA-1.
    let note = unsafe { core::slice::from_raw_parts(&raw const __build_id_note, 36) };
    note.get(16..).unwrap_or_default()
}

/// Says why nothing can be done, and does nothing more: the bench reads the log and writes what is missing.
pub fn give_up(why: &dyn Display) -> ! {
    defmt::error!("cannot start: {}", defmt::Display2Format(why));
    loop {
        cortex_m::asm::wfi();
    }
}

/// Says why and starts the board anew.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    defmt::error!("panic: {}", defmt::Display2Format(info));
    cortex_m::peripheral::SCB::sys_reset()
}
