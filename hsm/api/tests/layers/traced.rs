// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a trace tells, and what it must not.

use std::sync::Arc;

use hsm_api::traced::{LogSink, Recorder, Subject, TraceSink};
use hsm_api::{Curve, Fault, KeyUsage, ObjectId, Operation, Reason, SecurityModule, Traced};
use hsm_soft::SoftModule;
use hsm_suite::conformance::{self, Names};

const CURVE: Curve = Curve::BrainpoolP256r1;

fn traced(limit: usize) -> (Traced, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::new(limit));
    let sink: Arc<dyn TraceSink> = Arc::new((LogSink, recorder.clone()));
    let module = Traced::new(Arc::new(SoftModule::new()), "soft", sink);
    (module, recorder)
}

#[test]
fn every_operation_leaves_a_record() {
    let (module, recorder) = traced(0);
    conformance::check(&module, &SoftModule::new(), CURVE, &Names::default());
    conformance::check_storage(&module, &Names::default());
    for operation in Operation::ALL {
        let count = recorder.summary().count("soft", *operation);
        assert!(count > 0, "{operation} was not recorded");
    }
    assert!(recorder.records().is_empty(), "a limit of none keeps none");
}

#[test]
fn a_record_names_the_key_and_the_outcome_but_no_content() {
    let (module, recorder) = traced(16);
    module
        .generate_key(&"tls".into(), CURVE, KeyUsage::Sign)
        .unwrap();
    let signature = module.sign_digest(&"tls".into(), &[0x5a; 32]).unwrap();
    module
        .sign_digest(&"other".into(), &[0x5a; 32])
        .unwrap_err();
    let ephemeral = module.ephemeral_key(CURVE).unwrap();
    let point = ephemeral.public_key().point.clone();
    ephemeral.agree(&point).unwrap();
    module
        .write_object(&ObjectId::data("note"), b"confidential")
        .unwrap();
    let mut drawn = [0; 32];
    module.random(&mut drawn).unwrap();

    let records = recorder.records();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let subject = record.subject.to_string();
            (record.operation, subject, record.failure)
        })
        .collect();
    let refused = Some((Fault::Caller, Reason::NotFound));
    let curve = || CURVE.to_string();
    assert_eq!(
        told,
        [
            (Operation::GenerateKey, "key tls".into(), None),
            (Operation::Sign, "key tls".into(), None),
            (Operation::Sign, "key other".into(), refused),
            (Operation::EphemeralKey, curve(), None),
            (Operation::Agree, curve(), None),
            (Operation::WriteObject, "data object note".into(), None),
            (Operation::Random, "32 bytes".into(), None),
        ]
    );
    let text = format!("{records:?}{module:?}{recorder:?}");
    for secret in [&[0x5a; 32][..], &signature, &drawn, b"confidential"] {
        assert!(!text.contains(&format!("{secret:?}")));
    }
    assert!(!text.contains("confidential"));
}

#[test]
fn memory_is_bounded_and_the_summary_counts_all() {
    let (module, recorder) = traced(3);
    for len in 0..10 {
        module.random(&mut vec![0; len]).unwrap();
    }
    let kept: Vec<_> = recorder
        .records()
        .into_iter()
        .map(|one| one.subject)
        .collect();
    assert_eq!(kept, [7, 8, 9].map(Subject::Bytes));
    assert_eq!(recorder.summary().count("soft", Operation::Random), 10);
    assert_eq!(recorder.summary().count("card", Operation::Random), 0);
}

#[test]
fn the_summary_is_a_table() {
    let (module, recorder) = traced(0);
    module.life_cycle().unwrap();
    module.public_key(&"none".into()).unwrap_err();
    module.public_key(&"none".into()).unwrap_err();
    let summary = recorder.summary();
    let table = summary.to_string();
    let columns = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = table.lines().map(columns).collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert_eq!(lines[1][..4], ["soft", "public-key", "2", "2"], "{table}");
    assert_eq!(lines[2][..4], ["soft", "life-cycle", "1", "0"], "{table}");
    let widths: std::collections::BTreeSet<_> = table.lines().map(str::len).collect();
    assert_eq!(
        widths.len(),
        1,
        "the columns stand below each other:\n{table}"
    );
}
