// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::io;

use bench_probe::Image;
use bench_probe::qemu::{gdb, qtest};
use bench_probe::virtual_probe::Target;
use bench_probe::virtual_probe::cortex_m::{Machine, Register};
use bench_probe::virtual_probe::packet::{Answer, Command, Framer, LONGEST, MOST_BYTES};

/// Whatever a host sends, every command is answered, the answers are bounded, commands are written as they are read, and
/// the machine is only asked for what it can do at that time.
pub fn probe_commands(data: &[u8]) {
    let mut framer = Framer::default();
    // The first byte chooses how long the core runs before it stops by itself.
    let patience = data.first().map_or(0, |byte| u32::from(byte % 8));
    let mut target = Target::new(Checked::new(patience));
    for byte in data {
        let Some(Ok(command)) = framer.push(*byte) else {
            continue;
        };
        assert!(command.len() <= LONGEST);
        if let Ok(command) = Command::parse(&command) {
            assert_eq!(Command::parse(&command.encode()), Ok(command));
        }
        let answer = target.answer(&command);
        let encoded = answer.encode();
        assert!(encoded.starts_with(b"&") && encoded.ends_with(b"#"));
        assert!(encoded.len() <= 3 + 2 * MOST_BYTES);
        assert_eq!(
            matches!(answer, Answer::Refused(_)),
            Command::parse(&command).is_err()
        );
    }
}

/// Packets end, stay bounded, and what is written is read as it was.
pub fn gdb_packets(data: &[u8]) {
    let mut framer = gdb::Framer::default();
    for byte in data {
        if let Some(Ok(payload)) = framer.push(*byte) {
            assert!(payload.len() <= gdb::LONGEST);
            let _ = (gdb::stop_reply(&payload), gdb::register_value(&payload));
        }
    }
    let part = data.get(..data.len().min(gdb::LONGEST / 2)).unwrap_or(data);
    let mut framer = gdb::Framer::default();
    let packets: Vec<_> = gdb::encode(part)
        .iter()
        .filter_map(|byte| framer.push(*byte))
        .collect();
    assert_eq!(packets, [Ok(part.to_vec())]);
}

/// Lines are read or not, and never hold more bytes than they have pairs of digits.
pub fn qtest_lines(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(qtest::Line::Ok(bytes)) = qtest::parse(line) {
            assert!(bytes.len() <= line.len() / 2);
        }
    }
}

/// An image's build id lies in what is flashed, and no more is flashed than the file holds.
pub fn firmware_image(data: &[u8]) {
    let Ok(image) = Image::parse(data.to_vec()) else {
        return;
    };
    let sizes = image.segments().iter().map(|segment| segment.bytes.len());
    assert!(sizes.sum::<usize>() <= data.len());
    let note = image.note();
    let inside = image.segments().iter().any(|segment| {
        let end = segment.address + segment.bytes.len() as u64;
        (segment.address..end).contains(&note.address)
    });
    assert!(inside && note.bytes.len() <= data.len());
    let _ = (
        image.rtt(),
        image.symbol("main"),
        image.build_id().to_string(),
    );
}

/// A machine that insists on being used rightly.
#[derive(Debug)]
struct Checked {
    memory: Vec<u8>,
    running: bool,
    /// After how many looks the running core stops by itself.
    patience: u32,
    looks: u32,
    registers: [u32; 17],
    breakpoints: Vec<u32>,
}

impl Checked {
    fn new(patience: u32) -> Self {
        let mut registers = [0; 17];
        registers[16] = 1 << 24;
        Self {
            memory: vec![0; 1 << 16],
            running: false,
            patience,
            looks: 0,
            registers,
            breakpoints: Vec::new(),
        }
    }

    fn stopped_by_itself(&self) -> bool {
        self.patience > 0 && self.looks >= self.patience
    }

    fn index(register: Register) -> usize {
        match register {
            Register::General(number) => usize::from(number),
            Register::Xpsr => 16,
        }
    }
}

impl Machine for Checked {
    fn read(&mut self, address: u32, into: &mut [u8]) -> io::Result<()> {
        assert!(into.len() <= MOST_BYTES);
        for (byte, at) in into.iter_mut().zip(address as usize & 0xffff..) {
            *byte = self.memory[at & 0xffff];
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= MOST_BYTES);
        for (byte, at) in bytes.iter().zip(address as usize & 0xffff..) {
            self.memory[at & 0xffff] = *byte;
        }
        Ok(())
    }

    fn stopped(&mut self) -> io::Result<bool> {
        assert!(self.running);
        self.looks += 1;
        self.running = !self.stopped_by_itself();
        Ok(!self.running)
    }

    fn stop(&mut self) -> io::Result<bool> {
        assert!(self.running);
        self.running = false;
        Ok(self.stopped_by_itself())
    }

    fn go(&mut self) -> io::Result<()> {
        assert!(!self.running && self.registers[16] >> 24 & 1 == 1);
        self.running = true;
        self.looks = 0;
        Ok(())
    }

    fn step(&mut self) -> io::Result<()> {
        assert!(!self.running && self.registers[16] >> 24 & 1 == 1);
        Ok(())
    }

    fn register(&mut self, register: Register) -> io::Result<u32> {
        assert!(!self.running);
        Ok(self.registers[Self::index(register)])
    }

    fn set_register(&mut self, register: Register, value: u32) -> io::Result<()> {
        assert!(!self.running);
        self.registers[Self::index(register)] = value;
        Ok(())
    }

    fn breakpoint(&mut self, address: u32, set: bool) -> io::Result<()> {
        assert!(!self.running && self.breakpoints.contains(&address) != set);
        match set {
            true => self.breakpoints.push(address),
            false => self.breakpoints.retain(|other| *other != address),
        }
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        assert!(!self.running);
        self.registers = [0; 17];
        self.registers[16] = u32::from(self.memory[4] & 1) << 24;
        Ok(())
    }
}
