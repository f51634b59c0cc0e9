// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random profiles and histories: registers that rise, stay, roll over, are reset or change scaler and unit; points without
//! value, without entry or unfit for billing; meters that lag behind each other; triggers early and late.

use fastrand::Rng;
use smgw_core::taf::Trigger;
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, DeviceId, Obis, Unit, UtcNanos};

use crate::history::{Action, History};
use crate::plain::FINEST;

/// What differs between use cases.
struct World {
    use_case: String,
    /// More lines of the profile, such as `pseudonymous = true`.
    head: String,
    tables: String,
    period: i64,
    /// Grid points in seconds.
    points: Vec<i64>,
    inputs: Vec<Obis>,
    /// Registers that only rise, or quantities that go up and down.
    cumulative: bool,
    trigger: fn(&mut Rng) -> Option<Trigger>,
}

impl World {
    /// Registers that only rise and nothing but grid points happens; the profile says no more than its use case.
    fn of(
        (period, points): (i64, Vec<i64>),
        use_case: impl Into<String>,
        inputs: Vec<Obis>,
    ) -> Self {
        Self {
            use_case: use_case.into(),
            head: String::new(),
            tables: String::new(),
            period,
            points,
            inputs,
            cumulative: true,
            trigger: quiet,
        }
    }
}

/// Seconds near which something happens: clock changes, ends of months and years, ends of what counters can hold.
const TIMES: [i64; 10] = [
    1_767_222_000, // 2025-12-31T23:00:00Z, the new year of legal time
    1_774_717_200, // 2026-03-28T17:00:00Z
    1_774_738_800, // 2026-03-28T23:00:00Z, beginning of the day with 23 hours
    1_792_857_600, // 2026-10-24T16:00:00Z
    1_792_879_200, // 2026-10-24T22:00:00Z, beginning of the day with 25 hours
    1_793_415_600, // 2026-10-31T03:00:00Z
    1_835_294_400, // 2028-02-28T00:00:00Z
    2_085_955_200, // 2036-02-07, where NTP begins to count anew
    2_147_450_400, // 2038-01-19, where signed 32 bits end
    1_780_000_200, // a Thursday in May 2026
];

const RECIPIENTS: [&str; 3] = ["operator", "supplier", "stranger"];

fn grid(random: &mut Rng, periods: &[i64], longest: usize) -> (i64, Vec<i64>) {
    let period = periods[random.usize(..periods.len())];
    let start = TIMES[random.usize(..TIMES.len())] / period * period;
    let mut at = start + random.i64(-40..8) * period;
    let mut points = Vec::new();
    for _ in 0..random.usize(5..longest) {
        at += period;
        if random.u8(..40) == 0 {
            at += period * random.i64(1..60);
        }
        points.push(at);
    }
    (period, points)
}

