// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the sections of a file to a checked profile.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use smgw_iec62056::{Identification, Mode};
use smgw_mbus::{Device as MbusAddress, Manufacturer};
use smgw_peers::meters::{Format, LineConfig};
use smgw_units::{DeviceId, Obis};
use toml::Spanned;

use super::file::{
    ClockSection, DeviceSection, FaultSection, File, LawSection, LineSection, ModeLetter,
    RegisterSection,
};
use super::unit::NAMES;
use super::{
    Device, Discovery, Identity, Law, MeterClock, NamedUnit, Problem, Profile, Protocol, Register,
    SCHEMA, Shows, Span,
};
use crate::sim::{Fault, FaultRule, When};

/// Checks everything; the mistakes of the whole file otherwise.
pub(super) fn resolve(path: &Path, text: &str) -> Result<Profile, Vec<Problem>> {
    let file: File = toml::from_str(text).map_err(|error| vec![shape(&error)])?;
    let mode = file.meter.mode.as_ref();
    let protocol = match (file.meter.protocol, mode.map(|mode| *mode.get_ref())) {
        (Protocol::D0, Some(ModeLetter::D)) => Protocol::D0Push,
        (protocol, _) => protocol,
    };
    let mut check = Check {
        path,
        protocol,
        discovery: file.layout.discovery,
        problems: Vec::new(),
    };
    if file.schema.get_ref() != SCHEMA {
        let help = format!("this build reads schema = \"{SCHEMA}\"");
        check.problem(file.schema.span(), "other schema", help);
    }
    let meter = &file.meter;
    if let Some(mode) = mode {
        check.mode(mode, &file.device);
    }
    let interval = check.length(meter.interval.as_ref(), Duration::from_secs(1));
    let latency = check.length(meter.latency.as_ref(), Duration::ZERO);
    let delay = check.length(meter.delay.as_ref(), Duration::from_millis(20));
    match &meter.interval {
        Some(span) if !protocol.pushes() => {
            let message = format!("a {protocol} meter answers, it does not push");
            check.problem(span.span(), message, "remove `interval`");
        }
        Some(span) if interval.is_zero() => {
            check.problem(span.span(), "no time between telegrams", "write e.g. 1s")
        }
        _ => {}
    }
    if file.device.is_empty() {
        check.problem(0..0, "no device", "add [[device]]");
    } else if let Some(second) = file.device.get(1)
        && !protocol.shares_its_line()
    {
        check.problem(
            second.span(),
            format!("{protocol} is no bus"),
            "leave one [[device]]",
        );
    }
    let line = check.line(file.line);
    let clock = check.clock(file.clock);
    let devices: Vec<_> = file
        .device
        .into_iter()
        .filter_map(|device| check.device(device))
        .collect();
    let faults: Vec<_> = file
        .fault
        .into_iter()
        .filter_map(|fault| check.fault(&fault))
        .collect();
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Profile {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        summary: file.meter.summary,
        protocol,
        line,
        interval,
        latency,
        delay,
        clock,
        layout: file.layout,
        devices,
        faults,
    })
}

/// A mistake of form, as the reader of TOML tells it.
fn shape(error: &toml::de::Error) -> Problem {
    let message = error.message();
    let (message, help) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, format!("expected {expected}")),
        None => (
            message,
            "see docs/meters.md or rigs/schema/meter-1.json".to_owned(),
        ),
    };
    Problem {
        span: error.span().unwrap_or(0..0),
        message: message.replace('\n', " "),
        help,
    }
}

