// SPDX-License-Identifier: MIT OR Apache-2.0
//! The soft module against the common suite and published known answers.

use hsm_api::conformance::Names;
use hsm_api::{Curve, Fault, KeyId, KeyUsage, PublicKey, SecurityModule};
use hsm_soft::SoftModule;

#[test]
fn soft_module_keeps_the_promises() {
    hsm_api::conformance::check(
        &SoftModule::new(),
        &SoftModule::new(),
        Curve::BrainpoolP256r1,
        &Names::default(),
    );
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
fn other_curves_are_refused() {
    let module = SoftModule::new();
    for curve in Curve::ALL
        .into_iter()
        .filter(|curve| *curve != Curve::BrainpoolP256r1)
    {
        let key = KeyId::from("k");
        assert_eq!(
            module
                .generate_key(&key, curve, KeyUsage::Sign)
                .unwrap_err()
                .fault(),
            Fault::Caller
        );
        assert_eq!(
            module.ephemeral_key(curve).err().unwrap().fault(),
            Fault::Caller
        );
        let public = PublicKey {
            curve,
            point: vec![4; 1 + 2 * curve.field_len()],
        };
        assert_eq!(
            hsm_soft::verify(&public, &[0; 32], &[0; 64])
                .unwrap_err()
                .fault(),
            Fault::Caller
        );
    }
}

#[test]
fn bad_private_keys_are_refused() {
    let module = SoftModule::new();
    for scalar in [&[0; 32][..], &[0xff; 32], &[1; 31], &[]] {
        let imported = module.import_key(
            &KeyId::from("k"),
            Curve::BrainpoolP256r1,
            KeyUsage::Sign,
            scalar,
        );
        assert_eq!(imported.unwrap_err().fault(), Fault::Caller);
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
