// SPDX-License-Identifier: MIT OR Apache-2.0
//! M-Bus data records (EN 13757-3), which wired and wireless frames share: as JSON, rows and notes.

use serde_json::{Value as Json, json};
use smgw_mbus::{
    Error, Extension, Function, Latin1, Measure, Quantity, Record, Records, Value, obis,
};

use crate::explain::{Kind, Layer, hex, offset};
use crate::{Failure, Row};

/// Records, what stands behind them, and what went wrong on the way.
pub(crate) struct Read<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) records: Vec<Record<'a>>,
    pub(crate) trailer: Option<smgw_mbus::Trailer<'a>>,
    pub(crate) error: Option<Error>,
}

impl<'a> Read<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        let mut iterator = Records::new(body);
        let mut records = Vec::new();
        let mut error = None;
        for record in iterator.by_ref() {
            match record {
                Ok(record) => records.push(record),
                Err(what) => error = Some(what),
            }
        }
        Self {
            body,
            records,
            trailer: iterator.trailer(),
            error,
        }
    }

    pub(crate) fn more_follows(&self) -> bool {
        self.trailer.is_some_and(|trailer| trailer.more_follows)
    }

    /// The records as the array `records` of the JSON shapes.
    pub(crate) fn json(&self, medium: Option<u8>, texts: Texts) -> Json {
        let records = self.records.iter();
        let mut array: Vec<_> = records
            .map(|record| record_json(record, medium, texts))
            .collect();
        array.extend(self.trailer.map(|trailer| {
            let kind = if trailer.more_follows { "more" } else { "mfr" };
            json!({ "kind": kind, "data": hex(trailer.data) })
        }));
        Json::Array(array)
    }

    pub(crate) fn rows(&self, medium: Option<u8>) -> Vec<Row> {
        let mut rows: Vec<_> = self.records.iter().map(|r| row(r, medium)).collect();
        rows.extend(self.trailer.map(|trailer| Row {
            name: "manufacturer's data".into(),
            value: hex(trailer.data),
            detail: if trailer.more_follows {
                "more records follow in the next telegram".into()
            } else {
                String::new()
            },
            ..Row::default()
        }));
        rows
    }

    /// Notes for the body, which lies at `at` in the layer.
    pub(crate) fn explain(&self, layer: &mut Layer, at: usize) {
        let mut end = 0;
        for (number, record) in self.records.iter().enumerate() {
            let head = offset(self.body, record.head);
            layer.note(at + end, head.saturating_sub(end), Kind::Known, "filler");
            end = offset(self.body, record.data) + record.data.len();
            let title = format!("record {}: {}", number + 1, title(record));
            layer.group(at + head, end - head, title, |layer| {
                explain_record(layer, at + head, end - head, record);
            });
        }
        if let Some(trailer) = self.trailer {
            let data = offset(self.body, trailer.data);
            let dif = data.saturating_sub(1);
            layer.note(at + end, dif.saturating_sub(end), Kind::Known, "filler");
            let text = if trailer.more_follows {
                "DIF: manufacturer's data, more records follow in the next telegram"
            } else {
                "DIF: manufacturer's data to the end"
            };
            layer.note(at + dif, 1, Kind::Known, text);
            layer.note(
                at + data,
                trailer.data.len(),
                Kind::Opaque,
                "manufacturer's data",
            );
        } else if self.error.is_none() {
            layer.note(at + end, self.body.len() - end, Kind::Known, "filler");
        } else {
            layer.note(at + end, self.body.len() - end, Kind::Opaque, "no record");
        }
    }
}

/// How the shapes write the text of a VIF: that of wired frames in reading order, that of wireless ones
/// in hex as sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Texts {
    Readable,
    Hex,
}

