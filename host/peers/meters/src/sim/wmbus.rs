// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wireless M-Bus telegrams as an iM871A receiver hands them over (OMS vol. 2 profile B, or unprotected).

use smgw_lmn_keys::Key;
use smgw_mbus::Header;
use smgw_units::Nanos;
use smgw_wmbus::stick::{Heard, Packet};
use smgw_wmbus::{CrcFormat, NewTelegram, Protection};

use super::Places;
use super::fault::Fault;
use super::mbus::record;
use super::push::{Compose, Composed};
use super::world::{Sample, World};
use crate::profile::Identity;

/// Counts telegrams.
#[derive(Default)]
pub(super) struct Composer {
    access: u8,
    counter: u32,
}

impl Compose for Composer {
    fn compose(
        &mut self,
        world: &World,
        _: Nanos,
        samples: &[Sample],
        faults: &[Fault],
    ) -> Composed {
        self.access = self.access.wrapping_add(1);
        if !faults.contains(&Fault::StaleCounter) {
            self.counter = self.counter.saturating_add(1);
        }
        let bytes = self.packet(world, samples, faults).unwrap_or_default();
        let places = Places {
            checksum: bytes.len().checked_sub(1),
            length: Some(LENGTH_AT),
            ..Places::default()
        };
        Composed {
            bytes,
            places,
            telegram: format!("{:08x}", self.counter),
        }
    }
}

impl Composer {
    /// `None` when something does not fit a telegram.
    fn packet(&self, world: &World, samples: &[Sample], faults: &[Fault]) -> Option<Vec<u8>> {
        let device = world.profile.devices.first()?;
        let Identity::Wmbus {
            device: mut sender,
            key,
        } = device.identity
        else {
            return None;
        };
        if faults.contains(&Fault::WrongId) {
            sender.id[0] ^= 1;
        }
        let records: Vec<u8> = samples
            .iter()
            .filter_map(|sample| record(device.registers.get(sample.register)?, sample))
            .flatten()
            .collect();
        let header = Header {
            device: None,
            access: self.access,
            status: device.status,
            config: 0,
        };
        let key = key.map(Key::new);
        let mut telegram = NewTelegram::new(sender, header, &records);
        if let Some(key) = &key {
            telegram.protection = Protection::B {
                key,
                counter: self.counter,
                mac: MAC_OF_EIGHT_BYTES,
                length: false,
                key_information: None,
            };
        }
        let mut frame = telegram.encode(CrcFormat::Stripped).ok()?;
        if let (true, true, Some(mac)) = (
            faults.contains(&Fault::WrongMac),
            key.is_some(),
            frame.get_mut(MAC_AT),
        ) {
            *mac = !*mac;
        }
        Packet::of(&Heard::stripped(frame))?.encode()
    }
}

/// Place of the length in a packet of the receiver.
const LENGTH_AT: usize = 3;
/// AT bits of the message control field.
const MAC_OF_EIGHT_BYTES: u8 = 5;
/// L C M(2) A(6), then CI AFLL FCL(2) MCL MCR(4), then the code.
const MAC_AT: usize = 10 + 9;
