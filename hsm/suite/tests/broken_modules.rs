// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suite finds broken modules: each defect fails the part it belongs to.

use hsm_api::{
    Capabilities, Curve, EphemeralKey, Import, KeyId, KeyInfo, KeyUsage, Layer, LifeCycle,
    ModuleError, ObjectId, PublicKey, SecurityModule, SharedSecret,
};
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Outcome, Report, Suite};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Defect {
    None,
    ConstantRandomness,
    WrongSignature,
    AcceptsEverySignature,
    RefusesEverySignature,
    SignsWithAnyKey,
    TakesAnyPoint,
    WrongSecretOnce,
    ForgetsObjects,
    KeepsKeys,
    LivesForEver,
    KnowsOneCurve,
}

#[derive(Debug)]
struct Broken {
    below: SoftModule,
    defect: Defect,
}

impl Broken {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }
}

impl Layer for Broken {
    fn below(&self) -> &dyn SecurityModule {
        &self.below
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.below.capabilities();
        if self.has(Defect::KnowsOneCurve) {
            capabilities.curves.truncate(1);
        }
        capabilities
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.below.random(out)?;
        if self.has(Defect::ConstantRandomness) {
            out.fill(7);
        }
        Ok(())
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        let usage = |info: &KeyInfo| info.key == *key && info.usage == KeyUsage::Agree;
        if self.has(Defect::SignsWithAnyKey) && self.below.keys()?.iter().any(usage) {
            return Ok(Vec::new());
        }
        let mut signature = self.below.sign_digest(key, digest)?;
        if self.has(Defect::WrongSignature) {
            signature[0] ^= 1;
        }
        Ok(signature)
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        let good = self.below.verify_digest(key, digest, signature)?;
        Ok(match self.defect {
            Defect::AcceptsEverySignature => true,
            Defect::RefusesEverySignature => false,
            _ => good,
        })
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        match self.below.agree_static(key, peer_point) {
            Err(_) if self.has(Defect::TakesAnyPoint) && !peer_point.is_empty() => {
                Ok(SharedSecret(vec![0; 32].into()))
            }
            result => result,
        }
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let key = self.below.ephemeral_key(curve)?;
        Ok(if self.has(Defect::WrongSecretOnce) {
            Box::new(WrongForSome(key))
        } else {
            key
        })
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        let mut content = self.below.read_object(object)?;
        if self.has(Defect::ForgetsObjects) {
            content.pop();
        }
        Ok(content)
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        if self.has(Defect::KeepsKeys) && self.below.public_key(key).is_ok() {
            return Ok(());
        }
        self.below.remove_key(key)
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        if self.has(Defect::LivesForEver) && phase == LifeCycle::Decommissioned {
            return Ok(());
        }
        self.below.enter_phase(phase)
    }
}

/// Like a token that misreads a few points: those that begin with a small byte.
struct WrongForSome(Box<dyn EphemeralKey>);

impl EphemeralKey for WrongForSome {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let mut secret = self.0.agree(peer_point)?;
        if peer_point[1] < 32 {
            secret.0[0] ^= 1;
        }
        Ok(secret)
    }
}

fn run(defect: Defect, import: bool, effort: Effort) -> Report {
    let module = Broken {
        below: SoftModule::new(),
        defect,
    };
    let suite = Suite {
        module: &module,
        oracle: &SoftModule::new(),
        import: import.then_some(&module.below as &dyn Import),
        names: &Names::default(),
        effort,
    };
    let mut rows = 0;
    let report = suite.run(|_| rows += 1);
    assert_eq!(report.rows.len(), rows);
    report
}

const EFFORT: Effort = Effort {
    vectors_per_set: 12,
    agreements: 200,
    end_of_life: true,
};

#[test]
fn every_defect_is_found_where_it_is() {
    let all = ["promises", "known answers", "Wycheproof ECDSA"];
    for (defect, parts) in [
        (Defect::None, &[][..]),
        (Defect::ConstantRandomness, &["promises"]),
        (Defect::WrongSignature, &["promises", "known answers"]),
        (Defect::AcceptsEverySignature, &all),
        (Defect::RefusesEverySignature, &all),
        (Defect::SignsWithAnyKey, &["promises"]),
        (Defect::TakesAnyPoint, &["promises", "Wycheproof ECDH"]),
        (Defect::WrongSecretOnce, &["endurance"]),
        (Defect::ForgetsObjects, &["objects and removal"]),
        (Defect::KeepsKeys, &["objects and removal"]),
        (Defect::LivesForEver, &["life cycle"]),
    ] {
        let report = run(defect, true, EFFORT);
        assert_eq!(
            report.passed(),
            defect == Defect::None,
            "{defect:?}\n{report}"
        );
        for part in parts {
            let failed = report
                .rows
                .iter()
                .any(|row| row.name.starts_with(part) && matches!(row.outcome, Outcome::Failed(_)));
            assert!(failed, "{defect:?}: {part}\n{report}");
        }
    }
}

#[test]
fn what_cannot_be_asked_is_not_called_passed() {
    let not_run = |report: &Report, part: &str| {
        let of_part = report.not_run().filter(|row| row.name.starts_with(part));
        of_part.count()
    };
    let report = run(Defect::None, false, Effort::QUICK);
    assert!(report.passed(), "{report}");
    assert_eq!(not_run(&report, "Wycheproof ECDH"), 5, "{report}");
    assert_eq!(not_run(&report, "known answers, brainpoolP512r1"), 1);
    assert_eq!(not_run(&report, "life cycle"), 1, "{report}");

    let report = run(Defect::KnowsOneCurve, true, Effort::QUICK);
    for part in [
        "promises",
        "known answers",
        "Wycheproof ECDSA",
        "Wycheproof ECDH",
    ] {
        assert_eq!(not_run(&report, part), 4, "{report}");
    }
    assert!(
        !Report::default().passed(),
        "nothing ran, so nothing passed"
    );
}

/// A failure leaves neither keys of the suite behind nor takes keys of the user away.
#[test]
fn a_failure_leaves_the_keys_as_they_were() {
    let names = Names::default();
    let curve = Curve::BrainpoolP256r1;
    let module = Broken {
        below: SoftModule::new(),
        defect: Defect::WrongSignature,
    };
    let oracle = SoftModule::new();
    hsm_suite::conformance::of_curve(&module, &oracle, curve, &names).unwrap_err();
    assert!(module.below.keys().unwrap().is_empty());
    assert!(oracle.keys().unwrap().is_empty());

    let users = module
        .below
        .generate_key(&names.agree, curve, KeyUsage::Agree);
    hsm_suite::conformance::of_curve(&module, &oracle, curve, &names).unwrap_err();
    let kept = module.below.keys().unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        module.below.public_key(&names.agree).unwrap(),
        users.unwrap()
    );
}
