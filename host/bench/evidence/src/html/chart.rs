// SPDX-License-Identifier: MIT OR Apache-2.0
//! The drawings of the report as inline SVG: limit bars, tallies, distributions.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::NamedDistribution;
use crate::Limit;
use crate::markdown::number;
use crate::results::{Measurement, Verdict};

/// A duration given in nanoseconds, with three digits and a unit a reader can picture.
pub(super) fn duration(nanos: u64) -> String {
    let ns = nanos as f64;
    let (value, unit) = match nanos {
        0..1_000 => (ns, "ns"),
        1_000..1_000_000 => (ns / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns / 1e6, "ms"),
        1_000_000_000..120_000_000_000 => (ns / 1e9, "s"),
        _ => (ns / 60e9, "min"),
    };
    let decimals = if value >= 99.95 || unit == "ns" {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

/// Counts per verdict as one bar.
pub(super) fn tally(counts: &BTreeMap<Verdict, u64>) -> Markup {
    let total: u64 = counts.values().sum();
    let mut at = 0.0;
    let pieces: Vec<(Verdict, u64, f64, f64)> = counts
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(verdict, n)| {
            let width = TALLY_WIDTH * *n as f64 / total.max(1) as f64;
            let x = at;
            at += width;
            (*verdict, *n, x, width)
        })
        .collect();
    html! {
        svg.tally viewBox={ "0 0 " (TALLY_WIDTH) " 22" } preserveAspectRatio="none" role="img" aria-label="cases per verdict" {
            @for (verdict, n, x, width) in &pieces {
                rect class=(verdict.name()) x=(p(*x)) y="0" width=(p((width - 1.5).max(0.5))) height="22" rx="2" {
                    title { (n) " " (verdict.name()) }
                }
            }
        }
    }
}

/// Where a value lies against its limit; empty without a limit that can be drawn.
pub(super) fn limit_bar(m: &Measurement) -> Markup {
    bar(
        m,
        &BarSize {
            width: 250.0,
            height: 34.0,
            labels: true,
        },
    )
}

/// The same in one line of a table, without numbers.
pub(super) fn small_limit_bar(m: &Measurement) -> Markup {
    bar(
        m,
        &BarSize {
            width: 104.0,
            height: 14.0,
            labels: false,
        },
    )
}

/// A limit bar that explains the others.
pub(super) fn legend() -> Markup {
    limit_bar(&Measurement {
        name: "example".to_owned(),
        value: 62.0,
        unit: "ms".to_owned(),
        limit: Some("<= 100".to_owned()),
        uncertainty: Some(9.0),
        clock: None,
        n: None,
    })
}

struct BarSize {
    width: f64,
    height: f64,
    labels: bool,
}

fn bar(m: &Measurement, size: &BarSize) -> Markup {
    let limit = m.limit.as_deref().and_then(Limit::parse);
    let (value, u) = (m.value, m.uncertainty.unwrap_or(0.0).abs());
    let (Some(limit), true) = (limit, value.is_finite() && u.is_finite()) else {
        return html! {};
    };
    // Allowed range and what the axis shows.
    let (allowed_low, allowed_high, mut low, mut high) = match limit {
        Limit::Upper(l) => (f64::NEG_INFINITY, l, l.min(0.0), l + l.abs() * 0.3),
        Limit::Lower(l) => (l, f64::INFINITY, l.min(0.0), l + l.abs() * 0.6),
        Limit::Between(a, b) => (a, b, a - (b - a) * 0.3, b + (b - a) * 0.3),
        Limit::Equal(l) if value == l => return html! { span.exact.yes { "✓ exact" } },
        Limit::Equal(_) => return html! { span.exact.no { "✕ differs" } },
    };
    low = low.min(value - u * 1.3);
    high = high.max(value + u * 1.3).max(value * 1.08);
    if high - low <= 0.0 || !(high - low).is_finite() {
        high = low + 1.0;
    }
    let pad = if size.labels { 8.0 } else { 5.0 };
    let span = size.width - 2.0 * pad;
    let x = |v: f64| pad + span * ((v.clamp(low, high) - low) / (high - low));
    let thick = if size.labels { 10.0 } else { 8.0 };
    let top = if size.labels {
        5.0
    } else {
        (size.height - thick) / 2.0
    };
    let middle = top + thick / 2.0;
    let bounds: Vec<f64> = [allowed_low, allowed_high]
        .into_iter()
        .filter(|bound| bound.is_finite())
        .collect();
    let good = (x(allowed_low), x(allowed_high));
    let state = if value - u > allowed_high || value + u < allowed_low {
        "bad"
    } else if value + u > allowed_high || value - u < allowed_low {
        "doubt"
    } else {
        "good"
    };
    let (from, to) = (x(value - u), x(value + u));
    let cap = thick * 0.32;
    let text = format!("{} {} against {limit}", number(value), m.unit);
    html! {
        svg.limitbar width=(size.width) height=(size.height) viewBox={ "0 0 " (size.width) " " (size.height) }
            role="img" aria-label=(text) {
            title { (text) }
            rect.forbidden x=(p(pad)) y=(p(top)) width=(p(span)) height=(p(thick)) rx="2" {}
            rect.allowed x=(p(good.0)) y=(p(top)) width=(p(good.1 - good.0)) height=(p(thick)) rx="2" {}
            @for bound in &bounds {
                @let (a, b) = (x(bound - u), x(bound + u));
                rect.guard x=(p(a)) y=(p(top)) width=(p(b - a)) height=(p(thick)) {}
                @for stripe in stripes(a, b).filter(|_| size.labels) {
                    line.hatch x1=(p(stripe)) y1=(p(top + thick)) x2=(p((stripe + 4.0).min(b))) y2=(p(top)) {}
                }
                line.limit x1=(p(x(*bound))) x2=(p(x(*bound))) y1=(p(top - 3.0)) y2=(p(top + thick + 3.0)) {}
                @if size.labels {
                    @let at = x(*bound);
                    text.limit x=(p(at)) y=(p(size.height - 4.0)) text-anchor=(anchor_at(at, size.width)) { (number(*bound).replace('-', "−")) }
                }
            }
            @if u > 0.0 && to - from > 2.0 {
                line class={ "whisker " (state) } x1=(p(from)) x2=(p(to)) y1=(p(middle)) y2=(p(middle)) {}
                line class={ "whisker " (state) } x1=(p(from)) x2=(p(from)) y1=(p(middle - cap)) y2=(p(middle + cap)) {}
                line class={ "whisker " (state) } x1=(p(to)) x2=(p(to)) y1=(p(middle - cap)) y2=(p(middle + cap)) {}
            }
            circle class={ "value " (state) } cx=(p(x(value))) cy=(p(middle)) r=(p(thick * 0.38)) {}
            @if size.labels && low == 0.0 && bounds.iter().all(|bound| x(*bound) > 40.0) {
                text.zero x=(p(pad)) y=(p(size.height - 4.0)) { "0" }
            }
        }
    }
}

/// Left ends of the hatching between `a` and `b`.
fn stripes(a: f64, b: f64) -> impl Iterator<Item = f64> {
    let count = ((b - a) / 4.0).clamp(0.0, 100.0) as usize;
    (0..count).map(move |n| a + n as f64 * 4.0)
}

fn anchor_at(x: f64, width: f64) -> &'static str {
    if x > width - 30.0 {
        "end"
    } else if x < 30.0 {
        "start"
    } else {
        "middle"
    }
}

