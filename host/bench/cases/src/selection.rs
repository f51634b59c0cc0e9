// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the catalogue to the plan of a run: filter, declaration, and what the rig can do. Pure: touches no device.

use std::collections::BTreeSet;

use bench_engine::{Case, Selected};
use bench_evidence::results::Verdict;
use bench_rig::{Answer, Capability, Filter, Ics, Subject};

use crate::bench::Bench;
use crate::catalogue;

/// The cases that match the filter, each with the reason why it is not run, if so.
pub fn select(
    filter: Option<&Filter>,
    ics: &Ics,
    capabilities: &BTreeSet<Capability>,
) -> Vec<Selected<Bench>> {
    catalogue()
        .iter()
        .filter(|case| filter.is_none_or(|filter| matches(filter, case)))
        .map(|case| Selected {
            case,
            instead: instead(case, ics, capabilities),
        })
        .collect()
}

fn matches(filter: &Filter, case: &Case<Bench>) -> bool {
    let needs: Vec<_> = case.needs.iter().map(|need| need.as_str()).collect();
    filter.matches(&Subject {
        id: case.id,
        interface: &case.interface.to_string(),
        level: &case.level.to_string(),
        needs: &needs,
    })
}

fn instead(
    case: &Case<Bench>,
    ics: &Ics,
    capabilities: &BTreeSet<Capability>,
) -> Option<(Verdict, String)> {
    for key in case.applies_if {
        if let Answer::No { reason } = ics.answer(key) {
            return Some((
                Verdict::NotApplicable,
                format!("declared {key} = no: {reason}"),
            ));
        }
    }
    let missing: Vec<_> = case
        .needs
        .iter()
        .filter(|need| !capabilities.contains(need))
        .map(|n| n.as_str())
        .collect();
    (!missing.is_empty()).then(|| {
        (
            Verdict::Skipped,
            format!("the rig offers no {}", missing.join(", ")),
        )
    })
}
