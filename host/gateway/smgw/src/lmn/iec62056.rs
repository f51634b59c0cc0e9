// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter that speaks lines of text (IEC 62056-21, D0): asked shortly before every grid point (modes A to C and E), or
//! heard when it sends by itself (mode D, P1 ports).

use std::io;
use std::time::{Duration, Instant};

use serialport::{ClearBuffer, SerialPort};
use smgw_core::{GapReason, Reading};
use smgw_iec62056::reader::{self, Event};
use smgw_iec62056::{
    Baud, Bcc, Block, DataSet, Event as Heard, Framer, Identification, LineError, Reader, Telegram,
    Transmit, p1,
};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit, UtcNanos};
use tracing::debug;

use super::schedule::Schedule;
use super::{Line, READ_TIMEOUT};
use crate::config::Readout;
use crate::measuring::LineEventKind;

/// Reads the meter out for every grid point until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn poll(line: &Line, readout: &Readout, port: &mut dyn SerialPort) -> io::Result<()> {
    let mut dialogue = Dialogue {
        line,
        readout,
        reader: Reader::new(reader::Config {
            address: readout.device_address.clone(),
            initial: Baud(line.meter.baud),
            retries: 1,
            limit: LONGEST,
            ..reader::Config::default()
        }),
        origin: Instant::now(),
    };
    let mut schedule = Schedule::new(line, readout.poll_lead);
    while let Some(poll) = schedule.next(port)? {
        port.clear(ClearBuffer::Input)?;
        loop {
            let Some((stamp, kind)) = dialogue.run(port)? else {
                return Ok(());
            };
            let done = !is_worth_repeating(&kind);
            line.report_telegram(stamp, kind);
            if done || schedule.is_over(poll) {
                break;
            }
        }
    }
    Ok(())
}

/// Another meter, or one without the register, will not answer better the next time.
fn is_worth_repeating(kind: &LineEventKind) -> bool {
    matches!(
        kind,
        LineEventKind::Fault(_)
            | LineEventKind::Refused {
                reason: GapReason::BadTelegram,
                ..
            }
    )
}

/// One reader on one port.
struct Dialogue<'a> {
    line: &'a Line,
    readout: &'a Readout,
    reader: Reader,
    /// Zero of the reader's clock, which must not step with UTC.
    origin: Instant,
}

impl Dialogue<'_> {
    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The UTC of a stamp of the reader's clock.
    fn utc(&self, stamp: Nanos) -> UtcNanos {
        UtcNanos(self.line.clock.now().0 - self.now().signed_since(stamp))
    }

    /// One readout from the request to its end; `None` when the gateway stops.
    fn run(&mut self, port: &mut dyn SerialPort) -> io::Result<Option<(UtcNanos, LineEventKind)>> {
        self.reader.start(self.now());
        let mut buffer = [0; 512];
        let mut outcome = Outcome::default();
        loop {
            if self.line.stopping() {
                return Ok(None);
            }
            while let Some(action) = self.reader.poll_transmit(self.now()) {
                match action {
                    Transmit::Bytes(bytes) => {
                        port.write_all(&bytes)?;
                        port.flush()?;
                    }
                    Transmit::Baud(_) if self.readout.fixed_baud => {}
                    Transmit::Baud(Baud(baud)) => port.set_baud_rate(baud)?,
                }
            }
            while let Some(event) = self.reader.poll_event() {
                outcome.take(event);
            }
            if self.reader.is_idle() {
                let first = outcome.first.map(|first| self.utc(first));
                let stamp = first.unwrap_or_else(|| self.line.clock.now());
                let expected = self.readout.identification.as_deref();
                return Ok(Some((stamp, outcome.judge(self.line.meter.id, expected))));
            }
            let deadline = self.reader.poll_timeout().unwrap_or_else(|| self.now());
            let left = deadline.saturating_since(self.now());
            port.set_timeout(left.clamp(SHORTEST_READ, READ_TIMEOUT))?;
            if let Some((len, _)) = super::read(&self.line.clock, port, &mut buffer)? {
                let at = self.now();
                for byte in buffer.iter().take(len) {
                    self.reader.handle_input(at, *byte);
                }
            }
            self.reader.handle_timeout(self.now());
        }
    }
}

/// What came of a dialogue so far.
#[derive(Default)]
struct Outcome {
    identification: Vec<u8>,
    /// Data blocks, each with whether its check was right.
    blocks: Vec<(Vec<u8>, bool)>,
    first: Option<Nanos>,
    failure: Option<reader::Failure>,
}

