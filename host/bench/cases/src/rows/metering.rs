// SPDX-License-Identifier: MIT OR Apache-2.0
//! MET-*: what the gateway makes of meter readings, seen from the HAN interface.
//!
//! The simulated meters follow an exact energy law of bench time, so each value tells when it was truly
//! taken; the bench knows from its own tap when each telegram was truly on the wire.

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_evidence::results::Measurement;
use bench_rig::Capability;
use smgw_units::UtcNanos;

use crate::bench::Bench;
use crate::meters::Telegram;
use crate::values::{Entry, ValueList};

const NEEDS: &[Capability] = &[
    Capability::Gateway,
    Capability::Consumer,
    Capability::MeterSmlSimulated,
    Capability::MeterMbusSimulated,
];
const ASSUMPTIONS: &[&str] = &[
    "han-json",
    "status-word-text",
    "registration-tolerance",
    "receive-stamp-event",
];

/// DS §10.1, PTB-A 50.8: a value counts for a grid point only within ±1 % of the period.
pub const MET_01: Case<Bench> = Case {
    id: "MET-01",
    version: 1,
    title: "A value counts for a grid point only within ±1 % of the registration period",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["DS §10.1", "PTB-A 50.8"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "push exactly one SML telegram per period: on the grid point, inside and outside ±1 % on both sides",
        "inside: the entry carries exactly that telegram's value; outside: a gap with status bit 13",
        "the polled M-Bus meter's values were truly taken within ±1 % of their grid points",
    ],
    run: |ctx, bench| {
        let tolerance = bench.period() / 100;
        // As close to the limit as the rig can hit and tell it: ±100 ms around it, as 8.9 s and 9.1 s are at 900 s, or more
        // where instants are known less well.
        let known = bench.stamp_uncertainty() + Duration::from_millis(20);
        let guard = Duration::from_millis(100)
            .min(tolerance * 6 / 10)
            .max(known)
            .min(tolerance);
        let (inside, outside) = (signed(tolerance - guard), signed(tolerance + guard));
        let offsets = [0, inside, -inside, outside, -outside];
        let lead = quiet_lead(bench.period(), guard);
        let grid = bench.upcoming_grid_points(offsets.len(), lead);
        let pushes: Vec<_> = grid
            .iter()
            .zip(offsets)
            .map(|(at, offset)| UtcNanos(at.0 + offset))
            .collect();
        let restore = bench.meters.push_exactly_at(&pushes)?;
        ctx.progress(&format!("{} registration periods", offsets.len()));
        let last = *grid.last().unwrap_or(&UtcNanos(0));
        bench.pass_until(ctx, last, tolerance * 3)?;
        let [list, _] = decided_lists(ctx, bench, last)?;
        for (grid_point, offset) in grid.iter().zip(offsets) {
            judge_window(ctx, bench, &list, *grid_point, offset, tolerance)?;
        }
        drop(restore);
        judge_mbus_instants(ctx, bench, &grid, tolerance)
    },
};

