// SPDX-License-Identifier: MIT OR Apache-2.0
//! From telegrams of any protocol to rows of one table.

use std::fmt;

use serde::{Serialize, Serializer};
use smgw_iec62056::{Block, Identification, Value as TextValue, guess_medium};
use smgw_mbus::{
    Body, Device, Record, Records, Telegram as MbusTelegram, Value as MbusValue, obis,
};
use smgw_sml::{File, ListEntry, Time, TimeChoice, Value as SmlValue};
use smgw_units::{Decimal, Obis, Unit};
use smgw_wmbus::{Telegram as Wireless, Verdict};

use crate::profile::Protocol;

/// One telegram, read.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Telegram {
    /// How the meter names itself.
    pub meter: String,
    /// What it speaks.
    #[serde(serialize_with = "protocol")]
    pub protocol: Protocol,
    /// The registers, in the order sent.
    pub readings: Vec<Reading>,
    /// What was odd about it, though tolerated.
    pub remarks: Vec<String>,
    /// Whether the meter has a further telegram.
    #[serde(skip)]
    pub more_follows: bool,
}

/// One register.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reading {
    /// OBIS code, or what the meter calls it.
    pub register: String,
    /// What it shows.
    pub value: Content,
    /// Unit as printed; empty for none.
    pub unit: String,
    /// Status word or byte; none when the meter sends none.
    pub status: Option<u64>,
}

