// SPDX-License-Identifier: MIT OR Apache-2.0
//! Value information: what a value measures, in which unit, times which power of ten
//! (EN 13757-3 tables 10 to 15).

use smgw_units::Unit;

use crate::value::Latin1;

macro_rules! quantities {
    ($($variant:ident $text:literal,)*) => {
        /// What a value measures or tells.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Quantity {
            $(#[doc = concat!("\"", $text, "\".")] $variant,)*
        }

        impl Quantity {
            /// Its English name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

quantities! {
    Energy "energy",
    Volume "volume",
    Mass "mass",
    OnTime "on time",
    OperatingTime "operating time",
    Power "power",
    VolumeFlow "volume flow",
    MassFlow "mass flow",
    FlowTemperature "flow temperature",
    ReturnTemperature "return temperature",
    TemperatureDifference "temperature difference",
    ExternalTemperature "external temperature",
    Pressure "pressure",
    Date "date",
    DateTime "date and time",
    HeatCostAllocation "heat cost allocation",
    AveragingDuration "averaging duration",
    ActualityDuration "actuality duration",
    FabricationNumber "fabrication number",
    EnhancedIdentification "enhanced identification",
    BusAddress "bus address",
    Text "quantity named by text",
    AnyQuantity "any quantity",
    Manufacturer "manufacturer specific",
    Reserved "reserved",
    Credit "credit",
    Debit "debit",
    AccessNumber "access number",
    DeviceType "device type",
    ManufacturerCode "manufacturer",
    ParameterSet "parameter set",
    ModelVersion "model or version",
    HardwareVersion "hardware version",
    FirmwareVersion "firmware version",
    SoftwareVersion "software version",
    CustomerLocation "customer location",
    Customer "customer",
    AccessCode "access code",
    Password "password",
    ErrorFlags "error flags",
    ErrorMask "error mask",
    SecurityKey "security key",
    DigitalOutput "digital output",
    DigitalInput "digital input",
    BaudRate "baud rate",
    ResponseDelay "response delay",
    Retry "retry",
    RemoteControl "remote control",
    FirstStorage "first cyclic storage number",
    LastStorage "last cyclic storage number",
    StorageBlockSize "size of storage block",
    TariffDescriptor "descriptor of tariff and subunit",
    StorageInterval "storage interval",
    OperatorSpecific "operator specific",
    TimePointSecond "second of the time point",
    DurationSinceReadout "duration since readout",
    TariffStart "start of tariff",
    TariffDuration "duration of tariff",
    TariffPeriod "period of tariff",
    Dimensionless "dimensionless",
    RadioContainer "wireless container",
    TransmissionPeriod "period of nominal transmissions",
    Voltage "voltage",
    Current "current",
    ResetCounter "reset counter",
    CumulationCounter "cumulation counter",
    ControlSignal "control signal",
    DayOfWeek "day of week",
    WeekNumber "week number",
    TimeOfDayChange "time point of day change",
    ParameterActivation "state of parameter activation",
    SupplierInformation "special supplier information",
    DurationSinceCumulation "duration since cumulation",
    BatteryOperatingTime "operating time of battery",
    BatteryChange "date of battery change",
    RadioLevel "radio level",
    DaylightSaving "daylight saving rule",
    ListeningWindow "listening window",
    RemainingBatteryTime "remaining battery time",
    StopCount "stops of the meter",
    ManufacturerContainer "manufacturer's container",
    ReactiveEnergy "reactive energy",
    ApparentEnergy "apparent energy",
    ReactivePower "reactive power",
    ApparentPower "apparent power",
    RelativeHumidity "relative humidity",
    PhaseVoltageAngle "phase between voltages",
    PhaseCurrentAngle "phase between voltage and current",
    Frequency "frequency",
    TemperatureLimit "cold or warm temperature limit",
    CumulatedMaximumPower "cumulated maximum power",
}

/// Unit of a value, before its power of ten.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // The names are the units.
pub enum Measure {
    None,
    WattHour,
    Joule,
    Calorie,
    VarHour,
    VoltAmpereHour,
    CubicMetre,
    CubicFoot,
    Gallon,
    Gram,
    Watt,
    JoulePerHour,
    Var,
    VoltAmpere,
    CubicMetrePerHour,
    CubicMetrePerMinute,
    CubicMetrePerSecond,
    GallonPerMinute,
    GallonPerHour,
    GramPerHour,
    Celsius,
    Fahrenheit,
    Kelvin,
    Bar,
    Volt,
    Ampere,
    Hertz,
    Degree,
    Percent,
    Currency,
    HeatCostUnit,
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
    BitTime,
    Baud,
    DecibelMilliwatt,
}

impl Measure {
    /// The DLMS unit (IEC 62056-6-2) that means the same, if there is one, and the power of ten
    /// between the two: `1 self = 10^power unit`.
    pub const fn dlms(self) -> Option<(Unit, i8)> {
        let (code, power) = match self {
            Self::None => (255, 0),
            Self::WattHour => (30, 0),
            Self::Joule => (25, 0),
            Self::VarHour => (32, 0),
            Self::VoltAmpereHour => (31, 0),
            Self::CubicMetre => (13, 0),
            Self::Gram => (20, -3),
            Self::Watt => (27, 0),
            Self::JoulePerHour => (26, 0),
            Self::Var => (29, 0),
            Self::VoltAmpere => (28, 0),
            Self::CubicMetrePerHour => (15, 0),
            Self::Celsius => (9, 0),
            Self::Bar => (24, 0),
            Self::Volt => (35, 0),
            Self::Ampere => (33, 0),
            Self::Hertz => (44, 0),
            Self::Degree => (8, 0),
            Self::Percent => (56, 0),
            Self::Second => (7, 0),
            Self::Minute => (6, 0),
            Self::Hour => (5, 0),
            Self::Day => (4, 0),
            Self::Month => (2, 0),
            Self::Year => (1, 0),
            _ => return None,
        };
        Some((Unit(code), power))
    }
}

/// In which order a meter sent a text and the extensions of its VIF.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextOrder {
    /// Text right behind the VIF: what meters in the field do.
    TextFirst,
    /// Extensions first: the wording of newer editions.
    ExtensionsFirst,
}

/// Value information block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vib<'a> {
    /// The VIF itself.
    pub vif: u8,
    /// Its VIFE as sent.
    pub extensions: &'a [u8],
    /// Text that names quantity or unit, with the order it was found in.
    pub text: Option<(Latin1<'a>, TextOrder)>,
    /// What is measured.
    pub quantity: Quantity,
    /// In which unit.
    pub measure: Measure,
    /// Power of ten, correcting extensions included.
    pub exponent: i8,
}

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
    /// Plus this power of ten, in the unit of the value.
    AddPowerOfTen(i8),
    /// Second table: phase, quadrant and such.
    Second(u8),
    /// Future value.
    FutureValue,
    /// All further extensions are the manufacturer's.
    Manufacturer,
    /// Any other code.
    Other(u8),
}

impl Extension {
    fn of(code: u8, second_table: bool) -> Self {
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
            0x7d => Self::PowerOfTen(3),
            0x7e => Self::FutureValue,
            0x7f => Self::Manufacturer,
            _ => Self::Other(code),
        }
    }

    /// Whether the value is a date although the VIF says otherwise.
    fn makes_date(self) -> bool {
        matches!(
            self,
            Self::StartOf
                | Self::Limit(0x42 | 0x43 | 0x46 | 0x47 | 0x4a | 0x4b | 0x4e | 0x4f)
                | Self::Limit(0x6a | 0x6b | 0x6e | 0x6f)
        )
    }
}

