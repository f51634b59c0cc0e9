// SPDX-License-Identifier: MIT OR Apache-2.0
//! A basic meter that pushes SML files (FNN basic meter; TR-03109-1 detail specifications table 15.1
//! for its status word).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smgw_sml::{
    Body, CloseResponse, File, Int, ListEntry, ListResponse, Message, OpenResponse, Time, Value,
    transport,
};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit};

use super::clock::{Clock, Grid};
use super::law::EnergyLaw;
use super::line::{Line, LineConfig, Tap};
use super::worker::{FrameStamp, MeterError, Register, Shared, Worker, line_of_meter};

/// What a meter is and what it shows.
#[derive(Clone, Copy, Debug)]
pub struct SmlConfig {
    /// The meter's id.
    pub id: DeviceId,
    /// Its line.
    pub line: LineConfig,
    /// Imported energy, 1-0:1.8.0*255.
    pub import: EnergyLaw,
    /// Exported energy, 1-0:2.8.0*255.
    pub export: EnergyLaw,
    /// Power of ten of both energies, in Wh.
    pub scaler: i8,
    /// Status word of the energy registers.
    pub status: u32,
    /// Relation of bench time and UTC.
    pub grid: Grid,
    /// Time between two pushes.
    pub period: Duration,
    /// Nanoseconds the pushes come after UTC multiples of the period.
    pub phase: i64,
    /// Transaction id of the first message; each further message has the next one.
    pub first_transaction: u32,
}

impl SmlConfig {
    /// 9600 8N1, a push every UTC second, 360 W import counted from now on, no export.
    pub fn new(id: DeviceId, grid: Grid) -> Self {
        Self {
            id,
            line: LineConfig::SML,
            import: EnergyLaw::per_millisecond(Clock::now(), 10_000_000),
            export: EnergyLaw::constant(0),
            scaler: -4,
            status: 0x001c_0104,
            grid,
            period: Duration::from_secs(1),
            phase: 0,
            first_transaction: 0x1000_0001,
        }
    }
}

/// What goes wrong with a telegram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SmlFault {
    /// These bytes come at the instant, and right after them the telegram, which is good.
    GarbageBefore(Vec<u8>),
    /// These bytes come instead of the telegram; its stamp has no id.
    GarbageInstead(Vec<u8>),
    /// Only the first half of the telegram is sent.
    HalfFrame,
    /// The checksum of the transmission is wrong.
    BadCrc,
    /// The telegram tells another meter's id.
    WrongServerId(DeviceId),
    /// This register is left out.
    MissingRegister(Obis),
    /// The previous telegram is sent again, byte for byte.
    Duplicate,
}

/// When pushes happen.
#[derive(Clone, Debug)]
enum Pace {
    Grid { period: Duration, offset: i64 },
    Schedule(VecDeque<Nanos>),
}

#[derive(Debug)]
struct Control {
    paused: bool,
    pace: Pace,
    next_faults: VecDeque<SmlFault>,
    lasting_fault: Option<SmlFault>,
}

/// A pushing meter; its methods are the live control.
#[derive(Debug)]
pub struct SmlPushMeter {
    worker: Worker<Control>,
    config: SmlConfig,
}

line_of_meter!(SmlPushMeter);

impl SmlPushMeter {
    /// Plays `config` on a new pseudo terminal, beginning with the next grid point.
    ///
    /// # Errors
    /// When the host has no pseudo terminal or thread to give.
    pub fn start(config: SmlConfig, tap: Option<Arc<dyn Tap>>) -> Result<Self, MeterError> {
        let line = Line::open(config.line, tap)?;
        let control = Control {
            paused: false,
            pace: Pace::Grid {
                period: config.period,
                offset: config.phase,
            },
            next_faults: VecDeque::new(),
            lasting_fault: None,
        };
        let worker = Worker::spawn("sml-meter", line, control, move |line, shared| {
            Pusher {
                config,
                transaction: config.first_transaction,
                previous: None,
            }
            .run(&line, shared);
        })?;
        Ok(Self { worker, config })
    }

    /// What this meter is.
    pub fn config(&self) -> &SmlConfig {
        &self.config
    }

    /// Stops pushing after the telegram under way.
    pub fn pause(&self) {
        self.worker.change(|control| control.paused = true);
    }

    /// Pushes again, from the next instant on.
    pub fn resume(&self) {
        self.worker.change(|control| control.paused = false);
    }

