// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hashing, key derivation and GCM in Rust alone, as the base of all suites where *ring* is not, or not wanted.

use alloc::boxed::Box;
use core::marker::PhantomData;

use aes_gcm::{Aes128Gcm, Aes256Gcm};
use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::hash::{self, HashAlgorithm};
use rustls::crypto::hmac::{self as rustls_hmac, Tag};
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CipherSuiteCommon, KeyExchangeAlgorithm};
use rustls::{CipherSuite, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use sha2::{Digest, Sha256, Sha384};

use crate::aead;
use crate::suites::{Base, SIGNATURES};

/// The suites that all others are made from.
pub(crate) fn base() -> Base {
    Base {
        tls13: [&TLS13_128, &TLS13_256].map(SupportedCipherSuite::Tls13),
        tls12: [&TLS12_128, &TLS12_256].map(SupportedCipherSuite::Tls12),
    }
}

const fn common(suite: CipherSuite, hash: &'static dyn hash::Hash) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite,
        hash_provider: hash,
        // RFC 8446 §5.5 for AES-GCM, rounded down.
        confidentiality_limit: 1 << 24,
    }
}

static TLS13_128: Tls13CipherSuite = Tls13CipherSuite {
    common: common(CipherSuite::TLS13_AES_128_GCM_SHA256, &SHA256),
    hkdf_provider: &HkdfUsingHmac(&HMAC_SHA256),
    aead_alg: &aead::Tls13::<Aes128Gcm>::NEW,
    quic: None,
};

static TLS13_256: Tls13CipherSuite = Tls13CipherSuite {
    common: common(CipherSuite::TLS13_AES_256_GCM_SHA384, &SHA384),
    hkdf_provider: &HkdfUsingHmac(&HMAC_SHA384),
    aead_alg: &aead::Tls13::<Aes256Gcm>::NEW,
    quic: None,
};

static TLS12_128: Tls12CipherSuite = Tls12CipherSuite {
    common: common(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        &SHA256,
    ),
    prf_provider: &PrfUsingHmac(&HMAC_SHA256),
    kx: KeyExchangeAlgorithm::ECDHE,
    sign: SIGNATURES,
    aead_alg: &aead::Tls12::<Aes128Gcm>::NEW,
};

static TLS12_256: Tls12CipherSuite = Tls12CipherSuite {
    common: common(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        &SHA384,
    ),
    prf_provider: &PrfUsingHmac(&HMAC_SHA384),
    kx: KeyExchangeAlgorithm::ECDHE,
    sign: SIGNATURES,
    aead_alg: &aead::Tls12::<Aes256Gcm>::NEW,
};

static SHA256: Hash<Sha256> = Hash(HashAlgorithm::SHA256, PhantomData);
static SHA384: Hash<Sha384> = Hash(HashAlgorithm::SHA384, PhantomData);
static HMAC_SHA256: HmacOf<Hmac<Sha256>> = HmacOf(PhantomData);
static HMAC_SHA384: HmacOf<Hmac<Sha384>> = HmacOf(PhantomData);

/// A hash function as rustls wants it.
struct Hash<D>(HashAlgorithm, PhantomData<fn() -> D>);

impl<D: Digest + Clone + Send + Sync + 'static> hash::Hash for Hash<D> {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Hashing(D::new()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        hash::Output::new(&D::digest(data))
    }

    fn output_len(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0
    }
}

struct Hashing<D>(D);

impl<D: Digest + Clone + Send + Sync + 'static> hash::Context for Hashing<D> {
    fn fork_finish(&self) -> hash::Output {
        hash::Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        hash::Output::new(&self.0.finalize())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

/// HMAC with one hash function as rustls wants it.
struct HmacOf<M>(PhantomData<fn() -> M>);

impl<M: Mac + KeyInit + Clone + Send + Sync + 'static> rustls_hmac::Hmac for HmacOf<M> {
    fn with_key(&self, key: &[u8]) -> Box<dyn rustls_hmac::Key> {
        Box::new(Keyed(
            <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length"),
        ))
    }

    fn hash_output_len(&self) -> usize {
        M::output_size()
    }
}

struct Keyed<M>(M);

impl<M: Mac + Clone + Send + Sync> rustls_hmac::Key for Keyed<M> {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        middle.iter().for_each(|part| mac.update(part));
        mac.update(last);
        Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        M::output_size()
    }
}
