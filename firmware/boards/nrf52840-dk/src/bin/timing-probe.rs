// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timing probe; commands and replies go over the console.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use nrf52840_dk::Board;
use timing_probe::Probe;

/// Stamps that the probe keeps until the host has them.
const STAMPS: usize = 4096;

#[entry]
fn main() -> ! {
    let mut board = Board::start();
    let mut probe = Probe::<_, _, STAMPS>::new(board.timing, board.timing);
    defmt::info!("started");
    let mut bytes = [0; 64];
    loop {
        probe.poll();
        let length = board.console.read(&mut bytes);
        for byte in &bytes[..length] {
            probe.input(*byte, |line| board.console.write(line));
        }
        board.clock.wait();
    }
}
