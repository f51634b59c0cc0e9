// SPDX-License-Identifier: MIT OR Apache-2.0
//! LOG-*: the log books as the HAN shows them (VDE-AR-E 2418-6 2.75 to 2.101).

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop, StopExt};
use bench_rig::Capability;
use serde_json::Value;
use smgw_peers::net::Party;

use crate::bench::Bench;

const NEEDS: &[Capability] = &[Capability::Gateway, Capability::Consumer];
const CONSUMER_LOG: &str = "/smgw/con/v1/exp/log";
/// What the technician reads.
pub(super) const SYSTEM_LOG: &str = "/smgw/srv/v1/exp/log";

/// VDE 2.77.
pub const LOG_01: Case<Bench> = Case {
    id: "LOG-01",
    version: 1,
    title: "Record numbers rise by one, and every entry hangs on the one before",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE 2.77"],
    applies_if: &[],
    assumptions: &["log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "twelve requests for resources that are not there",
        "the system log holds them: numbers without gap or repetition, each entry with the hash of the one before",
    ],
    run: |ctx, bench| {
        for number in 0..12 {
            let path = format!("/smgw/srv/v1/none-{number}");
            let _ = bench.han_request(ctx, Some(&bench.parties.technician), "GET", &path, &[]);
            ctx.check()?;
        }
        let found = wait_for_entry(ctx, bench, &bench.parties.technician, SYSTEM_LOG, |entry| {
            text(entry, "message").contains("none-11")
        })?;
        ctx.expect(
            found.is_some(),
            "the last request in the system log",
            "an entry",
            told(&found),
        );
        let entries = read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        ctx.expect(
            entries.len() >= 12,
            "entries of the system log",
            "at least 12",
            entries.len().to_string(),
        );
        for pair in entries.windows(2) {
            let [before, after] = pair else { continue };
            let (earlier, later) = (
                number(before, "recordNumber"),
                number(after, "recordNumber"),
            );
            let follows = earlier.is_some() && later == earlier.map(|number| number + 1);
            let chained = after.get("previousHash") == before.get("hash");
            if !(follows && chained) {
                ctx.fail(format!(
                    "record {earlier:?} is followed by {later:?}, chained: {chained}"
                ));
            }
        }
        Ok(())
    },
};

/// VDE 2.79 to 2.101.
pub const LOG_02: Case<Bench> = Case {
    id: "LOG-02",
    version: 1,
    title: "An entry tells when, how grave, what, who, and how it ended",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE 2.79", "VDE 2.82", "VDE 2.88", "VDE 2.91", "VDE 2.96"],
    applies_if: &[],
    assumptions: &["log-han", "log-event-ids"],
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "the consumer reads his meters",
        "his log holds an entry for it with time, seconds index, level, event id, outcome and his name",
        "so are all entries he and the technician can read",
    ],
    run: |ctx, bench| {
        let consumer = bench.parties.consumer()?;
        let resource = "/smgw/con/v1/rts/meters";
        bench.han_get(ctx, consumer, resource)?;
        let found = wait_for_entry(ctx, bench, consumer, CONSUMER_LOG, |entry| {
            text(entry, "message").contains(resource)
                && text(entry, "userIdentity") == consumer.name()
        })?;
        ctx.expect(
            found.is_some(),
            "the reading in his log",
            "an entry with his name",
            told(&found),
        );
        for (party, path) in [
            (consumer, CONSUMER_LOG),
            (&bench.parties.technician, SYSTEM_LOG),
        ] {
            for entry in read(ctx, bench, party, path)? {
                let stamp = text(&entry, "timestamp").parse::<jiff::Timestamp>().is_ok();
                let level = ["INFO", "WARNING", "ERROR", "FATAL", "EXTENSION"]
                    .contains(&text(&entry, "level"));
                let outcome = ["SUCCESS", "FAILURE"].contains(&text(&entry, "outcome"));
                let numbers = ["recordNumber", "repetitionCounter"]
                    .iter()
                    .all(|field| number(&entry, field) >= Some(1));
                let index = number(&entry, "secondsIndex").is_some();
                let event =
                    !text(&entry, "eventId").is_empty() && !text(&entry, "message").is_empty();
                if !(stamp && level && outcome && numbers && index && event) {
                    ctx.fail(format!("{path}: incomplete entry {entry}"));
                }
            }
        }
        Ok(())
    },
};

/// VDE 2.88.
pub const LOG_03: Case<Bench> = Case {
    id: "LOG-03",
    version: 1,
    title: "The seconds index rises over a restart and never falls",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE 2.88"],
    applies_if: &[],
    assumptions: &["log-han", "log-seconds-index"],
    needs: &[
        Capability::Gateway,
        Capability::GatewayRestart,
        Capability::GatewayStore,
        Capability::Consumer,
    ],
    budget: Duration::from_secs(120),
    steps: &[
        "note the newest seconds index of the system log, restart the gateway",
        "the first entry behind it has a higher one, and none is below that of the entry before",
    ],
    run: |ctx, bench| {
        let before = read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        let Some(newest) = before.last().cloned() else {
            ctx.fail("the system log is empty");
            return Ok(());
        };
        ctx.progress("gateway restarts");
        bench.restart_gateway(ctx)?;
        let entries = read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        let index = |entry: &Value| number(entry, "secondsIndex");
        let is_new =
            |entry: &&Value| number(entry, "recordNumber") > number(&newest, "recordNumber");
        let started = entries.iter().filter(is_new).map(index).max().flatten();
        ctx.expect(
            started > index(&newest),
            "seconds index behind the restart",
            format!("above {:?}", index(&newest)),
            format!("{started:?}"),
        );
        for pair in entries.windows(2) {
            let [before, after] = pair else { continue };
            if index(after) < index(before) {
                ctx.fail(format!(
                    "the seconds index falls from {:?} to {:?}",
                    index(before),
                    index(after)
                ));
            }
        }
        bench.han_alive(ctx)
    },
};

