// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replaces the settings for ever, one flash change at a time as the host allows it, so that the host can cut the power
//! between any two.
//!
//! The host reads and writes the cells below while the core runs. Value number N is N itself and bytes that follow from it.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::entry;
use mps2_an385::Board;
use mps2_an385::flash::{Gate, SETTINGS_SLOTS};
use smgw_flash_store::Store;

/// How many changes the host allows, since the start.
#[unsafe(no_mangle)]
#[used]
static SMGW_TORTURE_ALLOWED: AtomicU32 = AtomicU32::new(0);

/// How many changes are done, since the start.
#[unsafe(no_mangle)]
#[used]
static SMGW_TORTURE_DONE: AtomicU32 = AtomicU32::new(0);

/// What the start found: [`UNKNOWN`], [`BROKEN`], [`NOTHING`] or a value's number, from one.
#[unsafe(no_mangle)]
#[used]
static SMGW_TORTURE_FOUND: AtomicU32 = AtomicU32::new(UNKNOWN);

/// What memory holds before anything runs, so that a host that looks early is not misled.
const UNKNOWN: u32 = 0;
const BROKEN: u32 = u32::MAX - 1;
const NOTHING: u32 = u32::MAX;

/// Bytes of a value: more than a chunk of the store, and no multiple of anything.
const VALUE_BYTES: usize = 303;

/// Waits before each change until the host allows it.
struct Allowed {
    passed: u32,
}

impl Gate for Allowed {
    fn pass(&mut self) {
        // All changes before this one are done.
        SMGW_TORTURE_DONE.store(self.passed, Ordering::SeqCst);
        while SMGW_TORTURE_ALLOWED.load(Ordering::SeqCst) <= self.passed {
            cortex_m::asm::wfi();
        }
        self.passed += 1;
    }
}

/// Value number `number`.
fn value(number: u32) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    let mut state = number;
    for byte in &mut value {
        *byte = state as u8;
        state = state.rotate_right(8).wrapping_mul(0x9E37_79B1);
    }
    value[..4].copy_from_slice(&number.to_le_bytes());
    value
}

/// The number of the value in the buffer, when it is that value to the last byte.
fn number_of(found: &[u8]) -> u32 {
    let number = found.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    number
        .filter(|number| value(*number) == *found)
        .unwrap_or(BROKEN)
}

#[entry]
fn main() -> ! {
    let board = Board::start();
    let flash = board.settings.gated(Allowed { passed: 0 });
    let mut store = match Store::open(flash, SETTINGS_SLOTS) {
        Ok(store) => store,
        Err(_) => stop(),
    };
    let mut buffer = [0; 2 * VALUE_BYTES];
    let found = match store.read(&mut buffer) {
        Ok(Some(found)) => number_of(found),
        Ok(None) => NOTHING,
        Err(_) => BROKEN,
    };
    defmt::info!("found value {}", found);
    SMGW_TORTURE_FOUND.store(found, Ordering::SeqCst);
    let first = match found {
        BROKEN => stop(),
        NOTHING => 1,
        number => number + 1,
    };
    for number in first.. {
        if store.replace(&value(number)).is_err() {
            stop();
        }
        defmt::info!("wrote value {}", number);
    }
    stop()
}

/// The end: nothing here can fail but by a defect.
fn stop() -> ! {
    defmt::error!("the store failed");
    SMGW_TORTURE_FOUND.store(BROKEN, Ordering::SeqCst);
    loop {
        cortex_m::asm::wfi();
    }
}
