// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters played on pseudo terminals: SML push, M-Bus slave, SML in TLS in HDLC, and replay of captures.
//!
//! A [`Line`] is a serial line as seen from the meter: it releases bytes at the pace of a UART and
//! garbles them when the other end listens at another speed. A register follows an [`EnergyLaw`], so
//! that every value tells at which bench time it was sensed. What went onto the line, and when, is
//! told by [`FrameStamp`]s.
//!
//! Each meter runs in one thread, which ends within a second when the meter is dropped.

mod clock;
mod law;
mod line;
mod lmn;
mod mbus;
mod replay;
mod sml;
mod told;
mod worker;

pub use clock::{Clock, Grid};
pub use law::EnergyLaw;
pub use line::{Direction, Format, Line, LineConfig, Sent, Tap, garble};
pub use lmn::{LmnAnswer, LmnConfig, LmnFault, LmnMeter, LmnServer, LmnTls};
pub use mbus::{MbusConfig, MbusSlaveMeter};
pub use replay::{Recording, ReplayMeter};
pub use smgw_mbus::slave::Faults as MbusFaults;
pub use sml::{SmlConfig, SmlFault, SmlPushMeter};
pub use told::SmlToldMeter;
pub use worker::{FrameStamp, MeterError, Register};

#[cfg(test)]
mod tests;