fn build(random: &mut Rng, world: World) -> History {
    let meters: Vec<DeviceId> = (1..=3)
        .map(|n| format!("1smb000000000{n}").parse().unwrap())
        .collect();
    let first = world.points[0];
    let mut text = format!(
        "name = \"profile\"\nrehearsal = true\nregistration-period = {}\nrecipients = [\"operator\", \"supplier\"]\n{}\n",
        world.period, world.head
    );
    let from = first + random.i64(-90..3) * world.period;
    text += &format!("[validity]\nfrom = \"{}\"\n", UtcNanos::from_seconds(from));
    if random.bool() {
        let to = from + random.i64(60..300) * world.period + random.i64(0..2) * 7;
        text += &format!("to = \"{}\"\n", UtcNanos::from_seconds(to));
    }
    text += &world.tables;
    let mut digits = Vec::new();
    let mut owners = Vec::new();
    for (index, obis) in world.inputs.iter().enumerate() {
        let meter = if world.cumulative {
            meters[index]
        } else {
            meters[0]
        };
        owners.push(meter);
        text += &format!("[[input]]\nmeter = \"{meter}\"\nobis = \"{obis}\"\n");
        if world.cumulative && index > 0 && random.bool() {
            text += "sign = \"-\"\n";
        }
        digits.push((world.cumulative && random.bool()).then_some(6));
        if digits[index].is_some() {
            text += "digits = 6\n";
        }
    }
    text += &world.use_case;
    let profile = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));

    let start = UtcNanos::from_seconds(first + random.i64(-3..3) * world.period);
    let mut registers: Vec<i128> = (0..world.inputs.len())
        .map(|_| match random.u8(..3) {
            0 => 999_990_000 + i128::from(random.u32(..9_000)),
            1 => i128::from(random.u32(..5_000_000)) * 1_000,
            _ => 0,
        })
        .collect();
    let mut unit = Unit::WATT_HOUR;
    let mut held: Vec<Vec<Action>> = vec![Vec::new(); world.inputs.len()];
    let mut actions = Vec::new();
    let mut before = first - world.period;
    let calm = random.bool();
    for &at in &world.points {
        let mut triggers: Vec<(i64, Trigger)> = Vec::new();
        while let Some(trigger) = (world.trigger)(random) {
            let when = match random.u8(..4) {
                0 => at * 1_000,
                _ => random.i64(before * 1_000..=at * 1_000),
            };
            triggers.push((when, trigger));
        }
        triggers.sort_by_key(|(when, _)| *when);
        let triggers = triggers
            .into_iter()
            .map(|(when, trigger)| Action::Trigger(UtcNanos(when * 1_000_000), trigger));
        let late = random.u8(..20) == 0;
        if !late {
            actions.extend(triggers.clone());
        }
        for (index, obis) in world.inputs.iter().enumerate() {
            let register = &mut registers[index];
            if world.cumulative {
                let scale = [0, 1, 100, 1_000, 20_000][random.usize(..5)];
                *register += i128::from(random.u32(..40)) * scale;
                *register %= 1_000_000_000;
                if !calm && random.u8(..60) == 0 {
                    *register = i128::from(random.u32(..1_000));
                }
            } else {
                *register = i128::from(random.i32(-3_000..3_000)) * 100;
            }
            if random.u16(..700) == 0 {
                unit = if unit == Unit::WATT_HOUR {
                    Unit(32)
                } else {
                    Unit::WATT_HOUR
                };
            }
            let entry = entry(random, *obis, at, *register, unit, calm);
            if let Some(entry) = entry {
                held[index].push(Action::Entry(owners[index], entry));
            }
            if held[index].len() > 3 || random.u8(..10) > 0 || index == 0 {
                actions.append(&mut held[index]);
            }
        }
        if late {
            actions.extend(triggers);
        }
        if random.u8(..12) == 0 {
            actions.extend(noise(random, &actions, &meters, world.period));
        }
        if random.u8(..3) > 0 {
            actions.push(Action::Time(UtcNanos::from_seconds(
                at + 11.min(world.period / 4),
            )));
        }
        before = at;
    }
    for held in &mut held {
        actions.append(held);
    }
    actions.push(Action::Time(UtcNanos::from_seconds(
        before + 3 * world.period,
    )));
    History {
        profile,
        start,
        actions,
    }
}

fn entry(
    random: &mut Rng,
    obis: Obis,
    at: i64,
    thousandths: i128,
    unit: Unit,
    calm: bool,
) -> Option<Entry> {
    let fate = random.u8(..100);
    let target = UtcNanos::from_seconds(at);
    if fate < if calm { 1 } else { 5 } {
        return None;
    }
    if fate < if calm { 3 } else { 12 } {
        let reason = GapReason::ALL[random.usize(..GapReason::ALL.len())];
        let (status, content) = (CombinedStatus::of_gap(), Content::Gap(reason));
        return Some(Entry {
            obis,
            target,
            status,
            content,
        });
    }
    // The same number with more or less zeros.
    let value = match random.u8(..4) {
        0 => Decimal::new(thousandths * 10, FINEST - 1),
        1 if thousandths % 1_000 == 0 => Decimal::new(thousandths / 1_000, 0),
        2 if thousandths % 100 == 0 => Decimal::new(thousandths / 100, -1),
        _ => Decimal::new(thousandths, FINEST),
    };
    let mut status = CombinedStatus::of_value(1 << 2);
    if random.u8(..100) < if calm { 1 } else { 6 } {
        match random.u8(..4) {
            0 => status = status.with_time_invalid(),
            1 => status.gateway |= 1 << [1, 8, 12, 14, 15, 17][random.usize(..6)],
            2 => status.meter |= 1 << [9, 10, 11, 16, 17, 18][random.usize(..6)],
            _ => {
                status = CombinedStatus {
                    gateway: 5 | 1 << 17,
                    meter: 1 << 9,
                }
            }
        }
    }
    let capture = UtcNanos::from_seconds(at + random.i64(0..2));
    let content = Content::Value {
        capture,
        value,
        unit,
    };
    Some(Entry {
        obis,
        target,
        status,
        content,
    })
}

