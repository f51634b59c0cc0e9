// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meter profiles: which registers of which meter are kept, how often, and from when to when
//! (LMN communication profile of TR-03109-1; catalogue rows MET-21, ADM-03).

use core::time::Duration;

use serde::{Deserialize, Serialize};
use smgw_units::{DeviceId, Obis};

use super::refusal::Refused;
use super::span::Seconds;
use super::validity::Validity;
use super::written::{text, texts};
use crate::grid::{Grid, Tolerance};

/// What is kept of one meter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "RawMeter", into = "RawMeter")]
pub struct MeterProfile {
    /// The meter.
    pub meter: DeviceId,
    /// Its registers, at least one, each once.
    pub registers: Vec<Obis>,
    /// Its registration period; `None` means the gateway's own.
    pub period: Option<Duration>,
    /// The grid points it covers.
    pub validity: Validity,
}

/// The profile as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMeter {
    #[serde(with = "text")]
    meter: DeviceId,
    #[serde(with = "texts")]
    registers: Vec<Obis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_period: Option<Seconds>,
    #[serde(default, skip_serializing_if = "Validity::is_unlimited")]
    validity: Validity,
}

impl TryFrom<RawMeter> for MeterProfile {
    type Error = Refused;

    fn try_from(raw: RawMeter) -> Result<Self, Refused> {
        let meter = raw.meter;
        let refuse = |what: String| Refused::new(format!("meter {meter}: {what}"));
        let registers = raw.registers;
        if registers.is_empty() || registers.len() > MOST_REGISTERS {
            return Err(refuse(format!("1 to {MOST_REGISTERS} registers are kept")));
        }
        let again = |(at, obis)| registers[..at].contains(obis);
        if let Some(obis) = registers.iter().enumerate().find(|pair| again(*pair)) {
            return Err(refuse(format!("register {} stands twice", obis.1)));
        }
        let period = raw.registration_period.map(|period| period.0);
        if let Some(period) = period {
            Grid::new(period, Tolerance::ONE_PERCENT).map_err(|error| refuse(error.to_string()))?;
        }
        Ok(Self {
            meter,
            registers,
            period,
            validity: raw.validity,
        })
    }
}

impl From<MeterProfile> for RawMeter {
    fn from(profile: MeterProfile) -> Self {
        Self {
            meter: profile.meter,
            registers: profile.registers,
            registration_period: profile.period.map(Seconds),
            validity: profile.validity,
        }
    }
}

/// Registers of one meter; a gateway of the guideline must take far fewer.
const MOST_REGISTERS: usize = 64;
