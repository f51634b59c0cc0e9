// SPDX-License-Identifier: MIT OR Apache-2.0
//! Revocation lists read back.

use std::sync::Arc;

use hsm_pki::{Generation, Partner, PkiError, ReadList, Role, Setting, TestPki};
use hsm_soft::SoftModule;
use rustls_pki_types::CertificateRevocationListDer;

fn pki() -> (Arc<SoftModule>, TestPki) {
    let module = Arc::new(SoftModule::new());
    let pki = TestPki::new(module.clone(), Setting::new(Generation::First)).unwrap();
    (module, pki)
}

#[test]
fn a_list_tells_what_it_revokes_and_who_signed_it() {
    let (module, pki) = pki();
    let triple = pki
        .issue(&Partner::new(Role::Emt, "Revoked"), &*module)
        .unwrap();
    let mut content = pki.empty_sub_ca_list().revoking(triple.tls.certificate());
    content.number = 0x1_0000;
    let der = pki.sub_ca_list(&content).unwrap();
    let list = ReadList::read(&der).unwrap();
    assert_eq!(list.number(), Some(0x1_0000));
    assert!(list.revokes(triple.tls.certificate()).unwrap());
    assert!(!list.revokes(triple.sig.certificate()).unwrap());
    let sub_ca = pki.sub_ca().certificate();
    assert!(list.is_signed_by(sub_ca, &*module).unwrap());
    assert!(
        !list
            .is_signed_by(pki.root().certificate(), &*module)
            .unwrap()
    );
    let (start, end) = list.validity();
    let week = end.unwrap().duration_since(start).unwrap();
    assert_eq!(week.as_secs(), 7 * 86_400);

    // The root's list speaks for the root, whose name its first entry gives for all that follow.
    let content = pki
        .empty_root_list()
        .revoking(pki.tls_signer().certificate())
        .revoking(sub_ca);
    let list = ReadList::read(&pki.root_list(&content).unwrap()).unwrap();
    assert!(list.revokes(sub_ca).unwrap());
    assert!(!list.revokes(pki.crl_signer().certificate()).unwrap());
    let signer = pki.crl_signer().certificate();
    assert!(list.is_signed_by(signer, &*module).unwrap());

    let mut forged = der.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = ReadList::read(&CertificateRevocationListDer::from(forged)).unwrap();
    assert!(!forged.is_signed_by(sub_ca, &*module).unwrap());
    let cut = CertificateRevocationListDer::from(&der[..der.len() - 1]);
    assert!(matches!(ReadList::read(&cut), Err(PkiError::Pem { .. })));
}