/// Entries an evaluation must not take: repeated ones, of other meters and registers, beside the grid.
fn noise(random: &mut Rng, actions: &[Action], meters: &[DeviceId], period: i64) -> Option<Action> {
    let earlier = actions
        .iter()
        .rev()
        .take(12)
        .find_map(|action| match action {
            Action::Entry(meter, entry) if random.bool() => Some((*meter, *entry)),
            _ => None,
        });
    let (mut meter, mut entry) = earlier?;
    match random.u8(..4) {
        0 => {}
        1 => meter = meters[random.usize(..meters.len())],
        2 => entry.obis = "1-0:15.8.0*255".parse().unwrap(),
        _ => entry.target = UtcNanos(entry.target.0 + random.i64(0..period) * 1_000_000_000 - 500),
    }
    if let Content::Value { value, .. } = &mut entry.content {
        value.mantissa += 1_000_000;
    }
    Some(Action::Entry(meter, entry))
}

fn quiet(_: &mut Rng) -> Option<Trigger> {
    None
}

fn name(random: &mut Rng, names: &[&str]) -> smgw_core::profile::ProfileName {
    names[random.usize(..names.len())].parse().unwrap()
}

fn billing(random: &mut Rng, period: i64) -> String {
    let billing = match random.u8(..4) {
        0 => "months = 1".to_owned(),
        1 => "days = 1".to_owned(),
        2 => format!("days = {}", random.u8(2..5)),
        _ => format!("seconds = {}", period * random.i64(1..50)),
    };
    format!("[billing]\n{billing}\n")
}

fn send(random: &mut Rng, every: &[&str]) -> String {
    let every = every[random.usize(..every.len())];
    format!(
        "[send]\nevery = \"{every}\"\ndelay = {}\n",
        random.u16(..700)
    )
}

fn import(random: &mut Rng, most: usize) -> Vec<Obis> {
    let total: Obis = "1-0:1.8.0".parse().unwrap();
    let count = if random.bool() {
        1
    } else {
        random.usize(1..=most)
    };
    vec![total; count]
}

fn power(random: &mut Rng, most: usize) -> Vec<Obis> {
    let all = ["1-0:32.7.0", "1-0:52.7.0", "1-0:14.7.0"].map(|text| text.parse().unwrap());
    all[..random.usize(1..=most)].to_vec()
}

/// A billing use case on cumulative registers.
fn billed(random: &mut Rng, periods: &[i64], longest: usize, use_case: String) -> History {
    let (period, points) = grid(random, periods, longest);
    let tables =
        billing(random, period) + &send(random, &["billing-period", "billing-period", "never"]);
    let inputs = import(random, 3);
    let world = World {
        tables,
        ..World::of((period, points), use_case, inputs)
    };
    build(random, world)
}

fn step_registers(steps: usize) -> String {
    let steps: Vec<String> = (1..=steps)
        .map(|step| format!("\"1-0:1.8.{step}*255\""))
        .collect();
    format!("steps = [{}]\n", steps.join(", "))
}

pub fn taf1(random: &mut Rng) -> History {
    billed(random, &[900, 1_800, 60], 60, "[use-case.taf-1]\n".into())
}

