// SPDX-License-Identifier: MIT OR Apache-2.0
//! LOG-*: what is exported of the log books, and that nothing is missing from the calibration log: neither by order of
//! anybody, nor after a flood (VDE-AR-E 2418-6 2.75 to 2.101; exports seen in the field).

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_rig::Capability;
use hsm_api::{Hash, PublicKey, SecurityModule, signature};
use hsm_soft::SoftModule;
use jiff::Timestamp;
use rustls::server::ParsedCertificate;
use serde_json::Value;

use super::logs::{self, SYSTEM_LOG, number, text};
use crate::bench::{Bench, Exported};

const NEEDS: &[Capability] = &[
    Capability::GatewayOrders,
    Capability::Consumer,
    Capability::Technician,
];
const CALIBRATION: &str = "calibration";

/// Not erasable, for the device's life.
pub const LOG_04: Case<Bench> = Case {
    id: "LOG-04",
    version: 1,
    title: "Nobody deletes or overwrites the calibration log",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["TR-03109-1 calibration log"],
    applies_if: &[],
    assumptions: &["administration-local", "log-export", "log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "export the calibration log",
        "consumer, technician and a CLS try DELETE, POST and PUT on it and on the logs they may read; the administrator tries on his socket",
        "DELETE and POST are refused; what the first export held stands unchanged at the beginning of a second one",
    ],
    run: |ctx, bench| {
        let before = export(ctx, bench, CALIBRATION, None)?;
        let consumer = bench.parties.consumer()?;
        for party in [consumer, &bench.parties.technician, &bench.parties.cls_a] {
            for path in [
                "/smgw/con/v1/exp/log",
                "/smgw/con/v1/exp/log/calibration",
                SYSTEM_LOG,
                "/smgw/srv/v1/exp/log/calibration",
            ] {
                for method in ["DELETE", "POST", "PUT"] {
                    let body = br#"{"entries":[]}"#;
                    let answer = bench.han_request(ctx, Some(party), method, path, body);
                    ctx.check()?;
                    let (refused, observed) = match answer {
                        Ok(response) => (
                            matches!(response.status, 401..=405),
                            format!("HTTP {}", response.status),
                        ),
                        Err(failure) => (true, failure.to_string()),
                    };
                    let action = format!("{method} {path} by {}", party.name());
                    match method {
                        // What PUT is answered with is CON-07's to judge; here counts what it does.
                        "PUT" => ctx.note(action, observed),
                        _ => {
                            ctx.expect(refused, action, "refused", observed);
                        }
                    }
                }
            }
        }
        for path in ["/log/calibration", "/log", "/profiles"] {
            let answered = bench.order(ctx, "DELETE", path, "")?;
            ctx.expect(
                matches!(answered.status, 404 | 405),
                format!("DELETE {path} by the administrator"),
                "HTTP 404 or 405",
                answered.to_string(),
            );
        }
        let after = export(ctx, bench, CALIBRATION, None)?;
        ctx.expect(
            after.starts_with(&before),
            "entries that were there before",
            format!("{} unchanged", before.len()),
            match after.starts_with(&before) {
                true => format!("{} unchanged", before.len()),
                false => format!("{} entries, not the same", after.len()),
            },
        );
        bench.han_alive(ctx)
    },
};

/// Seen in the field.
pub const LOG_07: Case<Bench> = Case {
    id: "LOG-07",
    version: 1,
    title: "An exported log is signed by the gateway and holds its range with both ends",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE 2.77", "log exports in the field"],
    applies_if: &[],
    assumptions: &["log-export", "log-han"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "the technician reads the system log; export it from the instant of one of its entries to that of another",
        "every part: the gateway's certificate lies beside it, its signature verifies over the part and over no changed part",
        "the parts hold exactly the entries that the technician read in that range, the two at its ends among them",
        "the calibration log likewise, whole; a range without entries is a signed part without entries",
    ],
    run: |ctx, bench| {
        let read = logs::read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        let ends = [read.len() / 4, read.len() / 2].map(|index| read.get(index));
        let [Some(first), Some(last)] = ends else {
            ctx.inconclusive("the system log has too few entries");
            return Ok(());
        };
        let (from, to) = (text(first, "timestamp"), text(last, "timestamp"));
        let exported = export(ctx, bench, "system", Some((from, to)))?;
        let instant = |entry: &Value| text(entry, "timestamp").parse::<Timestamp>().ok();
        let range = instant(first)..=instant(last);
        let wanted = read.iter().filter(|entry| range.contains(&instant(entry)));
        let wanted: Vec<_> = wanted.cloned().collect();
        // What the HAN tells of an entry beyond this is for other cases to judge.
        let same = |ours: &&Value, theirs: &&Value| {
            ["recordNumber", "timestamp", "message"]
                .iter()
                .all(|field| ours.get(field) == theirs.get(field))
        };
        let missing = wanted.iter().find(|entry| {
            let mut told = exported.iter();
            !told.any(|told| same(&told, entry))
        });
        ctx.expect(
            missing.is_none() && span(&exported) == span(&wanted),
            format!("entries from {from} to {to}"),
            span(&wanted),
            match missing {
                None => span(&exported),
                Some(entry) => format!("{}, without {entry}", span(&exported)),
            },
        );
        export(ctx, bench, CALIBRATION, None)?;
        let long_ago = Some(("2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z"));
        let nothing = export(ctx, bench, "system", long_ago)?;
        ctx.expect(
            nothing.is_empty(),
            "entries of 2001",
            "none",
            nothing.len().to_string(),
        );
        bench.han_alive(ctx)
    },
};

