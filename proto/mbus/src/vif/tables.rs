// SPDX-License-Identifier: MIT OR Apache-2.0
//! The code tables of EN 13757-3 §6.4 (tables 10, 12, 13 and 14), worked out at compile time.

use super::quantity::{Measure, Quantity};

/// One entry for each of the 128 codes.
macro_rules! table {
    ($meaning:ident) => {{
        let mut table = [plain(Quantity::Reserved); 128];
        let mut code = 0;
        // The index stays below the length of the array.
        #[allow(clippy::indexing_slicing)]
        while code < table.len() {
            table[code] = $meaning(code as u8);
            code += 1;
        }
        table
    }};
}

/// Quantity, unit, power of ten.
pub(super) type Meaning = (Quantity, Measure, i8);

/// The meaning of every primary code.
pub(super) static PRIMARY: [Meaning; 128] = table!(primary);
/// The meaning of every code behind FB.
pub(super) static FIRST: [Meaning; 128] = table!(first_extension);
/// The meaning of every code behind FD.
pub(super) static SECOND: [Meaning; 128] = table!(second_extension);

/// The codes behind FD FD (table 13), assumed.
pub(super) const fn second_level(code: u8) -> Meaning {
    match code {
        0x00 => plain(Quantity::SelectedApplication),
        0x02 => (Quantity::RemainingBatteryTime, Measure::Month, 0),
        0x03 => (Quantity::RemainingBatteryTime, Measure::Year, 0),
        _ => plain(Quantity::Reserved),
    }
}

const fn plain(quantity: Quantity) -> Meaning {
    (quantity, Measure::None, 0)
}

/// Time units by two bits.
pub(super) const fn duration(code: u8) -> Measure {
    match code & 3 {
        0 => Measure::Second,
        1 => Measure::Minute,
        2 => Measure::Hour,
        _ => Measure::Day,
    }
}

/// Primary VIF (table 10).
const fn primary(code: u8) -> Meaning {
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

/// First extension FB (table 14). Assumed, since no capture shows them: 02-06, 0C-0F, 14-17, 2A-2F,
/// 34-37, 68-6E; 22-26, 58-67 and 70-73 are of older editions.
const fn first_extension(code: u8) -> Meaning {
    let n = (code & 1) as i8;
    let nn = (code & 3) as i8;
    match code {
        0x00..=0x01 => (Quantity::Energy, Measure::WattHour, n + 5),
        0x02..=0x03 => (Quantity::ReactiveEnergy, Measure::VarHour, n + 3),
        0x04..=0x05 => (Quantity::ApparentEnergy, Measure::VoltAmpereHour, n + 3),
        0x06 => (Quantity::CoefficientOfPerformance, Measure::None, -1),
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
        // Fixed-point numbers: the first binary place stands after twelve bits.
        0x68 | 0x6a..=0x6e => (Quantity::RatingFactor, Measure::Part4096, 0),
        0x69 => (Quantity::RatingFactor, Measure::None, 0),
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

/// Second extension FD (table 12). Assumed, since no capture shows them: 19, 1F, 23, 2A, 2B, 71-73, 75, 76.
const fn second_extension(code: u8) -> Meaning {
    let nn = (code & 3) as i8;
    let nnnn = (code & 15) as i8;
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
const fn long_duration(code: u8) -> Measure {
    match code & 3 {
        0 => Measure::Hour,
        1 => Measure::Day,
        2 => Measure::Month,
        _ => Measure::Year,
    }
}
