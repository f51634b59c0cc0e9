// SPDX-License-Identifier: MIT OR Apache-2.0
//! Status word of FNN basic meters (BSI TR-03109-1 detail specifications v2.0, table 15.1), and what it
//! tells about the sign of a power.

use crate::{ListResponse, Value};

/// Status word of a basic meter with a server id as of DIN 43863-5 (it begins with 0A). Older meters
/// use another layout, of which only that it differs is known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MeterStatus(pub u64);

macro_rules! bits {
    ($($(#[$meta:meta])* $method:ident $name:ident = $bit:literal;)+) => {
        impl MeterStatus {
            $(#[doc = concat!("Bit ", $bit, ".")] pub const $name: u64 = 1 << $bit;)+

            /// Names and bits in order, for showing a status.
            pub const BITS: &'static [(&'static str, u64)] =
                &[$((stringify!($method), Self::$name)),+];

            $($(#[$meta])*
            pub const fn $method(self) -> bool {
                self.0 & Self::$name != 0
            })+
        }
    };
}

bits! {
    /// It is an electricity meter: set in every basic meter seen.
    basic_meter BASIC_METER = 2;
    /// Power is above the start-up threshold.
    power_present POWER_PRESENT = 8;
    /// A magnet acts on the meter.
    magnetic_influence MAGNETIC_INFLUENCE = 9;
    /// The meter was opened or tampered with.
    mechanical_tampering MECHANICAL_TAMPERING = 10;
    /// The sum of all phases flows to the grid, -A.
    export EXPORT = 11;
    /// Phase L1 flows to the grid.
    export_l1 EXPORT_L1 = 12;
    /// Phase L2 flows to the grid.
    export_l2 EXPORT_L2 = 13;
    /// Phase L3 flows to the grid.
    export_l3 EXPORT_L3 = 14;
    /// The phases rotate otherwise than L1-L2-L3.
    wrong_rotation WRONG_ROTATION = 15;
    /// The backstop is active.
    backstop BACKSTOP = 16;
    /// A fatal metrological error.
    fatal_error FATAL_ERROR = 17;
    /// Voltage is present on L1.
    voltage_l1 VOLTAGE_L1 = 18;
    /// Voltage is present on L2.
    voltage_l2 VOLTAGE_L2 = 19;
    /// Voltage is present on L3.
    voltage_l3 VOLTAGE_L3 = 20;
}

impl MeterStatus {
    /// The status word of a meter with this id, if it has this layout.
    pub fn of(server_id: &[u8], status: u64) -> Option<Self> {
        server_id.starts_with(&[0x0a]).then_some(Self(status))
    }
}

/// A power whose sign and status word contradict each other: consumption told as a negative number, as
/// some DZG meters do by sending 32768 to 65535 as a signed number of two bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrappedPower {
    /// The number as sent.
    pub sent: i16,
    /// What it should have been, if this is that error.
    pub meant: u16,
}

impl ListResponse<'_> {
    /// The status word of the meter: that of the first register which has one, if it has the layout of
    /// basic meters.
    pub fn meter_status(&self) -> Option<MeterStatus> {
        let status = self.entries.iter().find_map(|entry| entry.status)?;
        MeterStatus::of(self.server_id, status.value)
    }

    /// The power (1-0:16.7.0*255) when it is negative in two bytes while the status word says that energy
    /// flows to the consumer. It is a diagnosis: newer meters of the same maker send true negative
    /// numbers, and they set the status bit.
    pub fn wrapped_power(&self) -> Option<WrappedPower> {
        let power = self.entries.iter().find(|entry| entry.name == POWER)?;
        let Some(Value::Signed { value, width: 2 }) = power.value else {
            return None;
        };
        let sent = i16::try_from(value).ok().filter(|sent| *sent < 0)?;
        let status = self.meter_status()?;
        (status.basic_meter() && !status.export()).then_some(WrappedPower {
            sent,
            meant: sent.cast_unsigned(),
        })
    }
}

/// 1-0:16.7.0*255, active power over all phases.
pub(crate) const POWER: [u8; 6] = [1, 0, 16, 7, 0, 255];
