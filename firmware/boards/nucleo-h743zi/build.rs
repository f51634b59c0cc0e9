// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links with the memory map of the board.

fn main() {
    firmware_linking::link(include_str!("memory.x"));
}
