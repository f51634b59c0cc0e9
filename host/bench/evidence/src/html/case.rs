// SPDX-License-Identifier: MIT OR Apache-2.0
//! One case of the report: sources, steps expected and observed, measurements against their limits.

use maud::{Markup, html};

use super::{NamedDistribution, anchor, chart, verdict};
use crate::Limit;
use crate::markdown::number;
use crate::results::{CaseResult, Measurement, Results, Step, Verdict};

pub(super) fn section(
    results: &Results,
    case: &CaseResult,
    distributions: &[NamedDistribution],
) -> Markup {
    let first = results
        .cases
        .iter()
        .map(|c| c.started_ns)
        .min()
        .unwrap_or(case.started_ns);
    let idle = matches!(case.verdict, Verdict::NotApplicable | Verdict::Skipped);
    let offset = case.started_ns.saturating_sub(first);
    html! {
        article class={ "case " (case.verdict.name()) } id=(anchor(&case.id)) {
            header {
                div.title {
                    span.id { (case.id) span.version { "@" (case.version) } }
                    h3 { (case.title) }
                }
                (verdict(case))
            }
            p.meta {
                span { (case.interface) } span { (case.level) }
                @if !idle {
                    span { "started at +" (format!("{:.1}", offset as f64 / 1e9)) " s" }
                    span { "took " (chart::duration(case.ended_ns.saturating_sub(case.started_ns))) }
                }
            }
            @if !case.reason.is_empty() { p.reason { (case.reason) } }
            @if !case.requirements.is_empty() {
                p.labels { span.caption { "Sources" } @for r in &case.requirements { span.tag { (r) } } }
            }
            @if !case.steps.is_empty() { (steps(&case.steps)) }
            @if !case.measurements.is_empty() { (measurements(&case.measurements)) }
            @for d in distributions.iter().filter(|d| d.belongs_to(case)) { (chart::distribution(d)) }
            @if !case.assumptions.is_empty() {
                p.labels {
                    span.caption { "Rests on" }
                    @for key in &case.assumptions {
                        a.tag href={ "#assumption-" (anchor(key)) } { (key) }
                    }
                }
            }
        }
    }
}

fn steps(steps: &[Step]) -> Markup {
    html! {
        table.steps {
            thead { tr { th { "" } th { "Step" } th { "Expected" } th { "Observed" } } }
            tbody {
                @for (index, step) in steps.iter().enumerate() {
                    tr.wrong[step.ok == Some(false)] {
                        td.ok {
                            @match step.ok {
                                Some(true) => span.yes { "✓" },
                                Some(false) => span.no { "✕" },
                                None => span.info { (index + 1) },
                            }
                        }
                        td { (step.action) } td { (step.expected) } td { (step.observed) }
                    }
                }
            }
        }
    }
}

fn measurements(all: &[Measurement]) -> Markup {
    html! {
        table.measurements {
            thead { tr { th { "Measurement" } th.number { "Value" } th.number { "U (k = 2)" } th { "Limit" } th { "" } } }
            tbody {
                @for m in all {
                    tr {
                        td {
                            (m.name)
                            @if m.clock.is_some() || m.n.is_some() {
                                div.small {
                                    @if let Some(n) = m.n { "n = " (n) }
                                    @if m.n.is_some() && m.clock.is_some() { " · " }
                                    @if let Some(clock) = &m.clock { (clock) }
                                }
                            }
                        }
                        td.number.value { (number(m.value)) span.unit { " " (m.unit) } }
                        td.number { @if let Some(u) = m.uncertainty { "± " (number(u)) } @else { "–" } }
                        td.limit { @if let Some(limit) = &m.limit { (typeset(limit)) } @else { "–" } }
                        td.bar { (chart::limit_bar(m)) }
                    }
                }
            }
        }
    }
}

/// A limit with the signs a reader expects.
fn typeset(limit: &str) -> String {
    limit
        .replace("<=", "≤")
        .replace(">=", "≥")
        .replace("==", "=")
        .replace("..", " … ")
        .replace('-', "−")
}

/// The measurement that says most about the verdict: of those with a limit the one closest to it or
/// furthest beyond, for a characterisation the first.
pub(super) fn decisive(case: &CaseResult) -> Option<&Measurement> {
    let use_of_limit = |m: &Measurement| {
        let limit = m.limit.as_deref().and_then(Limit::parse)?;
        let (value, u) = (m.value, m.uncertainty.unwrap_or(0.0));
        Some(match limit {
            Limit::Upper(limit) => (value + u - limit) / limit.abs().max(f64::MIN_POSITIVE),
            Limit::Lower(limit) => (limit - value + u) / limit.abs().max(f64::MIN_POSITIVE),
            Limit::Between(low, high) => {
                let half = ((high - low) / 2.0).max(f64::MIN_POSITIVE);
                (((value - (low + high) / 2.0).abs() + u) - half) / half
            }
            // A count that is as it must be tells less than any quantity.
            Limit::Equal(limit) if value == limit => -1.0,
            Limit::Equal(_) => f64::MAX,
        })
    };
    let limited = case
        .measurements
        .iter()
        .filter_map(|m| Some((m, use_of_limit(m)?)));
    let closest = limited.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(m, _)| m);
    closest.or_else(|| {
        let characterises = matches!(case.verdict, Verdict::Measured | Verdict::Pass);
        case.measurements.first().filter(|_| characterises)
    })
}
