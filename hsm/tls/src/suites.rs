// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cipher suites of TR-03116-3 tables 7 and 9: GCM of *ring*, CCM and CBC of this crate.

use std::sync::LazyLock;

use rustls::crypto::cipher::{Tls12AeadAlgorithm, Tls13AeadAlgorithm};
use rustls::crypto::ring::cipher_suite;
use rustls::crypto::tls12::Prf;
use rustls::{
    CipherSuite, CipherSuiteCommon, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite,
    Tls13CipherSuite,
};

use crate::cbc::{Aes128Sha256, Aes256Sha384, CipherKeysFirst};
use crate::ccm::Aes128Ccm;

/// How records are protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Gcm,
    Ccm,
    /// Without `encrypt_then_mac`, which rustls cannot negotiate: for partners that have nothing else.
    Cbc,
}

/// One suite.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) suite: SupportedCipherSuite,
    pub(crate) mode: Mode,
    /// Bits of the AES key.
    pub(crate) key_bits: u16,
}

impl Suite {
    /// Its IANA number.
    pub(crate) fn id(&self) -> u16 {
        self.suite.suite().into()
    }
}

/// Every suite this crate can negotiate, most wanted first.
pub(crate) static SUITES: LazyLock<Vec<Suite>> = LazyLock::new(|| {
    let row = |mode, key_bits, suite| Suite {
        suite,
        mode,
        key_bits,
    };
    let (small, large) = (
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    );
    let cbc128 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256;
    let cbc256 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384;
    vec![
        row(Mode::Gcm, 128, cipher_suite::TLS13_AES_128_GCM_SHA256),
        row(Mode::Gcm, 256, cipher_suite::TLS13_AES_256_GCM_SHA384),
        row(
            Mode::Ccm,
            128,
            tls13(cipher_suite::TLS13_AES_128_GCM_SHA256, &Aes128Ccm),
        ),
        row(Mode::Gcm, 128, tls12(small, |_| {})),
        row(Mode::Gcm, 256, tls12(large, |_| {})),
        row(
            Mode::Cbc,
            128,
            tls12(small, |suite| replace(suite, cbc128, &Aes128Sha256)),
        ),
        row(
            Mode::Cbc,
            256,
            tls12(large, |suite| {
                replace(suite, cbc256, &Aes256Sha384);
                let prf: &'static dyn Prf =
                    Box::leak(Box::new(CipherKeysFirst(suite.prf_provider)));
                suite.prf_provider = prf;
            }),
        ),
    ]
});

fn replace(
    suite: &mut Tls12CipherSuite,
    id: CipherSuite,
    protection: &'static dyn Tls12AeadAlgorithm,
) {
    suite.common.suite = id;
    suite.aead_alg = protection;
}

/// A suite of TLS 1.2 after *ring*'s, with the signatures of TR-03116-3 only, and changed.
fn tls12(
    base: SupportedCipherSuite,
    change: impl FnOnce(&mut Tls12CipherSuite),
) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(base) = base else {
        return base;
    };
    let mut suite = Tls12CipherSuite {
        common: common(&base.common),
        prf_provider: base.prf_provider,
        kx: base.kx,
        sign: SIGNATURES,
        aead_alg: base.aead_alg,
    };
    change(&mut suite);
    SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
}

/// *ring*'s suite of TLS 1.3 with another protection of records.
fn tls13(
    base: SupportedCipherSuite,
    protection: &'static dyn Tls13AeadAlgorithm,
) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls13(base) = base else {
        return base;
    };
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: CipherSuite::TLS13_AES_128_CCM_SHA256,
            // RFC 9147 §4.5.3: 2^23 records.
            confidentiality_limit: 1 << 23,
            ..common(&base.common)
        },
        hkdf_provider: base.hkdf_provider,
        aead_alg: protection,
        quic: None,
    })))
}

fn common(base: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: base.suite,
        hash_provider: base.hash_provider,
        confidentiality_limit: base.confidentiality_limit,
    }
}

/// ECDSA with SHA-256, SHA-384 and SHA-512 on any curve, as TLS 1.2 means these numbers.
const SIGNATURES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];
