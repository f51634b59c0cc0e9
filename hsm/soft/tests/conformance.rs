// SPDX-License-Identifier: MIT OR Apache-2.0
//! The soft module against the common suite and published known answers.

use hsm_api::conformance::Names;
use hsm_api::{Curve, KeyId, KeyUsage, Reason, SecurityModule};
use hsm_soft::{PrivateKey, SoftModule};

#[test]
fn soft_module_keeps_the_promises() {
    for curve in Curve::ALL {
        let (module, oracle) = (SoftModule::new(), SoftModule::new());
        hsm_api::conformance::check(&module, &oracle, curve, &Names::default());
    }
    hsm_api::conformance::check_storage(&SoftModule::new(), &Names::default());
}

/// RFC 7027 appendix A.1, taken over unchanged for TLS 1.3 by RFC 8734.
#[test]
fn agreement_known_answer() {
    let module = SoftModule::new();
    let curve = Curve::BrainpoolP256r1;
    let side = |name: &str, scalar: &str, x: &str, y: &str| {
        let key = KeyId::from(name);
        let public = module
            .import_key(&key, curve, KeyUsage::Agree, &hex(scalar))
            .unwrap();
        assert_eq!(public.point, [vec![4], hex(x), hex(y)].concat());
        (key, public)
    };
    let (a, a_public) = side(
        "a",
        "81DB1EE100150FF2EA338D708271BE38300CB54241D79950F77B063039804F1D",
        "44106E913F92BC02A1705D9953A8414DB95E1AAA49E81D9E85F929A8E3100BE5",
        "8AB4846F11CACCB73CE49CBDD120F5A900A69FD32C272223F789EF10EB089BDC",
    );
    let (b, b_public) = side(
        "b",
        "55E40BC41E37E3E2AD25C3C6654511FFA8474A91A0032087593852D3E7D76BD3",
        "8D2D688C6CF93E1160AD04CC4429117DC2C41825E1E9FCA0ADDD34E6F1B39F7B",
        "990C57520812BE512641E47034832106BC7D3E8DD0E4C7F1136D7006547CEC6A",
    );
    let z = hex("89AFC39D41D3B327814B80940B042590F96556EC91E6AE7939BCE31F3A18BF2B");
    assert_eq!(*module.agree_static(&a, &b_public.point).unwrap().0, z);
    assert_eq!(*module.agree_static(&b, &a_public.point).unwrap().0, z);
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

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
