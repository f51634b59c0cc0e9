// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADM-*: sets of profiles are taken as a whole or not at all, and count from their instant to their end
//! (TR-03109-1, profiles; the way in is assumption `administration-local`).

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_rig::Capability;
use smgw_units::UtcNanos;

use super::logs::{self, SYSTEM_LOG};
use crate::bench::Bench;
use crate::profiles::OrderedTariff;

const NEEDS: &[Capability] = &[
    Capability::GatewayOrders,
    Capability::GatewayProfiles,
    Capability::Consumer,
    Capability::Technician,
    Capability::MeterSmlSimulated,
];

/// Names what is wrong with a set, the set, and a word its refusal must hold.
type BadSet = (&'static str, String, &'static str);

/// AII §7.9: atomic.
pub const ADM_02: Case<Bench> = Case {
    id: "ADM-02",
    version: 1,
    title: "A set of profiles with one fault is refused as a whole, and the old one stays in force",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["AII §7.9"],
    applies_if: &[],
    assumptions: &["administration-local", "log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "hand over sets with one new evaluation and one fault each: schema, unknown key, unknown meter, certificate, an evaluation of a meter that is not in the set, no document",
        "each is refused with the reason, and the system log tells so",
        "the list of sets is as before, the consumer sees the old evaluations and not the new one",
        "the same set without a fault is taken",
    ],
    run: |ctx, bench| {
        let tariff = tariff(bench)?;
        let consumer = bench.parties.consumer_of(tariff.meter)?;
        let technician = &bench.parties.technician;
        let before = bench.order(ctx, "GET", "/profiles", "")?;
        let newest = logs::read(ctx, bench, technician, SYSTEM_LOG)?;
        let newest = newest
            .last()
            .and_then(|entry| logs::number(entry, "recordNumber"));
        let sets = bad_sets(bench, tariff);
        for (fault, document, reason) in &sets {
            let answered = bench.order(ctx, "POST", "/profiles", document)?;
            ctx.expect(
                matches!(answered.status, 400 | 422) && answered.body.contains(reason),
                format!("a set with a fault: {fault}"),
                format!("HTTP 400 or 422, with \"{reason}\" in the reason"),
                answered.to_string(),
            );
        }
        let after = bench.order(ctx, "GET", "/profiles", "")?;
        ctx.expect(
            after == before,
            "sets that count now or later",
            before.to_string(),
            after.to_string(),
        );
        let evaluations = evaluations(ctx, bench, tariff)?;
        ctx.expect(
            evaluations.contains(&tariff.name) && !evaluations.contains(NEW),
            "evaluations the consumer sees",
            format!("{} and not {NEW}", tariff.name),
            evaluations,
        );
        bench.han_get(ctx, consumer, "/smgw/con/v1/rts/meters")?;

        let patience = ctx.phase(Duration::from_secs(60));
        let told = ctx.wait_for(patience, |ctx| {
            let entries = logs::read(ctx, bench, technician, SYSTEM_LOG)?;
            let refusals = entries.iter().filter(|entry| {
                logs::number(entry, "recordNumber") > newest
                    && logs::text(entry, "outcome") == "FAILURE"
                    && logs::text(entry, "message").contains("profile")
            });
            Ok((refusals.count() >= sets.len()).then_some(()))
        })?;
        ctx.expect(
            told.is_some(),
            "refusals in the system log",
            format!("{} failures", sets.len()),
            told.map_or("fewer", |()| "all"),
        );
        restore(ctx, bench)
    },
};

/// The first and the last grid point.
pub const ADM_03: Case<Bench> = Case {
    id: "ADM-03",
    version: 1,
    title: "A set of profiles counts from the second it begins to the second it ends, on grid points",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 profiles"],
    applies_if: &[],
    assumptions: &["administration-local", "han-json"],
    needs: NEEDS,
    budget: Duration::from_secs(420),
    steps: &[
        "hand over a set that begins with a grid point and ends three points later, with a load profile for all of it and one with a validity of two points",
        "a second before the set begins the consumer does not see its evaluations, a second after he does",
        "the lines of both are exactly those of their grid points: the readings at both ends belong to them",
        "the original list holds every grid point once",
    ],
    run: |ctx, bench| {
        const SECOND: Duration = Duration::from_secs(1);
        let tariff = tariff(bench)?;
        let period = bench.period();
        // The point before the first is still to come: what begins too early is seen.
        let points = bench.upcoming_grid_points(4, period + SECOND * 3);
        let &[first, second, third, fourth] = points.as_slice() else {
            return Err(Stop::Bench("four grid points were asked for".into()));
        };
        let whole = load_profile(bench, tariff, NEW, None);
        let part = load_profile(bench, tariff, PART, Some((second, third)));
        let number = bench.submit(ctx, &bench.ordered.document(Some(first), &(whole + &part)))?;
        ctx.note("set handed over", format!("number {number}, from {first}"));

        bench.pass_until_before(ctx, first, SECOND)?;
        let early = evaluations(ctx, bench, tariff)?;
        match bench.now_utc() < first {
            true => {
                let unseen = !early.contains(NEW);
                ctx.expect(unseen, "evaluations a second before", "not yet", early);
            }
            false => ctx.note("evaluations a second before", "the answer came too late"),
        }
        bench.pass_until(ctx, first, Duration::ZERO)?;
        let seen = evaluations(ctx, bench, tariff)?;
        ctx.expect(
            seen.contains(NEW) && seen.contains(PART),
            "evaluations a second after",
            "both",
            seen,
        );

        // Profiles of the same names that never count: they keep the lists in sight.
        let never = UtcNanos::from_seconds(FAR_AWAY);
        let later = UtcNanos::from_seconds(FAR_AWAY + 86_400);
        let shadows = [NEW, PART]
            .map(|name| load_profile(bench, tariff, name, Some((never, later))))
            .concat();
        bench.submit(ctx, &bench.ordered.document(Some(fourth), &shadows))?;
        ctx.progress(&format!("grid points until {fourth}"));
        bench.pass_until(ctx, fourth, SECOND)?;
        for (name, expected) in [(NEW, &points[..]), (PART, &[second, third][..])] {
            let patience = ctx.phase(period);
            let mut lines = Vec::new();
            ctx.wait_for(patience, |ctx| {
                let derived = bench.derived_lists(ctx, tariff.meter, name)?;
                let entries = derived.lists.iter().flat_map(|list| &list.entries);
                lines = entries.map(|entry| entry.target()).collect();
                Ok((lines.len() >= expected.len()).then_some(()))
            })?;
            ctx.expect(
                lines == expected,
                format!("lines of {name}"),
                told(expected),
                told(&lines),
            );
        }
        let list = bench.value_list(ctx, tariff.meter, tariff.register)?;
        let before = UtcNanos(first.0 - period.as_nanos() as i64);
        let entries = list.entries.iter().map(|entry| entry.target());
        let around: Vec<_> = entries
            .filter(|at| (before..=fourth).contains(at))
            .collect();
        let step = period.as_nanos() as i64;
        let expected: Vec<_> = (0..5)
            .map(|point| UtcNanos(before.0 + point * step))
            .collect();
        ctx.expect(
            around == expected,
            "original list around the set",
            told(&expected),
            told(&around),
        );
        restore(ctx, bench)
    },
};

