// SPDX-License-Identifier: MIT OR Apache-2.0
//! MET-*: what the gateway derives from its value lists, and what it vouches for. Each judge computes anew from the
//! original lists, by rules of its own, what registers and signatures must be.

use std::collections::BTreeMap;
use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_rig::Capability;
use hsm_api::{Hash, PublicKey, SecurityModule};
use hsm_soft::SoftModule;
use rustls::server::ParsedCertificate;
use smgw_units::{Decimal, UtcNanos};

use crate::bench::Bench;
use crate::profiles::OrderedTariff;
use crate::values::{DerivedLists, Entry, ValueList};

const NEEDS: &[Capability] = &[
    Capability::GatewayProfiles,
    Capability::Consumer,
    Capability::MeterSmlSimulated,
];
const ASSUMPTIONS: &[&str] = &["han-json", "tariff-registers"];

/// TAF 2: the energy of each registration period goes to the step that holds in it.
pub const MET_06: Case<Bench> = Case {
    id: "MET-06",
    version: 1,
    title: "TAF 2: the steps of a tariff switch at the times of its profile",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 TAF 2", "VDE-AR-E 2418-6 (draft) RW10"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(300),
    steps: &[
        "a tariff of two steps that take turns works on each simulated meter since the start of the run",
        "over every registration period with values at both ends, the register of the step that held grew by exactly the difference of the original values, and the other did not",
        "at least four such periods, in both steps",
    ],
    run: |ctx, bench| {
        for tariff in &bench.ordered.tariffs {
            let seen = wait_for_intervals(ctx, bench, tariff, |intervals| {
                let single = |step| {
                    intervals
                        .iter()
                        .filter(|i| i.points == 1 && i.step == step)
                        .count()
                };
                single(0) >= 2 && single(1) >= 2
            })?;
            for interval in seen
                .intervals
                .iter()
                .filter(|interval| interval.points == 1)
            {
                let grew = OrderedTariff::STEPS.map(|step| seen.growth(step, interval));
                let mut expected = [Some(ZERO), Some(ZERO)];
                expected[interval.step] = Some(interval.energy);
                expect(
                    ctx,
                    tariff,
                    interval,
                    "steps 1 and 2 grew",
                    &expected,
                    &grew,
                );
            }
        }
        Ok(())
    },
};

/// TAF 2: steps and error register add up to the total.
pub const MET_07: Case<Bench> = Case {
    id: "MET-07",
    version: 1,
    title: "TAF 2: the steps and the error register add up to the total",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 TAF 2"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(300),
    steps: &[
        "read the derived lists of each tariff since the start of the run",
        "at every grid point where the total register was written, steps + error register = total",
    ],
    run: |ctx, bench| {
        for tariff in &bench.ordered.tariffs {
            let seen = wait_for_intervals(ctx, bench, tariff, |intervals| intervals.len() >= 2)?;
            let totals = seen.registers.get(&OrderedTariff::TOTAL.to_string());
            for (at, total) in totals.into_iter().flatten() {
                let parts = [
                    OrderedTariff::STEPS[0],
                    OrderedTariff::STEPS[1],
                    OrderedTariff::ERROR,
                ];
                let sum = parts
                    .iter()
                    .map(|part| seen.at(&part.to_string(), *at))
                    .try_fold(ZERO, |sum, part| add(sum, part.unwrap_or(ZERO)));
                let ok = sum.is_some_and(|sum| sum.same_value(*total));
                let observed = sum.map_or("no sum".to_owned(), |sum| sum.to_string());
                ctx.expect(
                    ok,
                    format!("{} at {at}: sum of steps and error register", tariff.name),
                    total.to_string(),
                    observed,
                );
            }
        }
        Ok(())
    },
};