pub fn taf2(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[900, 900, 900, 300, 15, 3_600], 130);
    let steps = random.usize(1..5);
    let mut text = format!(
        "[use-case.taf-2]\n{}default-step = {}\n",
        step_registers(steps),
        random.usize(1..=steps)
    );
    let days = random.usize(1..5);
    for day in 0..days {
        let mut switches = Vec::new();
        let often = if random.bool() {
            86_400 / period / 6
        } else {
            4_000 / period + 1
        };
        let mut at = random.i64(0..8) * period * random.i64(0..2);
        while at < 86_400 && switches.len() < 60 {
            let (hour, minute, second) = (at / 3_600, at / 60 % 60, at % 60);
            switches.push(format!(
                "[\"{hour:02}:{minute:02}:{second:02}\", {}]",
                random.usize(1..=steps)
            ));
            at += period * random.i64(1..often.max(2) + 1);
        }
        text += &format!(
            "[[use-case.taf-2.day-profile]]\nname = \"d{day}\"\nswitches = [{}]\n",
            switches.join(", ")
        );
    }
    let weeks = random.usize(0..3);
    for week in 0..weeks {
        let of_week: Vec<String> = (0..7)
            .map(|_| format!("\"d{}\"", random.usize(..days)))
            .collect();
        text += &format!(
            "[[use-case.taf-2.week-profile]]\nname = \"w{week}\"\ndays = [{}]\n",
            of_week.join(", ")
        );
    }
    if weeks > 0 && (weeks > 1 || random.bool()) {
        let starts = ["01-01", "02-29", "03-29", "10-25", "11-01", "12-31"];
        for start in starts {
            if start != "10-25" && random.bool() {
                continue;
            }
            text += &format!(
                "[[use-case.taf-2.season]]\nstart = \"{start}\"\nweek = \"w{}\"\n",
                random.usize(..weeks)
            );
        }
    }
    for date in [
        "2026-03-29",
        "03-29",
        "12-31",
        "01-01",
        "2026-10-25",
        "2038-01-19",
        "02-29",
    ] {
        if random.u8(..4) == 0 {
            text += &format!(
                "[[use-case.taf-2.special-day]]\ndate = \"{date}\"\nday = \"d{}\"\n",
                random.usize(..days)
            );
        }
    }
    let tables = billing(random, period);
    let inputs = import(random, 3);
    let world = World {
        tables,
        ..World::of((period, points), text, inputs)
    };
    build(random, world)
}

fn bounded(random: &mut Rng, taf: u8, scale: i64) -> History {
    let count = random.usize(0..4);
    let mut bound = 0;
    let bounds: Vec<String> = (0..count)
        .map(|_| {
            bound += random.i64(1..200) * scale;
            format!("\"{}.{}\"", bound / 10, bound % 10)
        })
        .collect();
    let use_case = format!(
        "[use-case.taf-{taf}]\n{}bounds = [{}]\n",
        step_registers(count + 1),
        bounds.join(", ")
    );
    billed(random, &[900, 900, 300, 15], 120, use_case)
}

pub fn taf3(random: &mut Rng) -> History {
    let scale = [1, 10, 200][random.usize(..3)];
    bounded(random, 3, scale)
}

pub fn taf4(random: &mut Rng) -> History {
    let scale = [1, 10, 50][random.usize(..3)];
    bounded(random, 4, scale)
}

pub fn taf5(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[900, 15], 130);
    let events =
        "events = [{ id = \"a\", step = 1 }, { id = \"b\", step = 2 }, { id = \"c\", step = 3 }]\n";
    let use_case = format!(
        "[use-case.taf-5]\n{}default-step = 2\n{events}",
        step_registers(3)
    );
    let trigger = |random: &mut Rng| {
        let event = |random: &mut Rng| match random.u8(..30) {
            0 => Trigger::Control(name(random, &["a"])),
            _ => Trigger::Event(name(random, &["a", "b", "c", "unknown"])),
        };
        (random.u8(..8) == 0).then(|| event(random))
    };
    let tables = billing(random, period);
    let inputs = import(random, 2);
    let world = World {
        tables,
        trigger,
        ..World::of((period, points), use_case, inputs)
    };
    build(random, world)
}

pub fn taf6(random: &mut Rng) -> History {
    let start = ["00:00", "06:00", "02:00"][random.usize(..3)];
    let near = match start {
        "00:00" => 21,
        "06:00" => 3,
        _ => 23,
    };
    let first = TIMES[random.usize(..TIMES.len())] / 86_400 - random.i64(0..50);
    let mut points = Vec::new();
    for day in first..first + random.i64(10..100) {
        if random.u8(..30) == 0 {
            continue;
        }
        let hours = near..near + 4;
        points.extend(hours.map(|hour| day * 86_400 + hour * 3_600));
    }
    if points.is_empty() {
        points.push(first * 86_400);
    }
    let use_case = format!("[use-case.taf-6]\nday-start = \"{start}\"\n");
    let world = World {
        trigger: |random| {
            (random.u8(..50) == 0).then(|| Trigger::Request(name(random, &RECIPIENTS)))
        },
        ..World::of((3_600, points), use_case, import(random, 2))
    };
    build(random, world)
}