fn record_json(record: &Record<'_>, medium: Option<u8>, texts: Texts) -> Json {
    let vib = &record.vib;
    let mut json = json!({
        "dif": hex(dib(record)),
        "vif": hex(&[&[vib.vif], vib.extensions].concat()),
        "text": vib.text.map(|(text, _)| match texts {
            Texts::Readable => text.to_string(),
            Texts::Hex => hex(text.0),
        }),
        "function": record.function as u8,
        "storage": record.storage,
        "tariff": record.tariff,
        "subunit": record.subunit,
        "data": hex(record.data),
        "value": value_json(record),
        "quantity": quantity_word(record),
        "unit": unit_word(record),
        "scale": scale(record),
    });
    if let Some(object) = json.as_object_mut() {
        match (record.decimal(), record.value) {
            (Some(decimal), _) => drop(object.insert("exact".into(), json!(decimal.to_string()))),
            (None, Value::Date(_) | Value::DateTime(_) | Value::Time(_)) => {
                object.insert("exact".into(), json!(value_text(record)));
            }
            _ => {}
        }
        if !record.is_valid() {
            object.insert("valid".into(), json!(false));
        }
        let reading = medium.and_then(|medium| obis::reading(medium, record));
        if let Some((code, _, _)) = reading {
            object.insert("obis".into(), json!(code.to_string()));
        }
        let modifiers: Vec<_> = vib.combinable().map(describe).collect();
        if !modifiers.is_empty() {
            object.insert("modifiers".into(), json!(modifiers));
        }
    }
    json
}

/// DIF and DIFE as sent.
fn dib<'a>(record: &Record<'a>) -> &'a [u8] {
    let chained = record.head.iter().take_while(|dif| **dif & 0x80 != 0);
    record.head.get(..=chained.count()).unwrap_or(record.head)
}

fn is_bcd(record: &Record<'_>) -> bool {
    matches!(record.data_field, 9..=12 | 14)
}

/// Type and raw value, before unit and power of ten. Only a VIF that is itself a date makes a date of it;
/// where an extension does (VIFE 39, 6A to 6F), the number stays raw and `exact` tells the date.
fn value_json(record: &Record<'_>) -> Json {
    let is_date = matches!(record.vib.vif & 0x7f, 0x6c | 0x6d);
    let digits = || {
        let reversed: Vec<_> = record.data.iter().rev().copied().collect();
        let digits = hex(&reversed);
        // The sign stands in place of the first digit.
        let unsigned = digits.strip_prefix('f').map(|rest| format!("0{rest}"));
        unsigned.unwrap_or(digits)
    };
    match record.value {
        Value::None => Json::Null,
        Value::Integer(number) if is_bcd(record) => {
            json!(["bcd", number, digits()])
        }
        Value::Integer(number) => json!(["int", number]),
        Value::Digits(_) => json!(["bcd", null, digits().to_uppercase()]),
        Value::Real(number) => json!(["real", f64::from(number)]),
        Value::Text(text) => json!(["str", text.to_string()]),
        Value::Date(_) | Value::DateTime(_) | Value::Time(_) if !is_date => {
            json!(["int", raw_number(record.data)])
        }
        Value::Date(date) => json!(["date", [date.year, date.month, date.day]]),
        // Type I; `exact` has it in the usual form.
        Value::DateTime(at) if at.calendar.is_some() => json!(["cp48", hex(record.data)]),
        Value::DateTime(at) => json!(["dt", {
            "invalid": u8::from(at.invalid),
            "summer": u8::from(at.summer),
            "y": at.date.year,
            "hy": at.century,
            "m": at.date.month,
            "d": at.date.day,
            "h": at.time.hour,
            "mi": at.time.minute,
        }]),
        Value::Bytes(text) if record.length_code.is_some_and(|code| code <= 0xbf) => {
            json!(["str", Latin1(text).to_string()])
        }
        Value::Time(_) | Value::Bytes(_) => match record.decimal() {
            Some(long) => json!(["int", long.mantissa]),
            None => json!(["bytes", hex(record.data)]),
        },
    }
}

/// Two's complement, least significant byte first; of at most eight bytes.
fn raw_number(data: &[u8]) -> i64 {
    let sign = data.last().is_some_and(|last| last & 0x80 != 0);
    let start = if sign { -1 } else { 0 };
    data.iter()
        .rev()
        .fold(start, |number, byte| number << 8 | i64::from(*byte))
}

