// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac};
use hsm_api::SecurityModule;
use hsm_soft::SoftModule;
use hsm_tls::{
    PeerCertificates, PeerCheck, PeerSide, RevocationPolicy, SmPki, SmPkiRole, TlsProfile, provider,
};
use rustls::crypto::cipher::{AeadKey, InboundOpaqueMessage, Tls12AeadAlgorithm, make_tls12_aad};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite};
use sha2::{Sha256, Sha384};

static MODULE: LazyLock<Arc<dyn SecurityModule>> = LazyLock::new(|| Arc::new(SoftModule::new()));

const SEQUENCE: u64 = 7;
const KIND: ContentType = ContentType::ApplicationData;
const VERSION: ProtocolVersion = ProtocolVersion::TLSv1_2;
const KEY: [u8; 32] = [0x11; 32];
const SECOND: [u8; 48] = [0x22; 48];

/// The record protection of a suite.
fn protection(suite: u16) -> &'static dyn Tls12AeadAlgorithm {
    let profile = TlsProfile::smgw_wan_client().with_cbc().only_suite(suite);
    let provider = provider(&MODULE, &profile).expect("the profile has the suite");
    match provider.cipher_suites.as_slice() {
        [SupportedCipherSuite::Tls12(suite)] => suite.aead_alg,
        other => panic!("{other:?}"),
    }
}

/// One CBC suite in its plainest form, as RFC 5246 §6.2.3.2 reads, and without any care for time.
struct Plain {
    suite: u16,
    /// What rustls takes for the fixed nonce.
    second: &'static [u8],
    mac_len: usize,
}

const SMALL: Plain = Plain {
    suite: 0xC023,
    second: SECOND.split_at(16).0,
    mac_len: 32,
};

const LARGE: Plain = Plain {
    suite: 0xC024,
    second: &SECOND,
    mac_len: 48,
};

impl Plain {
    fn mac(&self, payload: &[u8]) -> Vec<u8> {
        let head = make_tls12_aad(SEQUENCE, KIND, VERSION, payload.len());
        if self.mac_len == 32 {
            let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&KEY).unwrap();
            mac.chain_update(head)
                .chain_update(payload)
                .finalize()
                .into_bytes()
                .to_vec()
        } else {
            let mac = <Hmac<Sha384> as KeyInit>::new_from_slice(&SECOND).unwrap();
            mac.chain_update(head)
                .chain_update(payload)
                .finalize()
                .into_bytes()
                .to_vec()
        }
    }

    fn encrypt(&self, iv: &[u8; 16], plain: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(plain);
        if self.mac_len == 32 {
            cbc::Encryptor::<Aes128>::new_from_slices(self.second, iv)
                .unwrap()
                .encrypt_blocks(blocks);
        } else {
            cbc::Encryptor::<Aes256>::new_from_slices(&KEY, iv)
                .unwrap()
                .encrypt_blocks(blocks);
        }
    }

    fn decrypt(&self, iv: &[u8], record: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(record);
        if self.mac_len == 32 {
            cbc::Decryptor::<Aes128>::new_from_slices(self.second, iv)
                .unwrap()
                .decrypt_blocks(blocks);
        } else {
            cbc::Decryptor::<Aes256>::new_from_slices(&KEY, iv)
                .unwrap()
                .decrypt_blocks(blocks);
        }
    }

    fn open(&self, record: &[u8]) -> Option<Vec<u8>> {
        let (iv, rest) = record.split_at_checked(16)?;
        if !rest.len().is_multiple_of(16) {
            return None;
        }
        let mut plain = rest.to_vec();
        self.decrypt(iv, &mut plain);
        let padding = usize::from(*plain.last()?);
        let with_mac = plain.len().checked_sub(padding + 1)?;
        if plain[with_mac..]
            .iter()
            .any(|byte| usize::from(*byte) != padding)
        {
            return None;
        }
        let len = with_mac.checked_sub(self.mac_len)?;
        (self.mac(&plain[..len]) == plain[len..with_mac]).then(|| plain[..len].to_vec())
    }
}

/// Whatever stands in a CBC record, the constant-time reader takes what the plain one takes.
///
/// The first byte says which suite, and how the rest becomes a record: as it is; encrypted; or as a payload with its
/// right MAC and, behind it, as many of the last bytes as the second byte says.
pub fn cbc_record(input: &[u8]) {
    let [first, second, rest @ ..] = input else {
        return;
    };
    let suite = if first & 1 == 0 { SMALL } else { LARGE };
    let iv = [0x33; 16];
    let record = match first >> 1 & 3 {
        0 => rest.to_vec(),
        form => {
            let mut plain = rest.to_vec();
            if form > 1 {
                let (payload, tail) =
                    rest.split_at(rest.len() - usize::from(*second).min(rest.len()));
                let over = (payload.len() + suite.mac_len + tail.len()) % 16;
                let payload = &payload[over.min(payload.len())..];
                plain = [payload, &suite.mac(payload), tail].concat();
            }
            plain.truncate(plain.len() / 16 * 16);
            suite.encrypt(&iv, &mut plain);
            [&iv[..], &plain].concat()
        }
    };
    let expected = suite.open(&record);
    let mut reader = protection(suite.suite).decrypter(AeadKey::from(KEY), suite.second);
    let mut bytes = record.clone();
    let opened = reader.decrypt(
        InboundOpaqueMessage::new(KIND, VERSION, &mut bytes),
        SEQUENCE,
    );
    let opened = opened.ok().map(|message| message.payload.to_vec());
    // A payload beyond 2^14 bytes is right but forbidden.
    assert_eq!(opened, expected.filter(|payload| payload.len() <= 1 << 14));
}

/// Certificates and a CRL of any content are judged without harm, and nothing is accepted that the judge could not
/// trace to another certificate.
///
/// The input is a list of parts, each behind its length in two bytes: leaf, others, the trust anchor, a CRL.
pub fn sm_pki_chain(input: &[u8]) {
    let mut parts = Vec::new();
    let mut rest = input;
    while let [high, low, body @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(body.len());
        let (part, behind) = body.split_at(len);
        parts.push(part);
        rest = behind;
    }
    let [leaf, others @ .., anchor, crl] = parts.as_slice() else {
        return;
    };
    let Ok(trust) = SmPki::new(SmPkiRole::Emt, [*anchor]) else {
        return;
    };
    let trust = trust.with_revocation(RevocationPolicy::WhereKnown);
    let _ = trust.renew_crls([*crl]);
    let others: Vec<CertificateDer<'_>> = others
        .iter()
        .map(|part| CertificateDer::from(*part))
        .collect();
    let leaf = CertificateDer::from(*leaf);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    for side in [PeerSide::Client, PeerSide::Server] {
        let peer = PeerCertificates {
            leaf: &leaf,
            others: &others,
            side,
        };
        if trust.check(peer, now, MODULE.as_ref()).is_ok() {
            assert_ne!(leaf.as_ref(), *anchor);
        }
    }
}