impl<'a> Vib<'a> {
    /// The meaning of a VIF and its extensions.
    pub(crate) fn of(vif: u8, extensions: &'a [u8], text: Option<(Latin1<'a>, TextOrder)>) -> Self {
        let first = extensions.first().map(|code| code & 0x7f);
        let (quantity, measure, exponent) = match (vif, first) {
            (0xfb, Some(code)) => first_extension(code),
            (0xfd, Some(code)) => second_extension(code),
            _ => primary(vif & 0x7f),
        };
        let mut vib = Self {
            vif,
            extensions,
            text,
            quantity,
            measure,
            exponent,
        };
        let correction: i32 = vib
            .combinable()
            .map(|extension| match extension {
                Extension::PowerOfTen(power) => i32::from(power),
                _ => 0,
            })
            .sum();
        vib.exponent = i8::try_from(i32::from(exponent) + correction).unwrap_or(exponent);
        vib
    }

    /// The combinable extensions in order, up to where a manufacturer's own begin.
    pub fn combinable(&self) -> impl Iterator<Item = Extension> + use<'a> {
        // With FB and FD the first extension is the code itself; behind FF all are the manufacturer's.
        let skip = match self.vif {
            0xfb | 0xfd => 1,
            0x7f | 0xff => self.extensions.len(),
            _ => 0,
        };
        let mut second_table = false;
        let mut over = false;
        self.extensions.iter().skip(skip).map_while(move |code| {
            if over {
                return None;
            }
            let code = code & 0x7f;
            let extension = Extension::of(code, second_table);
            second_table = code == 0x7c && !second_table;
            over = extension == Extension::Manufacturer;
            Some(extension)
        })
    }

    /// Whether values of this block are dates or times.
    pub(crate) fn is_date(&self) -> bool {
        matches!(
            self.quantity,
            Quantity::Date | Quantity::DateTime | Quantity::TariffStart | Quantity::BatteryChange
        ) || self.combinable().any(Extension::makes_date)
    }
}

