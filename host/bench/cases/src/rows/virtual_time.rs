// SPDX-License-Identifier: MIT OR Apache-2.0
//! MET-04, MET-09, MET-11 and MET-21: what value lists and evaluations make of days and months, on a gateway whose clock the
//! bench advances. What is expected follows from the calendar and the values that were sent, by rules of the judge's own.

use std::collections::BTreeMap;
use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop, StopExt};
use bench_rig::Capability;
use jiff::civil::{Date, date};
use smgw_peers::net::TimeMode;
use smgw_units::{Decimal, DeviceId, UtcNanos};

use crate::bench::{Bench, DrivenGateway, DrivenSettings};
use crate::values::{Entry, ValueList};

const NEEDS: &[Capability] = &[
    Capability::GatewaySecond,
    Capability::MeterSmlSimulated,
    Capability::Consumer,
];
const ASSUMPTIONS: &[&str] = &["han-json", "driven-clock"];
const SECOND: i64 = 1_000_000_000;
const QUARTER: i64 = 900;
const HOUR: i64 = 3_600;

/// Quarter hours of legal days.
pub const MET_04: Case<Bench> = Case {
    id: "MET-04",
    version: 1,
    title: "Days of legal time have 96, in March 92 and in October 100 values, and no UTC twice",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 DS §10.1", "DIN 43863-5"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "on a driven gateway the meter tells a value at every quarter hour of 10 March, 28 March and 31 October 2027",
        "from midnight to midnight in Berlin: 96, 92 and 100 entries, each with its value, each a quarter hour of UTC behind the one before",
        "a daily evaluation has its lines at those midnights and nowhere in between",
    ],
    run: |ctx, bench| {
        let meter = bench.meters.sml()?.id;
        for (day, expected) in [
            (date(2027, 3, 10), 96),
            (date(2027, 3, 28), 92),
            (date(2027, 10, 31), 100),
        ] {
            ctx.progress(&format!("the day {day}"));
            let [begin, end] = [
                midnight(day)?,
                midnight(day.tomorrow().or_bench("a date")?)?,
            ];
            let settings = DrivenSettings {
                from: utc(begin - QUARTER - 1),
                period: Duration::from_secs(QUARTER as u64),
                meters: &[meter],
                profiles: Some(daily(meter, QUARTER)),
                asks_time: false,
            };
            let mut driven = bench.driven_gateway(ctx, settings, TimeMode::default())?;
            let points: Vec<i64> = (begin - QUARTER..=end + QUARTER)
                .step_by(QUARTER as usize)
                .collect();
            for (point, value) in points.iter().zip(0..) {
                driven.reading(ctx, utc(*point), 0, 1_000 + value)?;
            }
            decide(ctx, &mut driven)?;
            let list = driven.original(ctx, meter)?;
            exactly(ctx, &list, &points, |index| Some(1_000 + index));
            let within = |at: i64| (begin..end).contains(&at);
            let count = list.entries.iter().map(target).filter(|at| within(*at));
            let count = count.count();
            ctx.expect(
                count == expected,
                format!("entries of {day}"),
                expected.to_string(),
                count.to_string(),
            );
            let lines = driven.derived(ctx, meter, DAILY)?;
            let lines: Vec<i64> = lines
                .lists
                .iter()
                .flat_map(|list| list.entries.iter().map(target))
                .collect();
            ctx.expect(
                lines == [begin, end],
                format!("lines of the daily evaluation around {day}"),
                shown(&[begin, end]),
                shown(&lines),
            );
        }
        Ok(())
    },
};

/// TAF 6.
pub const MET_09: Case<Bench> = Case {
    id: "MET-09",
    version: 1,
    title: "TAF 6 keeps the readings of 42 days, and no older one",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 TAF 6", "TRuDI_002"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "on a driven gateway the meter tells a value every hour for 60 days, over the change of clocks in March 2027",
        "after 20 days the evaluation has the readings of 21 midnights, after 60 days those of the last 42, each the value of that midnight",
        "(that nothing is sent unasked shows only where there is a wide area network, and is not judged here)",
    ],
    run: |ctx, bench| {
        let meter = bench.meters.sml()?.id;
        let first = date(2027, 3, 1);
        let day = |days: i64| {
            let later = first.checked_add(jiff::Span::new().days(days));
            midnight(later.or_bench("a date")?)
        };
        let begin = day(0)?;
        let settings = DrivenSettings {
            from: utc(begin - 1),
            period: Duration::from_secs(HOUR as u64),
            meters: &[meter],
            profiles: Some(daily(meter, HOUR)),
            asks_time: false,
        };
        let mut driven = bench.driven_gateway(ctx, settings, TimeMode::default())?;
        let mut at = begin;
        for (days, kept) in [(20, 21), (60, 42)] {
            let end = day(days)?;
            while at <= end {
                driven.reading(ctx, utc(at), 0, at / HOUR)?;
                at += HOUR;
            }
            decide(ctx, &mut driven)?;
            let expected: Vec<i64> = (days - kept + 1..=days)
                .map(day)
                .collect::<Result<_, _>>()?;
            for list in driven.derived(ctx, meter, DAILY)?.lists {
                exactly(ctx, &list, &expected, |index| {
                    expected
                        .get(usize::try_from(index).ok()?)
                        .map(|at| at / HOUR)
                });
                ctx.note(
                    format!("after {days} days"),
                    format!("{} readings", list.entries.len()),
                );
            }
        }
        Ok(())
    },
};

