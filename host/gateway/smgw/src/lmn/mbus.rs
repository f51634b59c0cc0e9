// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter that is polled over wired M-Bus, shortly before every grid point (EN 13757-2, -3).

use std::io;
use std::time::{Duration, Instant};

use serialport::{ClearBuffer, SerialPort};
use smgw_core::{GapReason, Reading};
use smgw_mbus::master::{Config, Event};
use smgw_mbus::{Body, Device, Master, Record, Telegram, Timing, obis};
use smgw_units::{DeviceId, Nanos, UtcNanos};
use tracing::debug;

use super::schedule::Schedule;
use super::{Line, READ_TIMEOUT};
use crate::measuring::LineEventKind;

/// Polls around every grid point until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn poll(line: &Line, address: u8, lead: Duration, port: &mut dyn SerialPort) -> io::Result<()> {
    let mut exchange = Exchange {
        line,
        port,
        master: Master::new(Config {
            gap: GAP,
            ..Config::new(address, Timing::at(line.meter.baud))
        }),
        origin: Instant::now(),
    };
    // A slave need not answer the reset; if it is not there, the poll will tell.
    exchange.master.reset();
    exchange.run()?;
    let mut schedule = Schedule::new(line, lead);
    while let Some(poll) = schedule.next(exchange.port)? {
        exchange.port.clear(ClearBuffer::Input)?;
        loop {
            exchange.master.request();
            let Some(kind) = exchange.run()? else {
                return Ok(());
            };
            let (stamp, kind, done) = exchange.judge(kind);
            line.report_telegram(stamp, kind);
            if done || schedule.is_over(poll) {
                break;
            }
        }
    }
    Ok(())
}

/// Silence that ends an answer. USB adapters and a busy host deliver an answer in bursts, so a short silence says
/// nothing; lengths and checksum tell whether the answer is whole.
const GAP: Duration = Duration::from_millis(200);

/// One master on one port.
struct Exchange<'a> {
    line: &'a Line,
    port: &'a mut dyn SerialPort,
    master: Master,
    /// Zero of the master's clock, which must not step with UTC.
    origin: Instant,
}

impl Exchange<'_> {
    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The UTC of a stamp of the master's clock.
    fn utc(&self, stamp: Nanos) -> UtcNanos {
        UtcNanos(self.line.clock.now().0 - self.now().signed_since(stamp))
    }

    /// Runs the exchange under way to its end; `None` when the gateway stops.
    fn run(&mut self) -> io::Result<Option<Event>> {
        let mut buffer = [0; 512];
        loop {
            if self.line.stopping() {
                return Ok(None);
            }
            if let Some(frame) = self.master.poll_transmit(self.now()) {
                self.port.write_all(&frame)?;
                self.port.flush()?;
            }
            if let Some(event) = self.master.poll_event() {
                return Ok(Some(event));
            }
            let deadline = self.master.poll_timeout().unwrap_or_else(|| self.now());
            let left = deadline.saturating_since(self.now());
            self.port
                .set_timeout(left.clamp(SHORTEST_READ, READ_TIMEOUT))?;
            if let Some((len, _)) = super::read(&self.line.clock, self.port, &mut buffer)? {
                let at = self.now();
                buffer
                    .iter()
                    .take(len)
                    .for_each(|byte| self.master.handle_input(at, *byte));
            }
            self.master.handle_timeout(self.now());
        }
    }

    /// What an ended exchange amounts to, when it counts, and whether asking again is useless.
    fn judge(&self, event: Event) -> (UtcNanos, LineEventKind, bool) {
        let refused = |id, reason| LineEventKind::Refused { id, reason };
        match event {
            Event::Response { frame, first, .. } => {
                let kind = telegram(self.line.meter.id, &frame);
                // Another meter, or one without the register, will not answer better the next time.
                let damaged = GapReason::BadTelegram;
                let done =
                    !matches!(kind, LineEventKind::Refused { reason, .. } if reason == damaged);
                (self.utc(first), kind, done)
            }
            Event::BadAnswer { bytes, first } => {
                debug!(meter = %self.line.meter.id, bytes, "answer was damaged");
                (
                    self.utc(first),
                    refused(String::new(), GapReason::BadTelegram),
                    false,
                )
            }
            Event::NoAnswer | Event::Reset | Event::Acknowledged { .. } | Event::Rate(_) => (
                self.line.clock.now(),
                LineEventKind::Fault(GapReason::NoAnswer),
                false,
            ),
        }
    }
}

