// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sections of a rig file as they are written: shapes are checked here, references between sections elsewhere.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use crate::diagnostic::did_you_mean;
use crate::document::{Named, Reader, Value};
use crate::duration::Span;
use crate::resource::{
    KINDS, Network, Pcsc, Pkcs11, Power, Probe, Pty, Qemu, Resource, Serial, SerialMatch,
    SerialSection, SerialSelector, SoftHsm, Wire,
};
use crate::rig::{Clock, ClockReference, Metering, RIG_SCHEMA, RigSection};
use crate::role::{
    ClsSection, ConsumerSection, EmtSection, GatewaySection, MeterSection, ROLES,
    SecurityModuleSection, TechnicianSection, TimeServerSection,
};

/// A section that could be read, and where its name stands.
pub(crate) struct Entry<T> {
    pub(crate) at: Range<usize>,
    pub(crate) section: T,
}

pub(crate) type Entries<T> = BTreeMap<String, Entry<T>>;

/// All sections of a file.
#[derive(Default)]
pub(crate) struct Sections {
    pub(crate) rig: Option<RigSection>,
    pub(crate) clock: Clock,
    pub(crate) metering: Metering,
    pub(crate) metering_at: Range<usize>,
    pub(crate) resources: BTreeMap<String, Option<Entry<Resource>>>,
    pub(crate) meters: Entries<MeterSection>,
    pub(crate) gateway: Option<Entry<GatewaySection>>,
    pub(crate) security_module: Option<Entry<SecurityModuleSection>>,
    pub(crate) emts: Entries<EmtSection>,
    pub(crate) clss: Entries<ClsSection>,
    pub(crate) consumers: Entries<ConsumerSection>,
    pub(crate) technicians: Entries<TechnicianSection>,
    pub(crate) time_server: Option<TimeServerSection>,
    /// Names of all meters and EMTs of the file, readable or not: a broken one is not also missing.
    pub(crate) meter_names: Vec<String>,
    pub(crate) emt_names: Vec<String>,
    /// Whether the role is written in the file, readable or not.
    pub(crate) has_gateway: bool,
    pub(crate) has_security_module: bool,
    pub(crate) any_role: bool,
}

/// Reads all sections; what is wrong with them is reported to `reader`. `None` when the file has another schema.
pub(crate) fn read(reader: &mut Reader, text: &str) -> Option<Sections> {
    let table = reader.open(text, RIG_SCHEMA)?;
    reader.only(
        &table,
        &["schema", "rig", "clock", "metering", "resource", "role"],
        "the file",
    );
    let mut sections = Sections::default();
    let mut has_rig = false;
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "rig" => {
                has_rig = true;
                sections.rig = reader.read(value, "[rig]");
            }
            "clock" => {
                let at = key.span();
                sections.clock = reader.read(value, "[clock]").unwrap_or_default();
                check_clock(reader, &sections.clock, at);
            }
            "metering" => {
                sections.metering_at = value.span();
                sections.metering = reader.read(value, "[metering]").unwrap_or_default();
            }
            "resource" => read_resources(reader, value, &mut sections),
            "role" => read_roles(reader, value, &mut sections),
            _ => {}
        }
    }
    if !has_rig {
        reader.problem_help(
            reader.head.clone(),
            "the file lacks its [rig] section",
            "missing in this file",
            "add [rig] with name and summary",
        );
    }
    Some(sections)
}

fn check_clock(reader: &mut Reader, clock: &Clock, at: Range<usize>) {
    let needs_device = matches!(clock.reference, ClockReference::Phc | ClockReference::Pps);
    if needs_device && clock.device.is_none() {
        let help = "add device = \"/dev/ptp0\" or \"/dev/pps0\"";
        reader.problem_help(
            at,
            "the clock reference is a device, but which?",
            "`device` missing",
            help,
        );
    }
}

fn read_resources(reader: &mut Reader, value: Value<'_>, sections: &mut Sections) {
    for Named { name, value } in reader.named(value, "resource") {
        let at = name.span();
        let name = name.into_inner();
        let where_ = format!("[resource.{name}]");
        let resource = read_resource(reader, value, &where_, at.clone());
        let entry = resource.map(|section| Entry { at, section });
        sections.resources.insert(name, entry);
    }
}

fn read_resource(
    reader: &mut Reader,
    value: Value<'_>,
    where_: &str,
    at: Range<usize>,
) -> Option<Resource> {
    let Some(kind) = value.get_ref().get("kind") else {
        let help = format!("add kind = \"…\", one of {}", KINDS.join(", "));
        reader.problem_help(at, format!("{where_} lacks `kind`"), "kind missing", help);
        return None;
    };
    let kind_at = kind.span();
    let kind = kind.get_ref().as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "pty" => reader.read::<Pty>(value, where_).map(Resource::Pty),
        "serial" => read_serial(reader, value, where_, at),
        "softhsm" => reader.read::<SoftHsm>(value, where_).map(Resource::SoftHsm),
        "pkcs11" => reader.read::<Pkcs11>(value, where_).map(Resource::Pkcs11),
        "pcsc" => reader.read::<Pcsc>(value, where_).map(Resource::Pcsc),
        "probe" => reader.read::<Probe>(value, where_).map(Resource::Probe),
        "qemu" => reader.read::<Qemu>(value, where_).map(Resource::Qemu),
        "wire" => reader.read::<Wire>(value, where_).map(Resource::Wire),
        "network" => reader.read::<Network>(value, where_).map(Resource::Network),
        "power" => reader.read::<Power>(value, where_).map(Resource::Power),
        _ => {
            let message = format!("there is no kind of resource `{kind}`");
            reader.problem_help(kind_at, message, "not known", did_you_mean(&kind, &KINDS));
            None
        }
    }
}