/// TRuDI 029 and 030: what a gap costs.
pub const MET_08: Case<Bench> = Case {
    id: "MET-08",
    version: 1,
    title: "TAF 2: a gap without a switch goes to its step, one with a switch to the error register",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TRuDI_029", "TRuDI_030"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(420),
    steps: &[
        "the SML meter is silent over one grid point inside a step, and later over one at which the step changes",
        "over the first gap the register of that step grew by the whole difference, the error register did not",
        "over the second the error register 1-0:1.8.63 grew by the whole difference, the steps did not",
    ],
    run: |ctx, bench| {
        let sml = bench.meters.sml()?.id;
        let tariff = bench
            .ordered
            .tariffs
            .iter()
            .find(|tariff| tariff.meter == sml);
        let Some(tariff) = tariff else {
            return Err(Stop::Bench("the SML meter has no tariff".into()));
        };
        let margin = Duration::from_secs(2).min(bench.period() / 4);
        for (what, at_a_switch) in [("inside a step", false), ("at a switch", true)] {
            let coming = bench.upcoming_grid_points(8, bench.period() + margin * 2);
            let silent = coming
                .into_iter()
                .find(|point| tariff.switches_at(*point) == at_a_switch);
            let Some(silent) = silent else {
                return Err(Stop::Bench("no such grid point comes".into()));
            };
            ctx.progress(&format!("a gap {what}, at {silent}"));
            bench.pass_until_before(ctx, silent, margin)?;
            let quiet = bench.meters.silence()?;
            bench.pass_until(ctx, silent, margin)?;
            drop(quiet);
            bench.pass_until(ctx, UtcNanos(silent.0 + signed(bench.period())), margin)?;
        }
        let gaps = |intervals: &[Interval]| {
            let gap = |switched| {
                intervals
                    .iter()
                    .any(|i| i.points > 1 && i.switched == switched)
            };
            gap(false) && gap(true)
        };
        let seen = wait_for_intervals(ctx, bench, tariff, gaps)?;
        for interval in seen.intervals.iter().filter(|interval| interval.points > 1) {
            let grew = [
                OrderedTariff::STEPS[0],
                OrderedTariff::STEPS[1],
                OrderedTariff::ERROR,
            ]
            .map(|register| seen.growth(register, interval));
            let [first, second, error] = grew;
            let steps = first
                .zip(second)
                .and_then(|(first, second)| add(first, second));
            let (to_steps, to_error) = match interval.switched {
                true => (ZERO, interval.energy),
                false => (interval.energy, ZERO),
            };
            let expected = [Some(to_steps), Some(to_error)];
            expect(
                ctx,
                tariff,
                interval,
                "steps together and error register grew",
                &expected,
                &[steps, error],
            );
        }
        Ok(())
    },
};

/// Power cuts, as far as a kill is one.
pub const MET_19: Case<Bench> = Case {
    id: "MET-19",
    version: 1,
    title: "Values and registers survive kills at random instants: nothing lost, nothing counted twice",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 TAF 2"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: &[
        Capability::GatewayKill,
        Capability::GatewayProfiles,
        Capability::Consumer,
        Capability::MeterSmlSimulated,
    ],
    budget: Duration::from_secs(420),
    steps: &[
        "for 90 s: let a random time of up to a third of a registration period pass, read the original list of the SML meter, kill the gateway (SIGKILL), start it again",
        "every entry read before a kill is still there and the same, no grid point stands twice",
        "over every interval since the evaluation began the total register of the tariff grew by exactly the difference of the original values",
    ],
    run: |ctx, bench| {
        let sml = bench.meters.sml()?.id;
        let tariffs = bench.ordered.tariffs.clone();
        let Some(tariff) = tariffs.iter().find(|tariff| tariff.meter == sml) else {
            return Err(Stop::Bench("the SML meter has no tariff".into()));
        };
        let mut random = fastrand::Rng::with_seed(ctx.seed());
        let until = ctx.phase(Duration::from_secs(90));
        let mut read = Vec::new();
        let mut kills = 0u32;
        while !until.expired() {
            let pause = (bench.period() / 3).mul_f64(random.f64());
            ctx.pass_time(ctx.phase(pause))?;
            read = bench.value_list(ctx, sml, tariff.register)?.entries;
            bench.kill_gateway(ctx)?;
            kills += 1;
            let now = bench.value_list(ctx, sml, tariff.register)?.entries;
            if !now.starts_with(&read) {
                ctx.fail(format!(
                    "kill {kills}: entries read before it are not there"
                ));
            }
        }
        ctx.note("kills", kills.to_string());
        let newest = read.last().map(Entry::target);
        let seen = wait_for_intervals(ctx, bench, tariff, |intervals| {
            intervals.last().map(|interval| interval.from) > newest
        })?;
        for interval in &seen.intervals {
            let grew = seen.growth(OrderedTariff::TOTAL, interval);
            let expected = [Some(interval.energy)];
            expect(ctx, tariff, interval, "total grew", &expected, &[grew]);
        }
        let list = bench.value_list(ctx, sml, tariff.register)?;
        let rises = list.entries.is_sorted_by(|a, b| a.target() < b.target());
        ctx.expect(
            rises,
            "grid points of the original list",
            "each once",
            if rises { "each once" } else { "not rising" },
        );
        bench.han_alive(ctx)
    },
};

