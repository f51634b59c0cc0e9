// SPDX-License-Identifier: MIT OR Apache-2.0
//! From reset to the application: logs, heap, and what happens on a panic.

use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use embedded_alloc::LlffHeap;
use rtt_target::{ChannelMode, rtt_init, set_defmt_channel};

/// Bytes for the application's buffers.
const HEAP_BYTES: usize = 512 * 1024;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// Brings up logs (defmt on RTT channel 0, which drops what nobody reads) and the heap. Called once, first.
pub(crate) fn start() {
    let channels = rtt_init! {
        up: { 0: { size: 8192, mode: ChannelMode::NoBlockSkip, name: "defmt" } }
    };
    set_defmt_channel(channels.up.0);
    static mut MEMORY: [MaybeUninit<u8>; HEAP_BYTES] = [MaybeUninit::uninit(); HEAP_BYTES];
    // SAFETY: the memory is named here only, and `rtt_init` panics when this function is called a second time.
    unsafe { HEAP.init(&raw mut MEMORY as usize, HEAP_BYTES) }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    defmt::error!("panic: {}", defmt::Display2Format(info));
    cortex_m::peripheral::SCB::sys_reset()
}
