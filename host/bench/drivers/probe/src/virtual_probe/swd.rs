// SPDX-License-Identifier: MIT OR Apache-2.0
//! The target's end of a Serial Wire Debug line, bit by bit (ARM IHI 0031, chapter B4).
//!
//! The probe swallows turnaround cycles when it changes the direction of the line, so none are seen here: after the eight
//! bits of a request, the first bit clocked in is the first of the acknowledgement.

use std::collections::VecDeque;

/// A line reset: at least so many ones.
const LINE_RESET: u32 = 50;

/// Acknowledged: OK, and FAULT, as sent with the lowest bit first.
const OK: u32 = 0b001;
const FAULT: u32 = 0b100;

/// One transfer that a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// An access port's register rather than one of the debug port.
    pub ap: bool,
    /// Read or write.
    pub read: bool,
    /// Register: 0, 4, 8 or 12.
    pub address: u8,
}

impl Request {
    /// Reads the eight bits of a request, the first one lowest: start, APnDP, RnW, A2, A3, parity, stop, park.
    pub fn parse(bits: u8) -> Option<Self> {
        let bit = |at: u8| bits >> at & 1 == 1;
        let parity = (bits >> 1 & 0xf).count_ones() % 2 == 1;
        let framed = bit(0) && bit(5) == parity && !bit(6) && bit(7);
        framed.then(|| Self {
            ap: bit(1),
            read: bit(2),
            address: (bits >> 3 & 3) << 2,
        })
    }
}

/// What carries transfers out. An error is answered with FAULT.
pub trait Port {
    /// Reads a register.
    ///
    /// # Errors
    /// When the target cannot be reached.
    fn read(&mut self, ap: bool, address: u8) -> std::io::Result<u32>;

    /// Writes a register.
    ///
    /// # Errors
    /// When the target cannot be reached.
    fn write(&mut self, ap: bool, address: u8, value: u32) -> std::io::Result<()>;
}

/// What the target awaits.
#[derive(Debug)]
enum Awaits {
    /// A line reset: after power-up or damage.
    Reset,
    /// A start bit.
    Start,
    /// The rest of a request: bits so far, and how many.
    Request(u8, u8),
    /// That its answer is fetched; then perhaps data to write.
    Fetched { write: Option<Request> },
    /// Data to write and their parity: bits so far, and how many.
    Data {
        request: Request,
        bits: u64,
        got: u8,
    },
}

/// The line as the target sees it.
#[derive(Debug)]
pub struct Line {
    awaits: Awaits,
    ones: u32,
    answer: VecDeque<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            awaits: Awaits::Reset,
            ones: 0,
            answer: VecDeque::new(),
        }
    }
}

impl Line {
    /// The host clocks out a bit.
    pub fn output(&mut self, bit: bool, port: &mut impl Port) {
        self.answer.clear();
        self.ones = if bit { self.ones.saturating_add(1) } else { 0 };
        if self.ones >= LINE_RESET {
            self.awaits = Awaits::Start;
            return;
        }
        self.awaits = match std::mem::replace(&mut self.awaits, Awaits::Reset) {
            Awaits::Reset => Awaits::Reset,
            // Ones right after a reset belong to it; they are no start bits.
            Awaits::Start if bit && self.ones == 1 => Awaits::Request(1, 1),
            Awaits::Start => Awaits::Start,
            Awaits::Request(bits, got) => self.request(bits | u8::from(bit) << got, got + 1, port),
            Awaits::Fetched { write: None } if bit => Awaits::Request(1, 1),
            Awaits::Fetched { write: None } => Awaits::Start,
            Awaits::Fetched {
                write: Some(request),
            } => Awaits::Data {
                request,
                bits: u64::from(bit),
                got: 1,
            },
            Awaits::Data { request, bits, got } => {
                let bits = bits | u64::from(bit) << got;
                match got {
                    32 => Self::data(request, bits, port),
                    _ => Awaits::Data {
                        request,
                        bits,
                        got: got + 1,
                    },
                }
            }
        };
    }

    /// The host clocks in a bit.
    pub fn input(&mut self) -> bool {
        self.ones = 0;
        // Nobody drives the line: the host's pull-down wins.
        self.answer.pop_front().unwrap_or(false)
    }