    /// Pushes exactly at these bench instants instead of periodically: the first start bit is due then.
    /// An instant that has passed, or that another telegram still occupies, is served at once.
    pub fn schedule(&self, mut instants: Vec<Nanos>) {
        instants.sort_unstable();
        self.worker
            .change(|control| control.pace = Pace::Schedule(instants.into()));
    }

    /// Pushes every `period` of UTC, `offset` nanoseconds after (or before) the multiple.
    pub fn every(&self, period: Duration, offset: i64) {
        self.worker
            .change(|control| control.pace = Pace::Grid { period, offset });
    }

    /// Pushes once per registration period only, `offset` nanoseconds after (or before) the grid point.
    pub fn only_at_grid(&self, registration_period: Duration, offset: i64) {
        self.every(registration_period, offset);
    }

    /// Back to the period and phase of the configuration.
    pub fn periodic(&self) {
        self.every(self.config.period, self.config.phase);
    }

    /// Lets one telegram go wrong: the next one that has no fault yet.
    pub fn inject(&self, fault: SmlFault) {
        self.worker
            .change(|control| control.next_faults.push_back(fault));
    }

    /// Lets every telegram go wrong until told otherwise.
    pub fn set_fault(&self, fault: Option<SmlFault>) {
        self.worker.change(|control| control.lasting_fault = fault);
    }
}

pub(super) struct Pusher {
    pub(super) config: SmlConfig,
    pub(super) transaction: u32,
    pub(super) previous: Option<Telegram>,
}

/// A telegram ready for the line.
#[derive(Clone)]
pub(super) struct Telegram {
    id: String,
    pub(super) line: Vec<u8>,
    registers: Vec<Register>,
    sampled_at: Nanos,
}

impl Pusher {
    fn run(mut self, line: &Line, shared: &Shared<Control>) {
        let mut served = Clock::now();
        while !shared.stopped() {
            let due = {
                let control = shared.control();
                match &control.pace {
                    _ if control.paused => {
                        served = Clock::now();
                        None
                    }
                    Pace::Grid { period, offset } => {
                        // A host that wakes this thread late delays a push; it must not drop it.
                        let after = served.max(Clock::now() - CATCH_UP.min(*period / 2));
                        Some(self.config.grid.next(after, *period, *offset))
                    }
                    Pace::Schedule(instants) => instants.front().copied(),
                }
            };
            let lead = due.map(|due| due - LEAD);
            if lead.is_none_or(|lead| Clock::now() < lead) {
                shared.wait(None, lead);
                continue;
            }
            let Some(due) = due else { continue };
            let fault = {
                let mut control = shared.control();
                if let Pace::Schedule(instants) = &mut control.pace {
                    // The owner may have changed the schedule since.
                    if instants.front() != Some(&due) {
                        continue;
                    }
                    instants.pop_front();
                }
                let next = control.next_faults.pop_front();
                next.or_else(|| control.lasting_fault.clone())
            };
            served = due;
            if self.push(line, shared, due, fault.as_ref()).is_err() {
                return;
            }
        }
    }

    fn push(
        &mut self,
        line: &Line,
        shared: &Shared<Control>,
        due: Nanos,
        fault: Option<&SmlFault>,
    ) -> Result<(), MeterError> {
        let repeated = match (fault, &self.previous) {
            (Some(SmlFault::Duplicate), Some(previous)) => Some(previous.clone()),
            _ => None,
        };
        let telegram = repeated.unwrap_or_else(|| self.compose(due, fault));
        let mut bytes = telegram.line.clone();
        let mut id = telegram.id.clone();
        let mut start = due;
        match fault {
            Some(SmlFault::GarbageBefore(garbage)) if !garbage.is_empty() => {
                line.send(due, garbage, || shared.stopped())?;
                start = due + line.config().characters(garbage.len());
            }
            Some(SmlFault::GarbageInstead(garbage)) => {
                id.clear();
                bytes.clone_from(garbage);
            }
            Some(SmlFault::HalfFrame) => bytes.truncate(bytes.len() / 2),
            Some(SmlFault::BadCrc) => {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 0xff;
                }
            }
            Some(
                SmlFault::GarbageBefore(_)
                | SmlFault::WrongServerId(_)
                | SmlFault::MissingRegister(_)
                | SmlFault::Duplicate,
            )
            | None => {}
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = line.send(start, &bytes, || shared.stopped())?;
        let stamp = FrameStamp {
            telegram: id,
            scheduled: start,
            first: sent.first,
            last: sent.last,
            bytes: bytes.len(),
            registers: telegram.registers.clone(),
            sampled_at: telegram.sampled_at,
            delivered: sent.delivered,
            faulty: fault.is_some(),
        };
        self.previous = Some(telegram);
        line.notify(&stamp);
        shared.log(stamp);
        Ok(())
    }

