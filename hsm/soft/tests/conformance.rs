// SPDX-License-Identifier: MIT OR Apache-2.0
//! The soft module against the common suite and published known answers.

use hsm_api::{Curve, Reason};
use hsm_soft::{PrivateKey, SoftModule};
use hsm_suite::{Effort, Names, Outcome, Suite};

#[test]
fn soft_module_passes_the_suite() {
    let (module, oracle) = (SoftModule::new(), SoftModule::new());
    let suite = Suite {
        module: &module,
        oracle: &oracle,
        import: Some(&module),
        names: &Names::default(),
        effort: Effort {
            // Two sides of one implementation prove little; the token's tests have the many.
            agreements: 50,
            end_of_life: true,
            ..Effort::FULL
        },
    };
    let report = suite.run(|row| println!("{}: {}", row.name, row.outcome));
    assert!(report.passed(), "{report}");
    assert_eq!(report.not_run().count(), 0, "{report}");
    // What the sets held when they were counted; a set that comes back short would otherwise pass.
    for (part, least) in [
        ("Wycheproof ECDSA", 6_000),
        ("Wycheproof ECDH", 3_000),
        ("known answers", 40),
    ] {
        let count: usize = report
            .rows
            .iter()
            .filter(|row| row.name.starts_with(part))
            .map(|row| match row.outcome {
                Outcome::Passed(count) => count,
                Outcome::Failed(_) | Outcome::NotRun(_) => 0,
            })
            .sum();
        assert!(count >= least, "{part}: {count} checks");
    }
}

#[test]
fn bad_private_keys_are_refused() {
    for curve in Curve::ALL {
        let len = curve.field_len();
        for scalar in [vec![0; len], vec![0xff; len], vec![1; len - 1], vec![]] {
            let refused = PrivateKey::from_bytes(curve, &scalar).unwrap_err();
            assert_eq!(refused.reason(), Reason::BadInput, "{curve}");
        }
    }
}

#[test]
fn private_keys_do_not_show() {
    for curve in Curve::ALL {
        let key = PrivateKey::generate(curve).unwrap();
        assert_eq!(format!("{key:?}"), format!("PrivateKey({curve}, ..)"));
        let again = PrivateKey::from_bytes(curve, &key.to_bytes()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }
}