/// TAF 8.
pub const MET_11: Case<Bench> = Case {
    id: "MET-11",
    version: 1,
    title: "TAF 8 finds the smallest and largest powers of each billing period",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 TAF 8", "VDE RW104", "VDE RW105"],
    applies_if: &[],
    assumptions: &["han-json", "driven-clock", "tariff-registers"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "on a driven gateway the meter tells a known curve over two days; two minima and three maxima of each day are ordered",
        "the registers 1-0:1.3.0 and 1-0:1.6.0 hold exactly those powers, at the ends of their quarter hours",
    ],
    run: |ctx, bench| {
        const MINIMA: usize = 2;
        const MAXIMA: usize = 3;
        let meter = bench.meters.sml()?.id;
        let days = [date(2027, 6, 1), date(2027, 6, 2), date(2027, 6, 3)];
        let [begin, middle, end] = [midnight(days[0])?, midnight(days[1])?, midnight(days[2])?];
        let profiles = set(&[meter])
            + &format!(
                "\n[[evaluation]]\nname = \"extremes\"\ntime-zone = \"Europe/Berlin\"\n\
                 input = [{{ meter = \"{meter}\", obis = \"1-0:1.8.0*255\" }}]\nbilling = {{ days = 1 }}\n\
                 [evaluation.use-case.taf-8]\nminima = {MINIMA}\nmaxima = {MAXIMA}\n"
            );
        let settings = DrivenSettings {
            from: utc(begin - 1),
            period: Duration::from_secs(QUARTER as u64),
            meters: &[meter],
            profiles: Some(profiles),
            asks_time: false,
        };
        let mut driven = bench.driven_gateway(ctx, settings, TimeMode::default())?;
        // Up and down, and no two of a day are equal: they differ modulo 200.
        let energy = |index: i64| 5 + index * index * 37 % 197 * 200 + index % 200;
        let mut powers: [Vec<(i64, i64)>; 2] = Default::default();
        let (mut at, mut reading) = (begin, 5_000_000);
        driven.reading(ctx, utc(at), 0, reading)?;
        for index in 1.. {
            at += QUARTER;
            if at > end {
                break;
            }
            reading += energy(index);
            driven.reading(ctx, utc(at), 0, reading)?;
            // Wh in a quarter of an hour.
            powers[usize::from(at > middle)].push((energy(index) * 4, at));
        }
        decide(ctx, &mut driven)?;
        let mut expected: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
        for mut of_day in powers {
            of_day.sort_unstable();
            let smallest = of_day.iter().take(MINIMA);
            (expected.entry("1-0:1.3.0*255").or_default()).extend(smallest);
            let largest = of_day.iter().rev().take(MAXIMA);
            (expected.entry("1-0:1.6.0*255").or_default()).extend(largest);
        }
        let lists = driven.derived(ctx, meter, "extremes")?.lists;
        for (register, mut expected) in expected {
            let list = lists.iter().find(|list| list.obis == register);
            let entries = list.map_or(&[][..], |list| &list.entries);
            let told = entries.iter().map(|entry| (whole(entry), target(entry)));
            let mut told: Vec<_> = told.collect();
            told.sort_unstable();
            expected.sort_unstable();
            let expected: Vec<_> = expected.iter().map(|(w, at)| (Some(*w), *at)).collect();
            let text = |lines: &[(Option<i64>, i64)]| {
                let line = |(power, at): &(Option<i64>, i64)| {
                    let power = power.map_or("nothing".to_owned(), |power| format!("{power} W"));
                    format!("{power} at {}", utc(*at))
                };
                lines.iter().map(line).collect::<Vec<_>>().join(", ")
            };
            ctx.expect(told == expected, register, text(&expected), text(&told));
        }
        Ok(())
    },
};