/// The value for people, with its power of ten.
fn value_text(record: &Record<'_>) -> String {
    if let Some(decimal) = record.decimal() {
        return decimal.to_string();
    }
    match record.value {
        Value::None => "-".into(),
        Value::Integer(number) => format!("{number} (error)"),
        Value::Digits(_) => format!("no number: {}", hex(record.data)),
        Value::Real(number) if record.vib.exponent == 0 => number.to_string(),
        Value::Real(number) => format!("{number}e{}", record.vib.exponent),
        Value::Text(text) => format!("{:?}", text.to_string()),
        Value::Date(date) => {
            format!("20{:02}-{:02}-{:02}", date.year, date.month, date.day)
        }
        Value::DateTime(at) => {
            let (date, time) = (at.date, at.time);
            let season = if at.summer { " summer time" } else { "" };
            let invalid = if at.invalid { " (marked invalid)" } else { "" };
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{season}{invalid}",
                at.year(),
                date.month,
                date.day,
                time.hour,
                time.minute,
                time.second
            )
        }
        Value::Time(time) => {
            format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second)
        }
        Value::Bytes(bytes) => hex(bytes),
    }
}

/// What is measured, in the words of the JSON shape; absent where the standard has none.
fn quantity_word(record: &Record<'_>) -> Option<String> {
    let vib = &record.vib;
    Some(match vib.quantity {
        Quantity::FabricationNumber => "Fabrication No".into(),
        Quantity::DateTime => "DateTime".into(),
        Quantity::HeatCostAllocation => "HCA".into(),
        Quantity::Manufacturer => "mfr".into(),
        Quantity::Text => "text".into(),
        Quantity::ModelVersion => "Model/version".into(),
        Quantity::Reserved => {
            let (table, code) = match (vib.vif, vib.extensions.first()) {
                (0xfb, Some(code)) => ("FB ", *code),
                (0xfd, Some(code)) => ("FD ", *code),
                _ => return None,
            };
            format!("{table}reserved {:02x}", code & 0x7f)
        }
        quantity => capitalised(quantity.name()),
    })
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The unit in plain characters.
fn unit_word(record: &Record<'_>) -> Option<String> {
    let vib = &record.vib;
    if vib.measure != Measure::None {
        return Some(symbol(vib.measure).into());
    }
    match (vib.quantity, vib.text) {
        (Quantity::Date, _) => Some("date".into()),
        (Quantity::DateTime, _) => Some("datetime".into()),
        (Quantity::Text, Some((text, _))) => Some(text.to_string()),
        (Quantity::Reserved, _) if vib.vif & 0x7f == 0x7b => None,
        _ => Some(String::new()),
    }
}

/// The power of ten; for durations `["T", n]` with n counting seconds, minutes, hours, days.
fn scale(record: &Record<'_>) -> Json {
    let vib = &record.vib;
    match vib.measure {
        Measure::Second => json!(["T", 0]),
        Measure::Minute => json!(["T", 1]),
        Measure::Hour => json!(["T", 2]),
        Measure::Day => json!(["T", 3]),
        Measure::None if unit_word(record).is_none() => Json::Null,
        // A unit in words has no power of ten of its own; extensions correct `exact` alone.
        Measure::None if vib.quantity == Quantity::Text => json!(0),
        _ => json!(vib.exponent),
    }
}

/// Durations are all seconds here: their scale tells which.
pub(crate) const fn symbol(measure: Measure) -> &'static str {
    match measure {
        Measure::None => "",
        Measure::WattHour => "Wh",
        Measure::Joule => "J",
        Measure::Calorie => "cal",
        Measure::VarHour => "varh",
        Measure::VoltAmpereHour => "VAh",
        Measure::CubicMetre => "m^3",
        Measure::CubicFoot => "ft^3",
        Measure::Gallon => "gal",
        Measure::Gram => "g",
        Measure::Watt => "W",
        Measure::JoulePerHour => "J/h",
        Measure::Var => "var",
        Measure::VoltAmpere => "VA",
        Measure::CubicMetrePerHour => "m^3/h",
        Measure::CubicMetrePerMinute => "m^3/min",
        Measure::CubicMetrePerSecond => "m^3/s",
        Measure::GallonPerMinute => "gal/min",
        Measure::GallonPerHour => "gal/h",
        Measure::GramPerHour => "g/h",
        Measure::Celsius => "C",
        Measure::Fahrenheit => "F",
        Measure::Kelvin => "K",
        Measure::Bar => "bar",
        Measure::Volt => "V",
        Measure::Ampere => "A",
        Measure::Hertz => "Hz",
        Measure::Degree => "deg",
        Measure::Percent => "%",
        Measure::Currency => "currency",
        Measure::HeatCostUnit => "hca",
        Measure::Second | Measure::Minute | Measure::Hour | Measure::Day => "s",
        Measure::Month => "mo",
        Measure::Year => "a",
        Measure::BitTime => "bit times",
        Measure::Baud => "Bd",
        Measure::DecibelMilliwatt => "dBm",
        Measure::Part4096 => "/4096",
        _ => "?",
    }
}

