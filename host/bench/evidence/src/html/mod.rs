// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report.html`: one file a person reads, prints on A4 and signs. Inline CSS and SVG, no scripts, no network.
//!
//! Page one identifies what was tested, by what and how (the items of ISO/IEC 17025:2017 §7.8 as far as a
//! rehearsal has them); then the verdicts at a glance; then every case with steps and measurements.

mod case;
mod chart;
mod front;

use bench_timing::Distribution;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::results::{CaseResult, Results, Verdict};

/// A distribution to show. Names `PRX-19.latency` and `prx-19-latency` belong to case `PRX-19`.
#[derive(Clone, Debug)]
pub struct NamedDistribution {
    /// Name, also of its file in the bundle.
    pub name: String,
    /// The samples.
    pub distribution: Distribution,
}

impl NamedDistribution {
    /// Names a distribution.
    pub fn new(name: impl Into<String>, distribution: Distribution) -> Self {
        Self {
            name: name.into(),
            distribution,
        }
    }

    fn belongs_to(&self, case: &CaseResult) -> bool {
        let Some((start, rest)) = self.name.split_at_checked(case.id.len()) else {
            return false;
        };
        start.eq_ignore_ascii_case(&case.id)
            && (rest.is_empty() || rest.starts_with(['.', '-', '_']))
    }
}

/// Renders the whole report.
pub fn html(results: &Results, distributions: &[NamedDistribution]) -> String {
    let of_the_rig: Vec<&NamedDistribution> = distributions
        .iter()
        .filter(|d| !results.cases.iter().any(|case| d.belongs_to(case)))
        .collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing may be loaded, whatever text a device put into the results.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                meta name="color-scheme" content="light";
                title { "Rehearsal of " (front::subject(results)) " · " (results.run.id) }
                style { (PreEscaped(STYLE)) (PreEscaped(running_footer(results))) }
            }
            body {
                main {
                    (front::page(results))
                    (overview(results))
                    section.cases {
                        h2 { "Cases" }
                        @for case in &results.cases {
                            (case::section(results, case, distributions))
                        }
                    }
                    @if !of_the_rig.is_empty() {
                        section {
                            h2 { "What the rig measured of itself" }
                            p.lead {
                                "Delays of this host while the run went, before any device is involved. They enter the \
                                 uncertainty of every stamp."
                            }
                            @for d in of_the_rig { (chart::distribution(d)) }
                        }
                    }
                    (assumptions(results))
                    (reading_aid())
                }
            }
        }
    };
    page.into_string()
}

/// The line that stands on every printed page: the report's unique identification.
fn running_footer(results: &Results) -> String {
    let tame = |text: &str| -> String {
        let kept = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ' '));
        kept.take(80).collect()
    };
    let (id, tool) = (tame(&results.run.id), tame(&results.run.tool));
    format!(
        "@page{{@bottom-left{{content:\"Rehearsal {id} \\00b7  {tool} \\00b7  not a certificate\"}}}}"
    )
}

/// All verdicts on one page.
fn overview(results: &Results) -> Markup {
    html! {
        section.overview {
            h2 { "Verdicts at a glance" }
            table.cases {
                thead {
                    tr { th { "Verdict" } th { "Case" } th { "Shows" } th { "Interface" }
                         th { "Decisive measurement" } th.number { "Time" } }
                }
                tbody {
                    @for case in &results.cases {
                        tr {
                            td { (verdict(case)) }
                            td.id { a href={ "#" (anchor(&case.id)) } { (case.id) } span.version { "@" (case.version) } }
                            td { (case.title) }
                            td { (case.interface) div.level { (case.level) } }
                            td.measure {
                                @if let Some(m) = case::decisive(case) {
                                    (chart::small_limit_bar(m))
                                    span.value { (crate::markdown::number(m.value)) " " (m.unit) }
                                }
                            }
                            td.number {
                                @if matches!(case.verdict, Verdict::NotApplicable | Verdict::Skipped) { "–" }
                                @else { (chart::duration(case.ended_ns.saturating_sub(case.started_ns))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn assumptions(results: &Results) -> Markup {
    html! {
        @if !results.assumptions.is_empty() {
            section.assumptions {
                h2 { "Assumptions" }
                p.lead {
                    "What could not be read in a published specification, and what the bench took instead. A verdict that \
                     rests on one of these is as sure as it is."
                }
                table {
                    thead { tr { th { "Key" } th { "Value" } th { "Source" } th { "Confidence" } } }
                    tbody {
                        @for a in &results.assumptions {
                            tr id={ "assumption-" (anchor(&a.key)) } {
                                td.id { (a.key) } td { (a.value) } td { (a.source) }
                                td { span.confidence { (a.confidence) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn reading_aid() -> Markup {
    let meanings = [
        (
            Verdict::Pass,
            "every expectation holds, uncertainty included",
        ),
        (Verdict::Measured, "a number was recorded that has no limit"),
        (
            Verdict::Inconclusive,
            "the limit lies within value ± U, or the precondition was not reached",
        ),
        (
            Verdict::Fail,
            "the device violates the expectation, uncertainty considered",
        ),
        (
            Verdict::NotApplicable,
            "the declaration (ICS) excludes the case",
        ),
        (
            Verdict::Skipped,
            "not selected, or a role it needs was missing",
        ),
        (
            Verdict::RigError,
            "the rig failed; says nothing about the device",
        ),
        (
            Verdict::Error,
            "the bench failed; says nothing about the device",
        ),
        (Verdict::Aborted, "the operator ended the run"),
    ];
    html! {
        section.aid {
            h2 { "Reading this report" }
            dl.meanings {
                @for (verdict, meaning) in meanings {
                    div { dt { (chip(verdict)) } dd { (meaning) } }
                }
            }
            div.barlegend {
                (chart::legend())
                p {
                    "The dot is the measured value, the whisker its expanded uncertainty U (k = 2). The limit is the dark \
                     line; hatched is the guard band around it in which the bench does not decide."
                }
            }
            p {
                "The results relate only to the item tested, in the configuration recorded in " code { "inputs/" }
                ". This page is rendered from " code { "results.json" } ", which is the record; line traffic is in "
                code { "trace/run.pcapng" } ". " code { "smgw-bench verify <bundle>" }
                " shows whether anything changed since the bundle was sealed. The seal shows origin and integrity; it \
                 does not show that the set-up was as declared."
            }
        }
    }
}

/// A verdict as a coloured label that also reads in black and white.
fn chip(verdict: Verdict) -> Markup {
    html! { span class={ "chip " (verdict.name()) } { span.mark { (mark(verdict)) } (verdict.name()) } }
}

/// The chip of a case, with a remark when a pass was close.
fn verdict(case: &CaseResult) -> Markup {
    html! {
        div.verdict {
            (chip(case.verdict))
            @if case.is_marginal() { span.marginal { "marginal" } }
        }
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Measured => "≈",
        Verdict::NotApplicable | Verdict::Skipped => "–",
        Verdict::Inconclusive => "?",
        Verdict::Fail => "✕",
        Verdict::Aborted => "■",
        Verdict::Error | Verdict::RigError => "!",
    }
}

/// A text as an element id.
fn anchor(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

const STYLE: &str = include_str!("style.css");
