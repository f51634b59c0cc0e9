// SPDX-License-Identifier: MIT OR Apache-2.0
//! The set of profiles the bench has our gateway work by (`smgw.profiles/1`, docs/gateway.md): the meters of the rig, and
//! on each simulated one a time variable tariff whose step changes every few grid points.

use std::fmt::Write;
use std::time::Duration;

use bench_rig::Rig;
use smgw_units::{DeviceId, Obis, UtcNanos};

/// A TAF-2 evaluation the bench ordered, and what it must come to.
#[derive(Clone, Debug)]
pub struct OrderedTariff {
    /// Name of the evaluation.
    pub name: String,
    /// Its only meter.
    pub meter: DeviceId,
    /// Its only register.
    pub register: Obis,
    step_seconds: i64,
}

impl OrderedTariff {
    /// Registers of the two steps.
    pub const STEPS: [Obis; 2] = [Obis([1, 0, 1, 8, 1, 255]), Obis([1, 0, 1, 8, 2, 255])];
    /// Where energy goes that no step can be charged with.
    pub const ERROR: Obis = Obis([1, 0, 1, 8, 63, 255]);
    /// Everything.
    pub const TOTAL: Obis = Obis([1, 0, 1, 8, 0, 255]);

    /// Index of the step that holds from `instant` on: they take turns, beginning with the first at midnight UTC.
    pub fn step_at(&self, instant: UtcNanos) -> usize {
        let second_of_day = instant.seconds().rem_euclid(DAY);
        usize::from((second_of_day / self.step_seconds) % 2 == 1)
    }

    /// Whether a new step begins with `instant`.
    pub fn switches_at(&self, instant: UtcNanos) -> bool {
        let second_of_day = instant.seconds().rem_euclid(DAY);
        second_of_day % self.step_seconds == 0
    }
}

/// What the bench orders of the gateway.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// Its tariffs, one per simulated meter.
    pub tariffs: Vec<OrderedTariff>,
    meters: Vec<(DeviceId, Vec<Obis>)>,
    period: Duration,
}

impl Ordered {
    /// For the meters of a rig.
    pub fn of(rig: &Rig) -> Self {
        let period = rig.metering.registration_period.0;
        let seconds = i64::try_from(period.as_secs()).unwrap_or(DAY).max(1);
        // A day profile takes 3,000 switch times; two grid points a step are as many as a gap needs to matter or not.
        let points = (DAY / seconds / MOST_SWITCHES + 1).max(2);
        let meters: Vec<_> = rig
            .meters
            .values()
            .map(|meter| (meter.device_id, meter.registers.clone()))
            .collect();
        let tariffs = rig.meters.values().filter_map(|meter| {
            let register = *meter.registers.first()?;
            Some(OrderedTariff {
                name: format!("taf2.{}", meter.device_id),
                meter: meter.device_id,
                register,
                step_seconds: points * seconds,
            })
        });
        Self {
            tariffs: tariffs
                .filter(|tariff| tariff.register == OrderedTariff::TOTAL)
                .collect(),
            meters,
            period,
        }
    }

    /// The document; `active_from` when it is not to count at once, `more` to be appended.
    pub fn document(&self, active_from: Option<UtcNanos>, more: &str) -> String {
        let mut text = String::from("schema = \"smgw.profiles/1\"\n");
        if let Some(from) = active_from {
            let _ = writeln!(text, "active-from = \"{from}\"");
        }
        for (meter, registers) in &self.meters {
            let registers: Vec<_> = registers.iter().map(|obis| format!("\"{obis}\"")).collect();
            let _ = writeln!(
                text,
                "\n[[meter]]\nmeter = \"{meter}\"\nregisters = [{}]",
                registers.join(", ")
            );
        }
        for tariff in &self.tariffs {
            text.push_str(&self.evaluation(&tariff.name, tariff));
        }
        text + more
    }

    /// A TAF-2 evaluation of that name, like `tariff` in all else.
    pub fn evaluation(&self, name: &str, tariff: &OrderedTariff) -> String {
        let [first, second] = OrderedTariff::STEPS;
        let switches: Vec<_> = (0..DAY / tariff.step_seconds)
            .map(|turn| {
                let at = turn * tariff.step_seconds;
                let (hour, minute, second) = (at / 3600, at / 60 % 60, at % 60);
                format!("[\"{hour:02}:{minute:02}:{second:02}\", {}]", turn % 2 + 1)
            })
            .collect();
        format!(
            "\n[[evaluation]]\nname = \"{name}\"\nregistration-period = {}\nrehearsal = true\n\
             time-zone = \"UTC\"\ninput = [{{ meter = \"{}\", obis = \"{}\" }}]\n\
             [evaluation.use-case.taf-2]\nsteps = [\"{first}\", \"{second}\"]\ndefault-step = 1\n\
             [[evaluation.use-case.taf-2.day-profile]]\nname = \"day\"\nswitches = [{}]\n\
             [[evaluation.use-case.taf-2.week-profile]]\nname = \"week\"\n\
             days = [\"day\", \"day\", \"day\", \"day\", \"day\", \"day\", \"day\"]\n\
             [[evaluation.use-case.taf-2.season]]\nstart = \"01-01\"\nweek = \"week\"\n",
            self.period.as_secs(),
            tariff.meter,
            tariff.register,
            switches.join(", "),
        )
    }
}

const DAY: i64 = 86_400;
const MOST_SWITCHES: i64 = 2_900;