/// DS §15: a missing value gives a flagged gap, never a number.
pub const MET_02: Case<Bench> = Case {
    id: "MET-02",
    version: 1,
    title: "A missing or damaged telegram leaves a flagged gap, never a value",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["DS §15"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "both meters silent over one grid point: a gap with status bit 13 or no entry",
        "only telegrams with a wrong checksum over the next: the same",
        "good telegrams again: the next entry carries a value",
    ],
    run: |ctx, bench| {
        let margin = Duration::from_secs(2).min(bench.period() / 4);
        let grid = bench.upcoming_grid_points(3, margin * 2);
        let [silent, damaged, good] = grid[..] else {
            return Err(Stop::Bench("three grid points were asked for".into()));
        };
        ctx.progress("silent meters");
        bench.pass_until_before(ctx, silent, margin)?;
        let quiet = bench.meters.silence()?;
        bench.pass_until(ctx, silent, margin)?;
        drop(quiet);
        ctx.progress("damaged telegrams");
        bench.pass_until_before(ctx, damaged, margin)?;
        let broken = bench.meters.damage()?;
        bench.pass_until(ctx, damaged, margin)?;
        drop(broken);
        ctx.progress("good telegrams again");
        bench.pass_until(ctx, good, margin)?;
        let [sml, mbus] = decided_lists(ctx, bench, good)?;
        for (meter, list) in [("SML", sml), ("M-Bus", mbus)] {
            for (what, at) in [("silent", silent), ("damaged telegrams only", damaged)] {
                let (ok, observed) = match entry_at(&list, at) {
                    None => (true, "no entry".to_owned()),
                    Some(entry) => (entry.gap() == Ok(true), describe(entry)),
                };
                ctx.expect(
                    ok,
                    format!("{meter} meter at {at}: {what}"),
                    "a gap with status bit 13, or no entry",
                    observed,
                );
            }
            let after = entry_at(&list, good);
            let ok = after.is_some_and(|entry| entry.gap() == Ok(false));
            let observed = after.map_or_else(|| "no entry".to_owned(), describe);
            let action = format!("{meter} meter at {good}: good again");
            expect_value(ctx, bench, good, ok, action, "a value".to_owned(), observed);
        }
        Ok(())
    },
};

/// VDE-AR-E 2418-6 draft 1.38: capture times are second-exact UTC and strictly rising.
pub const MET_03: Case<Bench> = Case {
    id: "MET-03",
    version: 1,
    title: "Capture times are second-exact UTC and strictly rising per list",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE-AR-E 2418-6 (draft) 1.38"],
    applies_if: &[],
    assumptions: &["han-json", "status-word-text"],
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "read every list since the start of the run, at least five values each",
        "target times lie on the grid and rise by one period; capture times are whole seconds and rise strictly",
        "capture time lies within the acceptance window of its target time, rounding considered",
    ],
    run: |ctx, bench| {
        ctx.progress("at least five values per list");
        let enough =
            |list: &ValueList| list.entries.iter().filter(|e| e.value.is_some()).count() >= 5;
        let patience = ctx.phase(bench.period() * 8);
        let lists = ctx.wait_for(patience, |ctx| {
            let lists = [sml_list(ctx, bench)?, mbus_list(ctx, bench)?];
            if lists.iter().all(enough) {
                return Ok(Some(lists));
            }
            ctx.pass_time(ctx.phase(Duration::from_secs(1)))?;
            Ok(None)
        })?;
        let Some(lists) = lists else {
            ctx.inconclusive("fewer than five values per list within eight periods");
            return Ok(());
        };
        for list in &lists {
            judge_order(ctx, bench, list);
        }
        Ok(())
    },
};

fn judge_order(ctx: &mut Ctx, bench: &Bench, list: &ValueList) {
    let period = signed(bench.period());
    let mut problems = Vec::new();
    let mut last: Option<&Entry> = None;
    let mut last_capture: Option<UtcNanos> = None;
    for entry in &list.entries {
        let target = entry.target();
        if target.0.rem_euclid(period) != 0 {
            problems.push(format!("{target} is not on the grid"));
        }
        if let Some(previous) = last
            && target.0 != previous.target().0 + period
        {
            problems.push(format!("{target} does not follow {}", previous.target()));
        }
        last = Some(entry);
        let Some(capture) = entry.capture_time.map(crate::values::utc) else {
            continue;
        };
        if capture.0.rem_euclid(1_000_000_000) != 0 {
            problems.push(format!("capture time {capture} is not a whole second"));
        }
        if last_capture.is_some_and(|previous| capture <= previous) {
            problems.push(format!("capture time {capture} does not rise"));
        }
        last_capture = Some(capture);
        // One second of slack: capture times carry whole seconds only.
        let distance = capture.signed_since(target).unsigned_abs();
        if distance > (period / 100) as u64 + 1_000_000_000 {
            problems.push(format!(
                "capture time {capture} is far from its target {target}"
            ));
        }
    }
    ctx.expect(
        problems.is_empty(),
        format!(
            "list {} with {} entries",
            list.logical_name,
            list.entries.len()
        ),
        "grid targets without holes, whole seconds, strictly rising",
        if problems.is_empty() {
            "so".to_owned()
        } else {
            problems.join(", ")
        },
    );
}

