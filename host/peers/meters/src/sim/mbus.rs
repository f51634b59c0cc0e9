// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slaves on one wired M-Bus (EN 13757-2/-3): several devices, several telegrams each, and their collisions.

use smgw_mbus::slave::{Config, Event, Faults};
use smgw_mbus::{Data, Function, Header, NewRecord, Slave, Timing, response};
use smgw_peers::meters::LineConfig;
use smgw_units::{Nanos, UtcNanos};

use super::fault::Fault;
use super::local::local;
use super::world::{Sample, Shown, World};
use super::{Frame, Machine, Places};
use crate::profile::{Identity, Register};

/// All slaves of a line.
pub(super) struct Bus {
    bus: smgw_mbus::Bus,
    /// What the slaves of the bus say, in their order.
    stations: Vec<Station>,
    line: LineConfig,
}

struct Station {
    access: u8,
    answer: Option<Answer>,
    /// Rate of the slave as the line knows it, in Bd.
    baud: u32,
}

/// What the pending answer says.
#[derive(Clone)]
struct Answer {
    telegram: String,
    samples: Vec<Sample>,
    sampled_at: Nanos,
    faults: Vec<Fault>,
}

impl Bus {
    pub(super) fn new(world: &World) -> Self {
        let line = world.profile.line;
        let identities = world.profile.devices.iter().map(|device| &device.identity);
        let slaves: Vec<_> = identities
            .filter_map(|identity| match *identity {
                Identity::Mbus { address, device } => Some(Config {
                    address,
                    device,
                    timing: Timing::at(line.baud),
                    delay: world.profile.delay,
                }),
                _ => None,
            })
            .map(|config| {
                let mut slave = Slave::new(config);
                slave.faults.stuck_fcb = world.faults.has(&Fault::StuckCounter);
                slave
            })
            .collect();
        let station = |_: &Slave| Station {
            access: 0,
            answer: None,
            baud: line.baud,
        };
        Self {
            stations: slaves.iter().map(station).collect(),
            bus: smgw_mbus::Bus::new(slaves),
            line,
        }
    }

    /// The line goes at the rate of the slave that changed its own last: a port has only one.
    fn follow(&mut self) {
        for (station, slave) in self.stations.iter_mut().zip(self.bus.slaves()) {
            let baud = slave.config().timing.baud;
            if baud != station.baud {
                station.baud = baud;
                self.line.baud = baud;
            }
        }
    }
}

impl Machine for Bus {
    fn handle_input(&mut self, world: &mut World, at: Nanos, byte: u8) {
        for (index, event) in self.bus.handle_input(at, self.line.baud, byte) {
            let (Some(station), Some(slave)) = (
                self.stations.get_mut(index),
                self.bus.slaves_mut().get_mut(index),
            ) else {
                continue;
            };
            match event {
                Event::DataRequested { telegram } => {
                    station.answer(slave, world, index, telegram, at);
                }
                Event::Repeated => {
                    if let Some(answer) = &mut station.answer {
                        answer.faults = world.draw(at, true);
                    }
                }
                Event::Reset | Event::Selected(_) | Event::Command { .. } => {}
            }
        }
        self.follow();
    }

    fn line(&self) -> Option<LineConfig> {
        Some(self.line)
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        self.bus.poll_timeout()
    }

    fn poll_transmit(&mut self, world: &mut World, _: Nanos) -> Option<Frame> {
        let due = self.bus.poll_timeout()?;
        let line = self.line;
        let pending: Vec<_> = self.bus.slaves().iter().map(Slave::poll_timeout).collect();
        let heard = self.bus.poll_receive(due, line.baud);
        // A port that checks parity hands over a zero for a damaged character.
        let bytes = heard
            .iter()
            .map(|heard| if heard.damaged { 0 } else { heard.byte })
            .collect();
        let spoke: Vec<_> = pending
            .iter()
            .zip(self.bus.slaves())
            .enumerate()
            .filter(|(_, (due, slave))| due.is_some() && slave.poll_timeout().is_none())
            .map(|(index, _)| index)
            .collect();
        self.follow();
        let first = self.stations.get(*spoke.first()?)?;
        let mut frame = first.frame(world, due, bytes, line);
        // Several equal acknowledgements are one.
        if spoke.len() > 1 && frame.data {
            frame.faults.push(Fault::Collision);
            frame.samples.clear();
        }
        Some(frame)
    }
}

