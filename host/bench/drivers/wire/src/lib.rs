// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network between emulated boards: Ethernet frames in datagrams, switched, tapped and impaired in user space.
//!
//! An emulated board's network card is a Unix datagram socket that carries one Ethernet frame (IEEE 802.3, without
//! preamble and check sequence) in each datagram; QEMU calls it `-netdev dgram`. [`Wire`] plays the switch between
//! such sockets: it needs no privilege, unlike a bridge or netem, and everything that passes can be recorded and
//! spoiled. [`Switch`] is its logic alone, driven by the caller's time.

mod impairment;
mod switch;
mod wire;

pub use impairment::{Chance, Impairments, NotAChance};
pub use switch::{Counters, FRAME_LIMIT, Forwarded, PortId, Switch};
pub use wire::{FrameTap, NoTap, Plug, Wire, WireError};