/// A distribution with its quantiles: histogram over a logarithmic time axis, numbers below.
pub(super) fn distribution(named: &NamedDistribution) -> Markup {
    let d = &named.distribution;
    html! {
        figure.distribution {
            figcaption { (named.name) span.small { " n = " (d.n()) } }
            @if d.is_empty() {
                p.small { "no samples" }
            } @else {
                (histogram(named))
                table.quantiles {
                    thead { tr { th { "min" } th { "p50" } th { "p90" } th { "p99" } th { "p99.95" } th { "max" } } }
                    tbody {
                        tr {
                            @for value in [d.min(), d.p50(), d.p90(), d.p99(), d.p99_95(), d.max()] {
                                td { (duration(value)) }
                            }
                        }
                    }
                }
                @if d.n() < SAMPLES_FOR_P99_95 {
                    p.small {
                        "p99.95 is the observed value. A claim about it with 95 % confidence needs at least "
                        (SAMPLES_FOR_P99_95) " samples."
                    }
                }
            }
        }
    }
}

fn histogram(named: &NamedDistribution) -> Markup {
    let d = &named.distribution;
    let (first, last) = (d.min().max(1) as f64, d.max().max(1) as f64);
    let (low, high) = (first.log10() - 0.12, last.log10() + 0.12);
    let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |nanos: f64| LEFT + plot_width * (nanos.max(1.0).log10() - low) / (high - low);
    let mut bins = [0_u64; BINS];
    for (from, to, count) in d.buckets() {
        let middle = ((from.max(1) as f64) * (to.max(1) as f64)).sqrt();
        let at = (middle.log10() - low) / (high - low) * BINS as f64;
        if let Some(bin) = bins.get_mut((at.max(0.0) as usize).min(BINS - 1)) {
            *bin += count;
        }
    }
    let tallest = bins.iter().copied().max().unwrap_or(1).max(1);
    // Logarithmic counts: a single late sample must be visible beside thousands of ordinary ones.
    let scale = |count: u64| (1.0 + count as f64).ln() / (1.0 + tallest as f64).ln();
    let y = |count: u64| TOP + plot_height * (1.0 - scale(count));
    let bar_width = plot_width / BINS as f64;
    let counts: Vec<u64> = (0..10)
        .map(|e| 10_u64.pow(e))
        .filter(|c| *c <= tallest)
        .collect();
    let marks = quantile_marks(named, x);
    html! {
        svg.histogram viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ "histogram of " (named.name) } {
            @for count in &counts {
                line.grid x1=(p(LEFT)) x2=(p(WIDTH - RIGHT)) y1=(p(y(*count))) y2=(p(y(*count))) {}
                text.axis x=(p(LEFT - 6.0)) y=(p(y(*count) + 3.0)) text-anchor="end" { (count) }
            }
            @for (at, label) in ticks(low, high) {
                line.tick x1=(p(x(at))) x2=(p(x(at))) y1=(p(HEIGHT - BOTTOM)) y2=(p(HEIGHT - BOTTOM + 4.0)) {}
                text.axis x=(p(x(at))) y=(p(HEIGHT - BOTTOM + 15.0)) text-anchor="middle" { (label) }
            }
            @for (index, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
                rect.bin x=(p(LEFT + index as f64 * bar_width + 0.5)) y=(p(y(*count))) width=(p(bar_width - 1.0))
                    height=(p(HEIGHT - BOTTOM - y(*count))) { title { (count) } }
            }
            line.base x1=(p(LEFT)) x2=(p(WIDTH - RIGHT)) y1=(p(HEIGHT - BOTTOM)) y2=(p(HEIGHT - BOTTOM)) {}
            @for m in &marks {
                line.quantile x1=(p(m.x)) x2=(p(m.x)) y1=(p(m.label_y + 3.0)) y2=(p(HEIGHT - BOTTOM)) {}
                text.quantile x=(p(m.x + m.nudge)) y=(p(m.label_y)) text-anchor=(m.anchor) { (m.label) }
            }
        }
    }
}

