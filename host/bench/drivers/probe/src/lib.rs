// SPDX-License-Identifier: MIT OR Apache-2.0
//! Microcontroller boards behind debug probes: flashed, watched, dumped and let go through probe-rs.
//!
//! The bench's boards are real ones on a USB probe, or [`qemu`]'s emulated one behind the
//! [`virtual_probe`], a server that speaks the remote protocol of the Black Magic Probe. Both are
//! driven by the same [`Board`] through the same unmodified probe-rs; only the [`Selector`] differs.

mod board;
mod image;
mod logs;
mod part;
pub mod qemu;
mod selector;
mod state;
pub mod virtual_probe;

pub use board::{Board, Error, Flashing};
pub use image::{BuildId, Image, ImageError, Segment};
pub use logs::{LogDecoder, LogLine};
pub use part::{
    Bit, Chip, Identity, MPS2_AN385, Memory, NRF52840_DK, NUCLEO_H743ZI, PARTS, Part, Partition,
};
pub use selector::{Attached, Selector, SelectorError, attached};
pub use state::{BoardState, StateDir};
