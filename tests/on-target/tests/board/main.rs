// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firmware on the emulated board: settings that survive power cuts or are missing, network, watchdog, timing.

mod network;
mod settings;
mod store;
mod timing;
