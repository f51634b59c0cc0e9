// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw::target::netlink::{Refusal, acknowledged};

/// Whatever the kernel answers: success is read out of a whole error message without an error only, an error number is
/// the one that stands there, and nothing behind it matters.
pub fn netlink(answer: &[u8]) {
    let read = acknowledged(answer);
    let head = answer.get(..20).unwrap_or_default();
    assert_eq!(acknowledged(head), read, "what follows the code matters");
    match read {
        Ok(()) => assert!(head.ends_with(&[0; 4]) && head[4..6] == 2u16.to_ne_bytes()),
        Err(Refusal::Kernel(number)) => {
            assert!(number > 0 && head.ends_with(&(-number).to_ne_bytes()));
            assert!(head[4..6] == 2u16.to_ne_bytes());
        }
        Err(_) => {}
    }
}