/// The unit for people.
fn unit_text(record: &Record<'_>) -> String {
    match record.vib.measure {
        Measure::Celsius => "°C".into(),
        Measure::Fahrenheit => "°F".into(),
        Measure::Degree => "°".into(),
        Measure::Minute => "min".into(),
        Measure::Hour => "h".into(),
        Measure::Day => "d".into(),
        Measure::None => match (record.vib.quantity, record.vib.text) {
            (Quantity::Text, Some((text, _))) => text.to_string(),
            _ => String::new(),
        },
        measure => symbol(measure).replace("^3", "³"),
    }
}

/// What tells this record from others of its quantity.
fn detail(record: &Record<'_>) -> String {
    let function = match record.function {
        Function::Instantaneous => None,
        Function::Maximum => Some("maximum".to_owned()),
        Function::Minimum => Some("minimum".to_owned()),
        Function::DuringError => Some("during error".to_owned()),
    };
    let numbered = |name: &str, number: u64| (number > 0).then(|| format!("{name} {number}"));
    let parts = [
        function,
        numbered("storage", record.storage),
        numbered("tariff", record.tariff.into()),
        numbered("subunit", record.subunit.into()),
    ];
    let modifiers = record.vib.combinable().filter_map(|extension| {
        let corrects = matches!(extension, Extension::PowerOfTen(_));
        (!corrects).then(|| describe(extension))
    });
    let parts: Vec<_> = parts.into_iter().flatten().chain(modifiers).collect();
    parts.join(", ")
}

fn row(record: &Record<'_>, medium: Option<u8>) -> Row {
    let reading = medium.and_then(|medium| obis::reading(medium, record));
    let quantity = record.vib.quantity.name();
    Row {
        name: match reading {
            Some((code, _, _)) => format!("{code} {quantity}"),
            None => quantity.to_owned(),
        },
        value: value_text(record),
        unit: unit_text(record),
        status: String::new(),
        detail: detail(record),
    }
}

fn title(record: &Record<'_>) -> String {
    let detail = detail(record);
    let separator = if detail.is_empty() { "" } else { ", " };
    format!(
        "{} = {} {}{separator}{detail}",
        record.vib.quantity.name(),
        value_text(record),
        unit_text(record)
    )
}

