// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suite of every security module, run through a link.

use std::net::TcpListener;
use std::sync::Arc;

use hsm_api::SecurityModule;
use hsm_link::{LinkModule, Patience, Secret, Served, serve};
use hsm_pkcs11::softhsm::in_child;
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Suite};

const PIN: &str = "1234567890";

fn linked(module: Arc<dyn SecurityModule>) -> (Served, LinkModule) {
    let secret = Secret::generate().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = serve(listener, module, secret.clone()).unwrap();
    let module = LinkModule::connect(served.address(), secret, Patience::default()).unwrap();
    (served, module)
}

fn passes(module: &LinkModule, least: usize) {
    let suite = Suite {
        module,
        oracle: &SoftModule::new(),
        // There is no message that could carry a private key, in neither direction.
        import: None,
        names: &Names::default(),
        effort: Effort {
            agreements: 200,
            end_of_life: true,
            ..Effort::FULL
        },
    };
    let report = suite.run(|row| println!("{}: {}", row.name, row.outcome));
    assert!(report.passed(), "{report}");
    assert!(report.checks() > least, "{report}");
}

#[test]
fn the_soft_module_passes_over_a_link() {
    let (_served, module) = linked(Arc::new(SoftModule::new()));
    passes(&module, 6_000);
}

#[test]
fn softhsm2_passes_over_a_link() {
    in_child("softhsm2_passes_over_a_link", &["a"], PIN, |library| {
        let label = TokenSelector::Label("a".into());
        let token = Pkcs11Module::open(Pkcs11Config::new(library, label, Pin::new(PIN))).unwrap();
        let told = token.capabilities();
        let (_served, module) = linked(Arc::new(token));
        let heard = module.capabilities();
        assert_eq!(
            (heard.name, heard.version, heard.curves),
            (told.name, told.version, told.curves)
        );
        assert_eq!(heard.keys_stay_inside, told.keys_stay_inside);
        passes(&module, 6_000);
    });
}
