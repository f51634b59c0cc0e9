// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite on SoftHSM2, checked against the software module.

use hsm_pkcs11::softhsm::in_child;
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Suite};

const PIN: &str = "1234567890";

/// Among its 10 000 agreements on brainpoolP512r1 are about 60 points of each side that SoftHSM2 misreads when they
/// are not DER-encoded (those that begin 04 7F).
#[test]
fn token_passes_the_suite() {
    in_child("token_passes_the_suite", &["a"], PIN, |library| {
        let label = TokenSelector::Label("a".into());
        let token = Pkcs11Module::open(Pkcs11Config::new(library, label, Pin::new(PIN))).unwrap();
        let suite = Suite {
            module: &token,
            oracle: &SoftModule::new(),
            import: Some(&token),
            names: &Names::default(),
            effort: Effort {
                end_of_life: true,
                ..Effort::FULL
            },
        };
        let report = suite.run(|row| println!("{}: {}", row.name, row.outcome));
        assert!(report.passed(), "{report}");
        assert_eq!(report.not_run().count(), 0, "{report}");
        assert!(report.checks() > 19_000, "{report}");
    });
}