fn explain_record(layer: &mut Layer, at: usize, len: usize, record: &Record<'_>) {
    let vib = &record.vib;
    let dib = dib(record);
    let coding = match record.data_field {
        0 => "no data".to_owned(),
        5 => "32 bit real".into(),
        8 => "selection for readout".into(),
        13 => "variable length".into(),
        15 => "special".into(),
        9..=12 | 14 => format!("BCD, {} digits", 2 * record.data.len()),
        _ => format!("integer, {} bytes", record.data.len()),
    };
    let function = match record.function {
        Function::Instantaneous => "instantaneous",
        Function::Maximum => "maximum",
        Function::Minimum => "minimum",
        Function::DuringError => "during error",
    };
    layer.note(at, 1, Kind::Known, format!("DIF: {coding}, {function}"));
    let numbers = format!(
        "DIFE: storage {}, tariff {}, subunit {}",
        record.storage, record.tariff, record.subunit
    );
    layer.note(at + 1, dib.len().saturating_sub(1), Kind::Known, numbers);
    let vif = at + dib.len();
    let meaning = format!("VIF: {}{}", vib.quantity.name(), power(record));
    layer.note(vif, 1, Kind::Known, meaning);
    let extensions = at + offset(record.head, vib.extensions);
    let table = usize::from(matches!(vib.vif, 0xfb | 0xfd));
    layer.note(
        extensions,
        table.min(vib.extensions.len()),
        Kind::Known,
        "VIFE: code of the extended table",
    );
    let modifiers: Vec<_> = vib.combinable().collect();
    for (index, code) in vib.extensions.iter().enumerate().skip(table) {
        let known = modifiers.get(index - table);
        let (kind, text) = match known {
            Some(Extension::Other(code)) => {
                (Kind::Opaque, format!("VIFE: reserved code {code:02x}"))
            }
            Some(extension) => (Kind::Known, format!("VIFE: {}", describe(*extension))),
            None => (
                Kind::Opaque,
                format!("VIFE: manufacturer's code {:02x}", code & 0x7f),
            ),
        };
        layer.note(extensions + index, 1, kind, text);
    }
    if let Some((text, _)) = vib.text {
        let at = at + offset(record.head, text.0);
        layer.note(at.saturating_sub(1), 1, Kind::Known, "length of the text");
        layer.note(
            at,
            text.0.len(),
            Kind::Known,
            format!("text, last letter first: {text}"),
        );
    }
    let value = at + len - record.data.len();
    let head = at + record.head.len();
    layer.note(
        head,
        value.saturating_sub(head),
        Kind::Known,
        "LVAR: type and length",
    );
    let kind = match vib.quantity {
        Quantity::Manufacturer | Quantity::Reserved => Kind::Opaque,
        _ => Kind::Known,
    };
    let text = format!("value: {} {}", value_text(record), unit_text(record));
    layer.note(value, record.data.len(), kind, text.trim_end());
}

/// Unit and power of ten of a VIF.
fn power(record: &Record<'_>) -> String {
    let unit = unit_text(record);
    match (unit.as_str(), record.vib.exponent) {
        ("", 0) => String::new(),
        (unit, 0) => format!(" in {unit}"),
        (unit, exponent) => format!(" in 10^{exponent} {unit}"),
    }
}

/// A combinable extension in words.
fn describe(extension: Extension) -> String {
    match extension {
        Extension::RecordError(code) => format!(
            "error: {}",
            match code {
                0x15 => "no data available",
                0x16 => "overflow",
                0x17 => "underflow",
                0x18 => "data error",
                _ => "reserved",
            }
        ),
        Extension::Average => "average".into(),
        Extension::InverseCompactProfile => "inverse compact profile".into(),
        Extension::RelativeDeviation => "relative deviation".into(),
        Extension::StandardConform => "standard-conform data".into(),
        Extension::CompactProfile {
            with_register: true,
        } => "compact profile with register".into(),
        Extension::CompactProfile {
            with_register: false,
        } => "compact profile".into(),
        Extension::Per(code) => per(code).into(),
        Extension::StartOf => "start of".into(),
        Extension::Uncorrected => "uncorrected".into(),
        Extension::Forward => "forward only".into(),
        Extension::Backward => "backward only".into(),
        Extension::NonMetric => "non-metric unit".into(),
        Extension::BaseConditions => "at base conditions".into(),
        Extension::ObisDeclaration => "OBIS declaration".into(),
        Extension::Limit(code) => limit(code),
        Extension::PowerOfTen(power) => format!("times 10^{power}"),
        Extension::AddPowerOfTen(power) => format!("plus 10^{power}"),
        Extension::Second(code) => second_table(code),
        Extension::FutureValue => "future value".into(),
        Extension::Manufacturer => "manufacturer's extension".into(),
        Extension::Other(code) => format!("extension {code:02x}"),
        _ => "extension".into(),
    }
}