impl Station {
    fn answer(
        &mut self,
        slave: &mut Slave,
        world: &mut World,
        index: usize,
        telegram: usize,
        at: Nanos,
    ) {
        let faults = world.draw(at, true);
        let sampled_at = Nanos(at.0.saturating_sub(world.latency())).max(world.epoch());
        let Some(device) = world.profile.devices.get(index) else {
            return;
        };
        let count = device
            .registers
            .iter()
            .map(|register| register.telegram + 1)
            .max()
            .unwrap_or(1);
        let telegram = telegram % count;
        let mut samples = world.samples(index, sampled_at, &faults);
        samples.retain(|sample| {
            device
                .registers
                .get(sample.register)
                .is_some_and(|register| register.telegram == telegram)
        });
        let mut records = Vec::new();
        for sample in &samples {
            if let Some(register) = device.registers.get(sample.register) {
                records.extend(record(register, sample).unwrap_or_default());
            }
        }
        if telegram + 1 < count {
            records.push(MORE_RECORDS_FOLLOW);
        }
        let mut address = slave.config().device;
        if faults.contains(&Fault::WrongId) {
            address.id[0] ^= 1;
        }
        let header = Header {
            device: Some(address),
            access: self.access,
            status: device.status,
            config: 0,
        };
        slave.faults = Faults {
            busy: faults.contains(&Fault::Busy),
            echo: faults.contains(&Fault::Echo),
            delay: faults
                .contains(&Fault::Early)
                .then_some(std::time::Duration::ZERO),
            stuck_fcb: slave.faults.stuck_fcb,
            ..Faults::default()
        };
        let reply = response(slave.config().address, &header, &records).unwrap_or_default();
        self.answer = Some(Answer {
            telegram: format!("{:02x}", self.access),
            samples,
            sampled_at,
            faults,
        });
        self.access = self.access.wrapping_add(1);
        slave.respond_raw(reply);
    }

    fn frame(&self, world: &mut World, due: Nanos, mut bytes: Vec<u8>, line: LineConfig) -> Frame {
        let data = bytes != [ACKNOWLEDGE];
        let answer = match &self.answer {
            Some(answer) if data => answer.clone(),
            _ => Answer {
                telegram: String::new(),
                samples: Vec::new(),
                sampled_at: due,
                faults: world.draw(due, false),
            },
        };
        if answer.faults.contains(&Fault::Collision) {
            world.faults.random().talk_into(&mut bytes);
        }
        let Answer {
            telegram,
            samples,
            sampled_at,
            faults,
        } = answer;
        let end = bytes.len();
        let places = Places {
            checksum: end.checked_sub(2),
            length: Some(1),
            header_checksum: None,
            stop: end.checked_sub(1),
        };
        Frame {
            due,
            bytes,
            data,
            telegram,
            samples,
            sampled_at,
            faults,
            places,
            line,
        }
    }
}

pub(super) fn record(register: &Register, sample: &Sample) -> Option<Vec<u8>> {
    let data = match &sample.shown {
        Shown::Number(number) => {
            let value = i64::try_from(number.mantissa).ok()?;
            match register.digits {
                Some(digits) => Data::Bcd { value, digits },
                None => Data::Integer {
                    value,
                    bytes: register.bytes.unwrap_or(4),
                },
            }
        }
        Shown::Text(text) => Data::Text(text),
        Shown::Bytes(_) => return None,
        Shown::Clock(now) => Data::Integer {
            value: date_time(*now),
            bytes: 4,
        },
    };
    let record = NewRecord {
        function: Function::Instantaneous,
        storage: register.storage,
        tariff: register.tariff,
        subunit: 0,
        vib: &register.vib,
        data,
    };
    record.encode().ok()
}

/// Type F (EN 13757-3 annex A): minute, hour, day, month, year and the mark of summer time, in local time.
fn date_time(now: UtcNanos) -> i64 {
    let (time, summer) = local(now);
    let year = u32::from(time.year().unsigned_abs()) % 100;
    let number = |part: i8| u32::from(part.unsigned_abs());
    let low = number(time.minute()) | (number(time.hour()) | u32::from(summer) << 7) << 8;
    let high =
        (number(time.day()) | (year & 7) << 5) | (number(time.month()) | (year >> 3) << 4) << 8;
    i64::from((low | high << 16) as i32)
}

const ACKNOWLEDGE: u8 = 0xe5;
/// DIF 1F: nothing behind it, and another telegram.
const MORE_RECORDS_FOLLOW: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_and_time_are_packed_as_type_f() {
        // 2026-07-31T12:05:00Z is 14:05 in summer.
        let packed = date_time(UtcNanos(1_785_499_500_000_000_000)) as u32;
        assert_eq!(
            packed.to_le_bytes(),
            [5, 14 | 0x80, 31 | 2 << 5, 7 | 3 << 4]
        );
    }
}