/// TR-03109-1: a consumer's log is his alone.
pub const LOG_05: Case<Bench> = Case {
    id: "LOG-05",
    version: 1,
    title: "A consumer log is read by its consumer alone, and nobody in the HAN erases a log",
    level: Level::MustNot,
    interface: Interface::Han,
    requirements: &["TR-03109-1 consumer log"],
    applies_if: &[],
    assumptions: &["log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "every consumer reads his meters, then his log: only his own name stands in it, and his reading does",
        "a consumer does not get the system log, the technician no consumer's log, nobody the calibration log",
        "DELETE on a log is refused",
    ],
    run: |ctx, bench| {
        for user in &bench.parties.consumers {
            let name = user.party.name();
            bench.han_get(ctx, &user.party, "/smgw/con/v1/rts/meters")?;
            let own = wait_for_entry(ctx, bench, &user.party, CONSUMER_LOG, |entry| {
                text(entry, "userIdentity") == name
            })?;
            ctx.expect(
                own.is_some(),
                format!("log of {name}"),
                "his own reading",
                told(&own),
            );
            for entry in read(ctx, bench, &user.party, CONSUMER_LOG)? {
                let who = text(&entry, "userIdentity");
                if !who.is_empty() && who != name {
                    ctx.fail(format!("{name} reads what {who} did"));
                }
            }
        }
        let consumer = bench.parties.consumer()?;
        for (party, method, path) in [
            (consumer, "GET", SYSTEM_LOG),
            (consumer, "GET", "/smgw/con/v1/exp/log/calibration"),
            (&bench.parties.technician, "GET", CONSUMER_LOG),
            (
                &bench.parties.technician,
                "GET",
                "/smgw/srv/v1/exp/log/calibration",
            ),
            (consumer, "DELETE", CONSUMER_LOG),
            (&bench.parties.technician, "DELETE", SYSTEM_LOG),
        ] {
            let answer = bench.han_request(ctx, Some(party), method, path, &[]);
            ctx.check()?;
            let (ok, observed) = match answer {
                Ok(response) => (
                    matches!(response.status, 403..=405),
                    format!("HTTP {}", response.status),
                ),
                Err(failure) => (false, failure.to_string()),
            };
            ctx.expect(
                ok,
                format!("{method} {path} by {}", party.name()),
                "HTTP 403, 404 or 405",
                observed,
            );
        }
        bench.han_alive(ctx)
    },
};

/// What is refused is told.
pub const LOG_06: Case<Bench> = Case {
    id: "LOG-06",
    version: 1,
    title: "A refused certificate and a refused request leave an entry within 60 s",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["derived from PP-0073 O.Log"],
    applies_if: &[],
    assumptions: &["log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "a stranger connects, a consumer asks for the technician's status",
        "the system log holds a failure for each",
    ],
    run: |ctx, bench| {
        let last = read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        let last = last.last().and_then(|entry| number(entry, "recordNumber"));
        let consumer = bench.parties.consumer()?;
        let _ = bench.han_request(ctx, Some(&bench.parties.stranger), "GET", "/smgw/", &[]);
        let _ = bench.han_request(ctx, Some(consumer), "GET", "/smgw/srv/v1/rts/status", &[]);
        ctx.check()?;
        let is_new = move |entry: &Value| {
            number(entry, "recordNumber") > last && text(entry, "outcome") == "FAILURE"
        };
        let refused = wait_for_entry(ctx, bench, &bench.parties.technician, SYSTEM_LOG, |entry| {
            is_new(entry) && text(entry, "userIdentity").is_empty()
        })?;
        ctx.expect(
            refused.is_some(),
            "the refused certificate",
            "a failure in the system log",
            told(&refused),
        );
        let asked = wait_for_entry(ctx, bench, &bench.parties.technician, SYSTEM_LOG, |entry| {
            is_new(entry) && text(entry, "userIdentity") == consumer.name()
        })?;
        ctx.expect(
            asked.is_some(),
            "the refused request",
            "a failure with the user's name",
            told(&asked),
        );
        Ok(())
    },
};

/// The entries of a log in the HAN, oldest first.
pub(super) fn read(
    ctx: &mut Ctx,
    bench: &Bench,
    party: &Party,
    path: &str,
) -> Result<Vec<Value>, Stop> {
    let body = bench.han_get(ctx, party, path)?.body;
    let mut log: Value = serde_json::from_slice(&body).or_rig("reading a log")?;
    match log.get_mut("entries").map(Value::take) {
        Some(Value::Array(entries)) => Ok(entries),
        _ => {
            ctx.fail(format!("GET {path}: no entries in the answer"));
            Err(Stop::Done)
        }
    }
}

/// The first entry that fits, within 60 s.
fn wait_for_entry(
    ctx: &mut Ctx,
    bench: &Bench,
    party: &Party,
    path: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result<Option<Value>, Stop> {
    let patience = ctx.phase(PATIENCE);
    ctx.wait_for(patience, |ctx| {
        Ok(read(ctx, bench, party, path)?
            .into_iter()
            .find(|entry| fits(entry)))
    })
}

/// A text of an entry; empty when it is not there.
pub(super) fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an entry.
pub(super) fn number(entry: &Value, field: &str) -> Option<u64> {
    entry.get(field).and_then(Value::as_u64)
}

fn told(entry: &Option<Value>) -> String {
    entry.as_ref().map_or_else(
        || "none".to_owned(),
        |entry| text(entry, "message").to_owned(),
    )
}

/// Row LOG-06: within 60 s.
const PATIENCE: Duration = Duration::from_secs(60);
