// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controllable local system on this board: LED 0 is its relay.
#![no_std]
#![no_main]

use board_runtime::give_up;
use cls_app::{App, load};
use cortex_m_rt::entry;
use mps2_an385::Board;
use mps2_an385::flash::SETTINGS_SLOTS;

#[entry]
fn main() -> ! {
    let board = Board::start();
    let settings = match load(board.settings, SETTINGS_SLOTS) {
        Ok(settings) => settings,
        Err(error) => give_up(&error),
    };
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
    let mut app = match App::new(parts, ethernet, settings, board.random, now) {
        Ok(app) => app,
        Err(error) => give_up(&error),
    };
    loop {
        app.poll(clock.milliseconds());
        clock.wait();
    }
}
