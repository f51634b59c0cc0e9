// SPDX-License-Identifier: MIT OR Apache-2.0
//! A security module reached over a small authenticated and encrypted link: one side holds the module, the other sees it
//! as its own. For a gateway whose module stays with the bench (TR-03109-2 leaves open how the two are joined).
//!
//! The channel is Noise `NNpsk0` with a 32-byte secret made for each run, messages are CBOR, one request is on its way per
//! connection. There is no message that could carry a private key. `docs/module-link.md` holds threats and messages.

mod channel;
mod client;
mod desk;
pub mod message;
mod secret;
mod server;
mod stream;

pub use channel::{LinkError, MAX_MESSAGE};
pub use client::{LinkModule, Patience};
pub use desk::Desk;
pub use secret::Secret;
pub use server::{Served, serve, serve_stream};
pub use stream::Stream;