struct QuantileMark {
    x: f64,
    label_y: f64,
    nudge: f64,
    anchor: &'static str,
    label: String,
}

/// Quantile lines with labels in rows, so that close ones do not overprint.
fn quantile_marks(named: &NamedDistribution, x: impl Fn(f64) -> f64) -> Vec<QuantileMark> {
    let d = &named.distribution;
    let wanted = [
        ("p50", d.p50()),
        ("p99", d.p99()),
        ("p99.95", d.p99_95()),
        ("max", d.max()),
    ];
    // The right end of the last label in each row.
    let mut rows = [f64::MIN; 4];
    wanted
        .into_iter()
        .map(|(name, value)| {
            let label = format!("{name} {}", duration(value));
            let at = x(value as f64);
            let width = label.chars().count() as f64 * 5.6 + 8.0;
            let flips = at + width > WIDTH;
            let left = if flips { at - width } else { at };
            let row = rows
                .iter()
                .position(|end| *end < left)
                .unwrap_or(rows.len() - 1);
            if let Some(end) = rows.get_mut(row) {
                *end = left + width;
            }
            QuantileMark {
                x: at,
                label_y: 11.0 + row as f64 * 12.0,
                nudge: if flips { -3.0 } else { 3.0 },
                anchor: if flips { "end" } else { "start" },
                label,
            }
        })
        .collect()
}

/// Labelled positions on the time axis: decades, and 2 and 5 between them when few decades show.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let steps: &[f64] = if high - low < 2.2 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let decades = (low.floor() as i32)..=(high.ceil() as i32);
    decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
        .filter(|at| (low..=high).contains(&at.log10()) && *at >= 1.0)
        .map(|at| (at, short(at.round() as u64)))
        .collect()
}

/// A round duration without decimals.
fn short(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

/// A coordinate with as many digits as a printer can show.
fn p(value: f64) -> String {
    format!("{value:.1}")
}

const TALLY_WIDTH: f64 = 720.0;
const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 214.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 24.0;
const BINS: usize = 72;
const SAMPLES_FOR_P99_95: u64 = 5_990;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (nanos, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (6_100, "6.10 µs"),
            (12_345_678, "12.3 ms"),
            (250_000_000, "250 ms"),
            (90_500_000_000, "90.5 s"),
            (600_000_000_000, "10.0 min"),
        ] {
            assert_eq!(duration(nanos), shown);
        }
    }

    #[test]
    fn no_number_breaks_a_drawing() {
        for value in [0.0, -3.0, 1e300, f64::NAN, f64::INFINITY] {
            for limit in ["<= 0", "<= 1e308", ">= -5", "1..1", "== 2", "nonsense"] {
                let m = Measurement {
                    name: "x".to_owned(),
                    value,
                    unit: "ms".to_owned(),
                    limit: Some(limit.to_owned()),
                    uncertainty: Some(1e300),
                    clock: None,
                    n: None,
                };
                let drawn = limit_bar(&m).into_string();
                assert!(
                    !drawn.contains("NaN\"") && !drawn.contains("inf\""),
                    "{value} {limit}"
                );
            }
        }
    }
}
