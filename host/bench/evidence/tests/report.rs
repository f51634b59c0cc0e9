// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reports say what the results say, and text from a device stays text.

mod sample;

use bench_evidence::results::{Results, Verdict};
use bench_evidence::{csv, html, junit, markdown};

#[test]
fn junit_maps_every_verdict() {
    let mut results = sample::results();
    let template = results.cases[0].clone();
    results.cases = Verdict::ALL
        .into_iter()
        .map(|verdict| {
            let mut case = template.clone();
            case.id = format!("X-{}", verdict.name());
            case.verdict = verdict;
            case.reason = format!("because {verdict}");
            case
        })
        .collect();
    let xml = junit(&results).expect("rendered");
    let of = |id: &str| {
        let start = xml.find(&format!("name=\"X-{id}@1\"")).expect(id);
        let end = xml[start..].find("</testcase>").expect("closed");
        xml[start..start + end].to_owned()
    };
    for plain in ["pass", "measured"] {
        let case = of(plain);
        assert!(
            !case.contains("<failure") && !case.contains("<error") && !case.contains("<skipped"),
            "{case}"
        );
        assert!(
            case.contains(
                "name=\"m.register error\" value=\"0.0004 Wh (limit -0.5..0.5, U 0.012, n 180)\""
            ),
            "{case}"
        );
        assert!(
            case.contains("name=\"requirement\" value=\"REQ.LMN.SML.10\""),
            "{case}"
        );
    }
    assert!(of("fail").contains("<failure message=\"because fail\" type=\"fail\""));
    for (verdict, kind) in [
        ("error", "bench"),
        ("rig-error", "rig"),
        ("aborted", "aborted"),
    ] {
        let wanted = format!("<error message=\"because {verdict}\" type=\"{kind}\"");
        assert!(of(verdict).contains(&wanted), "{}", of(verdict));
    }
    for verdict in ["inconclusive", "not-applicable", "skipped"] {
        let wanted = format!("<skipped message=\"{verdict}: because {verdict}\"");
        assert!(of(verdict).contains(&wanted), "{}", of(verdict));
    }
    let suite = xml
        .lines()
        .find(|line| line.contains("<testsuite "))
        .expect("a suite");
    for total in [
        "tests=\"9\"",
        "skipped=\"3\"",
        "errors=\"3\"",
        "failures=\"1\"",
    ] {
        assert!(suite.contains(total), "{suite}");
    }
}

#[test]
fn the_page_is_self_contained_and_complete() {
    let results = sample::results();
    let page = html(&results, &sample::distributions());
    for forbidden in ["<script", "http://", "https://", "url(", "@import", "src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for case in &results.cases {
        assert!(page.contains(&format!("id=\"{}\"", case.id)), "{}", case.id);
        assert!(page.contains(&escaped(&case.title)), "{}", case.title);
        for step in &case.steps {
            assert!(page.contains(&escaped(&step.observed)), "{}", step.observed);
        }
    }
    for needed in [
        "This is a rehearsal, not a certificate.",
        "1 of 8 failed",
        "cdcea5c3a1f0",
        "PKCS#11: SoftHSM2 2.6.1",
        "Guarded acceptance",
        "time comes from the host in this version",
        "PRX-19.added-round-trip",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn hostile() -> Results {
    let evil = "\"'><script>alert(1)</script>\u{0}\u{1b}[31m</style>}@import 'x';\n=cmd|' /C calc'!A0\u{202e}";
    let mut results = sample::results();
    results.run.id = evil.to_owned();
    results.run.tool = evil.to_owned();
    results
        .run
        .dut
        .insert("product".to_owned(), evil.to_owned());
    for case in &mut results.cases {
        case.title = evil.to_owned();
        case.reason = evil.to_owned();
        case.interface = evil.to_owned();
        for m in &mut case.measurements {
            m.name = evil.to_owned();
            m.limit = Some(evil.to_owned());
            m.value = f64::INFINITY;
        }
        case.ended_ns = 0;
        case.started_ns = u64::MAX;
    }
    results
}

#[test]
fn text_from_a_device_never_becomes_markup() {
    let page = html(&hostile(), &[]);
    assert!(!page.contains("<script") && !page.contains("@import 'x'\u{22}"));
    let style = page
        .split("<style>")
        .nth(1)
        .and_then(|s| s.split("</style>").next())
        .expect("a style");
    assert!(
        style.ends_with('}') && !style.contains("alert("),
        "{}",
        &style[style.len() - 200..]
    );
    assert!(style.contains("@bottom-left{content:\""));
    let xml = junit(&hostile()).expect("rendered");
    assert!(!xml.contains("<script") && !xml.contains('\u{0}') && !xml.contains('\u{1b}'));
    let text = markdown(&hostile());
    assert!(!text.contains("<script"));
}

#[test]
fn a_close_pass_is_called_marginal_everywhere() {
    let results = sample::results();
    let marginal: Vec<&str> = results
        .cases
        .iter()
        .filter(|c| c.is_marginal())
        .map(|c| c.id.as_str())
        .collect();
    assert_eq!(marginal, ["TLS-01"]);
    assert!(markdown(&results).contains("**pass** (marginal)"));
    assert_eq!(html(&results, &[]).matches(">marginal</span>").count(), 2);
    assert!(
        junit(&results)
            .expect("rendered")
            .contains("name=\"marginal\" value=\"true\"")
    );
}

#[test]
fn distributions_stand_with_their_case() {
    let results = sample::results();
    let mut named = sample::distributions().remove(0);
    for (name, with_case) in [
        ("PRX-19.delay", true),
        ("prx-19-64b", true),
        ("PRX-19", true),
        ("PRX-190", false),
        ("PRX-1", false),
        ("é", false),
    ] {
        named.name = name.to_owned();
        let page = html(&results, &[named.clone()]);
        assert_eq!(
            page.contains("What the rig measured of itself"),
            !with_case,
            "{name}"
        );
    }
}

#[test]
fn csv_has_one_row_per_measurement_and_no_formulas() {
    let results = sample::results();
    let table = csv(&results);
    let rows: usize = results
        .cases
        .iter()
        .map(|c| c.measurements.len().max(1))
        .sum();
    assert_eq!(table.matches("\r\n").count(), rows + 1);
    assert!(table.contains("TIM-15,1,LMN,must,pass,,\"receive stamp delay, p50\",12.4,ms,<= 500,0.48,\"monotonic, host\",180,"));
    let mut results = results;
    results.cases[0].reason = "=1+1".to_owned();
    assert!(csv(&results).contains("\"'=1+1\""));
}

#[test]
fn the_summary_names_what_needs_attention() {
    let text = markdown(&sample::results());
    assert!(
        text.contains(
            "**3 pass, 1 measured, 1 not-applicable, 1 inconclusive, 1 fail, 1 rig-error**"
        ),
        "{text}"
    );
    assert!(
        text.contains("- **PRX-03** fail: reply 00 (succeeded) instead of 02"),
        "{text}"
    );
}
