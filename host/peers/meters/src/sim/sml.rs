// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML files as basic meters push them (SML 1.05; opening, one list, closing), with the oddities of some makers.

use smgw_sml::{
    Body, CloseResponse, CrcKind, File, Int, ListEntry, ListResponse, Message, MessageCrc,
    OpenResponse, Time, TimeChoice, Value, transport,
};
use smgw_units::{Nanos, UtcNanos};

use super::Places;
use super::fault::Fault;
use super::push::{Compose, Composed};
use super::world::{Sample, Shown, World};
use crate::profile::{Checksum, Identity, Register, TimeForm};

/// Makes SML files.
pub(super) struct Composer {
    transaction: u32,
}

impl Composer {
    pub(super) const fn new() -> Self {
        Self {
            transaction: 0x1000_0001,
        }
    }
}

impl Compose for Composer {
    fn compose(
        &mut self,
        world: &World,
        at: Nanos,
        samples: &[Sample],
        faults: &[Fault],
    ) -> Composed {
        let layout = &world.profile.layout;
        let crc = match layout.crc {
            Checksum::X25 => CrcKind::X25,
            Checksum::Kermit => CrcKind::Kermit,
        };
        let Some(device) = world.profile.devices.first() else {
            return Composed {
                bytes: Vec::new(),
                places: Places::default(),
                telegram: String::new(),
            };
        };
        let mut server_id = match &device.identity {
            Identity::Sml { server_id, .. } => server_id.clone(),
            _ => Vec::new(),
        };
        if let (true, Some(last)) = (faults.contains(&Fault::WrongId), server_id.last_mut()) {
            *last = last.wrapping_add(1);
        }
        let transactions =
            [0, 1, 2].map(|index| self.transaction.wrapping_add(index).to_be_bytes());
        self.transaction = self.transaction.wrapping_add(3);
        let entries: Vec<_> = samples
            .iter()
            .filter_map(|sample| Some(entry(device.registers.get(sample.register)?, sample)))
            .collect();
        let now = time(world, at);
        let open = OpenResponse {
            request_file_id: &transactions[0],
            server_id: &server_id,
            reference_time: now,
            ..OpenResponse::default()
        };
        let list = ListResponse {
            server_id: &server_id,
            list_name: Some(LIST_NAME),
            sensor_time: now,
            entries: (&entries).into(),
            ..ListResponse::default()
        };
        let message = |transaction_id, body| Message {
            crc: MessageCrc::Good(crc),
            ..Message::new(transaction_id, body)
        };
        let file = File {
            messages: vec![
                message(&transactions[0][..], Body::OpenResponse(open)),
                message(&transactions[1], Body::ListResponse(list)),
                message(
                    &transactions[2],
                    Body::CloseResponse(CloseResponse::default()),
                ),
            ],
        };
        let bytes = transport::encode_with(&file.encode(), crc);
        // The length of the first transaction id stands behind the start sequence and the list's own byte.
        let places = Places {
            checksum: bytes.len().checked_sub(1),
            length: Some(9),
            ..Places::default()
        };
        let telegram = transactions[0]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Composed {
            bytes,
            places,
            telegram,
        }
    }
}

pub(super) fn time(world: &World, at: Nanos) -> Option<Time> {
    match world.profile.layout.time {
        TimeForm::SecIndex => Some(Time::sec_index(world.seconds(at))),
        TimeForm::Bare => Some(Time {
            choice: TimeChoice::Bare,
            ..Time::sec_index(world.seconds(at))
        }),
        TimeForm::Timestamp => Some(Time::timestamp(seconds(world.clock(at)))),
        TimeForm::Absent => None,
    }
}

/// Whole seconds of UTC, as far as SML can tell them.
fn seconds(instant: UtcNanos) -> u32 {
    u32::try_from(instant.0.div_euclid(1_000_000_000)).unwrap_or(0)
}

pub(super) fn entry<'a>(register: &'a Register, sample: &'a Sample) -> ListEntry<'a> {
    let mut entry = ListEntry {
        name: register.obis.as_ref().map_or(&[][..], |obis| &obis.0[..]),
        status: register.status.map(Int::narrow),
        ..ListEntry::default()
    };
    entry.value = Some(match &sample.shown {
        Shown::Number(number) => {
            entry.unit = Some(register.unit.code.0);
            entry.scaler = Some(number.exponent.saturating_add(register.unit.prefix));
            Value::Signed {
                value: i64::try_from(number.mantissa).unwrap_or(i64::MAX),
                width: register.bytes.unwrap_or(8).clamp(1, 8),
            }
        }
        Shown::Text(text) => Value::Octets(text.as_bytes()),
        Shown::Bytes(bytes) => Value::Octets(bytes),
        Shown::Clock(now) => Value::Unsigned {
            value: u64::from(seconds(*now)),
            width: 4,
        },
    });
    entry
}

pub(super) const LIST_NAME: &[u8] = &[1, 0, 0x62, 0x0a, 0xff, 0xff];
