// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Markdown summary for merge requests and chat: identification, verdict table, reasons.

use std::fmt::Write as _;

use crate::results::{Measurement, Results, Verdict};

/// Renders the results as GitHub-flavoured Markdown.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let run = &results.run;
    let _ = writeln!(out, "# Rehearsal report {}\n", text(&run.id));
    let _ = writeln!(
        out,
        "A rehearsal, not a certificate. {}\n",
        text(&run.decision_rule)
    );
    let dut: Vec<String> = run
        .dut
        .iter()
        .map(|(k, v)| format!("{} {}", text(k), text(v)))
        .collect();
    let _ = writeln!(out, "- Device under test: {}", dut.join(", "));
    let _ = writeln!(
        out,
        "- Rig: {} ({})",
        text(&results.rig.name),
        text(&results.rig.summary)
    );
    let _ = writeln!(
        out,
        "- Tool: {}, revision {}",
        text(&run.tool),
        text(&run.revision)
    );
    let _ = writeln!(
        out,
        "- Run: {} to {}, {}",
        text(&run.started),
        text(&run.ended),
        text(&run.reason)
    );
    for note in &run.notes {
        let _ = writeln!(out, "- Note: {}", text(note));
    }
    let counts: Vec<String> = results
        .counts
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(verdict, n)| format!("{n} {verdict}"))
        .collect();
    let _ = writeln!(out, "\n**{}**\n", counts.join(", "));
    out.push_str("| Case | Shows | Verdict | Measured |\n|---|---|---|---|\n");
    for case in &results.cases {
        let measured: Vec<String> = case.measurements.iter().map(one_line).collect();
        let _ = writeln!(
            out,
            "| {}@{} | {} | **{}**{} | {} |",
            text(&case.id),
            case.version,
            text(&case.title),
            case.verdict,
            if case.is_marginal() {
                " (marginal)"
            } else {
                ""
            },
            text(&measured.join("; "))
        );
    }
    let worth_a_word = |verdict| verdict > Verdict::Measured;
    if results.cases.iter().any(|case| worth_a_word(case.verdict)) {
        out.push_str("\n## Reasons\n\n");
    }
    for case in results
        .cases
        .iter()
        .filter(|case| worth_a_word(case.verdict))
    {
        let _ = writeln!(
            out,
            "- **{}** {}: {}",
            text(&case.id),
            case.verdict,
            text(&case.reason)
        );
    }
    if !results.assumptions.is_empty() {
        out.push_str(
            "\n## Assumptions\n\n| Key | Value | Source | Confidence |\n|---|---|---|---|\n",
        );
    }
    for a in &results.assumptions {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            text(&a.key),
            text(&a.value),
            text(&a.source),
            text(&a.confidence)
        );
    }
    out
}

/// `name = value unit (limit L, U = u, n = n)`.
pub(crate) fn one_line(m: &Measurement) -> String {
    let mut details = Vec::new();
    details.extend(m.limit.as_ref().map(|limit| format!("limit {limit}")));
    details.extend(m.uncertainty.map(|u| format!("U {}", number(u))));
    details.extend(m.n.map(|n| format!("n {n}")));
    let value = number(m.value);
    if details.is_empty() {
        format!("{} = {value} {}", m.name, m.unit)
    } else {
        format!("{} = {value} {} ({})", m.name, m.unit, details.join(", "))
    }
}

/// A number with as many digits as a reader can use.
pub(crate) fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-7.0..15.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - magnitude).clamp(0.0, 9.0) as usize;
    let fixed = format!("{value:.decimals$}");
    if fixed.contains('.') {
        fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        fixed
    }
}

/// One line of text that Markdown takes literally.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_four_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (900.0, "900"),
            (12.345_678, "12.35"),
            (0.000_123_456, "0.0001235"),
            (123_456.7, "123457"),
            (-0.5, "-0.5"),
            (1e-12, "1.000e-12"),
        ] {
            assert_eq!(number(value), shown);
        }
        assert_eq!(number(f64::NAN), "NaN");
    }

    #[test]
    fn device_text_cannot_break_the_table() {
        assert_eq!(text("a|b\n<script>"), "a\\|b &lt;script>");
    }
}
