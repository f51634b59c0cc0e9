// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firmware on the emulated board: settings that survive power cuts, network, watchdog, timing.

mod network;
mod store;
mod timing;
