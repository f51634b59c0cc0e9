// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bench proves its debug probe with: counts, logs at every level, and answers through a cell in memory.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::entry;
use mps2_an385::Board;

/// Core cycles between two rounds.
const PAUSE: u32 = 20_000;

/// Counts rounds, for a probe that watches.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static SELFTEST_ROUNDS: AtomicU32 = AtomicU32::new(0);

/// What a probe writes here is logged, and cleared.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static SELFTEST_INPUT: AtomicU32 = AtomicU32::new(0);

// Time stamps that a test can foretell: rounds.
defmt::timestamp!("{=u32}", SELFTEST_ROUNDS.load(Ordering::Relaxed));

#[entry]
fn main() -> ! {
    Board::start();
    defmt::println!("selftest started");
    defmt::debug!("debug {=u8:#x}", 0xd);
    defmt::info!("info {=str}", "one");
    defmt::warn!("warn {=i32}", -2);
    defmt::error!("error {}", (3u8, [4u16, 5]));
    loop {
        selftest_round();
        cortex_m::asm::delay(PAUSE);
    }
}

/// One round, by a name that a breakpoint can be set on.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn selftest_round() {
    SELFTEST_ROUNDS.fetch_add(1, Ordering::Relaxed);
    match SELFTEST_INPUT.swap(0, Ordering::Relaxed) {
        0 => {}
        input => defmt::info!("input {=u32}", input),
    }
}
