// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end in software, for peers of the gateway and for verification.
//!
//! Keys live in this process's memory and are wiped when dropped: it plays the partners of a gateway, never the
//! gateway's own module (TR-03109-2). It knows all five curves of TR-03116-3 table 4. Without feature `std` a device gives
//! it randomness of its own, see [`RandomSource`].
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod brainpool_p512r1;
mod module;
mod private_key;
mod random;

#[doc(no_inline)]
pub use elliptic_curve::rand_core;
pub use module::SoftModule;
pub use private_key::{PrivateKey, verify};
pub use random::RandomSource;
