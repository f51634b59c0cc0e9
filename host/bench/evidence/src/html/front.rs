// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page one of the report: identification, outcome, what needs attention, what was not executed.

use maud::{Markup, html};

use super::{anchor, chart, chip, mark};
use crate::markdown::number;
use crate::results::{CaseResult, Results, Verdict};

/// What the report is about, in a few words.
pub(super) fn subject(results: &Results) -> String {
    let dut = &results.run.dut;
    let product = dut
        .get("product")
        .or_else(|| dut.get("name"))
        .or_else(|| dut.values().next());
    let product = product.map_or(results.rig.name.as_str(), String::as_str);
    match dut.get("version") {
        Some(version) => format!("{product} {version}"),
        None => product.to_owned(),
    }
}

/// The whole page.
pub(super) fn page(results: &Results) -> Markup {
    let run = &results.run;
    html! {
        header.masthead {
            div {
                p.eyebrow { "Certification rehearsal · Smart Meter Gateway · BSI TR-03109" }
                h1 { (subject(results)) }
                p.stamp { (instant(&run.started)) " – " (instant(&run.ended)) " UTC" }
            }
            (headline(results))
        }
        p.disclaimer {
            strong { "This is a rehearsal, not a certificate." }
            " It tells what a certification test is likely to find; no accreditation stands behind it."
        }
        (tally(results))
        @if !run.notes.is_empty() {
            ul.notes { @for note in &run.notes { li { (note) } } }
        }
        (attention(results))
        div.cards {
            section.card {
                h3 { "Device under test" }
                dl { @for (key, value) in dut_lines(results) { dt { (key) } dd { (value) } } }
            }
            section.card {
                h3 { "Run" }
                dl {
                    dt { "id" } dd.mono { (run.id) }
                    dt { "ended" } dd { (run.reason) ", " (instant(&run.ended)) " UTC" }
                    dt { "tool" } dd { (run.tool) }
                    dt { "revision" } dd.mono { (run.revision) }
                    dt { "host" } dd { (run.host) }
                    dt { "seed" } dd.mono { (run.seed) }
                }
            }
            section.card.wide {
                h3 { "Rig " span.name { (results.rig.name) } }
                p { (results.rig.summary) }
                @if !results.rig.labels.is_empty() {
                    p.labels { @for (key, value) in &results.rig.labels { span.tag { (key) " = " (value) } } }
                }
                dl.roles {
                    @for (role, player) in &results.rig.roles { div { dt { (role) } dd { (player) } } }
                }
            }
            section.card.wide {
                h3 { "Clock, uncertainty and decision rule" }
                @if run.uncertainty.is_empty() {
                    p { "The rig measured nothing of itself in this run." }
                } @else {
                    table.uncertainty {
                        thead { tr { th { "Quantity" } th.number { "Value" } th.number { "U (k = 2)" } th { "Clock" } th.number { "n" } } }
                        tbody {
                            @for m in &run.uncertainty {
                                tr {
                                    td { (m.name) }
                                    td.number { (number(m.value)) " " (m.unit) }
                                    td.number { @if let Some(u) = m.uncertainty { (number(u)) " " (m.unit) } @else { "–" } }
                                    td { (m.clock.as_deref().unwrap_or("–")) }
                                    td.number { @if let Some(n) = m.n { (n) } @else { "–" } }
                                }
                            }
                        }
                    }
                }
                p.rule { (run.decision_rule) }
            }
            (not_executed(results))
        }
    }
}

/// An ISO 8601 instant in UTC without its letters.
fn instant(iso: &str) -> String {
    iso.trim_end_matches('Z').replacen('T', " ", 1)
}

/// The identification of the device, what names it first.
fn dut_lines(results: &Results) -> Vec<(&str, &str)> {
    let rank = |key: &str| {
        let order = ["product", "name", "version", "manufacturer"];
        order
            .iter()
            .position(|first| *first == key)
            .unwrap_or(order.len())
    };
    let mut lines: Vec<(&str, &str)> = results
        .run
        .dut
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    lines.sort_by_key(|(key, _)| rank(key));
    lines
}

/// The outcome of the whole run, worst first: a violation that was seen stays true whatever broke later.
fn outcome(results: &Results) -> (Verdict, String) {
    let of = |verdict: Verdict| {
        results
            .cases
            .iter()
            .filter(|c| c.verdict == verdict)
            .count()
    };
    let total = results.cases.len();
    let worst = [
        (Verdict::Fail, "failed"),
        (Verdict::RigError, "stopped by the rig"),
        (Verdict::Error, "stopped by the bench"),
        (Verdict::Aborted, "aborted"),
        (Verdict::Inconclusive, "inconclusive"),
    ];
    for (verdict, word) in worst {
        let n = of(verdict);
        if n > 0 {
            return (verdict, format!("{n} of {total} {word}"));
        }
    }
    let judged = of(Verdict::Pass) + of(Verdict::Measured);
    if judged == 0 {
        return (Verdict::Skipped, "nothing was judged".to_owned());
    }
    let rest = total - judged;
    if rest == 0 {
        (Verdict::Pass, format!("all {total} cases"))
    } else {
        (
            Verdict::Pass,
            format!("{judged} cases, {rest} not executed"),
        )
    }
}

fn headline(results: &Results) -> Markup {
    let (verdict, detail) = outcome(results);
    let word = match verdict {
        Verdict::Pass => "Passed",
        Verdict::Fail => "Failed",
        Verdict::Inconclusive => "Inconclusive",
        Verdict::Skipped => "Nothing judged",
        Verdict::Aborted => "Aborted",
        _ => "Not completed",
    };
    html! {
        div class={ "headline " (verdict.name()) } {
            span.mark { (mark(verdict)) }
            span.word { (word) }
            span.detail { (detail) }
        }
    }
}

/// Counts per verdict as one proportional bar with its legend.
fn tally(results: &Results) -> Markup {
    html! {
        div.tally {
            (chart::tally(&results.counts))
            ul {
                @for (verdict, n) in &results.counts {
                    li.none[*n == 0] { (chip(*verdict)) span.count { (n) } }
                }
            }
        }
    }
}

fn attention(results: &Results) -> Markup {
    let mut cases: Vec<&CaseResult> = results
        .cases
        .iter()
        .filter(|case| case.verdict >= Verdict::Inconclusive)
        .collect();
    cases.sort_by_key(|case| case.verdict != Verdict::Fail);
    html! {
        @if !cases.is_empty() {
            section.attention {
                h3 { "Needs attention" }
                ul { @for case in cases { (line(case)) } }
            }
        }
    }
}

fn not_executed(results: &Results) -> Markup {
    let idle =
        |case: &&CaseResult| matches!(case.verdict, Verdict::NotApplicable | Verdict::Skipped);
    let cases: Vec<&CaseResult> = results.cases.iter().filter(idle).collect();
    html! {
        section.card.wide {
            h3 { "Not executed" }
            @if cases.is_empty() {
                p { "Every planned case was executed." }
            } @else {
                ul.plain { @for case in cases { (line(case)) } }
            }
        }
    }
}

fn line(case: &CaseResult) -> Markup {
    html! {
        li {
            (chip(case.verdict))
            a.id href={ "#" (anchor(&case.id)) } { (case.id) }
            span { @if case.reason.is_empty() { (case.title) } @else { (case.reason) } }
        }
    }
}