/// What a register shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A number with every digit the meter sent.
    Number(Decimal),
    /// Text, a date, or bytes in hex.
    Text(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Content {
    /// Numbers as text: no reader may lose digits to binary fractions.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn protocol<S: Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(protocol.as_str())
}

/// An SML file with a list; `None` for files without.
pub(super) fn sml(file: &File<'_>) -> Option<Telegram> {
    let list = file.lists().next()?;
    let mut telegram = sml_telegram(Protocol::SmlPush, list.server_id, list.sensor_time);
    for list in file.lists() {
        let entries = list.entries.iter();
        telegram
            .readings
            .extend(entries.map(|entry| sml_reading(&entry)));
    }
    Some(telegram)
}

/// A telegram of an SML meter, without registers yet.
pub(super) fn sml_telegram(protocol: Protocol, server_id: &[u8], time: Option<Time>) -> Telegram {
    let time = time.map(|time| match time.choice {
        TimeChoice::SecIndex | TimeChoice::Bare => format!("seconds index {}", time.seconds.value),
        TimeChoice::Timestamp | TimeChoice::Local => format!("meter time {}", time.seconds.value),
    });
    Telegram {
        meter: hex(server_id),
        protocol,
        readings: Vec::new(),
        remarks: time.into_iter().collect(),
        more_follows: false,
    }
}

pub(super) fn sml_reading(entry: &ListEntry<'_>) -> Reading {
    let register = match <[u8; 6]>::try_from(entry.name) {
        Ok(name) => Obis(name).to_string(),
        Err(_) => hex(entry.name),
    };
    let value = match &entry.value {
        Some(SmlValue::Octets(bytes)) => Content::Text(text(bytes)),
        Some(SmlValue::Bool(flag)) => Content::Text(flag.to_string()),
        Some(SmlValue::List(_)) => Content::Text("a list".to_owned()),
        Some(value) => match value.integer() {
            Some(number) => Content::Number(Decimal::new(number, entry.scaler.unwrap_or(0))),
            None => Content::Text(String::new()),
        },
        None => Content::Text(String::new()),
    };
    let unit = entry
        .unit
        .map_or_else(String::new, |unit| Unit(unit).to_string());
    Reading {
        register,
        value,
        unit,
        status: entry.status.map(|status| status.value),
    }
}

/// The data block of a meter that speaks in lines of text, D0 or P1.
pub(super) fn readout(identification: &[u8], block: &Block<'_>) -> Telegram {
    let meter = Identification::parse(identification).map_or_else(String::new, |line| {
        format!("{} {}", line.manufacturer, line.id)
    });
    let medium = guess_medium(block.lines);
    let mut readings = Vec::new();
    let mut remarks = Vec::new();
    for set in block.sets() {
        match set {
            Ok(set) => {
                let code = set.code().map(|code| code.obis(medium).to_string());
                let register = code.unwrap_or_else(|| set.address.to_owned());
                readings.extend(set.values().map(|value| text_reading(&register, &value)));
            }
            Err(error) => remarks.push(error.to_string()),
        }
    }
    Telegram {
        meter,
        protocol: Protocol::D0,
        readings,
        remarks,
        more_follows: false,
    }
}

fn text_reading(register: &str, value: &TextValue<'_>) -> Reading {
    // Without a unit digits are as often an id or a time.
    let number = value.number().filter(|_| value.unit.is_some());
    Reading {
        register: register.to_owned(),
        value: number.map_or_else(|| Content::Text(value.to_string()), Content::Number),
        unit: value.unit.unwrap_or_default().to_owned(),
        status: None,
    }
}

/// A telegram from the air; without readings when it cannot be opened, and then a remark says why.
pub(super) fn wireless(telegram: &Wireless) -> Option<Telegram> {
    let device = telegram.meter()?;
    let meter = format!(
        "{} {} type {:02x}",
        device.manufacturer,
        device.id_text(),
        device.medium
    );
    let status = telegram.tpl.and_then(|tpl| tpl.header);
    let status = status.map(|header| u64::from(header.status));
    let mut remarks: Vec<_> = match telegram.verdict {
        Verdict::Plain | Verdict::Authenticated => None,
        verdict => Some(verdict.to_string()),
    }
    .into_iter()
    .collect();
    let mut readings = Vec::new();
    if telegram.verdict.is_readable() {
        for record in telegram.records() {
            match record {
                Ok((_, record)) => readings.push(mbus_reading(device.medium, &record, status)),
                Err(error) => remarks.push(error.to_string()),
            }
        }
    }
    Some(Telegram {
        meter,
        protocol: Protocol::Wmbus,
        readings,
        remarks,
        more_follows: false,
    })
}

/// An M-Bus device by its secondary address.
pub(super) fn device(device: &Device) -> String {
    let Device {
        manufacturer,
        version,
        medium,
        ..
    } = device;
    format!(
        "secondary address {}: manufacturer {manufacturer}, version {version}, type {medium:02x} ({})",
        device.id_text(),
        smgw_mbus::device_type(*medium)
    )
}

/// An M-Bus frame with data, an error or an alarm; `None` for others.
pub(super) fn mbus(frame: &[u8]) -> Option<Telegram> {
    let telegram = MbusTelegram::parse(frame).ok()?;
    let header = telegram.header();
    let device = header.and_then(|header| header.device);
    let meter = match (device, telegram.body()) {
        (Some(device), _) => format!(
            "{} {} type {:02x}",
            device.manufacturer,
            device.id_text(),
            device.medium
        ),
        (None, Body::Fixed(fixed)) => hex(&fixed.id.iter().rev().copied().collect::<Vec<_>>()),
        _ => format!("address {}", telegram.address),
    };
    let status = header.map(|header| u64::from(header.status));
    let mut remarks = Vec::new();
    let mut readings = Vec::new();
    let mut more_follows = false;
    match telegram.body() {
        Body::Records(data) => {
            let mut records = Records::new(data);
            for record in records.by_ref() {
                match record {
                    Ok(record) => readings.push(mbus_reading(
                        device.map_or(0, |device| device.medium),
                        &record,
                        status,
                    )),
                    Err(error) => remarks.push(error.to_string()),
                }
            }
            more_follows = records
                .trailer()
                .is_some_and(|trailer| trailer.more_follows);
        }
        Body::Fixed(fixed) => {
            for (index, counter) in fixed.counters.iter().enumerate() {
                let value = counter
                    .value
                    .map_or(Content::Text("no number".to_owned()), |value| {
                        Content::Number(Decimal::new(i128::from(value), 0))
                    });
                let register = format!("counter {}", index + 1);
                let unit = format!("unit code {:02x}", counter.unit_code);
                readings.push(Reading {
                    register,
                    value,
                    unit,
                    status: Some(u64::from(fixed.status)),
                });
            }
        }
        Body::Error(error) => remarks.push(error.to_string()),
        Body::Alarm(state) => remarks.push(format!("alarm state {state:02x}")),
        Body::Other(_) => remarks.push(format!("CI field {:02x} is not read here", telegram.ci)),
    }
    Some(Telegram {
        meter,
        protocol: Protocol::Mbus,
        readings,
        remarks,
        more_follows,
    })
}

fn mbus_reading(medium: u8, record: &Record<'_>, status: Option<u64>) -> Reading {
    if let Some((obis, value, unit)) = obis::reading(medium, record) {
        return Reading {
            register: obis.to_string(),
            value: Content::Number(value),
            unit: unit.to_string(),
            status,
        };
    }
    let mut register = match record.vib.text {
        Some((text, _)) => text.to_string(),
        None => record.vib.quantity.name().to_owned(),
    };
    for (word, number) in [
        ("storage", record.storage),
        ("tariff", record.tariff.into()),
        ("subunit", record.subunit.into()),
    ] {
        if number != 0 {
            register.push_str(&format!(" {word} {number}"));
        }
    }
    if record.function != smgw_mbus::Function::Instantaneous {
        register.push_str(&format!(" ({:?})", record.function).to_lowercase());
    }
    let dlms = record.vib.measure.dlms();
    let value = match (record.decimal(), &record.value) {
        (Some(number), _) => {
            let power = dlms.map_or(0, |(_, power)| power);
            Content::Number(Decimal::new(
                number.mantissa,
                number.exponent.saturating_add(power),
            ))
        }
        (None, MbusValue::Text(text)) => Content::Text(text.to_string()),
        (None, MbusValue::DateTime(at)) => Content::Text(format!(
            "{} {:02}:{:02}{}",
            date(at.date),
            at.time.hour,
            at.time.minute,
            if at.summer { " summer time" } else { "" }
        )),
        (None, MbusValue::Date(day)) => Content::Text(date(*day)),
        (None, _) => Content::Text(hex(record.data)),
    };
    let unit = match dlms {
        Some((unit, _)) => unit.to_string(),
        None if record.vib.measure == smgw_mbus::Measure::None => String::new(),
        None => format!("{:?}", record.vib.measure).to_lowercase(),
    };
    Reading {
        register,
        value,
        unit,
        status,
    }
}

fn date(date: smgw_mbus::Date) -> String {
    format!("20{:02}-{:02}-{:02}", date.year % 100, date.month, date.day)
}

/// Printable text as it is, everything else in hex.
fn text(bytes: &[u8]) -> String {
    let printable = !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match std::str::from_utf8(bytes) {
        Ok(text) if printable => text.to_owned(),
        _ => hex(bytes),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