impl Outcome {
    fn take(&mut self, event: Event) {
        match event {
            Event::Identified { line, .. } => {
                self.identification = line;
                self.blocks.clear();
                self.first = None;
            }
            Event::Readout {
                block, bcc, first, ..
            } => {
                self.first.get_or_insert(first);
                self.blocks.push((block, bcc == Bcc::Good));
            }
            Event::Failed(failure) => self.failure = Some(failure),
            // Those of other kinds of access.
            Event::Answer { .. } | Event::Ended | Event::Handover { .. } => {}
        }
    }

    fn judge(&self, meter: DeviceId, expected: Option<&str>) -> LineEventKind {
        if let Some(failure) = self.failure {
            debug!(%meter, ?failure, "no readout");
            return match failure {
                reader::Failure::NoIdentification => LineEventKind::Fault(GapReason::NoAnswer),
                _ => refused(GapReason::BadTelegram),
            };
        }
        if !self.blocks.iter().all(|(_, good)| *good) {
            return refused(GapReason::BadTelegram);
        }
        if !is_of(meter, expected, &self.identification) {
            return refused(GapReason::WrongMeter);
        }
        let blocks = self.blocks.iter().map(|(block, _)| Block::parse(block));
        let sets = blocks.flat_map(|block| block.sets());
        let readings = sets.filter_map(|set| reading(meter, &set.ok()?));
        LineEventKind::Telegram {
            id: String::new(),
            readings: readings.collect(),
        }
    }
}

/// Listens to a meter that sends by itself until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn listen(line: &Line, expected: Option<&str>, port: &mut dyn SerialPort) -> io::Result<()> {
    let mut framer = Framer::new(GAP, LONGEST);
    let mut buffer = [0; 512];
    while !line.stopping() {
        match super::read(&line.clock, port, &mut buffer)? {
            Some((len, stamp)) => {
                for byte in buffer.iter().take(len) {
                    if let Some(event) = framer.push(*byte, super::as_nanos(stamp)) {
                        report(line, expected, event);
                    }
                }
            }
            None => {
                if let Some(event) = framer.idle(super::as_nanos(line.clock.now())) {
                    report(line, expected, event);
                }
            }
        }
    }
    Ok(())
}

fn report(line: &Line, expected: Option<&str>, event: Heard<'_>) {
    match event {
        Heard::Telegram {
            telegram, first, ..
        } => {
            let kind = unasked(line.meter.id, expected, &telegram);
            line.report_telegram(super::as_utc(first), kind);
        }
        Heard::Discarded {
            bytes,
            first,
            reason,
        } => {
            debug!(meter = %line.meter.id, bytes, ?reason, "bytes discarded");
            line.report_telegram(super::as_utc(first), refused(GapReason::BadTelegram));
        }
    }
}

/// What a telegram sent unasked amounts to. Where no checksum protects it, as in mode D, every line must be readable.
fn unasked(meter: DeviceId, expected: Option<&str>, telegram: &Telegram<'_>) -> LineEventKind {
    let wrong = matches!(telegram.block.bcc, Bcc::Wrong { .. })
        || matches!(telegram.crc(), p1::Crc::Wrong { .. });
    let unchecked = telegram.block.bcc == Bcc::Absent && telegram.crc() == p1::Crc::Absent;
    let sets: Vec<Result<DataSet<'_>, LineError>> = telegram.block.sets().collect();
    if wrong || unchecked && sets.iter().any(Result::is_err) {
        return refused(GapReason::BadTelegram);
    }
    if !is_of(meter, expected, telegram.bytes) {
        return refused(GapReason::WrongMeter);
    }
    let readings = sets.iter().flatten().filter_map(|set| reading(meter, set));
    LineEventKind::Telegram {
        id: String::new(),
        readings: readings.collect(),
    }
}

fn refused(reason: GapReason) -> LineEventKind {
    LineEventKind::Refused {
        id: String::new(),
        reason,
    }
}

/// Whether the identification at the beginning of `bytes` is that of `meter`: the expected one where the configuration
/// has one, else one of the manufacturer in the device id.
fn is_of(meter: DeviceId, expected: Option<&str>, bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next();
    let Some(line) = line.and_then(|line| core::str::from_utf8(line).ok()) else {
        return false;
    };
    let line = line.trim_end_matches('\r');
    match expected {
        Some(expected) => line.strip_prefix('/') == Some(expected),
        None => Identification::parse(line.as_bytes()).is_some_and(|identification| {
            let manufacturer = meter.as_str().get(1..4).unwrap_or_default();
            identification
                .manufacturer
                .eq_ignore_ascii_case(manufacturer)
        }),
    }
}