    fn request(&mut self, bits: u8, got: u8, port: &mut impl Port) -> Awaits {
        if got < 8 {
            return Awaits::Request(bits, got);
        }
        let Some(request) = Request::parse(bits) else {
            return Awaits::Reset;
        };
        if !request.read {
            self.say(OK, 3);
            return Awaits::Fetched {
                write: Some(request),
            };
        }
        match port.read(request.ap, request.address) {
            Ok(word) => {
                self.say(OK, 3);
                self.say(word, 32);
                self.say(word.count_ones() % 2, 1);
            }
            Err(_) => self.say(FAULT, 3),
        }
        Awaits::Fetched { write: None }
    }

    fn data(request: Request, bits: u64, port: &mut impl Port) -> Awaits {
        // The lower half is the word.
        let word = bits as u32;
        let intact = u64::from(word.count_ones() % 2) == bits >> 32;
        // What fails here is seen at the next transfer, as on a real target.
        match intact && port.write(request.ap, request.address, word).is_ok() {
            true => Awaits::Start,
            false => Awaits::Reset,
        }
    }

    fn say(&mut self, value: u32, bits: u32) {
        self.answer
            .extend((0..bits).map(|bit| value >> bit & 1 == 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Registers {
        written: Vec<(bool, u8, u32)>,
    }

    impl Port for Registers {
        fn read(&mut self, ap: bool, address: u8) -> std::io::Result<u32> {
            match ap {
                false if address == 0 => Ok(0x2ba0_1477),
                false => Ok(0),
                true => Err(std::io::ErrorKind::NotConnected.into()),
            }
        }

        fn write(&mut self, ap: bool, address: u8, value: u32) -> std::io::Result<()> {
            self.written.push((ap, address, value));
            Ok(())
        }
    }

    fn out(line: &mut Line, port: &mut Registers, value: u64, bits: u32) {
        (0..bits).for_each(|bit| line.output(value >> bit & 1 == 1, port));
    }

    fn fetch(line: &mut Line, bits: u32) -> u64 {
        (0..bits).fold(0, |word, bit| word | u64::from(line.input()) << bit)
    }

    /// What a host sends to leave JTAG: ones, the sequence 0xE79E, ones, idle.
    fn connect(line: &mut Line, port: &mut Registers) {
        out(line, port, u64::MAX, 51);
        out(line, port, 0xe79e, 16);
        out(line, port, u64::MAX, 51);
        out(line, port, 0, 3);
    }

    #[test]
    fn dpidr_is_read_after_a_line_reset_only() {
        let (mut line, mut port) = (Line::default(), Registers::default());
        out(&mut line, &mut port, 0xa5, 8);
        assert_eq!(fetch(&mut line, 3), 0, "silent before the first reset");
        connect(&mut line, &mut port);
        out(&mut line, &mut port, 0xa5, 8);
        assert_eq!(fetch(&mut line, 3), u64::from(OK));
        assert_eq!(fetch(&mut line, 32), 0x2ba0_1477);
        assert_eq!(
            fetch(&mut line, 1),
            u64::from(0x2ba0_1477u32.count_ones() % 2)
        );
    }

    #[test]
    fn words_are_written_when_their_parity_is_right() {
        let (mut line, mut port) = (Line::default(), Registers::default());
        connect(&mut line, &mut port);
        // ABORT: DP write to register 0.
        out(&mut line, &mut port, 0x81, 8);
        assert_eq!(fetch(&mut line, 3), u64::from(OK));
        out(&mut line, &mut port, 0x1e, 32);
        out(&mut line, &mut port, 0, 9);
        assert_eq!(port.written, [(false, 0, 0x1e)]);
        out(&mut line, &mut port, 0x81, 8);
        fetch(&mut line, 3);
        out(&mut line, &mut port, 0x1e | 1 << 32, 33);
        assert_eq!(port.written.len(), 1, "wrong parity");
        out(&mut line, &mut port, 0xa5, 8);
        assert_eq!(fetch(&mut line, 3), 0, "damage silences until a line reset");
    }

    #[test]
    fn a_target_out_of_reach_is_a_fault() {
        let (mut line, mut port) = (Line::default(), Registers::default());
        connect(&mut line, &mut port);
        // AP read of register 12: start, AP, read, A2, A3, even parity, stop, park.
        out(&mut line, &mut port, 0b1001_1111, 8);
        assert_eq!(fetch(&mut line, 3), u64::from(FAULT));
    }
}
