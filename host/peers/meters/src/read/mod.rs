// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reader: finds out what a line speaks, and reads it.

mod ask;
mod decode;
mod detect;
mod gateway;
mod inquiry;
mod listen;
mod poll;
mod port;
mod pull;
mod table;

pub use decode::{Content, Reading, Telegram};
pub use detect::{Action, Counters, Detector, Options, Report};
pub use port::{PortError, port};
pub use table::{Row, Table};
