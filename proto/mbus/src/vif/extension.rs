// SPDX-License-Identifier: MIT OR Apache-2.0
//! Combinable extensions of a VIF (EN 13757-3 tables 15 to 18).

/// A combinable extension: says more about the value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Extension {
    /// The meter reports an error instead of a value (15 no data, 16 overflow, 17 underflow, 18 data error).
    RecordError(u8),
    /// Average value.
    Average,
    /// Inverse compact profile.
    InverseCompactProfile,
    /// Relative deviation.
    RelativeDeviation,
    /// Standard-conform data.
    StandardConform,
    /// Compact profile; with its register values or without.
    CompactProfile {
        /// Whether register values are included.
        with_register: bool,
    },
    /// Per unit of time, volume, … (codes 20 to 38).
    Per(u8),
    /// Start date or time of.
    StartOf,
    /// Uncorrected unit.
    Uncorrected,
    /// Accumulates only positive contributions: forward.
    Forward,
    /// Accumulates only negative contributions: backward.
    Backward,
    /// Non-metric unit.
    NonMetric,
    /// At base conditions.
    BaseConditions,
    /// OBIS declaration.
    ObisDeclaration,
    /// Limits, their exceeding, durations and dates of it (codes 40 to 6F).
    Limit(u8),
    /// Times this power of ten.
    PowerOfTen(i8),
    /// Plus this power of ten, in the unit of the value; told, not added to the value.
    AddPowerOfTen(i8),
    /// Second table, its entrance 7C left out: 01-03 phase L1-L3, 04 neutral, 05-07 L1-L2, L2-L3,
    /// L3-L1, 08-0B quadrant Q1-Q4, 0C import minus export, 10 accumulation of absolute values, 11
    /// data type C, 12 data type D, 14 to the meter, 15 from the meter.
    Second(u8),
    /// The entrance 7C to the second table.
    SecondTable,
    /// Future value.
    FutureValue,
    /// All further extensions are the manufacturer's.
    Manufacturer,
    /// Any other code; 00 to 11 mean an [`Action`] to a meter and a [`RecordFault`] from one.
    Other(u8),
}

impl Extension {
    pub(super) fn of(code: u8, second_table: bool) -> Self {
        if second_table {
            return Self::Second(code);
        }
        match code {
            0x12 => Self::Average,
            0x13 => Self::InverseCompactProfile,
            0x14 => Self::RelativeDeviation,
            0x15..=0x1c => Self::RecordError(code),
            0x1d => Self::StandardConform,
            0x1e => Self::CompactProfile {
                with_register: true,
            },
            0x1f => Self::CompactProfile {
                with_register: false,
            },
            0x20..=0x38 => Self::Per(code),
            0x39 => Self::StartOf,
            0x3a => Self::Uncorrected,
            0x3b => Self::Forward,
            0x3c => Self::Backward,
            0x3d => Self::NonMetric,
            0x3e => Self::BaseConditions,
            0x3f => Self::ObisDeclaration,
            0x40..=0x6f => Self::Limit(code),
            0x70..=0x77 => Self::PowerOfTen(code as i8 - 0x76),
            0x78..=0x7b => Self::AddPowerOfTen(code as i8 - 0x7b),
            0x7c => Self::SecondTable,
            0x7d => Self::PowerOfTen(3),
            0x7e => Self::FutureValue,
            0x7f => Self::Manufacturer,
            _ => Self::Other(code),
        }
    }

    /// Whether the value is a date although the VIF says otherwise.
    pub(super) fn makes_date(self) -> bool {
        matches!(
            self,
            Self::StartOf
                | Self::Limit(0x42 | 0x43 | 0x46 | 0x47 | 0x4a | 0x4b | 0x4e | 0x4f)
                | Self::Limit(0x6a | 0x6b | 0x6e | 0x6f)
        )
    }

    /// What the code asks of a meter, in a request.
    pub const fn action(self) -> Option<Action> {
        Some(match self {
            Self::Other(0x00) => Action::Write,
            Self::Other(0x01) => Action::Add,
            Self::Other(0x02) => Action::Subtract,
            Self::Other(0x03) => Action::Or,
            Self::Other(0x04) => Action::And,
            Self::Other(0x05) => Action::Xor,
            Self::Other(0x06) => Action::AndNot,
            Self::Other(0x07) => Action::Clear,
            Self::Other(0x08) => Action::AddEntry,
            Self::Other(0x09) => Action::DeleteEntry,
            Self::Other(0x0a) => Action::Delayed,
            Self::Other(0x0b) => Action::Freeze,
            Self::Other(0x0c) => Action::AddToReadout,
            Self::Other(0x0d) => Action::DeleteFromReadout,
            _ => return None,
        })
    }

    /// What the meter found wrong with the record, in a response.
    pub const fn fault(self) -> Option<RecordFault> {
        Some(match self {
            Self::Other(0x01) => RecordFault::TooManyDife,
            Self::Other(0x02) => RecordFault::Storage,
            Self::Other(0x03) => RecordFault::Subunit,
            Self::Other(0x04) => RecordFault::Tariff,
            Self::Other(0x05) => RecordFault::Function,
            Self::Other(0x06) => RecordFault::DataClass,
            Self::Other(0x07) => RecordFault::DataSize,
            Self::Other(0x0b) => RecordFault::TooManyVife,
            Self::Other(0x0c) => RecordFault::VifGroup,
            Self::Other(0x0d) => RecordFault::VifExponent,
            Self::Other(0x0e) => RecordFault::Mismatch,
            Self::Other(0x0f) => RecordFault::Action,
            Self::RecordError(0x15) => RecordFault::NoData,
            Self::RecordError(0x16) => RecordFault::Overflow,
            Self::RecordError(0x17) => RecordFault::Underflow,
            Self::RecordError(0x18) => RecordFault::Data,
            Self::RecordError(0x1c) => RecordFault::PrematureEnd,
            _ => return None,
        })
    }
}

/// What a record asks of a meter (table 17). Assumed from other implementations' tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs)] // The names are those of the table.
pub enum Action {
    Write,
    Add,
    Subtract,
    Or,
    And,
    Xor,
    AndNot,
    Clear,
    AddEntry,
    DeleteEntry,
    Delayed,
    Freeze,
    AddToReadout,
    DeleteFromReadout,
}

/// What a meter says is wrong with a record (table 18); the first twelve name what it does not
/// implement or has too much of. Assumed from other implementations' tables, except for the data errors.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs)] // The names are those of the table.
pub enum RecordFault {
    TooManyDife,
    Storage,
    Subunit,
    Tariff,
    Function,
    DataClass,
    DataSize,
    TooManyVife,
    VifGroup,
    VifExponent,
    Mismatch,
    Action,
    NoData,
    Overflow,
    Underflow,
    Data,
    PrematureEnd,
}