type Meaning = (Quantity, Measure, i8);

/// Time units by two bits.
fn duration(code: u8) -> Measure {
    match code & 3 {
        0 => Measure::Second,
        1 => Measure::Minute,
        2 => Measure::Hour,
        _ => Measure::Day,
    }
}

/// Primary VIF (table 10).
fn primary(code: u8) -> Meaning {
    let n = (code & 7) as i8;
    let nn = (code & 3) as i8;
    match code {
        0x00..=0x07 => (Quantity::Energy, Measure::WattHour, n - 3),
        0x08..=0x0f => (Quantity::Energy, Measure::Joule, n),
        0x10..=0x17 => (Quantity::Volume, Measure::CubicMetre, n - 6),
        0x18..=0x1f => (Quantity::Mass, Measure::Gram, n),
        0x20..=0x23 => (Quantity::OnTime, duration(code), 0),
        0x24..=0x27 => (Quantity::OperatingTime, duration(code), 0),
        0x28..=0x2f => (Quantity::Power, Measure::Watt, n - 3),
        0x30..=0x37 => (Quantity::Power, Measure::JoulePerHour, n),
        0x38..=0x3f => (Quantity::VolumeFlow, Measure::CubicMetrePerHour, n - 6),
        0x40..=0x47 => (Quantity::VolumeFlow, Measure::CubicMetrePerMinute, n - 7),
        0x48..=0x4f => (Quantity::VolumeFlow, Measure::CubicMetrePerSecond, n - 9),
        0x50..=0x57 => (Quantity::MassFlow, Measure::GramPerHour, n),
        0x58..=0x5b => (Quantity::FlowTemperature, Measure::Celsius, nn - 3),
        0x5c..=0x5f => (Quantity::ReturnTemperature, Measure::Celsius, nn - 3),
        0x60..=0x63 => (Quantity::TemperatureDifference, Measure::Kelvin, nn - 3),
        0x64..=0x67 => (Quantity::ExternalTemperature, Measure::Celsius, nn - 3),
        0x68..=0x6b => (Quantity::Pressure, Measure::Bar, nn - 3),
        0x6c => (Quantity::Date, Measure::None, 0),
        0x6d => (Quantity::DateTime, Measure::None, 0),
        0x6e => (Quantity::HeatCostAllocation, Measure::HeatCostUnit, 0),
        0x70..=0x73 => (Quantity::AveragingDuration, duration(code), 0),
        0x74..=0x77 => (Quantity::ActualityDuration, duration(code), 0),
        0x78 => (Quantity::FabricationNumber, Measure::None, 0),
        0x79 => (Quantity::EnhancedIdentification, Measure::None, 0),
        0x7a => (Quantity::BusAddress, Measure::None, 0),
        0x7c => (Quantity::Text, Measure::None, 0),
        0x7e => (Quantity::AnyQuantity, Measure::None, 0),
        0x7f => (Quantity::Manufacturer, Measure::None, 0),
        _ => (Quantity::Reserved, Measure::None, 0),
    }
}