const fn per(code: u8) -> &'static str {
    match code {
        0x20 => "per second",
        0x21 => "per minute",
        0x22 => "per hour",
        0x23 => "per day",
        0x24 => "per week",
        0x25 => "per month",
        0x26 => "per year",
        0x27 => "per revolution",
        0x28 | 0x29 => "increment per input pulse",
        0x2a | 0x2b => "increment per output pulse",
        0x2c => "per litre",
        0x2d => "per m³",
        0x2e => "per kg",
        0x2f => "per K",
        0x30 => "per kWh",
        0x31 => "per GJ",
        0x32 => "per kW",
        0x33 => "per K·l",
        0x34 => "per V",
        0x35 => "per A",
        0x36 => "times s",
        0x37 => "times s/V",
        _ => "times s/A",
    }
}

fn limit(code: u8) -> String {
    let side = if code & 8 == 0 { "lower" } else { "upper" };
    let which = if code & 4 == 0 { "first" } else { "last" };
    match code {
        0x40 | 0x48 => format!("{side} limit"),
        0x41 | 0x49 => format!("number of times the {side} limit was passed"),
        0x42..=0x4f => format!(
            "{} of the {which} passing of the {side} limit",
            if code & 1 == 0 { "begin" } else { "end" }
        ),
        0x50..=0x5f => format!("duration of the {which} passing of the {side} limit"),
        0x60..=0x67 => format!("duration of the {which} occurrence"),
        0x68 => "value while the lower limit was passed".into(),
        0x6c => "value while the upper limit was passed".into(),
        0x69 => "leakage".into(),
        0x6d => "overflow".into(),
        _ => format!(
            "{} of the {which} occurrence",
            if code & 1 == 0 { "begin" } else { "end" }
        ),
    }
}

fn second_table(code: u8) -> String {
    match code {
        0x01..=0x03 => format!("at phase L{code}"),
        0x04 => "at neutral".into(),
        0x05 => "between phases L1 and L2".into(),
        0x06 => "between phases L2 and L3".into(),
        0x07 => "between phases L3 and L1".into(),
        0x08..=0x0b => format!("at quadrant Q{}", code - 7),
        0x0c => "import minus export".into(),
        0x10 => "accumulation of absolute values".into(),
        0x11 => "data type C".into(),
        0x12 => "data type D".into(),
        _ => format!("second table code {code:02x}"),
    }
}

/// The word and the sentence for a codec's error.
pub(crate) fn failure(error: Error) -> Failure {
    Failure {
        error: match error {
            Error::NoFrame => "no-frame",
            Error::Length => "length",
            Error::Checksum { .. } => "checksum",
            Error::Stop => "stop",
            Error::NoApplication => "no-application",
            Error::ShortHeader => "short-header",
            Error::TruncatedDib => "truncated-dib",
            Error::TruncatedVib => "truncated-vib",
            Error::TruncatedData => "truncated-data",
            Error::TooManyDife => "too-many-dife",
            Error::TooManyVife => "too-many-vife",
            Error::ReservedDif(_) => "reserved-dif",
            Error::ReservedLvar(_) => "reserved-lvar",
            _ => "invalid",
        },
        reason: error.to_string(),
    }
}

/// A status byte of the transport layer in words.
pub(crate) fn status(status: u8) -> String {
    let state = match status & 3 {
        1 => Some("busy"),
        2 => Some("application error"),
        3 => Some("alarm"),
        _ => None,
    };
    let flag = |bit: u8, text| (status & bit != 0).then_some(text);
    let parts = [
        state,
        flag(4, "power low"),
        flag(8, "permanent error"),
        flag(0x10, "temporary error"),
        flag(0xe0, "manufacturer's bits"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "ok".into()
    } else {
        parts.join(", ")
    }
}