/// The set the bench works with, again.
fn restore(ctx: &mut Ctx, bench: &Bench) -> Result<(), Stop> {
    let number = bench.submit(ctx, &bench.ordered.document(None, ""))?;
    ctx.note("a good set is taken", format!("number {number}"));
    bench.han_alive(ctx)
}

fn tariff(bench: &Bench) -> Result<&OrderedTariff, Stop> {
    let sml = bench.meters.sml()?.id;
    let mut tariffs = bench.ordered.tariffs.iter();
    tariffs
        .find(|tariff| tariff.meter == sml)
        .ok_or_else(|| Stop::Bench("the SML meter has no tariff".into()))
}

/// What the consumer is told of his evaluations.
fn evaluations(ctx: &mut Ctx, bench: &Bench, tariff: &OrderedTariff) -> Result<String, Stop> {
    let consumer = bench.parties.consumer_of(tariff.meter)?;
    let body = bench
        .han_get(ctx, consumer, "/smgw/con/v1/rts/evaluations")?
        .body;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let names = body.get("evaluations").and_then(|list| list.as_array());
    let names = names.into_iter().flatten();
    let names: Vec<_> = names.map(|one| logs::text(one, "name")).collect();
    Ok(names.join(", "))
}

fn load_profile(
    bench: &Bench,
    tariff: &OrderedTariff,
    name: &str,
    validity: Option<(UtcNanos, UtcNanos)>,
) -> String {
    let validity = validity.map_or(String::new(), |(from, to)| {
        format!("validity = {{ from = \"{from}\", to = \"{to}\" }}\n")
    });
    format!(
        "\n[[evaluation]]\nname = \"{name}\"\nregistration-period = {}\nrehearsal = true\ntime-zone = \"UTC\"\n\
         {validity}input = [{{ meter = \"{}\", obis = \"{}\" }}]\n[evaluation.use-case.taf-7]\n",
        bench.period().as_secs(),
        tariff.meter,
        tariff.register,
    )
}

fn bad_sets(bench: &Bench, tariff: &OrderedTariff) -> Vec<BadSet> {
    let new = load_profile(bench, tariff, NEW, None);
    let good = bench.ordered.document(None, &new);
    let with = |more: &str| bench.ordered.document(None, &(new.clone() + more));
    let meter = format!(
        "\n[[meter]]\nmeter = \"{STRANGE_METER}\"\nregisters = [\"{}\"]\n",
        tariff.register
    );
    let user = "\n[[user]]\nname = \"adm-02\"\nrole = \"technician\"\ncertificate = \
                \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\\n\"\n";
    let foreign = load_profile(bench, tariff, "adm-02.foreign", None)
        .replace(tariff.meter.as_str(), STRANGE_METER);
    vec![
        (
            "another schema",
            good.replacen("smgw.profiles/1", "smgw.profiles/9", 1),
            "smgw.profiles/9",
        ),
        (
            "a key nobody knows",
            good.replacen('\n', "\nsurprise = 1\n", 1),
            "surprise",
        ),
        ("a meter no line leads to", with(&meter), STRANGE_METER),
        ("a certificate that is none", with(user), "certificate"),
        (
            "an evaluation of a meter not in the set",
            with(&foreign),
            STRANGE_METER,
        ),
        ("no document", with("[["), ""),
    ]
}

fn told(points: &[UtcNanos]) -> String {
    let points: Vec<_> = points.iter().map(ToString::to_string).collect();
    points.join(", ")
}

/// Evaluations of these cases alone.
const NEW: &str = "adm-new";
const PART: &str = "adm-part";
const STRANGE_METER: &str = "1smb0000009999";
/// In the year 2100, in seconds.
const FAR_AWAY: i64 = 4_102_444_800;
