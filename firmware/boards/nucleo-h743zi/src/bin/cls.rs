// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controllable local system on this board: the relay is at PF12.
#![no_std]
#![no_main]

use board_runtime::give_up;
use cortex_m_rt::entry;
use nucleo_h743zi::Board;
use nucleo_h743zi::flash::SETTINGS_SLOTS;

#[entry]
fn main() -> ! {
    let board = Board::start();
    let clock = board.clock;
    let parts = cls_app::Board {
        relay: board.relay,
        button: board.button,
        meter: board.pulses,
        watchdog: board.watchdog,
        address: board.ethernet.address(),
        build_id: board_runtime::build_id(),
    };
    let now = clock.milliseconds();
    let (ethernet, flash) = (board.ethernet, board.settings);
    match cls_app::start(parts, ethernet, flash, SETTINGS_SLOTS, board.random, now) {
        Ok(mut app) => clock.run(|now| _ = app.poll(now)),
        Err(error) => give_up(&error),
    }
}