/// A data set as a register: one number with a unit behind a code. Short codes are of the medium the device id begins
/// with. Everything else (texts, dates, several values behind one code, numbers without unit) is none.
fn reading(meter: DeviceId, set: &DataSet<'_>) -> Option<Reading> {
    let medium = meter.as_str().get(..1)?;
    let medium = u8::from_str_radix(medium, 16).ok()?;
    let mut values = set.values();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (unit, prefix) = unit(value.unit?)?;
    let number = value.number()?;
    let exponent = number.exponent.checked_add(prefix)?;
    let obis: Obis = set.code()?.obis(medium);
    Some(Reading {
        obis,
        value: Decimal::new(number.mantissa, exponent),
        unit,
        // The text has no status word of the kind the combined status carries.
        meter_status: 0,
    })
}

/// The DLMS code of a unit as meters print it, and the power of ten of its prefix.
fn unit(text: &str) -> Option<(Unit, i8)> {
    let plain = |text: &str| {
        UNITS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, code)| Unit(*code))
    };
    let prefixed = || {
        PREFIXES
            .iter()
            .find_map(|(letter, power)| Some((plain(text.strip_prefix(*letter)?)?, *power)))
    };
    plain(text).map(|unit| (unit, 0)).or_else(prefixed)
}

/// IEC 62056-6-2; `m3ph` is how heat meters print cubic metres per hour.
const UNITS: [(&str, u8); 16] = [
    ("Wh", 30),
    ("W", 27),
    ("VAh", 31),
    ("VA", 28),
    ("varh", 32),
    ("var", 29),
    ("V", 35),
    ("A", 33),
    ("Hz", 44),
    ("J", 25),
    ("m3", 13),
    ("m3/h", 15),
    ("m3ph", 15),
    ("l", 19),
    ("C", 9),
    ("h", 5),
];
const PREFIXES: [(char, i8); 3] = [('k', 3), ('M', 6), ('G', 9)];

/// Most bytes of a readout.
const LONGEST: usize = 0x1_0000;
/// Silence that ends a telegram. Assumption: the longest pause the standard allows, as it is remembered.
const GAP: Duration = Duration::from_millis(1500);
const SHORTEST_READ: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(meter: &str, line: &str) -> Vec<(String, Decimal, Unit)> {
        let meter: DeviceId = meter.parse().unwrap();
        let bytes = format!("/SMB5x\r\n\r\n{line}\r\n!\r\n");
        let telegram = Telegram::parse(bytes.as_bytes()).unwrap();
        match unasked(meter, None, &telegram) {
            LineEventKind::Telegram { readings, .. } => readings
                .iter()
                .map(|reading| (reading.obis.to_string(), reading.value, reading.unit))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let all = readings(
            "1smb0000000001",
            "1-0:1.8.0*255(1234567890123.456789*kWh)\r\n2.8.1(000000.10*kvarh)\r\nF.F(00000000)\r\n\
             0.9.1(12:30:00)\r\n1.6.0(1.5*kW)(2611221200)\r\n16.7.0(-0012.5*W)",
        );
        let expected = [
            (
                "1-0:1.8.0*255",
                Decimal::new(1_234_567_890_123_456_789, -3),
                Unit(30),
            ),
            ("1-0:2.8.1*255", Decimal::new(10, 1), Unit(32)),
            ("1-0:16.7.0*255", Decimal::new(-125, -1), Unit(27)),
        ];
        let expected = expected.map(|(obis, value, unit)| (obis.to_owned(), value, unit));
        assert_eq!(all, expected);
        let heat = readings("6smb0000000001", "6.8(0029.055*MWh)");
        let energy = (
            "6-0:6.8.0*255".to_owned(),
            Decimal::new(29_055, 3),
            Unit(30),
        );
        assert_eq!(heat, [energy]);
    }

    #[test]
    fn another_meter_is_known_by_its_identification() {
        let meter: DeviceId = "1smb0000000001".parse().unwrap();
        assert!(is_of(meter, None, b"/SMb5eHZ\r\nmore"));
        assert!(!is_of(meter, None, b"/ISK5eHZ\r\n"));
        assert!(is_of(meter, Some("ISK5eHZ"), b"/ISK5eHZ\r\n"));
        assert!(!is_of(meter, Some("SMB5eHZ-1"), b"/SMB5eHZ-2\r\n"));
    }
}