fn read_serial(
    reader: &mut Reader,
    value: Value<'_>,
    where_: &str,
    at: Range<usize>,
) -> Option<Resource> {
    let section = reader.read::<SerialSection>(value, where_)?;
    let selector = match (section.matching, section.path) {
        (Some(matching), None) if *matching.get_ref() == SerialMatch::default() => {
            let help = "name at least one of usb-serial, usb-vid-pid, interface";
            reader.problem_help(
                matching.span(),
                "an empty match hits every port",
                "empty",
                help,
            );
            return None;
        }
        (Some(matching), None) => SerialSelector::Identity(matching.into_inner()),
        (None, Some(path)) if is_unstable_name(path.get_ref()) => {
            let message = "a port number changes when devices are plugged in another order";
            let help = "use match = { usb-serial = \"…\" } or /dev/serial/by-path/…; \
                        `smgw-bench discover` prints both";
            reader.problem_help(path.span(), message, "not a lasting name", help);
            return None;
        }
        (None, Some(path)) => SerialSelector::Path(path.into_inner()),
        (Some(_), Some(path)) => {
            let message = format!("{where_} has both `match` and `path`");
            reader.problem(path.span(), message, "one of them is enough");
            return None;
        }
        (None, None) => {
            let message = format!("{where_} does not say which port");
            let help = "add match = { usb-serial = \"…\" } or path = \"/dev/serial/by-path/…\"";
            reader.problem_help(at, message, "which port?", help);
            return None;
        }
    };
    let appear_timeout = section
        .appear_timeout
        .unwrap_or(Span(Duration::from_secs(5)));
    let (baud, format) = (section.baud, section.format);
    Some(Resource::Serial(Serial {
        selector,
        baud,
        format,
        appear_timeout,
    }))
}

/// `/dev/ttyUSB0` and its kind are numbered in order of appearance; built-in ports (`ttyS`, `ttyAMA`) are not.
fn is_unstable_name(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    path.starts_with("/dev") && (name.starts_with("ttyUSB") || name.starts_with("ttyACM"))
}

fn read_roles(reader: &mut Reader, value: Value<'_>, sections: &mut Sections) {
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        reader.problem(
            span,
            "`role` must be a table",
            "write [role.meter.NAME] and so on",
        );
        return;
    };
    reader.only(&table, &ROLES, "[role]");
    for (key, value) in table {
        sections.any_role = true;
        let at = key.span();
        match key.get_ref().as_ref() {
            "meter" => {
                let entries = reader.named(value, "role.meter");
                sections.meter_names = names(&entries);
                sections.meters = read_entries(reader, entries, "role.meter");
            }
            "gateway" => {
                sections.has_gateway = true;
                let section = reader.read(value, "[role.gateway]");
                sections.gateway = section.map(|section| Entry { at, section });
            }
            "security-module" => {
                sections.has_security_module = true;
                let section = reader.read(value, "[role.security-module]");
                sections.security_module = section.map(|section| Entry { at, section });
            }
            "emt" => {
                let entries = reader.named(value, "role.emt");
                sections.emt_names = names(&entries);
                sections.emts = read_entries(reader, entries, "role.emt");
            }
            "cls" => {
                let entries = reader.named(value, "role.cls");
                sections.clss = read_entries(reader, entries, "role.cls");
            }
            "consumer" => {
                let entries = reader.named(value, "role.consumer");
                sections.consumers = read_entries(reader, entries, "role.consumer");
            }
            "technician" => {
                let entries = reader.named(value, "role.technician");
                sections.technicians = read_entries(reader, entries, "role.technician");
            }
            "time-server" => {
                sections.time_server = reader.read(value, "[role.time-server]");
            }
            _ => {}
        }
    }
}

fn names(entries: &[Named<'_>]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| entry.name.get_ref().clone())
        .collect()
}

fn read_entries<T: serde::de::DeserializeOwned>(
    reader: &mut Reader,
    entries: Vec<Named<'_>>,
    outer: &str,
) -> Entries<T> {
    let mut read = BTreeMap::new();
    for Named { name, value } in entries {
        let where_ = format!("[{outer}.{}]", name.get_ref());
        let at = name.span();
        if let Some(section) = reader.read(value, &where_) {
            read.insert(name.into_inner(), Entry { at, section });
        }
    }
    read
}
