// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use timing_probe::{
    Capture, Command, Edge, LineReader, Probe, PulseOutput, Refusal, Reply, STAMPS_AT_ONCE,
};

/// A timer that counts how often it is read and captures an edge now and then.
#[derive(Debug, Default)]
struct Timer(u32);

impl Capture for Timer {
    const HERTZ: u32 = 1_000_000;

    fn counter(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x1234_5678);
        self.0
    }

    fn next_edge(&mut self) -> Option<Edge> {
        self.0 = self.0.wrapping_add(1);
        (!self.0.is_multiple_of(3)).then_some(Edge {
            counter: self.0,
            rising: self.0.is_multiple_of(2),
            missed: u32::from(self.0.is_multiple_of(5)),
        })
    }
}

#[derive(Debug)]
struct NoPulses;

impl PulseOutput for NoPulses {
    fn begin(&mut self, _count: u32, _period: u32) -> Result<(), Refusal> {
        Err(Refusal::Range)
    }
}

/// Whatever the host sends, every line is answered by whole lines that the host can read, and by few.
pub fn host(bytes: &[u8]) {
    let mut probe = Probe::<_, _, 8>::new(Timer::default(), NoPulses);
    let mut reader = LineReader::default();
    for byte in bytes {
        let mut answer = Vec::new();
        probe.input(*byte, |line| answer.extend_from_slice(line));
        let mut replies = 0;
        for byte in answer {
            if let Some(line) = reader.push(byte) {
                let text = line.expect("the probe's lines are whole");
                let reply = Reply::parse(text).expect("the probe's replies are known");
                assert_eq!(reply.to_string(), text);
                replies += 1;
            }
        }
        assert!(replies <= STAMPS_AT_ONCE + 1);
        assert!(replies == 0 || *byte == b'\n');
    }
}

/// What is read as a command or a reply is written and read as the same.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(command) = Command::parse(&text) {
        assert_eq!(Command::parse(&command.to_string()), Some(command));
    }
    if let Some(reply) = Reply::parse(&text) {
        assert_eq!(Reply::parse(&reply.to_string()), Some(reply));
    }
}
