// SPDX-License-Identifier: MIT OR Apache-2.0
//! A profile as it is written: the sections of the file, before anything is checked against anything else.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::span::{Instant, Span};
use super::{Layout, Protocol};

/// A meter, or all meters of one line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Meter profile")]
pub(super) struct File {
    /// `smgw-bench.meter/1`
    #[schemars(with = "String", extend("const" = super::SCHEMA))]
    pub(super) schema: Spanned<String>,
    pub(super) meter: MeterSection,
    #[serde(default)]
    #[schemars(with = "LineSection")]
    pub(super) line: Option<Spanned<LineSection>>,
    #[serde(default)]
    pub(super) clock: ClockSection,
    #[serde(default)]
    pub(super) layout: Layout,
    /// The devices on the line: one, or on a bus several.
    #[schemars(with = "Vec<DeviceSection>")]
    pub(super) device: Vec<Spanned<DeviceSection>>,
    /// What goes wrong from the beginning.
    #[serde(default)]
    #[schemars(with = "Vec<FaultSection>")]
    pub(super) fault: Vec<Spanned<FaultSection>>,
}

/// What it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MeterSection {
    /// A sentence for listings.
    pub(super) summary: String,
    /// What it speaks.
    pub(super) protocol: Protocol,
    /// Mode of IEC 62056-21 (D0): `A`, `B`, `C` or `D`; what the identification tells when not given.
    #[schemars(with = "Option<ModeLetter>")]
    pub(super) mode: Option<Spanned<ModeLetter>>,
    /// Time between two telegrams of a pushing meter; 1s when not given.
    #[schemars(with = "Option<Span>")]
    pub(super) interval: Option<Spanned<Span>>,
    /// How long before its telegram a value was sensed; 0s when not given.
    #[schemars(with = "Option<Span>")]
    pub(super) latency: Option<Spanned<Span>>,
    /// Time from the last bit of a request to the first bit of the answer; 20ms when not given.
    #[schemars(with = "Option<Span>")]
    pub(super) delay: Option<Spanned<Span>>,
}

/// A mode of IEC 62056-21.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub(super) enum ModeLetter {
    /// Request, answer, one speed.
    A,
    /// As A, but the meter changes the speed by itself.
    B,
    /// The reader chooses the speed.
    C,
    /// The meter sends unasked.
    D,
}

/// Its line; what is usual for the protocol when not given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LineSection {
    /// Bits per second.
    pub(super) baud: Option<u32>,
    /// `8N1`, `8E1` or `7E1`.
    pub(super) format: Option<String>,
}

/// Its clock.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ClockSection {
    /// What it shows at the beginning; the true time when not given.
    pub(super) start: Option<Instant>,
    /// Parts per million it runs fast (or slow, when negative).
    #[serde(default)]
    pub(super) drift_ppm: i32,
    /// When it is set, and by how much.
    #[serde(default)]
    pub(super) step: Vec<StepSection>,
}

/// The clock is set.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StepSection {
    /// Time since the beginning.
    pub(super) at: Span,
    /// By how much, e.g. -1h.
    pub(super) by: Span,
}

/// One device on the line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DeviceSection {
    /// Device id of 14 characters, e.g. 1smb0000000001.
    pub(super) id: Option<String>,
    /// Server id in hex where it does not follow from the device id (older SML meters).
    pub(super) server_id: Option<String>,
    /// Identification line behind the slash (D0, P1).
    pub(super) identification: Option<String>,
    /// Address: primary (M-Bus, 1 to 250) or of the station (wired LMN, 2 to 126).
    pub(super) address: Option<u8>,
    /// Identification number of 8 digits (M-Bus).
    pub(super) number: Option<String>,
    /// Manufacturer, three letters (M-Bus).
    pub(super) manufacturer: Option<String>,
    /// Version (M-Bus).
    #[serde(default)]
    pub(super) version: u8,
    /// Device type of EN 13757-7, e.g. 4 for heat (M-Bus).
    pub(super) medium: Option<u8>,
    /// Status byte of its telegrams (M-Bus).
    #[serde(default)]
    pub(super) status: u8,
    /// Key, 32 hex digits (wireless M-Bus).
    pub(super) key: Option<String>,
    /// What it shows.
    #[schemars(with = "Vec<RegisterSection>")]
    pub(super) register: Vec<Spanned<RegisterSection>>,
}

/// One register.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegisterSection {
    /// OBIS code; not needed for M-Bus records without one.
    pub(super) obis: Option<String>,
    /// Unit, e.g. Wh, kWh, W, V, m3, degC; none when not given.
    pub(super) unit: Option<String>,
    /// Power of ten of the last digit, in the unit.
    #[serde(default)]
    pub(super) scaler: i8,
    /// What it shows over time, in last digits.
    pub(super) law: Option<LawSection>,
    /// Text instead of a number.
    pub(super) text: Option<String>,
    /// Bytes in hex instead of a number.
    pub(super) hex: Option<String>,
    /// The meter's own date and time instead of a number.
    #[serde(default)]
    pub(super) clock: bool,
    /// Counts from 0 again when this many digits are reached.
    pub(super) roll_over: Option<u64>,
    /// Status word (SML).
    pub(super) status: Option<u64>,
    /// Bytes the number is sent in; 8 (SML) or 4 (M-Bus) when not given.
    pub(super) bytes: Option<u8>,
    /// Decimal digits: BCD (M-Bus), digits before the point (D0, P1).
    pub(super) digits: Option<u8>,
    /// Value information block in hex where it does not follow from the unit (M-Bus).
    pub(super) vib: Option<String>,
    /// Storage number (M-Bus).
    #[serde(default)]
    pub(super) storage: u64,
    /// Tariff (M-Bus).
    #[serde(default)]
    pub(super) tariff: u32,
    /// Telegram that carries it, from 0 (M-Bus meters with several).
    #[serde(default)]
    pub(super) telegram: usize,
}

/// What a register shows: exactly one of `constant`, `step`, `curve` and `curve-file`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LawSection {
    /// Always this.
    pub(super) constant: Option<i64>,
    /// Value at the beginning.
    #[serde(default)]
    pub(super) start: i64,
    /// What each `every` adds; negative counts down.
    pub(super) step: Option<i64>,
    /// How often; how long a slot of the curve lasts.
    pub(super) every: Option<Span>,
    /// A table, one entry per slot, repeated.
    pub(super) curve: Option<Vec<i64>>,
    /// A file with one entry per line; the last column counts. Relative to the profile.
    pub(super) curve_file: Option<PathBuf>,
    /// The curve is shown as it is (a power) instead of added up (a register).
    #[serde(default)]
    pub(super) level: bool,
    /// The curve begins at midnight UTC instead of with the meter.
    #[serde(default)]
    pub(super) daily: bool,
}

/// Something that goes wrong.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FaultSection {
    /// Name, e.g. bad-checksum; `smgw-bench meter sim --list-faults` prints all.
    pub(super) name: String,
    /// How much, for faults that have a measure, e.g. 9.1s.
    pub(super) value: Option<String>,
    /// Every n-th telegram.
    pub(super) every: Option<u64>,
    /// Once, at the first telegram after this time.
    pub(super) at: Option<Span>,
    /// With this probability, 0 to 1.
    pub(super) probability: Option<f64>,
}
