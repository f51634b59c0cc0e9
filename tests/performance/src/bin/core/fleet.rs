// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters with their value lists and evaluations, and the days they live through.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use smgw_core::profile::EvaluationProfile;
use smgw_core::taf::{Effect, Evaluation};
use smgw_core::{Content, Entry, Grid, Meter, Newest, Reading, Tolerance};
use smgw_units::{Decimal, DeviceId, Obis, Unit, UtcNanos};

/// The examples of profiles that are measured.
pub const PROFILES: [(u8, &str); 3] = [
    (
        1,
        include_str!("../../../../../fixtures/profiles/taf-01.toml"),
    ),
    (
        2,
        include_str!("../../../../../fixtures/profiles/taf-02.toml"),
    ),
    (
        7,
        include_str!("../../../../../fixtures/profiles/taf-14.toml"),
    ),
];

/// The new year of 2026 in legal time.
pub const NEW_YEAR: i64 = 1_767_222_000;
pub const PERIOD: i64 = 900;
pub const QUARTERS: i64 = 96;

/// One gateway with its meters.
pub struct Fleet {
    meters: Vec<(Meter, Vec<Evaluation>)>,
    /// Quarter hours since the new year.
    now: i64,
    /// Over everything that came out.
    digest: DefaultHasher,
    /// How many entries the value lists made.
    pub entries: usize,
}

/// The example of a use case, of this meter.
pub fn profile(taf: u8, meter: DeviceId) -> EvaluationProfile {
    let found = PROFILES.iter().find(|(known, _)| *known == taf);
    let (_, text) = found.expect("one of the examples");
    let text = text.replace("1smb0000000001", meter.as_str());
    let text = match taf {
        // The load profile of one meter alone: what TAF 14 is on another grid.
        7 => text
            .replace("= 60", "= 900")
            .replace("taf-14", "taf-7")
            .replace(".taf14", ".taf7"),
        _ => text,
    };
    toml::from_str(&text).expect("the examples are tested")
}

pub fn meter_id(number: usize) -> DeviceId {
    let text = format!("1smb00{:08}", number + 1);
    text.parse().expect("a device id")
}

/// What a register reads after so many quarter hours.
pub fn value(number: usize, quarter: i64) -> Decimal {
    let steady = i128::from(quarter) * (31 + number as i128 % 97);
    Decimal::new(steady * 10 + i128::from(quarter % 7), -1)
}

impl Fleet {
    /// So many meters, each with these use cases.
    pub fn new(meters: usize, tafs: &[u8]) -> Self {
        let grid =
            Grid::new(Duration::from_secs(PERIOD as u64), Tolerance::ONE_PERCENT).expect("a grid");
        let start = UtcNanos::from_seconds(NEW_YEAR - 1);
        let meter = |number: usize| {
            let id = meter_id(number);
            let meter = Meter::new(id, &[Obis::IMPORT_TOTAL], grid, start, |_| {
                Newest::default()
            });
            let evaluation = |taf: &u8| Evaluation::new(profile(*taf, id), start);
            (meter, tafs.iter().map(evaluation).collect())
        };
        Self {
            meters: (0..meters).map(meter).collect(),
            now: 0,
            digest: DefaultHasher::new(),
            entries: 0,
        }
    }

    /// So many quarter hours go by; what is left to do with each entry of the value lists is the caller's.
    pub fn live(&mut self, quarters: i64, saving: bool, mut with: impl FnMut(&Entry)) {
        for _ in 0..quarters {
            let point = NEW_YEAR + self.now * PERIOD;
            let (told, decided) = (
                UtcNanos::from_seconds(point + 1),
                UtcNanos::from_seconds(point + 11),
            );
            for (number, (meter, evaluations)) in self.meters.iter_mut().enumerate() {
                let reading = Reading {
                    obis: Obis::IMPORT_TOTAL,
                    value: value(number, self.now),
                    unit: Unit::WATT_HOUR,
                    meter_status: 1 << 2,
                };
                meter.telegram(&[reading], told);
                for entry in meter.handle_time(decided) {
                    self.entries += 1;
                    with(&entry);
                    take(&mut self.digest, &entry);
                    for evaluation in evaluations.iter_mut() {
                        evaluation.handle_entry(meter.id(), &entry);
                    }
                }
                for evaluation in evaluations {
                    evaluation.handle_time(decided);
                    while let Some(effect) = evaluation.poll_effect() {
                        match &effect {
                            Effect::Derived(derived) => take(&mut self.digest, &derived.entry),
                            Effect::Delivery(delivery) => {
                                delivery.due.hash(&mut self.digest);
                                delivery
                                    .lines
                                    .iter()
                                    .for_each(|line| take(&mut self.digest, line));
                            }
                            other => panic!("nothing else is expected: {other:?}"),
                        }
                    }
                    if saving {
                        evaluation.save().hash(&mut self.digest);
                    }
                }
            }
            self.now += 1;
        }
    }

    /// A number that depends on everything that came out.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}

fn take(digest: &mut DefaultHasher, entry: &Entry) {
    (entry.obis, entry.target, entry.status).hash(digest);
    if let Content::Value {
        capture,
        value,
        unit,
    } = entry.content
    {
        (capture, value, unit).hash(digest);
    }
}
