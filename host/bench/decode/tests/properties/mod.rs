// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use bench_decode::{Form, Options, Protocol, decode};

/// Whatever the input, and whatever it is taken for: every frame can be shown in every format, lies
/// inside the input, and takes no more room than its bytes warrant.
pub fn decode_any(input: &[u8]) {
    let guesses = [None]
        .into_iter()
        .chain(Protocol::LIST.map(|protocol| Some((protocol, Form::Raw))));
    for guess in guesses {
        let options = Options {
            protocol: guess.map(|(protocol, _)| protocol),
            form: guess.map_or(Form::Auto, |(_, form)| form),
            keys: vec!["000102030405060708090a0b0c0d0e0f".parse().expect("a key")],
            ..Options::default()
        };
        let mut room = 64 * 1024 + 4096 * input.len();
        let mut frames = 0;
        let result = decode(input, &options, &mut |frame| {
            let shown = frame.json().to_string() + &frame.table() + &frame.explain(true);
            room = room
                .checked_sub(shown.len())
                .expect("output stays in proportion");
            let (understood, total) = frame.coverage();
            assert!(understood <= total && frame.offset + total <= input.len());
            frames += 1;
        });
        if let Ok(summary) = result {
            assert_eq!(summary.frames, frames);
            assert!(summary.failed <= summary.frames);
        }
    }
}
