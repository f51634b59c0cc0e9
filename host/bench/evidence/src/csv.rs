// SPDX-License-Identifier: MIT OR Apache-2.0
//! `results.csv` (RFC 4180): one row per measurement, and one per case that measured nothing.

use crate::results::{CaseResult, Measurement, Results};

/// Renders the results as CSV with a header row.
pub fn csv(results: &Results) -> String {
    let mut out = String::from(
        "run,case,version,interface,level,verdict,reason,measurement,value,unit,limit,uncertainty,clock,n,requirements\r\n",
    );
    for case in &results.cases {
        if case.measurements.is_empty() {
            row(&mut out, results, case, None);
        }
        for measurement in &case.measurements {
            row(&mut out, results, case, Some(measurement));
        }
    }
    out
}

fn row(out: &mut String, results: &Results, case: &CaseResult, measured: Option<&Measurement>) {
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let fields = [
        field(&results.run.id),
        field(&case.id),
        case.version.to_string(),
        field(&case.interface),
        field(&case.level),
        case.verdict.name().to_owned(),
        field(&case.reason),
        field(measured.map_or("", |m| &m.name)),
        number(measured.map(|m| m.value)),
        field(measured.map_or("", |m| &m.unit)),
        field(
            measured
                .and_then(|m| m.limit.as_deref())
                .unwrap_or_default(),
        ),
        number(measured.and_then(|m| m.uncertainty)),
        field(
            measured
                .and_then(|m| m.clock.as_deref())
                .unwrap_or_default(),
        ),
        measured
            .and_then(|m| m.n)
            .map(|n| n.to_string())
            .unwrap_or_default(),
        field(&case.requirements.join(" ")),
    ];
    out.push_str(&fields.join(","));
    out.push_str("\r\n");
}

/// Quotes a text. Texts come from devices too: one that a spreadsheet would run as a formula gets an apostrophe.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    if formula || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