/// VDE 2.78.
pub const LOG_08: Case<Bench> = Case {
    id: "LOG-08",
    version: 1,
    title: "A flood of refused connections and requests is counted, and no calibration event gets lost in it",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["VDE 2.78"],
    applies_if: &[],
    assumptions: &["administration-local", "log-export", "log-han"],
    needs: &[
        Capability::GatewayOrders,
        Capability::GatewayProfiles,
        Capability::Consumer,
        Capability::Technician,
    ],
    budget: Duration::from_secs(300),
    steps: &[
        "100 times a stranger connects and the technician asks for what is not there; four times in between a set of profiles becomes active",
        "the calibration log has exactly one new entry for each activation",
        "the system log counts the requests by its repetition counter: all of them, in at most a tenth as many entries",
    ],
    run: |ctx, bench| {
        let technician = &bench.parties.technician;
        wait_for_quiet(ctx, bench)?;
        let before = export(ctx, bench, CALIBRATION, None)?;
        let newest = logs::read(ctx, bench, technician, SYSTEM_LOG)?;
        let newest = newest
            .last()
            .and_then(|entry| number(entry, "recordNumber"));
        let mut refused = 0;
        let mut activated = Vec::new();
        for round in 1..=FLOOD {
            let _ = bench.han_request(ctx, Some(&bench.parties.stranger), "GET", "/smgw/", &[]);
            let answer = bench.han_request(ctx, Some(technician), "GET", NOWHERE, &[]);
            refused += u64::from(answer.is_ok_and(|answer| answer.status == 404));
            ctx.check()?;
            if round % (FLOOD / 4) == FLOOD / 8 {
                activated.push(bench.submit(ctx, &bench.ordered.document(None, ""))?);
            }
        }
        let after = export(ctx, bench, CALIBRATION, None)?;
        let new = after.get(before.len()..).unwrap_or_default();
        let told: Vec<_> = new.iter().map(|entry| text(entry, "message")).collect();
        for number in &activated {
            let number = number.to_string();
            let own = new.iter().filter(|entry| {
                let words = entry.get("messageExtensions").and_then(Value::as_array);
                words.is_some_and(|words| words.iter().any(|word| word == number.as_str()))
            });
            let own = own.count();
            ctx.expect(
                own == 1,
                format!("set {number} became active: calibration entries"),
                "1",
                format!("{own} of [{}]", told.join("; ")),
            );
        }

        let patience = ctx.phase(Duration::from_secs(60));
        let mut counted = 0;
        let mut written = 0;
        ctx.wait_for(patience, |ctx| {
            let entries = logs::read(ctx, bench, technician, SYSTEM_LOG)?;
            let own = entries.iter().filter(|entry| {
                number(entry, "recordNumber") > newest && text(entry, "message").contains(NOWHERE)
            });
            let own: Vec<_> = own.collect();
            written = own.len();
            counted = runs(&own);
            Ok((counted >= refused).then_some(()))
        })?;
        if refused < FLOOD / 2 {
            ctx.inconclusive(format!("only {refused} of {FLOOD} requests were answered"));
        }
        ctx.expect(
            counted == refused && written as u64 <= FLOOD / 10,
            "refused requests by the system log",
            format!("{refused} in at most {} entries", FLOOD / 10),
            format!("{counted} in {written} entries"),
        );
        bench.han_alive(ctx)
    },
};