/// What a good frame of the addressed slave amounts to.
fn telegram(meter: DeviceId, frame: &[u8]) -> LineEventKind {
    let refused = |id: &str, reason| LineEventKind::Refused {
        id: id.into(),
        reason,
    };
    let Ok(telegram) = Telegram::parse(frame) else {
        return refused("", GapReason::BadTelegram);
    };
    let id = telegram
        .access()
        .map(|access| super::hex(&[access]))
        .unwrap_or_default();
    let Body::Records(_) = telegram.body() else {
        return refused(&id, GapReason::BadTelegram);
    };
    let device = telegram.header().and_then(|header| header.device);
    if device.is_some_and(|device| !is_of(&device, meter)) {
        return refused(&id, GapReason::WrongMeter);
    }
    let medium = device.map_or(ELECTRICITY, |device| device.medium);
    // The wired header's status byte is none of the kind the combined status carries.
    match readings(medium, 0, telegram.records()) {
        Some(readings) => LineEventKind::Telegram { id, readings },
        None => refused(&id, GapReason::BadTelegram),
    }
}

/// Whether a device is the meter. DIN 43849: manufacturer and number are those of the data header; the header has no
/// sector, and its version is not the block.
pub(super) fn is_of(device: &Device, meter: DeviceId) -> bool {
    let name = meter.as_str();
    name.get(1..4) == Some(device.manufacturer.to_string().to_lowercase().as_str())
        && name.get(6..) == Some(device.id_text().to_string().as_str())
}

/// The registers among the records of a device of this type; `None` when a record is damaged.
pub(super) fn readings<'a, E>(
    medium: u8,
    meter_status: u32,
    records: impl Iterator<Item = Result<Record<'a>, E>>,
) -> Option<Vec<Reading>> {
    let mut readings = Vec::new();
    for record in records {
        if let Some((obis, value, unit)) = obis::reading(medium, &record.ok()?) {
            readings.push(Reading {
                obis,
                value,
                unit,
                meter_status,
            });
        }
    }
    Some(readings)
}

/// Device type of a slave that does not name its own.
const ELECTRICITY: u8 = 0x02;
const SHORTEST_READ: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use smgw_mbus::{Data, Device, Header, Manufacturer, NewRecord, response};
    use smgw_units::{Decimal, Obis, Unit};

    use super::*;

    fn frame(number: [u8; 4], letters: &[u8; 3]) -> Vec<u8> {
        let device = Device {
            id: number,
            manufacturer: Manufacturer::from_letters(*letters).unwrap(),
            version: 9,
            medium: 2,
        };
        let header = Header {
            device: Some(device),
            access: 0x2a,
            status: 0,
            config: 0,
        };
        let energy = NewRecord::new(
            &[0x03],
            Data::Integer {
                value: 1_234_567,
                bytes: 8,
            },
        );
        response(1, &header, &energy.encode().unwrap()).unwrap()
    }

    #[test]
    fn only_the_configured_meter_counts() {
        let meter: DeviceId = "1smb0012345678".parse().unwrap();
        let own = [0x78, 0x56, 0x34, 0x12];
        match telegram(meter, &frame(own, b"SMB")) {
            LineEventKind::Telegram { id, readings } => {
                assert_eq!(id, "2a");
                let (obis, meter_status) = (Obis::IMPORT_TOTAL, 0);
                let value = Decimal::new(1_234_567, 0);
                assert_eq!(
                    readings,
                    [Reading {
                        obis,
                        value,
                        unit: Unit::WATT_HOUR,
                        meter_status
                    }]
                );
            }
            other => panic!("{other:?}"),
        }
        for foreign in [frame([0x79, 0x56, 0x34, 0x12], b"SMB"), frame(own, b"ABB")] {
            let kind = telegram(meter, &foreign);
            assert!(
                matches!(
                    kind,
                    LineEventKind::Refused {
                        reason: GapReason::WrongMeter,
                        ..
                    }
                ),
                "{kind:?}"
            );
        }
        let kind = telegram(meter, &[0x68]);
        assert!(matches!(
            kind,
            LineEventKind::Refused {
                reason: GapReason::BadTelegram,
                ..
            }
        ));
    }
}