/// VDE §7.1: the inner signature vouches for each value.
pub const MET_17: Case<Bench> = Case {
    id: "MET-17",
    version: 1,
    title: "The inner signature of each value verifies, and of none that was changed",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE-AR-E 2418-6 (draft) §7.1", "PTB-A 50.8"],
    applies_if: &[],
    assumptions: &["han-json", "inner-signature-encoding"],
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "read the original list of the SML meter, at least three values",
        "each value carries a signature that verifies with the gateway's certificate over logical name, status, capture time, value, scaler and unit",
        "it does not verify for a value one digit greater",
    ],
    run: |ctx, bench| {
        let key = ParsedCertificate::try_from(&bench.gateway_certificate)
            .ok()
            .and_then(|parsed| PublicKey::from_spki_der(&parsed.subject_public_key_info()));
        let Some(key) = key else {
            return Err(Stop::Bench(
                "the gateway's certificate has no key on our curves".into(),
            ));
        };
        let list = wait_for_values(ctx, bench, 3)?;
        let module = SoftModule::new();
        let verifies = |entry: &Entry, more: i128| {
            let input = entry.signed_bytes(&list.logical_name, more)?;
            let signature = entry.signature_bytes()?;
            let digest = Hash::Sha256.digest(&input);
            Some(
                module
                    .verify_digest(&key, &digest, &signature)
                    .unwrap_or(false),
            )
        };
        for entry in list.entries.iter().filter(|entry| entry.value.is_some()) {
            let observed = match (verifies(entry, 0), verifies(entry, 1)) {
                (None, _) | (_, None) => "no signature",
                (Some(true), Some(false)) => "verifies, and not for the next value",
                (Some(true), Some(true)) => "verifies for another value too",
                (Some(false), _) => "does not verify",
            };
            let good = "verifies, and not for the next value";
            ctx.expect(
                observed == good,
                format!("value at {}", entry.target()),
                good,
                observed.to_owned(),
            );
        }
        Ok(())
    },
};

/// DS table 15.1: what stands in the status word.
pub const MET_18: Case<Bench> = Case {
    id: "MET-18",
    version: 1,
    title: "The status word carries its identification bits, and only bits that exist",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["DS §15 tab. 15.1", "VDE-AR-E 2418-6 (draft) 1.43"],
    applies_if: &[],
    assumptions: &["han-json", "status-word-text"],
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "read the original list of the SML meter, at least three values",
        "16 hex digits, each half with its least significant bit first; bits 0 and 2 of the gateway's half set, all bits clear that table 15.1 does not define",
    ],
    run: |ctx, bench| {
        /// Bits 1, 8, 9, 12 to 17 beside the identification.
        const DEFINED: u32 = 0b101 | 1 << 1 | 1 << 8 | 1 << 9 | 0b11_1111 << 12;
        let list = wait_for_values(ctx, bench, 3)?;
        for entry in &list.entries {
            let ok = entry
                .status_words()
                .is_some_and(|(gateway, _)| gateway & 0b101 == 0b101 && gateway & !DEFINED == 0);
            let at = entry.target();
            ctx.expect(
                ok,
                format!("status at {at}"),
                "bits 0 and 2, and none undefined",
                entry.status.clone(),
            );
        }
        Ok(())
    },
};

