// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cipher suites of TR-03116-3 tables 7 and 9: GCM of *ring* or in Rust alone, CCM and CBC of this crate.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use rustls::crypto::cipher::{Tls12AeadAlgorithm, Tls13AeadAlgorithm};
use rustls::crypto::tls12::Prf;
use rustls::{
    CipherSuite, CipherSuiteCommon, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
};
use spin::Lazy;

use crate::aead::{self, Aes128Ccm};
use crate::cbc::{Aes128Sha256, Aes256Sha384, CipherKeysFirst};
use crate::portable;

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
    /// By *ring*, where there is one.
    suite: SupportedCipherSuite,
    /// In Rust alone.
    portable: SupportedCipherSuite,
    pub(crate) mode: Mode,
    /// Bits of the AES key.
    pub(crate) key_bits: u16,
}

impl Suite {
    /// The suite for rustls.
    pub(crate) fn supported(&self, portable: bool) -> SupportedCipherSuite {
        if portable { self.portable } else { self.suite }
    }

    /// The protocol version it belongs to.
    pub(crate) fn version(&self) -> &'static SupportedProtocolVersion {
        self.suite.version()
    }

    /// Its IANA number.
    pub(crate) fn id(&self) -> u16 {
        self.suite.suite().into()
    }
}

/// The suites with GCM of one implementation, AES-128 first.
pub(crate) struct Base {
    pub(crate) tls13: [SupportedCipherSuite; 2],
    pub(crate) tls12: [SupportedCipherSuite; 2],
}

/// *ring*'s.
#[cfg(feature = "std")]
fn fastest() -> Base {
    use rustls::crypto::ring::cipher_suite as ring;
    Base {
        tls13: [
            ring::TLS13_AES_128_GCM_SHA256,
            ring::TLS13_AES_256_GCM_SHA384,
        ],
        tls12: [
            ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
    }
}

/// Every suite this crate can negotiate, most wanted first.
pub(crate) static SUITES: Lazy<Vec<Suite>> = Lazy::new(|| {
    let portable = suites_of(&portable::base());
    #[cfg(feature = "std")]
    let suites = suites_of(&fastest());
    #[cfg(not(feature = "std"))]
    let suites = portable.clone();
    let modes = [
        (Mode::Gcm, 128),
        (Mode::Gcm, 256),
        (Mode::Ccm, 128),
        (Mode::Gcm, 128),
        (Mode::Gcm, 256),
        (Mode::Cbc, 128),
        (Mode::Cbc, 256),
    ];
    let rows = modes.into_iter().zip(suites).zip(portable);
    rows.map(|(((mode, key_bits), suite), portable)| Suite {
        suite,
        portable,
        mode,
        key_bits,
    })
    .collect()
});

fn suites_of(base: &Base) -> Vec<SupportedCipherSuite> {
    let ([tls13_128, tls13_256], [tls12_128, tls12_256]) = (base.tls13, base.tls12);
    let cbc128 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256;
    let cbc256 = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384;
    vec![
        tls13_128,
        tls13_256,
        tls13(tls13_128, &aead::Tls13::<Aes128Ccm>::NEW),
        tls12(tls12_128, |_| {}),
        tls12(tls12_256, |_| {}),
        tls12(tls12_128, |suite| replace(suite, cbc128, &Aes128Sha256)),
        tls12(tls12_256, |suite| {
            replace(suite, cbc256, &Aes256Sha384);
            let prf: &'static dyn Prf = Box::leak(Box::new(CipherKeysFirst(suite.prf_provider)));
            suite.prf_provider = prf;
        }),
    ]
}

fn replace(
    suite: &mut Tls12CipherSuite,
    id: CipherSuite,
    protection: &'static dyn Tls12AeadAlgorithm,
) {
    suite.common.suite = id;
    suite.aead_alg = protection;
}

/// A suite of TLS 1.2 after another, with the signatures of TR-03116-3 only, and changed.
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

/// A suite of TLS 1.3 after another with another protection of records.
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
pub(crate) const SIGNATURES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];
