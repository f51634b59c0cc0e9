// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timing probe on this board.
#![no_std]
#![no_main]

use board_runtime::timing::probe;
use cortex_m_rt::entry;
use nrf52840_dk::Board;

#[entry]
fn main() -> ! {
    let board = Board::start();
    probe(board.timing, board.console, board.clock)
}
