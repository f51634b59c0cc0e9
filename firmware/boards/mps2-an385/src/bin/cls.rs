// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controllable local system on this board: LED 0 is its relay.
#![no_std]
#![no_main]

use board_runtime::give_up;
use cortex_m_rt::entry;
use mps2_an385::Board;
use mps2_an385::flash::SETTINGS_SLOTS;

#[entry]
fn main() -> ! {
    let board = Board::start();
    let Ok(ethernet) = board.ethernet else {
        give_up(&"no Ethernet controller")
    };
    let clock = board.clock;
    let parts = cls_app::Board {
        relay: board.relay,
        button: board.button,
        meter: board.pulses,
        watchdog: board.watchdog,
        address: ethernet.address(),
        build_id: board_runtime::build_id(),
    };
    let now = clock.milliseconds();
    let flash = board.settings;
    match cls_app::start(parts, ethernet, flash, SETTINGS_SLOTS, board.random, now) {
        Ok(mut app) => clock.run(|now| _ = app.poll(now)),
        Err(error) => give_up(&error),
    }
}