struct Check<'a> {
    path: &'a Path,
    protocol: Protocol,
    discovery: Discovery,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem {
            span,
            message: message.into(),
            help: help.into(),
        });
    }

    fn length(&mut self, span: Option<&Spanned<Span>>, default: Duration) -> Duration {
        let Some(span) = span else { return default };
        if span.get_ref().0 < 0 {
            self.problem(span.span(), "a negative length of time", "remove the sign");
        }
        span.get_ref().length()
    }

    /// A mode is told by the identification, and must be the same there.
    fn mode(&mut self, mode: &Spanned<ModeLetter>, devices: &[Spanned<DeviceSection>]) {
        let (wanted, fourth) = match (self.protocol, mode.get_ref()) {
            (Protocol::D0Push, ModeLetter::D) => return,
            (Protocol::D0, ModeLetter::A) => (Mode::A, "no digit and no letter from A to I"),
            (Protocol::D0, ModeLetter::B) => (Mode::B, "a letter from A (600 Bd) to F (19200 Bd)"),
            (Protocol::D0, ModeLetter::C) => (Mode::C, "a digit from 0 (300 Bd) to 6 (19200 Bd)"),
            (protocol, letter) => {
                let message = format!("a {protocol} meter has no mode {letter:?}");
                return self.problem(mode.span(), message, "modes are of protocol d0");
            }
        };
        for device in devices {
            let line = device.get_ref().identification.as_deref();
            let line = format!("/{}", line.unwrap_or_default());
            let told = Identification::parse(line.as_bytes()).map(|line| line.mode());
            if let Some(told) = told.filter(|told| *told != wanted) {
                let message = format!("the identification tells mode {told:?}");
                let help = format!("its fourth character is {fourth}");
                self.problem(device.span(), message, help);
            }
        }
    }

    fn line(&mut self, section: Option<Spanned<LineSection>>) -> LineConfig {
        let usual = self.protocol.line();
        let Some(section) = section else { return usual };
        let span = section.span();
        let LineSection { baud, format } = section.into_inner();
        let baud = baud.unwrap_or(usual.baud);
        if !(50..=4_000_000).contains(&baud) {
            self.problem(
                span.clone(),
                format!("no serial line has {baud} Bd"),
                format!("usual is {}", usual.baud),
            );
        }
        let format = match format.as_deref() {
            None => usual.format,
            Some("8N1") => Format::N81,
            Some("8E1") => Format::E81,
            Some("7E1") => Format::E71,
            Some(other) => {
                self.problem(span, format!("unknown format {other:?}"), "8N1, 8E1 or 7E1");
                usual.format
            }
        };
        LineConfig { baud, format }
    }

    fn clock(&mut self, section: ClockSection) -> MeterClock {
        if section.drift_ppm <= -1_000_000 {
            self.problem(
                0..0,
                "the clock would stand still or run backwards",
                "drift-ppm above -1000000",
            );
        }
        if section.step.iter().any(|step| step.at.0 < 0) {
            self.problem(
                0..0,
                "a clock step before the beginning",
                "`at` is the time since the beginning",
            );
        }
        MeterClock {
            start: section.start.map(|start| start.0),
            drift_ppm: section.drift_ppm,
            steps: section
                .step
                .iter()
                .map(|step| (step.at.0.unsigned_abs(), step.by.0))
                .collect(),
        }
    }

    fn device(&mut self, section: Spanned<DeviceSection>) -> Option<Device> {
        let span = section.span();
        let section = section.into_inner();
        let identity = self.identity(&section, &span);
        if section.register.is_empty() {
            self.problem(
                span,
                "a device without registers",
                "add [[device.register]]",
            );
        }
        let registers: Vec<_> = section
            .register
            .into_iter()
            .filter_map(|register| self.register(register))
            .collect();
        Some(Device {
            identity: identity?,
            status: section.status,
            registers,
        })
    }

    fn identity(&mut self, section: &DeviceSection, span: &Range<usize>) -> Option<Identity> {
        match self.protocol {
            Protocol::SmlPush | Protocol::SmlPull => self.sml_identity(section, span),
            Protocol::HdlcLmn => self.lmn_identity(section, span),
            Protocol::D0 | Protocol::D0Push | Protocol::P1 => self.text_identity(section, span),
            Protocol::Wmbus => {
                let device = self.mbus_address(section, span);
                let key = match &section.key {
                    None => None,
                    Some(text) => Some(self.key(text, span)?),
                };
                Some(Identity::Wmbus {
                    device: device?,
                    key,
                })
            }
            Protocol::Mbus => {
                let device = self.mbus_address(section, span);
                let address = section
                    .address
                    .filter(|address| (1..=250).contains(address));
                if address.is_none() {
                    self.problem(
                        span.clone(),
                        "no primary address",
                        "add address = 1 (1 to 250)",
                    );
                }
                Some(Identity::Mbus {
                    address: address?,
                    device: device?,
                })
            }
        }
    }

    fn sml_identity(&mut self, section: &DeviceSection, span: &Range<usize>) -> Option<Identity> {
        let manufacturer = section.manufacturer.clone();
        if let Some(hex) = &section.server_id {
            let server_id = self.hex(hex, span)?;
            let manufacturer = manufacturer.unwrap_or_default();
            return Some(Identity::Sml {
                server_id,
                manufacturer,
            });
        }
        let id = self.device_id(section, span)?;
        let letters = id
            .as_str()
            .get(1..4)
            .unwrap_or_default()
            .to_ascii_uppercase();
        Some(Identity::Sml {
            server_id: id.server_id().to_vec(),
            manufacturer: manufacturer.unwrap_or(letters),
        })
    }

    fn lmn_identity(&mut self, section: &DeviceSection, span: &Range<usize>) -> Option<Identity> {
        let device = self.device_id(section, span);
        let station = match (section.address, self.discovery) {
            (None, Discovery::Slots) => Some(0),
            (address, _) => address.filter(|address| (2..=126).contains(address)),
        };
        if station.is_none() {
            let help = "add address = 3 (2 to 126)";
            self.problem(span.clone(), "no address of its station", help);
        }
        Some(Identity::Lmn {
            station: station?,
            device: device?,
        })
    }

    fn key(&mut self, text: &str, span: &Range<usize>) -> Option<[u8; 16]> {
        let key = hex(text).and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            let help = "32 hexadecimal digits";
            self.problem(span.clone(), "no key of 16 bytes", help);
        }
        key
    }

    fn text_identity(&mut self, section: &DeviceSection, span: &Range<usize>) -> Option<Identity> {
        let identification = section.identification.clone().unwrap_or_default();
        if Identification::parse(format!("/{identification}").as_bytes()).is_none() {
            let help = "three letters, a speed, a name: identification = \"SMB5METER\"";
            self.problem(
                span.clone(),
                format!("{identification:?} is no identification"),
                help,
            );
            return None;
        }
        Some(Identity::Text { identification })
    }

    fn device_id(&mut self, section: &DeviceSection, span: &Range<usize>) -> Option<DeviceId> {
        let help = "for example id = \"1smb0000000001\"";
        let Some(id) = &section.id else {
            self.problem(span.clone(), "no device id", help);
            return None;
        };
        match id.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.problem(span.clone(), format!("{id:?} is {error}"), help);
                None
            }
        }
    }

    fn mbus_address(
        &mut self,
        section: &DeviceSection,
        span: &Range<usize>,
    ) -> Option<MbusAddress> {
        let number = section.number.as_deref().filter(|number| {
            number.len() == 8 && number.bytes().all(|digit| digit.is_ascii_digit())
        });
        let letters = section
            .manufacturer
            .as_deref()
            .and_then(|letters| letters.as_bytes().try_into().ok());
        let manufacturer = letters.and_then(Manufacturer::from_letters);
        let id = number.and_then(|number| u32::from_str_radix(number, 16).ok());
        if let (Some(id), Some(manufacturer), Some(medium)) = (id, manufacturer, section.medium) {
            let version = section.version;
            return Some(MbusAddress {
                id: id.to_le_bytes(),
                manufacturer,
                version,
                medium,
            });
        }
        let help = "for example number = \"12345678\", manufacturer = \"SMB\", medium = 4";
        self.problem(span.clone(), "no whole secondary address", help);
        None
    }

    fn hex(&mut self, text: &str, span: &Range<usize>) -> Option<Vec<u8>> {
        let bytes = hex(text);
        if bytes.is_none() {
            self.problem(
                span.clone(),
                format!("{text:?} is not hexadecimal"),
                "two digits for each byte",
            );
        }
        bytes
    }

    fn register(&mut self, section: Spanned<RegisterSection>) -> Option<Register> {
        let span = section.span();
        let section = section.into_inner();
        let known = self.problems.len();
        let obis = section.obis.as_deref().map(str::parse::<Obis>);
        if let Some(Err(error)) = &obis {
            self.problem(
                span.clone(),
                format!(
                    "{:?} is {error}",
                    section.obis.as_deref().unwrap_or_default()
                ),
                "",
            );
        }
        let obis = obis.and_then(Result::ok);
        if obis.is_none() && !self.has_records() {
            self.problem(
                span.clone(),
                "a register without `obis`",
                "for example obis = \"1-0:1.8.0*255\"",
            );
        }
        let unit = section
            .unit
            .as_deref()
            .map_or_else(|| Some(NamedUnit::none()), NamedUnit::parse);
        let Some(unit) = unit else {
            let names = NAMES.map(|(name, _)| name).join(" ");
            let name = section.unit.unwrap_or_default();
            self.problem(
                span,
                format!("unknown unit {name:?}"),
                format!("one of {names}, also with k, M, G, m"),
            );
            return None;
        };
        let shows = self.shows(&section, &span)?;
        let vib = match &section.vib {
            Some(text) => self.hex(text, &span)?,
            None if self.has_records() => self.vib(&unit, &section, &shows, &span)?,
            None => Vec::new(),
        };
        (self.problems.len() == known).then_some(Register {
            obis,
            shows,
            unit,
            scaler: section.scaler,
            status: section.status,
            bytes: section.bytes,
            digits: section.digits,
            vib,
            storage: section.storage,
            tariff: section.tariff,
            telegram: section.telegram,
        })
    }

    /// Whether registers are M-Bus records.
    fn has_records(&self) -> bool {
        matches!(self.protocol, Protocol::Mbus | Protocol::Wmbus)
    }

    fn vib(
        &mut self,
        unit: &NamedUnit,
        section: &RegisterSection,
        shows: &Shows,
        span: &Range<usize>,
    ) -> Option<Vec<u8>> {
        const DATE_TIME: u8 = 0x6d;
        let vib = match shows {
            Shows::Clock => Some(vec![DATE_TIME]),
            Shows::Number { .. } => unit.vib(section.scaler),
            Shows::Text(_) | Shows::Bytes(_) => None,
        };
        if vib.is_none() {
            let message = format!(
                "M-Bus has no simple code for 10^{} {}",
                section.scaler, unit.name
            );
            self.problem(
                span.clone(),
                message,
                "give the value information block: vib = \"…\"",
            );
        }
        vib
    }

    fn shows(&mut self, section: &RegisterSection, span: &Range<usize>) -> Option<Shows> {
        let given = [
            section.law.is_some(),
            section.text.is_some(),
            section.hex.is_some(),
            section.clock,
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            self.problem(
                span.clone(),
                "what does the register show?",
                "exactly one of law, text, hex, clock = true",
            );
            return None;
        }
        if let Some(law) = &section.law {
            let law = self.law(law, span)?;
            if section.roll_over == Some(0) {
                self.problem(
                    span.clone(),
                    "a register that rolls over at 0",
                    "e.g. roll-over = 1000000",
                );
            }
            return Some(Shows::Number {
                law,
                roll_over: section.roll_over,
            });
        }
        match (&section.text, &section.hex) {
            (Some(text), _) => Some(Shows::Text(text.clone())),
            (_, Some(text)) => self.hex(text, span).map(Shows::Bytes),
            _ => Some(Shows::Clock),
        }
    }

    fn law(&mut self, law: &LawSection, span: &Range<usize>) -> Option<Law> {
        let slots = match (&law.curve, &law.curve_file) {
            (Some(curve), None) => Some(curve.clone()),
            (None, Some(file)) => Some(self.curve_file(file, span)?),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.problem(span.clone(), "two curves", "either `curve` or `curve-file`");
                return None;
            }
        };
        let every = law.every.map(|every| every.0).filter(|every| *every > 0);
        let every = every.map(i64::unsigned_abs);
        match (law.constant, law.step, slots, every) {
            (Some(value), None, None, None) => Some(Law::Constant(value)),
            (None, Some(step), None, Some(every)) => Some(Law::Linear {
                start: law.start,
                step,
                every,
            }),
            (None, None, Some(slots), Some(every)) if !slots.is_empty() => Some(Law::Curve {
                start: law.start,
                slots,
                every,
                adds: !law.level,
                daily: law.daily,
            }),
            _ => {
                let help =
                    "constant = 5, or start/step/every, or curve/every (every longer than 0s)";
                self.problem(span.clone(), "no usable law", help);
                None
            }
        }
    }

    fn curve_file(&mut self, file: &Path, span: &Range<usize>) -> Option<Vec<i64>> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(file);
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) => {
                self.problem(
                    span.clone(),
                    format!("{}: {error}", path.display()),
                    "the path starts from the profile",
                );
                return None;
            }
        };
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let mut slots = Vec::new();
        for (index, line) in lines {
            match line
                .rsplit([',', ';'])
                .next()
                .unwrap_or_default()
                .trim()
                .parse()
            {
                Ok(entry) => slots.push(entry),
                // The first line may be a heading.
                Err(_) if index == 0 => {}
                Err(_) => {
                    let message = format!(
                        "{} line {}: {line:?} ends in no whole number",
                        path.display(),
                        index + 1
                    );
                    self.problem(
                        span.clone(),
                        message,
                        "one entry per line, the last column counts",
                    );
                    return None;
                }
            }
        }
        Some(slots)
    }

    fn fault(&mut self, section: &Spanned<FaultSection>) -> Option<FaultRule> {
        let FaultSection {
            name,
            value,
            every,
            at,
            probability,
        } = section.get_ref();
        let fault = Fault::parse(name, value.as_deref());
        let when = match (every, at, probability) {
            (None, None, None) => Some(When::Always),
            (Some(every), None, None) if *every > 0 => Some(When::Every(*every)),
            (None, Some(at), None) if at.0 >= 0 => Some(When::At(at.length())),
            (None, None, Some(chance)) => When::chance(*chance),
            _ => None,
        };
        if when.is_none() {
            let help = "at most one of every = 5, at = \"10s\", probability = 0.1";
            self.problem(section.span(), "no usable instant", help);
        }
        match fault {
            Ok(fault) => Some(FaultRule { fault, when: when? }),
            Err(error) => {
                self.problem(section.span(), error.to_string(), error.help());
                None
            }
        }
    }
}

/// A file of at most [`LARGEST_CURVE`] bytes: a profile may name what never ends.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > LARGEST_CURVE {
        return Err(std::io::Error::other("no file of a curve (at most 64 MB)"));
    }
    std::fs::read_to_string(path)
}

/// A year in seconds, with room for dates beside the entries.
const LARGEST_CURVE: u64 = 64_000_000;

/// Bytes of hexadecimal text; blanks do not count.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
