// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use hsm_pkcs11::spy::Trace;

/// No more is counted than the log says, whatever it says.
pub fn trace(log: &[u8]) {
    let log = String::from_utf8_lossy(log);
    let trace = Trace::parse(&log);
    let returns = log
        .lines()
        .filter(|line| line.starts_with("Returned:"))
        .count() as u64;
    let counted: u64 = trace.calls.values().sum();
    assert!(counted + trace.refused_reads <= returns);
    assert!(trace.exposures.len() as u64 <= counted);
    assert!(trace.weak_private_keys <= trace.key_pairs);
    assert_eq!(trace.key_pairs, trace.count("C_GenerateKeyPair"));
    assert!(!trace.to_string().is_empty());
}
