// SPDX-License-Identifier: MIT OR Apache-2.0
//! An electricity meter on wired M-Bus: a slave that answers with its energy (EN 13757-2/-3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smgw_mbus::slave::{Config as SlaveConfig, Event};
use smgw_mbus::{Data, Device, Manufacturer, NewRecord, Slave, Timing};
use smgw_units::{Decimal, DeviceId, Nanos, Obis};

use super::MbusFaults;
use super::clock::Clock;
use super::law::EnergyLaw;
use super::line::{Line, LineConfig, Tap};
use super::worker::{FrameStamp, MeterError, Register, Shared, Worker, line_of_meter};

/// What a meter is and what it shows.
#[derive(Clone, Copy, Debug)]
pub struct MbusConfig {
    /// The meter's id; its number becomes the identification number, its letters the manufacturer.
    pub id: DeviceId,
    /// Primary address, 0 to 250.
    pub address: u8,
    /// Its line.
    pub line: LineConfig,
    /// Energy in mWh (VIF 00).
    pub import: EnergyLaw,
    /// Time from the last bit of a request to the first bit of the answer.
    pub delay: Duration,
}

impl MbusConfig {
    /// 2400 8E1, answers after 20 ms, 3600 W counted from now on.
    pub fn new(id: DeviceId, address: u8) -> Self {
        Self {
            id,
            address,
            line: LineConfig::MBUS,
            import: EnergyLaw::per_millisecond(Clock::now(), 100_000_000),
            delay: Duration::from_millis(20),
        }
    }

    /// Its full address on the bus.
    fn device(&self) -> Device {
        let text = self.id.as_str();
        let digits = text
            .get(6..)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let letters = text
            .as_bytes()
            .get(1..4)
            .and_then(|letters| letters.try_into().ok());
        Device {
            // Decimal digits read as hex are BCD.
            id: digits.unwrap_or(0).to_le_bytes(),
            manufacturer: letters
                .and_then(Manufacturer::from_letters)
                .unwrap_or(Manufacturer(0)),
            version: 1,
            medium: ELECTRICITY,
        }
    }
}

#[derive(Debug, Default)]
struct Control {
    next_faults: VecDeque<MbusFaults>,
    lasting_faults: MbusFaults,
}

/// A polled meter; its methods are the live control.
#[derive(Debug)]
pub struct MbusSlaveMeter {
    worker: Worker<Control>,
    config: MbusConfig,
}

line_of_meter!(MbusSlaveMeter);

impl MbusSlaveMeter {
    /// Plays `config` on a new pseudo terminal.
    ///
    /// # Errors
    /// When the host has no pseudo terminal or thread to give.
    pub fn start(config: MbusConfig, tap: Option<Arc<dyn Tap>>) -> Result<Self, MeterError> {
        let line = Line::open(config.line, tap)?;
        let worker = Worker::spawn(
            "mbus-meter",
            line,
            Control::default(),
            move |line, shared| {
                let slave = SlaveConfig {
                    address: config.address,
                    device: config.device(),
                    timing: Timing::at(config.line.baud),
                    delay: config.delay,
                };
                run(line, shared, slave, &mut |slave, at| {
                    // Sensed when the last bit of the request is on the wire.
                    let energy = config.import.value(at);
                    let data = Data::Integer {
                        value: energy,
                        bytes: 8,
                    };
                    let record = NewRecord::new(&[MILLIWATT_HOURS], data);
                    let telegram = format!("{:02x}", slave.access());
                    slave.respond(0, &record.encode().unwrap_or_default());
                    Answer {
                        telegram,
                        registers: vec![Register {
                            obis: Obis::IMPORT_TOTAL,
                            value: Decimal::new(i128::from(energy), -3),
                        }],
                        sampled_at: at,
                    }
                });
            },
        )?;
        Ok(Self { worker, config })
    }

    /// What this meter is.
    pub fn config(&self) -> &MbusConfig {
        &self.config
    }

    /// Lets one answer to a data request go wrong: the next one that has no fault yet. Repeats of it
    /// are good again.
    pub fn inject(&self, faults: MbusFaults) {
        self.worker
            .change(|control| control.next_faults.push_back(faults));
    }

    /// Lets every answer go wrong until told otherwise; acknowledgements too.
    pub fn set_faults(&self, faults: MbusFaults) {
        self.worker
            .change(|control| control.lasting_faults = faults);
    }
}

/// A composed answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) telegram: String,
    pub(super) registers: Vec<Register>,
    pub(super) sampled_at: Nanos,
}

/// Where the faults of the next answer come from.
pub(super) trait FaultSource {
    /// Faults of an answer to a data request.
    fn next(&mut self) -> MbusFaults;
    /// Faults of anything else.
    fn lasting(&self) -> MbusFaults;
}

impl FaultSource for Control {
    fn next(&mut self) -> MbusFaults {
        let next = self.next_faults.pop_front();
        next.unwrap_or_else(|| self.lasting_faults.clone())
    }

    fn lasting(&self) -> MbusFaults {
        self.lasting_faults.clone()
    }
}

/// Serves a line as a slave whose answers `compose` makes, until the owner stops it.
pub(super) fn run<C: FaultSource>(
    mut line: Line,
    shared: &Shared<C>,
    config: SlaveConfig,
    compose: &mut dyn FnMut(&mut Slave, Nanos) -> Answer,
) {
    let mut slave = Slave::new(config);
    let mut answer: Option<Answer> = None;
    // The answer under way belongs to a data request.
    let mut telling = false;
    let mut faulty = false;
    while !shared.stopped() {
        for (byte, at) in line.receive() {
            slave.faults = shared.control().lasting();
            match slave.handle_input(at, byte) {
                Some(Event::DataRequested { .. }) => {
                    slave.faults = shared.control().next();
                    faulty = slave.faults != MbusFaults::default();
                    answer = Some(compose(&mut slave, at));
                    telling = true;
                }
                Some(Event::Repeated) => {
                    faulty = true;
                    telling = true;
                }
                Some(Event::Reset | Event::Selected(_) | Event::Command { .. }) => telling = false,
                None => {}
            }
        }
        let Some(due) = slave.poll_timeout() else {
            shared.wait(Some(&line), None);
            continue;
        };
        let lead = due - LEAD;
        if Clock::now() < lead {
            shared.wait(Some(&line), Some(lead));
            continue;
        }
        let Some(bytes) = slave.poll_transmit(due) else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let Ok(sent) = line.send(due, &bytes, || shared.stopped()) else {
            return;
        };
        if let (true, Some(answer)) = (telling, &answer) {
            let stamp = FrameStamp {
                telegram: answer.telegram.clone(),
                scheduled: due,
                first: sent.first,
                last: sent.last,
                bytes: bytes.len(),
                registers: answer.registers.clone(),
                sampled_at: answer.sampled_at,
                delivered: sent.delivered,
                faulty,
            };
            line.notify(&stamp);
            shared.log(stamp);
        }
    }
}

const ELECTRICITY: u8 = 0x02;
const MILLIWATT_HOURS: u8 = 0x00;
const LEAD: Duration = Duration::from_millis(1);
