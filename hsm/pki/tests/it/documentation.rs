// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables of `docs/pki.md` are those of the code.

use hsm_pki::{Flaw, LIFETIMES, RULES};

/// The rows that must be in the page, by the heading they stand under.
fn tables() -> [(&'static str, Vec<String>); 3] {
    let lifetimes = LIFETIMES.iter().map(|(name, lifetime)| {
        let (years, confidence) = (lifetime.years, lifetime.confidence.name());
        format!(
            "| {name} | {years} years | {confidence} | {} |",
            lifetime.source
        )
    });
    let flaws = Flaw::ALL.iter().map(|flaw| {
        let alerts: Vec<_> = flaw
            .alerts()
            .iter()
            .map(|alert| format!("{alert:?}"))
            .collect();
        let rules: Vec<_> = flaw
            .rules()
            .iter()
            .map(|rule| format!("`{rule}`"))
            .collect();
        let (alerts, rules) = (alerts.join(", "), rules.join(", "));
        format!("| `{flaw}` | {} | {alerts} | {rules} |", flaw.wrong())
    });
    let rules = RULES.iter().map(|rule| {
        let (id, clause, demand) = (rule.id, rule.clause, rule.demand);
        format!(
            "| `{id}` | {demand} | {clause} | {} |",
            rule.confidence.name()
        )
    });
    [
        ("## Lifetimes", lifetimes.collect()),
        ("## Bad certificates", flaws.collect()),
        ("## Rules of the linter", rules.collect()),
    ]
}

#[test]
fn the_page_lists_lifetimes_flaws_and_rules_as_the_code_does() {
    let page = test_material::repository().join("docs/pki.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (heading, expected) in tables() {
        let section = page.split_once(heading).map_or("", |(_, rest)| rest);
        let section = section.split("\n## ").next().unwrap_or_default();
        let found: Vec<_> = section
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(2)
            .collect();
        assert!(
            found == expected,
            "{heading} must have:\n{}",
            expected.join("\n")
        );
    }
}
