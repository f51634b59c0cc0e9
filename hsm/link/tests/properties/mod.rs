// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::io::{self, Read, Write};
use std::time::Duration;

use hsm_link::message::{Answer, Asked, from_bytes, to_bytes};
use hsm_link::{Desk, MAX_MESSAGE, Secret, Stream, serve_stream};
use hsm_soft::SoftModule;

/// A message is read or refused; what was read is written and read the same, and every request gets an answer.
pub fn message(bytes: &[u8]) {
    if let Ok(asked) = from_bytes::<Asked>(bytes) {
        let written = to_bytes(&asked).expect("what came in a frame fits into one");
        assert_eq!(from_bytes::<Asked>(&written).ok(), Some(asked));
        let module = SoftModule::new();
        let mut desk = Desk::new(&module);
        let answer = desk.answer(bytes).expect("a request has an answer");
        assert!(answer.len() <= MAX_MESSAGE);
        from_bytes::<Answer>(&answer).expect("an answer follows the table");
    }
    if let Ok(answer) = from_bytes::<Answer>(bytes) {
        let written = to_bytes(&answer).expect("what came in a frame fits into one");
        assert_eq!(from_bytes::<Answer>(&written).ok(), Some(answer));
    }
}

/// Whoever does not hold the secret gets nothing but the end, whatever it sends.
pub fn stranger(sent: &[u8]) {
    let module = SoftModule::new();
    let mut answered = Vec::new();
    let stream = Sent(sent, &mut answered);
    assert!(serve_stream(stream, &module, &Secret::new([7; 32])).is_err());
    assert!(answered.is_empty(), "{answered:02x?}");
}

/// A stream that brings given bytes and then ends.
struct Sent<'a>(&'a [u8], &'a mut Vec<u8>);

impl Read for Sent<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Sent<'_> {
    fn set_patience(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}
