// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meter profiles: what a meter is, shows and does wrong, in one TOML file, checked before anything is played.

mod error;
mod file;
mod law;
mod resolve;
mod span;
mod unit;

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use smgw_mbus::Device as MbusAddress;
use smgw_peers::meters::{Format, LineConfig};
use smgw_units::{DeviceId, Obis, UtcNanos};

pub use error::{Problem, ProfileError};
pub use law::Law;
pub use span::{Instant, Span};
pub use unit::NamedUnit;

use crate::sim::FaultRule;

/// The format this build reads.
pub const SCHEMA: &str = "smgw-bench.meter/1";

/// What a meter speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// SML, pushed.
    SmlPush,
    /// SML, asked over the line as it is: no HDLC, no TLS.
    SmlPull,
    /// The wired LMN: SML, asked over HDLC; several meters may share the line. Without the TLS of a real LMN.
    HdlcLmn,
    /// Wired M-Bus, polled; several devices may share the line.
    Mbus,
    /// IEC 62056-21, asked; the identification tells mode A, B or C.
    D0,
    /// IEC 62056-21 mode D, pushed.
    D0Push,
    /// DSMR P1, pushed.
    P1,
    /// Wireless M-Bus as a receiver stick (iM871A) hands it over, pushed.
    Wmbus,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SmlPush,
        Self::SmlPull,
        Self::HdlcLmn,
        Self::Mbus,
        Self::D0,
        Self::D0Push,
        Self::P1,
        Self::Wmbus,
    ];

    /// As written in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SmlPush => "sml-push",
            Self::SmlPull => "sml-pull",
            Self::HdlcLmn => "hdlc-lmn",
            Self::Mbus => "mbus",
            Self::D0 => "d0",
            Self::D0Push => "d0-push",
            Self::P1 => "p1",
            Self::Wmbus => "wmbus",
        }
    }

    /// The line it usually has.
    pub const fn line(self) -> LineConfig {
        match self {
            Self::SmlPush | Self::SmlPull => LineConfig::SML,
            Self::HdlcLmn => LineConfig {
                baud: 921_600,
                format: Format::N81,
            },
            Self::Mbus => LineConfig::MBUS,
            Self::D0 => LineConfig {
                baud: 300,
                format: Format::E71,
            },
            Self::D0Push => LineConfig {
                baud: 2_400,
                format: Format::E71,
            },
            Self::P1 => LineConfig {
                baud: 115_200,
                format: Format::N81,
            },
            Self::Wmbus => LineConfig {
                baud: 57_600,
                format: Format::N81,
            },
        }
    }

    /// Whether several meters may share its line.
    pub const fn shares_its_line(self) -> bool {
        matches!(self, Self::Mbus | Self::HdlcLmn)
    }

    /// Whether it speaks without being asked.
    pub const fn pushes(self) -> bool {
        matches!(self, Self::SmlPush | Self::D0Push | Self::P1 | Self::Wmbus)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How telegrams are laid out where meters differ.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Layout {
    /// Checksums of SML files and messages.
    pub crc: Checksum,
    /// Form of times in SML.
    pub time: TimeForm,
    /// How a gateway finds meters on the wired LMN.
    pub discovery: Discovery,
}

/// Checksums of SML.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// CRC-16/X-25, as specified.
    #[default]
    X25,
    /// CRC-16/KERMIT, as some Holley firmware does.
    Kermit,
}

/// How a gateway finds meters on the wired LMN.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Discovery {
    /// It tries all addresses: the scheme of DIN VDE V 0418-63-7 is not public.
    #[default]
    None,
    /// By time slots, as an experimental bridge of 2019 does.
    Slots,
}

/// Times in SML.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum TimeForm {
    /// Seconds since the meter was made, as most meters do.
    #[default]
    SecIndex,
    /// The same as a bare number, as some Holley firmware does.
    Bare,
    /// Seconds of UTC.
    Timestamp,
    /// None.
    Absent,
}

/// A checked profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name: that of the file.
    pub name: String,
    /// A sentence for listings.
    pub summary: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its line.
    pub line: LineConfig,
    /// Time between two pushes.
    pub interval: Duration,
    /// How long before its telegram a value was sensed.
    pub latency: Duration,
    /// Time from a request to its answer.
    pub delay: Duration,
    /// Its clock.
    pub clock: MeterClock,
    /// How telegrams look.
    pub layout: Layout,
    /// The devices; never empty.
    pub devices: Vec<Device>,
    /// What goes wrong.
    pub faults: Vec<FaultRule>,
}

/// The clock of a meter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MeterClock {
    /// What it shows at the beginning; the true time when none.
    pub start: Option<UtcNanos>,
    /// Parts per million it runs fast; above -1000000.
    pub drift_ppm: i32,
    /// When it is set: nanoseconds since the beginning, and by how many.
    pub steps: Vec<(u64, i64)>,
}

/// One device.
#[derive(Clone, Debug)]
pub struct Device {
    /// How it names itself.
    pub identity: Identity,
    /// Status byte.
    pub status: u8,
    /// What it shows; never empty.
    pub registers: Vec<Register>,
}

/// How a device names itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Identity {
    /// SML: server id and manufacturer.
    Sml {
        /// Server id.
        server_id: Vec<u8>,
        /// Manufacturer, three letters.
        manufacturer: String,
    },
    /// Wired LMN: station on the line and device id.
    Lmn {
        /// Station, 2 to 126; 0 when the meter takes one by chance at its discovery.
        station: u8,
        /// Device id.
        device: DeviceId,
    },
    /// M-Bus: primary and secondary address.
    Mbus {
        /// Primary address.
        address: u8,
        /// Secondary address.
        device: MbusAddress,
    },
    /// Wireless M-Bus: address and key.
    Wmbus {
        /// Address.
        device: MbusAddress,
        /// Key of OMS profile B (mode 7); none for no protection.
        key: Option<[u8; 16]>,
    },
    /// D0 and P1: the identification line behind its slash.
    Text {
        /// The line.
        identification: String,
    },
}

/// One register.
#[derive(Clone, Debug)]
pub struct Register {
    /// Its code.
    pub obis: Option<Obis>,
    /// What it shows.
    pub shows: Shows,
    /// Unit of a number.
    pub unit: NamedUnit,
    /// Power of ten of the last digit, in the unit with its prefix.
    pub scaler: i8,
    /// Status word.
    pub status: Option<u64>,
    /// Bytes of a number.
    pub bytes: Option<u8>,
    /// Digits of a number.
    pub digits: Option<u8>,
    /// M-Bus value information block.
    pub vib: Vec<u8>,
    /// M-Bus storage number.
    pub storage: u64,
    /// M-Bus tariff.
    pub tariff: u32,
    /// Telegram that carries it.
    pub telegram: usize,
}

/// What a register shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shows {
    /// A number.
    Number {
        /// Over time.
        law: Law,
        /// Counts from 0 again at this.
        roll_over: Option<u64>,
    },
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Date and time of the meter.
    Clock,
}

impl Profile {
    /// Reads a profile and everything it names.
    ///
    /// # Errors
    /// [`ProfileError`] with every mistake of the file, each with its place and remedy.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ProfileError::unreadable(path, &error))?;
        Self::parse(path, &text)
    }

    /// The profile of a file with that text.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProfileError> {
        resolve::resolve(path, text).map_err(|problems| ProfileError::new(path, text, problems))
    }
}

/// The JSON Schema of a profile, ending with a newline.
pub fn json_schema() -> String {
    let generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<file::File>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