    /// The telegram of instant `at`, at which its registers are sensed.
    pub(super) fn compose(&mut self, at: Nanos, fault: Option<&SmlFault>) -> Telegram {
        let config = &self.config;
        let server_id = match fault {
            Some(SmlFault::WrongServerId(other)) => other.server_id(),
            _ => config.id.server_id(),
        };
        let missing = match fault {
            Some(SmlFault::MissingRegister(obis)) => Some(*obis),
            _ => None,
        };
        let [_, _, letters @ ..] = server_id;
        let letters = [letters[0], letters[1], letters[2]];
        let transactions =
            [0, 1, 2].map(|index| self.transaction.wrapping_add(index).to_be_bytes());
        self.transaction = self.transaction.wrapping_add(3);

        // Power in tenths of a watt: energy per hour, from the scaler of the register to -1.
        let shift = u32::from(config.scaler.saturating_add(1).unsigned_abs());
        let per_hour = config.import.units_per_hour() - config.export.units_per_hour();
        let scale = 10i64.saturating_pow(shift);
        let power = if config.scaler < -1 {
            per_hour / scale
        } else {
            per_hour.saturating_mul(scale)
        };

        let energy = |obis, law: &EnergyLaw| Row {
            obis,
            status: Some(config.status),
            unit: Unit::WATT_HOUR,
            value: Decimal::new(i128::from(law.value(at)), config.scaler),
        };
        let rows: Vec<_> = [
            energy(Obis::IMPORT_TOTAL, &config.import),
            energy(EXPORT_TOTAL, &config.export),
            Row {
                obis: POWER,
                status: None,
                unit: Unit::WATT,
                value: Decimal::new(i128::from(power), -1),
            },
        ]
        .into_iter()
        .filter(|row| Some(row.obis) != missing)
        .collect();

        let text = |name: &'static [u8], value| ListEntry {
            name,
            value: Some(Value::Octets(value)),
            ..ListEntry::default()
        };
        let mut entries = vec![
            text(b"\x01\x00\x60\x32\x01\x01", &letters),
            text(b"\x01\x00\x60\x01\x00\xff", &server_id),
        ];
        entries.extend(rows.iter().map(Row::entry));
        let seconds = Time::sec_index((at.0 / 1_000_000_000) as u32);
        let open = OpenResponse {
            request_file_id: &transactions[0],
            server_id: &server_id,
            reference_time: Some(seconds),
            version: Some(1),
            ..OpenResponse::default()
        };
        let list = ListResponse {
            server_id: &server_id,
            list_name: Some(b"\x01\x00\x62\x0a\xff\xff"),
            sensor_time: Some(seconds),
            entries: (&entries).into(),
            ..ListResponse::default()
        };
        let file = File {
            messages: vec![
                Message::new(&transactions[0], Body::OpenResponse(open)),
                Message::new(&transactions[1], Body::ListResponse(list)),
                Message::new(
                    &transactions[2],
                    Body::CloseResponse(CloseResponse::default()),
                ),
            ],
        };
        Telegram {
            id: transactions[0]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            line: transport::encode(&file.encode()),
            registers: rows
                .iter()
                .map(|row| Register {
                    obis: row.obis,
                    value: row.value,
                })
                .collect(),
            sampled_at: at,
        }
    }
}

/// One numeric register of the list.
struct Row {
    obis: Obis,
    status: Option<u32>,
    unit: Unit,
    value: Decimal,
}

impl Row {
    fn entry(&self) -> ListEntry<'_> {
        // Laws and powers are 64-bit numbers; they come in eight bytes, as real meters send energies.
        let value = i64::try_from(self.value.mantissa).unwrap_or(i64::MAX);
        ListEntry {
            name: &self.obis.0,
            status: self.status.map(Int::from),
            unit: Some(self.unit.0),
            scaler: Some(self.value.exponent),
            value: Some(Value::Signed { value, width: 8 }),
            ..ListEntry::default()
        }
    }
}

/// How late a periodic push may still be made; one missed by more is left out.
const CATCH_UP: Duration = Duration::from_millis(250);
/// Composing begins this long before the instant.
const LEAD: Duration = Duration::from_millis(3);
const EXPORT_TOTAL: Obis = Obis([1, 0, 2, 8, 0, 255]);
const POWER: Obis = Obis([1, 0, 16, 7, 0, 255]);