fn series(random: &mut Rng, use_case: &str, periods: &[i64]) -> History {
    let (period, points) = grid(random, periods, 130);
    let tables = match random.u8(..3) {
        0 => String::new(),
        _ => send(
            random,
            &["registration-period", "day", "billing-period", "never"],
        ),
    } + &billing(random, period);
    let head = if random.bool() {
        "pseudonymous = true"
    } else {
        ""
    };
    let use_case = format!("[use-case.{use_case}]\n");
    let world = World {
        head: head.into(),
        tables,
        trigger: |random| (random.u8(..90) == 0).then(|| Trigger::Event(name(random, &["a"]))),
        ..World::of((period, points), use_case, import(random, 3))
    };
    build(random, world)
}

pub fn taf7(random: &mut Rng) -> History {
    series(random, "taf-7", &[900, 1_800])
}

pub fn taf8(random: &mut Rng) -> History {
    let (minima, maxima) = (random.u8(..4), random.u8(1..5));
    let use_case = format!("[use-case.taf-8]\nminima = {minima}\nmaxima = {maxima}\n");
    billed(random, &[900, 900, 15, 3_600], 120, use_case)
}

pub fn taf9(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[60, 900], 80);
    let trigger = |random: &mut Rng| {
        let request = |random: &mut Rng| Trigger::Request(name(random, &RECIPIENTS));
        (random.u8(..5) == 0).then(|| request(random))
    };
    let world = World {
        cumulative: false,
        trigger,
        ..World::of((period, points), "[use-case.taf-9]\n", power(random, 1))
    };
    build(random, world)
}

pub fn taf10(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[60, 900], 130);
    let inputs = power(random, 3);
    let mut use_case = "[use-case.taf-10]\n".to_owned();
    for _ in 0..random.usize(..4) {
        let obis = inputs[random.usize(..inputs.len())];
        let above = random.i16(50..280);
        let bounds = match random.u8(..3) {
            0 => format!("above = \"{above}.5\"\n"),
            1 => format!("below = \"-{above}\"\n"),
            _ => format!("above = \"{above}\"\nbelow = \"-250.0\"\n"),
        };
        use_case += &format!("[[use-case.taf-10.thresholds]]\nobis = \"{obis}\"\n{bounds}");
    }
    let tables = send(random, &["registration-period", "day", "never"]);
    let world = World {
        head: "pseudonymous = true".into(),
        tables,
        cumulative: false,
        ..World::of((period, points), use_case, inputs)
    };
    build(random, world)
}

pub fn taf11(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[60, 900], 130);
    let trigger = |random: &mut Rng| {
        let action = |random: &mut Rng| Trigger::Control(name(random, &["limit", "release"]));
        (random.u8(..6) == 0).then(|| action(random))
    };
    let tables = send(random, &["registration-period", "day"]);
    let inputs = import(random, 2);
    let use_case = "[use-case.taf-11]\n";
    let world = World {
        tables,
        trigger,
        ..World::of((period, points), use_case, inputs)
    };
    build(random, world)
}

pub fn taf12(random: &mut Rng) -> History {
    let (period, points) = grid(random, &[900, 15], 130);
    let use_case = format!(
        "[use-case.taf-12]\navailable = \"1-0:1.128.0*255\"\ncredit = \"{}.5\"\nwarning = \"{}\"\ntolerance = {}\nbreakers = [\"main\"]\n",
        random.u16(..2_000),
        random.u16(..300),
        random.i64(0..8) * period + random.i64(0..3)
    );
    let trigger = |random: &mut Rng| {
        let credit = |random: &mut Rng| Trigger::Credit(Decimal::new(random.i128(-50..4_000), -1));
        (random.u8(..12) == 0).then(|| credit(random))
    };
    let tables = billing(random, period) + &send(random, &["billing-period", "never"]);
    let inputs = import(random, 2);
    let world = World {
        tables,
        trigger,
        ..World::of((period, points), use_case, inputs)
    };
    build(random, world)
}

pub fn taf13(random: &mut Rng) -> History {
    series(random, "taf-13", &[60, 900])
}

pub fn taf14(random: &mut Rng) -> History {
    series(random, "taf-14", &[1, 5, 60])
}
