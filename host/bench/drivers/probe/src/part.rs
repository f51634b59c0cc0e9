// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bench knows of the boards it flashes: how probe-rs calls the chip, and how the chip tells that it is the one.

use std::borrow::Cow;

/// Where probe-rs has the chip's memories and flash algorithms from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Chip {
    /// A chip that probe-rs knows by this name.
    Named(Cow<'static, str>),
    /// A target description in probe-rs's YAML with one variant.
    Described(Cow<'static, str>),
}

/// A word in a chip's memory that tells what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The register's name in the manual.
    pub name: &'static str,
    /// Where it is.
    pub address: u32,
    /// Which of its bits tell.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// A piece of a chip's memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// Its first address.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Memory {
    const fn kib(start: u64, kib: u64) -> Self {
        Self {
            start,
            length: kib << 10,
        }
    }

    /// Its addresses.
    pub fn range(self) -> std::ops::Range<u64> {
        self.start..self.start + self.length
    }
}

/// A kind of board.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The board's name, as in `firmware/boards`.
    pub name: Cow<'static, str>,
    /// Its chip.
    pub chip: Chip,
    /// What tells it from others; each must hold. With none, any chip that probe-rs attaches to is taken.
    pub identity: Cow<'static, [Identity]>,
    /// Memory that goes into a core dump.
    pub dumped: Cow<'static, [Memory]>,
    /// Where the firmware keeps what it is told, when the bench can write it there.
    pub settings: Option<Partition>,
    /// Where the level of the relay's output can be read, when the chip tells it.
    pub relay: Option<Bit>,
}

/// A partition of the flash that holds one value at a time (`proto/flash-store`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partition {
    /// Its first byte.
    pub address: u64,
    /// Sectors, each erased at once.
    pub sectors: usize,
    /// Bytes of a sector.
    pub sector_bytes: usize,
    /// Bytes that are programmed at once.
    pub unit_bytes: usize,
    /// Slots that the store divides it into.
    pub slots: u32,
    /// Where the emulated board keeps the seed of its random numbers: emulation has no other source of them.
    pub seed: Option<u64>,
}

/// One bit of a register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bit {
    /// The register.
    pub address: u32,
    /// The bit, as a mask.
    pub mask: u32,
}

impl Part {
    /// The board of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PARTS.into_iter().find(|part| part.name == name)
    }
}

/// All boards that the bench's firmware is built for.
pub const PARTS: [&Part; 3] = [&MPS2_AN385, &NUCLEO_H743ZI, &NRF52840_DK];

/// QEMU's emulation of ARM's MPS2 FPGA board with the image of application note 385: a Cortex-M3.
pub static MPS2_AN385: Part = Part {
    name: Cow::Borrowed("mps2-an385"),
    chip: Chip::Described(Cow::Borrowed(include_str!("mps2-an385.yaml"))),
    identity: Cow::Borrowed(&[
        Identity {
            name: "CPUID.PARTNO",
            address: 0xe000_ed00,
            mask: 0xfff0,
            value: 0xc230,
        },
        Identity {
            name: "SCC_ID",
            address: 0x4002_fffc,
            mask: u32::MAX,
            value: 0x4104_3850,
        },
    ]),
    dumped: Cow::Borrowed(&[Memory::kib(0x2000_0000, 4096)]),
    settings: Some(Partition {
        address: 0x2100_0000,
        sectors: 32,
        sector_bytes: 4 << 10,
        unit_bytes: 4,
        slots: 8,
        seed: Some(0x2102_0000),
    }),
    // FPGAIO_LED0, bit 0.
    relay: Some(Bit {
        address: 0x4002_8000,
        mask: 1,
    }),
};

/// ST's NUCLEO-H743ZI. Untried on hardware; the identity is DBGMCU_IDC's device id, RM0433.
pub static NUCLEO_H743ZI: Part = Part {
    name: Cow::Borrowed("nucleo-h743zi"),
    chip: Chip::Named(Cow::Borrowed("STM32H743ZITx")),
    identity: Cow::Borrowed(&[Identity {
        name: "DBGMCU_IDC",
        address: 0x5c00_1000,
        mask: 0xfff,
        value: 0x450,
    }]),
    dumped: Cow::Borrowed(&[Memory::kib(0x2000_0000, 128), Memory::kib(0x2400_0000, 512)]),
    // The last two sectors of bank 2, RM0433 §4.3.
    settings: Some(Partition {
        address: 0x081c_0000,
        sectors: 2,
        sector_bytes: 128 << 10,
        unit_bytes: 32,
        slots: 2,
        seed: None,
    }),
    // GPIOF_ODR, PF12.
    relay: Some(Bit {
        address: 0x5802_1414,
        mask: 1 << 12,
    }),
};

/// Nordic's nRF52840-DK. Untried on hardware; the identity is the part number in the factory information.
pub static NRF52840_DK: Part = Part {
    name: Cow::Borrowed("nrf52840-dk"),
    chip: Chip::Named(Cow::Borrowed("nRF52840_xxAA")),
    identity: Cow::Borrowed(&[Identity {
        name: "FICR.INFO.PART",
        address: 0x1000_0100,
        mask: u32::MAX,
        value: 0x5_2840,
    }]),
    dumped: Cow::Borrowed(&[Memory::kib(0x2000_0000, 256)]),
    settings: None,
    relay: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use probe_rs::config::Registry;

    /// The flash that probe-rs knows at an address.
    fn flash_at(target: &probe_rs::Target, address: u64) -> &probe_rs::config::FlashProperties {
        let mut flashes = target.flash_algorithms.iter();
        let flash = flashes.find(|flash| flash.flash_properties.address_range.contains(&address));
        &flash.unwrap().flash_properties
    }

    #[test]
    fn probe_rs_knows_every_chip() {
        for part in PARTS {
            let mut registry = Registry::from_builtin_families();
            let target = match &part.chip {
                Chip::Named(name) => registry.get_target_by_name(name).unwrap(),
                Chip::Described(yaml) => {
                    registry.add_target_family_from_yaml(yaml).unwrap();
                    registry.get_target_by_name(&part.name).unwrap()
                }
            };
            for memory in part.dumped.iter() {
                let range = memory.range();
                let holds = |region: &probe_rs::config::MemoryRegion| {
                    let whole = region.address_range();
                    whole.start <= range.start && range.end <= whole.end
                };
                assert!(
                    target.memory_map.iter().any(holds),
                    "{} {range:x?}",
                    part.name
                );
            }
            if let (Chip::Named(_), Some(partition)) = (&part.chip, part.settings) {
                let flash = flash_at(&target, partition.address);
                let within = partition.address - flash.address_range.start;
                let sector = partition.sector_bytes as u64;
                let end = partition.address + partition.sectors as u64 * sector;
                assert!(end <= flash.address_range.end, "{}", part.name);
                let mut kinds = flash.sectors.iter().rev();
                let kind = kinds.find(|kind| kind.address <= within).unwrap();
                assert_eq!(kind.size, sector, "{}", part.name);
                assert_eq!(within % sector, 0, "{}", part.name);
            }
            assert_eq!(Part::named(&part.name), Some(part));
        }
        assert_eq!(Part::named("no-such-board"), None);
    }
}
