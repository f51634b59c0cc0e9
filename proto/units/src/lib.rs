// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared vocabulary of the bench and the gateway: time stamps, OBIS codes, exact decimals, units and device ids.
//!
//! Sources: IEC 62056-61 (OBIS), IEC 62056-6-2 (units), DIN 43849 / DIN 43863-5 (device ids),
//! TR-03109-1 detail specifications §8 (binary server id).
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod decimal;
mod device_id;
mod obis;
mod time;
mod unit;

pub use decimal::Decimal;
pub use device_id::{DeviceId, DeviceIdError};
pub use obis::{Obis, ObisError};
pub use time::{Nanos, UtcNanos};
pub use unit::Unit;