/// VDE 1.33: names of lists.
pub const MET_20: Case<Bench> = Case {
    id: "MET-20",
    version: 1,
    title: "Original lists are named after their meter, derived ones after their evaluation",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE-AR-E 2418-6 (draft) 1.33"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "original: <OBIS in hex>.<meter>.sm",
        "derived: <OBIS in hex>.<evaluation>.sm",
    ],
    run: |ctx, bench| {
        for tariff in &bench.ordered.tariffs {
            let original = bench.value_list(ctx, tariff.meter, tariff.register)?;
            name(
                ctx,
                &original.logical_name,
                tariff.register.hex().to_string(),
                tariff.meter.as_str(),
            );
            let seen = wait_for_intervals(ctx, bench, tariff, |intervals| !intervals.is_empty())?;
            for (obis, logical_name) in &seen.names {
                let hex = obis
                    .parse()
                    .map_or(String::new(), |obis: smgw_units::Obis| {
                        obis.hex().to_string()
                    });
                name(ctx, logical_name, hex, &tariff.name);
            }
        }
        Ok(())
    },
};

fn name(ctx: &mut Ctx, observed: &str, obis: String, whose: &str) {
    let expected = format!("{obis}.{whose}.sm");
    ctx.expect(
        observed == expected,
        "name of a list".to_owned(),
        expected,
        observed.to_owned(),
    );
}

/// From one original value to the next one.
#[derive(Clone, Debug)]
struct Interval {
    from: UtcNanos,
    to: UtcNanos,
    /// Difference of the values.
    energy: Decimal,
    /// Registration periods it takes; 1 without a gap.
    points: i64,
    /// The step that holds at its beginning.
    step: usize,
    /// Whether another step begins inside it.
    switched: bool,
}

/// What a tariff must have worked with, and what came of it.
struct Seen {
    intervals: Vec<Interval>,
    /// Lines of each register, oldest first.
    registers: BTreeMap<String, Vec<(UtcNanos, Decimal)>>,
    names: BTreeMap<String, String>,
}

impl Seen {
    /// What a register says at an instant: its newest line until then.
    fn at(&self, register: &str, instant: UtcNanos) -> Option<Decimal> {
        let lines = self.registers.get(register)?;
        lines
            .iter()
            .rev()
            .find(|(at, _)| *at <= instant)
            .map(|(_, value)| *value)
    }

    /// By how much a register grew.
    fn growth(&self, register: smgw_units::Obis, interval: &Interval) -> Option<Decimal> {
        let register = register.to_string();
        subtract(
            self.at(&register, interval.to)?,
            self.at(&register, interval.from)?,
        )
    }
}

/// Reads lists and registers until the intervals since the evaluation began are `enough`.
fn wait_for_intervals(
    ctx: &mut Ctx,
    bench: &Bench,
    tariff: &OrderedTariff,
    enough: impl Fn(&[Interval]) -> bool,
) -> Result<Seen, Stop> {
    let patience = ctx.phase(bench.period() * 10);
    let seen = ctx.wait_for(patience, |ctx| {
        // The registers first: what is newer in the original list then does not count yet.
        let derived = bench.derived_lists(ctx, tariff.meter, &tariff.name)?;
        let original = bench.value_list(ctx, tariff.meter, tariff.register)?;
        let seen = see(tariff, signed(bench.period()), &derived, &original);
        if enough(&seen.intervals) {
            return Ok(Some(seen));
        }
        ctx.pass_time(ctx.phase(Duration::from_millis(500)))?;
        Ok(None)
    })?;
    seen.ok_or_else(|| {
        ctx.inconclusive(format!(
            "{}: too few values within ten registration periods",
            tariff.name
        ));
        Stop::Done
    })
}