/// How far from a grid point a telegram may lie and still be the one pushed for it.
fn near(period: Duration) -> Duration {
    period / 4
}

/// How far ahead the first grid point of MET-01 must be: the last push of the usual pace has to lie before
/// everything that is near that grid point.
fn quiet_lead(period: Duration, guard: Duration) -> Duration {
    near(period) + guard
}

/// One grid point of MET-01: the telegram that was really sent decides what the entry must be.
fn judge_window(
    ctx: &mut Ctx,
    bench: &Bench,
    list: &ValueList,
    grid_point: UtcNanos,
    wanted_offset: i64,
    tolerance: Duration,
) -> Result<(), Stop> {
    let uncertainty = signed(bench.stamp_uncertainty());
    let sent: Vec<Telegram> = bench
        .meters
        .sml_telegrams_near(grid_point, near(bench.period()))?;
    let [telegram] = &sent[..] else {
        ctx.inconclusive(format!(
            "the rig put {} telegrams near {grid_point} instead of one",
            sent.len()
        ));
        return Ok(());
    };
    let offset = telegram.first_byte.signed_since(grid_point);
    let action = format!(
        "SML telegram {:+.1} ms from {grid_point} (wanted {:+.1} ms, limit ±{:.0} ms)",
        offset as f64 / 1e6,
        wanted_offset as f64 / 1e6,
        tolerance.as_secs_f64() * 1e3
    );
    let entry = entry_at(list, grid_point);
    let observed = entry.map_or_else(|| "no entry".to_owned(), describe);
    let limit = signed(tolerance);
    if offset.abs() + uncertainty <= limit {
        let same = entry.is_some_and(|entry| {
            entry.gap() == Ok(false)
                && entry
                    .decimal()
                    .is_some_and(|value| value.same_value(telegram.value))
        });
        let expected = format!("the value {}", telegram.value);
        expect_value(ctx, bench, grid_point, same, action, expected, observed);
    } else if offset.abs() - uncertainty > limit {
        let gap = entry.is_none_or(|entry| entry.gap() == Ok(true));
        if !gap && offset < 0 && bench.gateway_is_emulated() {
            // A late stamp brings an early telegram into the window; it never brings a late one there.
            ctx.inconclusive(format!(
                "{action}: saw {observed}, but the gateway is emulated, and its emulator promises no pace"
            ));
            return Ok(());
        }
        ctx.expect(
            gap,
            action,
            "a gap with status bit 13, or no entry",
            observed,
        );
    } else {
        ctx.inconclusive(format!("{action}: the limit lies inside the uncertainty"));
    }
    Ok(())
}

/// M-Bus values encode their instant: it must lie within the window of the grid point they stand for.
fn judge_mbus_instants(
    ctx: &mut Ctx,
    bench: &Bench,
    grid: &[UtcNanos],
    tolerance: Duration,
) -> Result<(), Stop> {
    let list = mbus_list(ctx, bench)?;
    let mut worst: Option<i64> = None;
    let mut n = 0;
    for grid_point in grid {
        let Some(entry) = entry_at(&list, *grid_point) else {
            continue;
        };
        let Some(value) = entry.decimal() else {
            continue;
        };
        let Some(taken) = bench.meters.mbus_value_taken_at(value)? else {
            ctx.fail(format!(
                "M-Bus value {value} at {grid_point} is none the meter ever showed"
            ));
            continue;
        };
        let error = taken.signed_since(*grid_point);
        if worst.is_none_or(|worst| error.abs() > worst.abs()) {
            worst = Some(error);
        }
        n += 1;
    }
    let Some(worst) = worst else {
        ctx.fail("the polled M-Bus meter left no value on any of these grid points");
        return Ok(());
    };
    bench.judge_upper(
        ctx,
        Measurement {
            name: "mbus-value-instant-error".into(),
            value: worst.unsigned_abs() as f64 / 1e6,
            unit: "ms".into(),
            limit: None,
            uncertainty: Some(bench.stamp_uncertainty().as_secs_f64() * 1e3),
            clock: Some("monotonic, host".into()),
            n: Some(n),
        },
        tolerance.as_secs_f64() * 1e3,
    )
}