/// A meter is replaced by a new set of profiles.
pub const MET_21: Case<Bench> = Case {
    id: "MET-21",
    version: 1,
    title: "When a meter is replaced its list ends, and that of the new one begins",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 (lists per meter)"],
    applies_if: &[],
    assumptions: &["han-json", "driven-clock", "administration-local"],
    needs: &[
        Capability::GatewaySecond,
        Capability::MeterSmlSimulated,
        Capability::MeterMbusSimulated,
        Capability::Consumer,
    ],
    budget: Duration::from_secs(120),
    steps: &[
        "two meters send all the time; profiles know the first, and a new set replaces it by the second from an instant on",
        "the first one's list ends with the grid point before, the second one's begins with it, each has the values of its own meter alone",
    ],
    run: |ctx, bench| {
        let [old, new] = [bench.meters.sml()?.id, bench.meters.mbus()?.id];
        let begin = midnight(date(2027, 6, 1))?;
        let swap = begin + 8 * QUARTER;
        let settings = DrivenSettings {
            from: utc(begin - 1),
            period: Duration::from_secs(QUARTER as u64),
            meters: &[old, new],
            profiles: Some(set(&[old])),
            asks_time: false,
        };
        let mut driven = bench.driven_gateway(ctx, settings, TimeMode::default())?;
        let points: Vec<i64> = (0..16).map(|index| begin + index * QUARTER).collect();
        for (point, index) in points.iter().zip(0..) {
            if index == 4 {
                let until = utc(swap);
                let next = format!(
                    "schema = \"smgw.profiles/1\"\nactive-from = \"{until}\"\n{}validity = {{ to = \"{until}\" }}\n{}",
                    measured(old),
                    measured(new)
                );
                driven.submit(ctx, &next)?;
            }
            driven.reading(ctx, utc(*point), 0, 1_000 + index)?;
            driven.telegram(ctx, 1, 500_000 + index)?;
        }
        decide(ctx, &mut driven)?;
        let (before, after) = points.split_at(8);
        let list = driven.original(ctx, old)?;
        exactly(ctx, &list, before, |index| Some(1_000 + index));
        let list = driven.original(ctx, new)?;
        exactly(ctx, &list, after, |index| Some(500_008 + index));
        Ok(())
    },
};

/// Name of the evaluation of [`daily`].
const DAILY: &str = "daily";

/// A set of profiles with the reading of every midnight in Berlin.
fn daily(meter: DeviceId, period: i64) -> String {
    set(&[meter])
        + &format!(
            "\n[[evaluation]]\nname = \"{DAILY}\"\nregistration-period = {period}\ntime-zone = \"Europe/Berlin\"\n\
             input = [{{ meter = \"{meter}\", obis = \"1-0:1.8.0*255\" }}]\n\
             [evaluation.use-case.taf-6]\nday-start = \"00:00\"\n"
        )
}

fn set(meters: &[DeviceId]) -> String {
    let meters = meters.iter().map(|meter| measured(*meter));
    "schema = \"smgw.profiles/1\"\n".to_owned() + &meters.collect::<String>()
}

fn measured(meter: DeviceId) -> String {
    format!("\n[[meter]]\nmeter = \"{meter}\"\nregisters = [\"1-0:1.8.0*255\"]\n")
}

/// The second of the Unix epoch at which a day of legal time begins.
fn midnight(day: Date) -> Result<i64, Stop> {
    let begin = day.in_tz("Europe/Berlin").or_bench("the zone of Berlin")?;
    Ok(begin.timestamp().as_second())
}

/// A little later, when the newest grid point's window is over.
fn decide(ctx: &Ctx, driven: &mut DrivenGateway<'_>) -> Result<(), Stop> {
    // Behind 1 % of an hour, the longest registration period here, and what a telegram may take.
    let later = UtcNanos(driven.now().0 + 40 * SECOND);
    driven.advance(ctx, later)
}

/// That a list has these targets and values, and nothing else.
fn exactly(ctx: &mut Ctx, list: &ValueList, targets: &[i64], value: impl Fn(i64) -> Option<i64>) {
    let told: Vec<i64> = list.entries.iter().map(target).collect();
    ctx.expect(
        told == targets,
        format!("targets of {}", list.logical_name),
        shown(targets),
        shown(&told),
    );
    let wrong = |(entry, index): &(&Entry, i64)| whole(entry) != value(*index);
    if let Some((entry, index)) = list.entries.iter().zip(0..).find(wrong) {
        ctx.fail(format!(
            "{} at {}: expected {:?}, told {:?} (gap: {:?}), and maybe more",
            list.logical_name,
            entry.target(),
            value(index),
            whole(entry),
            entry.gap
        ));
    }
}

/// Number, first and last.
fn shown(targets: &[i64]) -> String {
    let (Some(first), Some(last)) = (targets.first(), targets.last()) else {
        return "none".to_owned();
    };
    format!("{} from {} to {}", targets.len(), utc(*first), utc(*last))
}

fn target(entry: &Entry) -> i64 {
    entry.target().seconds()
}

/// The value in units of the meter, if it is a whole number.
fn whole(entry: &Entry) -> Option<i64> {
    let value: Decimal = entry.decimal()?;
    i64::try_from(value.mantissa_at(0)?).ok()
}

fn utc(second: i64) -> UtcNanos {
    UtcNanos::from_seconds(second)
}