fn see(tariff: &OrderedTariff, period: i64, derived: &DerivedLists, original: &ValueList) -> Seen {
    let mut registers = BTreeMap::<String, Vec<_>>::new();
    let mut names = BTreeMap::new();
    for list in &derived.lists {
        let lines = list
            .entries
            .iter()
            .filter_map(|line| Some((line.target(), line.decimal()?)));
        registers.insert(list.obis.clone(), lines.collect());
        names.insert(list.obis.clone(), list.logical_name.clone());
    }
    let total = registers.get(&OrderedTariff::TOTAL.to_string());
    let first = total.and_then(|lines| lines.first()).map(|(at, _)| *at);
    let last = total.and_then(|lines| lines.last()).map(|(at, _)| *at);
    let counts = |at: UtcNanos| {
        first.is_some_and(|first| at >= first) && last.is_some_and(|last| at <= last)
    };
    let values: Vec<_> = original
        .entries
        .iter()
        .filter_map(|entry| Some((entry.target(), entry.decimal()?)))
        .filter(|(at, _)| counts(*at))
        .collect();
    let intervals = values.windows(2).filter_map(|pair| {
        let [(from, before), (to, after)] = pair else {
            return None;
        };
        let points = (to.0 - from.0) / period;
        let inside = (1..points).map(|point| UtcNanos(from.0 + point * period));
        Some(Interval {
            from: *from,
            to: *to,
            energy: subtract(*after, *before)?,
            points,
            step: tariff.step_at(*from),
            switched: inside.into_iter().any(|point| tariff.switches_at(point)),
        })
    });
    Seen {
        intervals: intervals.collect(),
        registers,
        names,
    }
}

/// The SML meter's list once it has that many values.
fn wait_for_values(ctx: &mut Ctx, bench: &Bench, count: usize) -> Result<ValueList, Stop> {
    let patience = ctx.phase(bench.period() * 8);
    let list = ctx.wait_for(patience, |ctx| {
        let role = bench.meters.sml()?;
        let list = bench.value_list(ctx, role.id, role.register)?;
        if list
            .entries
            .iter()
            .filter(|entry| entry.value.is_some())
            .count()
            >= count
        {
            return Ok(Some(list));
        }
        ctx.pass_time(ctx.phase(Duration::from_millis(500)))?;
        Ok(None)
    })?;
    list.ok_or_else(|| {
        ctx.inconclusive(format!(
            "fewer than {count} values within eight registration periods"
        ));
        Stop::Done
    })
}

fn expect<const N: usize>(
    ctx: &mut Ctx,
    tariff: &OrderedTariff,
    interval: &Interval,
    what: &str,
    expected: &[Option<Decimal>; N],
    observed: &[Option<Decimal>; N],
) {
    let same = |(a, b): (&Option<Decimal>, &Option<Decimal>)| {
        a.zip(*b).is_some_and(|(a, b)| a.same_value(b))
    };
    let text = |values: &[Option<Decimal>; N]| {
        let text =
            |value: &Option<Decimal>| value.map_or("–".to_owned(), |value| value.to_string());
        values.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    let (from, to) = (interval.from, interval.to);
    ctx.expect(
        expected.iter().zip(observed).all(same),
        format!("{}, {from} to {to}: {what} by", tariff.name),
        text(expected),
        text(observed),
    );
}

fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    let exponent = a.exponent.min(b.exponent);
    let sum = a
        .mantissa_at(exponent)?
        .checked_add(b.mantissa_at(exponent)?)?;
    Some(Decimal::new(sum, exponent))
}

fn subtract(a: Decimal, b: Decimal) -> Option<Decimal> {
    add(a, Decimal::new(b.mantissa.checked_neg()?, b.exponent))
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

const ZERO: Decimal = Decimal::new(0, 0);
