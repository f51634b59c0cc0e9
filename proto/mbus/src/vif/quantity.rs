// SPDX-License-Identifier: MIT OR Apache-2.0
//! What values measure and in which unit, as the tables of EN 13757-3 §6.4 name them.

use smgw_units::Unit;

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
    CoefficientOfPerformance "coefficient of performance",
    RatingFactor "rating factor of a heat cost allocator",
    SelectedApplication "selected application",
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
    /// The number counts 4096ths.
    Part4096,
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
