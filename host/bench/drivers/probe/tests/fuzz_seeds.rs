// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and mutations of them, and round trips of packets.

mod properties;

use bench_probe::virtual_probe::packet::{Command, MOST_BYTES};
use proptest::prelude::*;
use test_material::hold;

#[test]
fn probe_commands() {
    // Halts, lets go, and breaks: a word written to DHCSR.
    let token = b"!Hm00002300004002e000edf00000000401005fa0#";
    hold("probe_commands", token, 2000, properties::probe_commands);
}

#[test]
fn gdb_packets() {
    hold("gdb_packets", b"}*#$", 2000, properties::gdb_packets);
}

#[test]
fn qtest_lines() {
    hold("qtest_lines", b"OK 0x", 2000, properties::qtest_lines);
}

#[test]
fn firmware_image() {
    hold(
        "firmware_image",
        b"\x01\0\0\0",
        3000,
        properties::firmware_image,
    );
}

fn command() -> impl Strategy<Value = Command> {
    let words = (any::<u8>(), any::<u16>(), any::<u32>(), any::<u32>());
    let bytes = prop::collection::vec(any::<u8>(), 0..=MOST_BYTES);
    (0..16, words, any::<bool>(), 0..=32u8, bytes).prop_map(
        |(kind, (ap, address, value, csw), flag, bits, bytes)| match kind {
            0 => Command::Identify,
            1 => Command::Voltage,
            2 => Command::Clock,
            3 => Command::SetClock(value),
            4 => Command::SetOutput,
            5 => Command::Reset(flag),
            6 => Command::Version,
            7 => Command::SwdInit,
            8 => Command::SwdOut {
                bits,
                value,
                parity: flag,
            },
            9 => Command::SwdIn { bits, parity: flag },
            10 => Command::Raw {
                read: flag,
                address,
                value,
            },
            11 => Command::ReadDp { address },
            12 => Command::ReadAp { ap, address },
            13 => Command::WriteAp { ap, address, value },
            14 => Command::ReadMemory {
                ap,
                csw,
                address: value,
                length: bytes.len(),
            },
            _ => Command::WriteMemory {
                ap,
                csw,
                align: bits % 4,
                address: value,
                bytes,
            },
        },
    )
}

proptest! {
    #[test]
    fn commands_are_read_as_they_are_written(command in command()) {
        prop_assert_eq!(Command::parse(&command.encode()), Ok(command));
    }
}
