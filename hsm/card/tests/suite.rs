// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite on the driver with the emulated card in this process, checked against the software module.

// Each test file uses its part of it.
#[allow(dead_code)]
mod bench_card;

use bench_card::{Bench, fixed_names};
use hsm_api::Import;
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Suite};

fn run(bench: &Bench, names: &Names, import: Option<&dyn Import>, effort: Effort) -> usize {
    let module = bench.open_administered();
    let suite = Suite {
        module: &module,
        oracle: &SoftModule::new(),
        import,
        names,
        effort,
    };
    let report = suite.run(|row| println!("{}: {}", row.name, row.outcome));
    assert!(report.passed(), "{report}");
    report.checks()
}

#[test]
fn card_passes_the_suite_under_any_names_to_the_end_of_its_life() {
    let effort = Effort {
        end_of_life: true,
        ..Effort::QUICK
    };
    run(&Bench::new(), &Names::default(), None, effort);
}

/// All of Wycheproof on five curves; the ten thousand agreements run through pcscd.
#[test]
fn card_passes_the_suite_with_given_keys() {
    let bench = Bench::new();
    let effort = Effort {
        agreements: 500,
        ..Effort::FULL
    };
    let checks = run(&bench, &fixed_names(), Some(&bench.card), effort);
    println!("{checks} checks");
    assert!(checks > 5_000, "{checks}");
}
