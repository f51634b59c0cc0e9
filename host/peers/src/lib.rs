// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other side of every gateway interface: meters, EMT, CLS, HAN client.

pub mod meters;
pub mod net;