/// Refusals of cases before this one may be counted together with those to come, as long as they are fresh.
fn wait_for_quiet(ctx: &mut Ctx, bench: &Bench) -> Result<(), Stop> {
    const FRESH: i64 = 21;
    ctx.progress("earlier refusals run out");
    let patience = ctx.phase(Duration::from_secs(90));
    ctx.wait_for(patience, |ctx| {
        let entries = logs::read(ctx, bench, &bench.parties.technician, SYSTEM_LOG)?;
        let refusals = entries.iter().rev();
        let newest = refusals
            .filter(|entry| text(entry, "message").contains("HAN request"))
            .find_map(|entry| text(entry, "timestamp").parse::<Timestamp>().ok());
        let now = bench.now_utc().seconds();
        if newest.is_none_or(|newest| newest.as_second() + FRESH < now) {
            return Ok(Some(()));
        }
        ctx.pass_time(ctx.phase(Duration::from_secs(1)))?;
        Ok(None)
    })
    .map(|_| ())
}

/// How many events stand behind these entries: of each run the highest count.
fn runs(entries: &[&Value]) -> u64 {
    let first = |entry: &Value| number(entry, "parentRecordNumber");
    let begins = entries.iter().filter(|entry| first(entry).is_none());
    let count = |entry: &Value| number(entry, "repetitionCounter").unwrap_or(0);
    begins
        .map(|begin| {
            let own = number(begin, "recordNumber");
            let later = entries.iter().filter(|entry| first(entry) == own);
            later
                .map(|entry| count(entry))
                .max()
                .unwrap_or(0)
                .max(count(begin))
        })
        .sum()
}

/// Exports a book, judges everything about it but what it tells, and gives its entries.
fn export(
    ctx: &mut Ctx,
    bench: &Bench,
    book: &str,
    range: Option<(&str, &str)>,
) -> Result<Vec<Value>, Stop> {
    let Exported { certificate, parts } = bench.export_log(ctx, book, range)?;
    let pinned = &bench.gateway_certificate;
    let key = ParsedCertificate::try_from(pinned)
        .ok()
        .and_then(|parsed| PublicKey::from_spki_der(&parsed.subject_public_key_info()));
    let Some(key) = key else {
        return Err(Stop::Bench(
            "the gateway's certificate has no key on our curves".into(),
        ));
    };
    let module = SoftModule::new();
    let verifies = |document: &[u8], plain: &[u8]| {
        let digest = Hash::of(key.curve).digest(document);
        module.verify_digest(&key, &digest, plain).unwrap_or(false)
    };
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    if certificate != pinned.as_ref() {
        faults.push("the certificate is not the gateway's".to_owned());
    }
    for (index, (document, der)) in parts.iter().enumerate() {
        let part = index + 1;
        let plain = signature::plain_from_der(key.curve, der).unwrap_or_default();
        if !verifies(document, &plain) {
            faults.push(format!("part {part}: the signature does not verify"));
        }
        let mut changed = document.clone();
        if let Some(byte) = changed.last_mut() {
            *byte ^= 1;
        }
        if verifies(&changed, &plain) {
            faults.push(format!(
                "part {part}: the signature fits a changed part too"
            ));
        }
        let told: Value = serde_json::from_slice(document).unwrap_or_default();
        let is = |field: &str, expected: &Value| told.get(field) == Some(expected);
        let fits = is("schema", &"smgw.log/1".into())
            && is("gateway", &bench.gateway_id().into())
            && is("book", &book.into())
            && is("part", &part.into())
            && is("parts", &parts.len().into());
        let own = told.get("entries").and_then(Value::as_array);
        match own {
            Some(own) if fits && own.len() <= MOST_ENTRIES => entries.extend(own.iter().cloned()),
            _ => faults.push(format!("part {part}: not in its form")),
        }
    }
    for pair in entries.windows(2) {
        let [earlier, later] = pair else { continue };
        let next = number(earlier, "recordNumber").map(|number| number + 1);
        if number(later, "recordNumber") != next || later.get("previousHash") != earlier.get("hash")
        {
            faults.push(format!("record {next:?} does not follow"));
        }
    }
    ctx.expect(
        faults.is_empty(),
        format!("export of the {book} log"),
        "signed by the gateway, complete",
        match faults.is_empty() {
            true => format!("{} parts, {}", parts.len(), span(&entries)),
            false => faults.join("; "),
        },
    );
    Ok(entries)
}

fn span(entries: &[Value]) -> String {
    let of = |entry: Option<&Value>| entry.and_then(|entry| number(entry, "recordNumber"));
    match (of(entries.first()), of(entries.last())) {
        (Some(first), Some(last)) => format!("records {first} to {last}"),
        _ => "no entries".to_owned(),
    }
}

/// Refused connections, and as many refused requests. The row's 10^5 take hours of handshakes.
const FLOOD: u64 = 100;
const NOWHERE: &str = "/smgw/srv/v1/flood";
/// Exports in the field refuse more than this in one part.
const MOST_ENTRIES: usize = 1_000;