/// First extension FB (table 14). Entries from memory of the standard, unseen in captures: 02-05,
/// 0C-0F, 14-17, 2A-2F, 34-37.
fn first_extension(code: u8) -> Meaning {
    let n = (code & 1) as i8;
    let nn = (code & 3) as i8;
    match code {
        0x00..=0x01 => (Quantity::Energy, Measure::WattHour, n + 5),
        0x02..=0x03 => (Quantity::ReactiveEnergy, Measure::VarHour, n + 3),
        0x04..=0x05 => (Quantity::ApparentEnergy, Measure::VoltAmpereHour, n + 3),
        0x08..=0x09 => (Quantity::Energy, Measure::Joule, n + 8),
        0x0c..=0x0f => (Quantity::Energy, Measure::Calorie, nn + 5),
        0x10..=0x11 => (Quantity::Volume, Measure::CubicMetre, n + 2),
        0x14..=0x17 => (Quantity::ReactivePower, Measure::Var, nn),
        0x18..=0x19 => (Quantity::Mass, Measure::Gram, n + 8),
        0x1a..=0x1b => (Quantity::RelativeHumidity, Measure::Percent, n - 1),
        0x20 => (Quantity::Volume, Measure::CubicFoot, 0),
        0x21 => (Quantity::Volume, Measure::CubicFoot, -1),
        0x22 => (Quantity::Volume, Measure::Gallon, -1),
        0x23 => (Quantity::Volume, Measure::Gallon, 0),
        0x24 => (Quantity::VolumeFlow, Measure::GallonPerMinute, -3),
        0x25 => (Quantity::VolumeFlow, Measure::GallonPerMinute, 0),
        0x26 => (Quantity::VolumeFlow, Measure::GallonPerHour, 0),
        0x28..=0x29 => (Quantity::Power, Measure::Watt, n + 5),
        0x2a => (Quantity::PhaseVoltageAngle, Measure::Degree, -1),
        0x2b => (Quantity::PhaseCurrentAngle, Measure::Degree, -1),
        0x2c..=0x2f => (Quantity::Frequency, Measure::Hertz, nn - 3),
        0x30..=0x31 => (Quantity::Power, Measure::JoulePerHour, n + 8),
        0x34..=0x37 => (Quantity::ApparentPower, Measure::VoltAmpere, nn),
        0x58..=0x5b => (Quantity::FlowTemperature, Measure::Fahrenheit, nn - 3),
        0x5c..=0x5f => (Quantity::ReturnTemperature, Measure::Fahrenheit, nn - 3),
        0x60..=0x63 => (Quantity::TemperatureDifference, Measure::Fahrenheit, nn - 3),
        0x64..=0x67 => (Quantity::ExternalTemperature, Measure::Fahrenheit, nn - 3),
        0x70..=0x73 => (Quantity::TemperatureLimit, Measure::Fahrenheit, nn - 3),
        0x74..=0x77 => (Quantity::TemperatureLimit, Measure::Celsius, nn - 3),
        0x78..=0x7f => (
            Quantity::CumulatedMaximumPower,
            Measure::Watt,
            (code & 7) as i8 - 3,
        ),
        _ => (Quantity::Reserved, Measure::None, 0),
    }
}

