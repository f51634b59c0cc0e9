// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tariff use cases (TAF 1 to 14 of TR-03109-1): what is derived from the value lists and what is to be sent to whom.

use core::fmt;

use smgw_units::UtcNanos;

use crate::list::Entry;
use crate::profile::ProfileName;

/// A line of a derived list, or of a register that an evaluation keeps: `entry.obis` names register and tariff step,
/// `entry.target` the grid point, `entry.content` what the register says there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Derived {
    /// The evaluation profile that made it.
    pub profile: ProfileName,
    /// The line.
    pub entry: Entry,
}

impl Derived {
    /// Name of the list it belongs to, `<obis in hex>.<profile>.sm` (VDE 1.33).
    pub fn logical_name(&self) -> impl fmt::Display + '_ {
        struct Name<'a>(&'a Derived);
        impl fmt::Display for Name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}.sm", self.0.entry.obis.hex(), self.0.profile)
            }
        }
        Name(self)
    }
}

/// What is to be sent to one recipient; kept until he has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The evaluation profile that asks for it.
    pub profile: ProfileName,
    /// Who gets it.
    pub recipient: ProfileName,
    /// Not before.
    pub due: UtcNanos,
    /// The lines; those of original lists carry the meter's register, those of derived ones the tariff's.
    pub lines: Vec<Entry>,
    /// Whether ids of meter and gateway are to be hidden from the recipient.
    pub pseudonymous: bool,
}
