// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference Smart Meter Gateway: meters on serial lines, value lists, a HAN server and the CLS
//! proxy, with its keys in a security module (BSI TR-03109-1). Its public face is `docs/gateway.md`.

pub mod active;
pub mod administration;
pub mod board;
pub mod client;
pub mod clock;
pub mod cls;
pub mod config;
pub mod defects;
pub mod evaluating;
pub mod export;
pub mod han;
pub mod journal;
pub mod keeping;
pub mod lmn;
pub mod local;
pub mod measuring;
pub mod metrics;
pub mod module;
pub mod retention;
pub mod stop;
pub mod store;
pub mod target;
pub mod time;
pub mod tls;

mod gateway;
mod hello;
mod listener;

pub use gateway::{Failure, Listening, run, run_with};