/// Second extension FD (table 12).
fn second_extension(code: u8) -> Meaning {
    let nn = (code & 3) as i8;
    let nnnn = (code & 15) as i8;
    let plain = |quantity| (quantity, Measure::None, 0);
    match code {
        0x00..=0x03 => (Quantity::Credit, Measure::Currency, nn - 3),
        0x04..=0x07 => (Quantity::Debit, Measure::Currency, nn - 3),
        0x08 => plain(Quantity::AccessNumber),
        0x09 => plain(Quantity::DeviceType),
        0x0a => plain(Quantity::ManufacturerCode),
        0x0b => plain(Quantity::ParameterSet),
        0x0c => plain(Quantity::ModelVersion),
        0x0d => plain(Quantity::HardwareVersion),
        0x0e => plain(Quantity::FirmwareVersion),
        0x0f => plain(Quantity::SoftwareVersion),
        0x10 => plain(Quantity::CustomerLocation),
        0x11 => plain(Quantity::Customer),
        0x12..=0x15 => plain(Quantity::AccessCode),
        0x16 => plain(Quantity::Password),
        0x17 => plain(Quantity::ErrorFlags),
        0x18 => plain(Quantity::ErrorMask),
        0x19 => plain(Quantity::SecurityKey),
        0x1a => plain(Quantity::DigitalOutput),
        0x1b => plain(Quantity::DigitalInput),
        0x1c => (Quantity::BaudRate, Measure::Baud, 0),
        0x1d => (Quantity::ResponseDelay, Measure::BitTime, 0),
        0x1e => plain(Quantity::Retry),
        0x1f => plain(Quantity::RemoteControl),
        0x20 => plain(Quantity::FirstStorage),
        0x21 => plain(Quantity::LastStorage),
        0x22 => plain(Quantity::StorageBlockSize),
        0x23 => plain(Quantity::TariffDescriptor),
        0x24..=0x27 => (Quantity::StorageInterval, duration(code), 0),
        0x28 => (Quantity::StorageInterval, Measure::Month, 0),
        0x29 => (Quantity::StorageInterval, Measure::Year, 0),
        0x2a => plain(Quantity::OperatorSpecific),
        0x2b => (Quantity::TimePointSecond, Measure::Second, 0),
        0x2c..=0x2f => (Quantity::DurationSinceReadout, duration(code), 0),
        0x30 => plain(Quantity::TariffStart),
        0x31..=0x33 => (Quantity::TariffDuration, duration(code), 0),
        0x34..=0x37 => (Quantity::TariffPeriod, duration(code), 0),
        0x38 => (Quantity::TariffPeriod, Measure::Month, 0),
        0x39 => (Quantity::TariffPeriod, Measure::Year, 0),
        0x3a => plain(Quantity::Dimensionless),
        0x3b => plain(Quantity::RadioContainer),
        0x3c..=0x3f => (Quantity::TransmissionPeriod, duration(code), 0),
        0x40..=0x4f => (Quantity::Voltage, Measure::Volt, nnnn - 9),
        0x50..=0x5f => (Quantity::Current, Measure::Ampere, nnnn - 12),
        0x60 => plain(Quantity::ResetCounter),
        0x61 => plain(Quantity::CumulationCounter),
        0x62 => plain(Quantity::ControlSignal),
        0x63 => plain(Quantity::DayOfWeek),
        0x64 => plain(Quantity::WeekNumber),
        0x65 => plain(Quantity::TimeOfDayChange),
        0x66 => plain(Quantity::ParameterActivation),
        0x67 => plain(Quantity::SupplierInformation),
        0x68..=0x6b => (Quantity::DurationSinceCumulation, long_duration(code), 0),
        0x6c..=0x6f => (Quantity::BatteryOperatingTime, long_duration(code), 0),
        0x70 => plain(Quantity::BatteryChange),
        0x71 => (Quantity::RadioLevel, Measure::DecibelMilliwatt, 0),
        0x72 => plain(Quantity::DaylightSaving),
        0x73 => plain(Quantity::ListeningWindow),
        0x74 => (Quantity::RemainingBatteryTime, Measure::Day, 0),
        0x75 => plain(Quantity::StopCount),
        0x76 => plain(Quantity::ManufacturerContainer),
        _ => plain(Quantity::Reserved),
    }
}

/// Hours, days, months, years by two bits.
fn long_duration(code: u8) -> Measure {
    match code & 3 {
        0 => Measure::Hour,
        1 => Measure::Day,
        2 => Measure::Month,
        _ => Measure::Year,
    }
}
