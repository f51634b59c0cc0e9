// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heap, for boards whose applications need one.

use core::mem::MaybeUninit;

use embedded_alloc::LlffHeap;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

/// Gives memory to the heap, which has none before. Called once: see `cortex_m::singleton`.
///
/// # Panics
///
/// When it is called a second time.
pub fn give_heap(memory: &'static mut [MaybeUninit<u8>]) {
    // SAFETY: the memory is nobody else's for ever; the heap panics when it is given memory twice.
    unsafe { HEAP.init(memory.as_mut_ptr() as usize, memory.len()) }
}