/// A value must be there, unless the host stalled so long around the grid point that rig or device may have missed it.
pub(super) fn expect_value(
    ctx: &mut Ctx,
    bench: &Bench,
    grid_point: UtcNanos,
    ok: bool,
    action: String,
    expected: String,
    observed: String,
) {
    let window = Duration::from_secs(1);
    match bench.host_stalled_around(grid_point, window) {
        Some(stall) if !ok => ctx.inconclusive(format!(
            "{action}: saw {observed}, but the host stalled for {stall:.0?} around it"
        )),
        // As in TIM-15: nothing tells an emulator's pauses from those of the gateway.
        None if !ok && bench.gateway_is_emulated() => ctx.inconclusive(format!(
            "{action}: saw {observed}, but the gateway is emulated, and its emulator promises no pace"
        )),
        _ => {
            ctx.expect(ok, action, expected, observed);
        }
    }
}

/// Both lists once the gateway has decided the grid point `last`. One that keeps gaps by leaving them out never
/// shows an entry for it, so more than half a period is not waited.
fn decided_lists(ctx: &mut Ctx, bench: &Bench, last: UtcNanos) -> Result<[ValueList; 2], Stop> {
    let decided = |list: &ValueList| list.entries.iter().any(|entry| entry.target() >= last);
    let patience = ctx.phase(bench.period() / 2);
    let lists = ctx.wait_for(patience, |ctx| {
        let lists = [sml_list(ctx, bench)?, mbus_list(ctx, bench)?];
        if lists.iter().all(decided) {
            return Ok(Some(lists));
        }
        ctx.pass_time(ctx.phase(Duration::from_millis(250)))?;
        Ok(None)
    })?;
    match lists {
        Some(lists) => Ok(lists),
        None => Ok([sml_list(ctx, bench)?, mbus_list(ctx, bench)?]),
    }
}

fn sml_list(ctx: &mut Ctx, bench: &Bench) -> Result<ValueList, Stop> {
    let role = bench.meters.sml()?;
    bench.value_list(ctx, role.id, role.register)
}

fn mbus_list(ctx: &mut Ctx, bench: &Bench) -> Result<ValueList, Stop> {
    let role = bench.meters.mbus()?;
    bench.value_list(ctx, role.id, role.register)
}

pub(super) fn entry_at(list: &ValueList, at: UtcNanos) -> Option<&Entry> {
    list.entries.iter().find(|entry| entry.target() == at)
}

pub(super) fn describe(entry: &Entry) -> String {
    match (entry.gap(), entry.decimal()) {
        (Err(contradiction), _) => contradiction,
        (Ok(true), _) => format!(
            "gap ({})",
            entry.gap.as_deref().unwrap_or("no reason given")
        ),
        (Ok(false), Some(value)) => format!("value {value}"),
        (Ok(false), None) => format!("value {:?}", entry.value),
    }
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::grid_points_after;

    /// The usual pace goes on until the pushes of MET-01 are ordered, so whatever was pushed until then must lie
    /// outside the window, at whatever phase of the period the case begins.
    #[test]
    fn no_push_of_the_usual_pace_is_near_the_first_grid_point() {
        for period in [Duration::from_secs(15), Duration::from_secs(900)] {
            let guard = Duration::from_millis(100);
            for phase in 0..period.as_millis() as i64 / 50 {
                let now = UtcNanos(1_000 * period.as_nanos() as i64 + phase * 50_000_000);
                let grid = grid_points_after(now, period, 5, quiet_lead(period, guard));
                let nearest = grid[0].0 - signed(near(period));
                assert!(nearest > now.0 + signed(guard), "{period:?}, phase {phase}");
                assert!(grid.is_sorted() && grid.len() == 5);
            }
        }
    }
}
