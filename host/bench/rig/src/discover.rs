// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is attached to this computer: serial ports and PKCS#11 tokens, each by identity and by location,
//! whether we may use them, and what to do if not.
//!
//! Looking is one thing (it reads `/sys` and `/dev`, opens nothing), printing another: the renderings are pure functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Serialize;

use crate::resource::{SerialMatch, SerialSelector, UsbId};

/// Whether this user may use a device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Access {
    /// Yes.
    Granted,
    /// No; `fix` is what to type.
    Denied {
        /// The remedy.
        fix: String,
    },
}

/// What a USB device says about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Usb {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Serial number; many cheap adapters have none.
    pub serial: Option<String>,
    /// Interface number of this port.
    pub interface: u8,
    /// Manufacturer and product in words.
    pub description: String,
}

/// A serial port.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SerialPort {
    /// Device node, e.g. `/dev/ttyUSB0`; changes with the order of plugging.
    pub node: PathBuf,
    /// Lasting name of its location below `/dev/serial/by-path`.
    pub by_path: Option<PathBuf>,
    /// What it is, if it is on USB.
    pub usb: Option<Usb>,
    /// Whether this user may open it.
    pub access: Access,
}

/// A PKCS#11 token, as a driver lists it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Token {
    /// The module that sees it.
    pub module: PathBuf,
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Slot number; changes.
    pub slot: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Inventory {
    /// Serial ports, by node.
    pub serial: Vec<SerialPort>,
    /// Tokens, in the order of modules and slots.
    pub tokens: Vec<Token>,
    /// What could not be looked at, and why.
    pub remarks: Vec<String>,
}

/// Where PKCS#11 modules usually are.
pub const MODULE_PATHS: [&str; 7] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/opensc-pkcs11.so",
    "/usr/lib/libykcs11.so",
    "/opt/nfast/toolkits/pkcs11/libcknfast.so",
];

/// Looks at this computer. `tokens` lists the tokens of one module; modules that do not exist are passed over.
pub fn inventory(
    modules: &[PathBuf],
    mut tokens: impl FnMut(&Path) -> Result<Vec<Token>, String>,
) -> Inventory {
    let mut found = Inventory {
        serial: serial_ports(Path::new("/")),
        ..Inventory::default()
    };
    for module in modules.iter().filter(|module| module.exists()) {
        match tokens(module) {
            Ok(tokens) => found.tokens.extend(tokens),
            Err(reason) => found
                .remarks
                .push(format!("{}: {reason}", module.display())),
        }
    }
    if found.serial.is_empty() {
        found.remarks.push(
            "no serial port: none is plugged in, or its kernel driver is missing (see dmesg)"
                .to_owned(),
        );
    }
    found
}

/// Serial ports of the system whose root directory is `root` (`/`, or a copy for tests).
pub fn serial_ports(root: &Path) -> Vec<SerialPort> {
    let by_path = links(&root.join("dev/serial/by-path"));
    let Ok(entries) = std::fs::read_dir(root.join("sys/class/tty")) else {
        return Vec::new();
    };
    let mut ports: Vec<SerialPort> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let device = entry.path().join("device").canonicalize().ok()?;
            // Legacy ports the kernel reserves without hardware behind them have type 0.
            if read(&entry.path().join("type")).is_some_and(|kind| kind == "0") {
                return None;
            }
            let node = Path::new("/dev").join(&name);
            Some(SerialPort {
                by_path: by_path.get(&name).cloned(),
                usb: usb(&device),
                access: access(
                    &root.join("dev").join(&name),
                    &node,
                    &root.join("etc/group"),
                ),
                node,
            })
        })
        .collect();
    ports.sort_by(|a, b| a.node.cmp(&b.node));
    ports
}

/// Node name to the lasting name that points to it.
fn links(directory: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let links = entries.flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let node = target.file_name()?.to_str()?.to_owned();
        Some((
            node,
            Path::new("/dev/serial/by-path").join(entry.file_name()),
        ))
    });
    // Newer systems link each USB port twice (`usb-` and `usbv2-`): the first in order will do.
    let mut links: Vec<_> = links.collect();
    links.sort_by(|a, b| b.cmp(a));
    links.into_iter().collect()
}

/// The USB interface and device above a port in the device tree, if any.
fn usb(device: &Path) -> Option<Usb> {
    let hex = |path: &Path| u16::from_str_radix(&read(path)?, 16).ok();
    let interface = device
        .ancestors()
        .find(|path| path.join("bInterfaceNumber").is_file())?;
    let unit = interface
        .ancestors()
        .find(|path| path.join("idVendor").is_file())?;
    let words = [
        read(&unit.join("manufacturer")),
        read(&unit.join("product")),
    ];
    Some(Usb {
        vendor: hex(&unit.join("idVendor"))?,
        product: hex(&unit.join("idProduct"))?,
        serial: read(&unit.join("serial")).filter(|serial| !serial.is_empty()),
        interface: u8::try_from(hex(&interface.join("bInterfaceNumber")).unwrap_or(0)).ok()?,
        description: words.into_iter().flatten().collect::<Vec<_>>().join(" "),
    })
}

fn read(path: &Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    // Devices choose these words: control characters would reach the terminal and the rig file.
    Some(
        text.trim()
            .chars()
            .filter(|character| !character.is_control())
            .collect(),
    )
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Opening a port would toggle its control lines and may reset a board, so permission is asked for instead.
fn access(file: &Path, node: &Path, groups: &Path) -> Access {
    let wanted = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(file, wanted).is_ok() {
        return Access::Granted;
    }
    let gid = file.metadata().map(|metadata| metadata.gid()).ok();
    let group = gid.and_then(|gid| group_name(&read(groups)?, gid));
    let fix = match group.as_deref() {
        Some("root") | None => format!(
            "no group may use {}: add a udev rule such as SUBSYSTEM==\"tty\", MODE=\"0660\", GROUP=\"dialout\"",
            node.display()
        ),
        Some(group) => format!("sudo usermod -aG {group} $USER, then log in again"),
    };
    Access::Denied { fix }
}

fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == gid).then(|| name.to_owned())
    })
}

/// Why a selector does not lead to exactly one port. Exit code 107 of the bench.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum SelectError {
    /// No port matches.
    #[error("no serial port matches {wanted}")]
    #[diagnostic(help("{}", attached(attached_ports)))]
    Missing {
        /// The selector in words.
        wanted: String,
        /// What is there instead.
        attached_ports: Vec<String>,
    },
    /// Several match.
    #[error("{} serial ports match {wanted}", candidates.len())]
    #[diagnostic(help("narrow the match to one of: {}", candidates.join("; ")))]
    Ambiguous {
        /// The selector in words.
        wanted: String,
        /// All that match.
        candidates: Vec<String>,
    },
}

fn attached(ports: &[String]) -> String {
    match ports {
        [] => "no serial port is attached at all; is the adapter plugged in?".to_owned(),
        ports => format!("attached are: {}", ports.join("; ")),
    }
}

impl SerialSelector {
    /// The one port of `ports` it means.
    ///
    /// # Errors
    /// None or several match.
    pub fn select<'p>(&self, ports: &'p [SerialPort]) -> Result<&'p SerialPort, SelectError> {
        let matching: Vec<&SerialPort> = ports.iter().filter(|port| self.hits(port)).collect();
        let wanted = self.to_string();
        match matching.as_slice() {
            [only] => Ok(only),
            [] => {
                let attached_ports = ports.iter().map(SerialPort::in_words).collect();
                Err(SelectError::Missing {
                    wanted,
                    attached_ports,
                })
            }
            several => {
                let candidates = several.iter().map(|port| port.in_words()).collect();
                Err(SelectError::Ambiguous { wanted, candidates })
            }
        }
    }

    fn hits(&self, port: &SerialPort) -> bool {
        let SerialMatch {
            usb_serial,
            usb_vid_pid,
            interface,
        } = match self {
            Self::Path(path) => return port.by_path.as_ref() == Some(path) || port.node == *path,
            Self::Identity(identity) => identity,
        };
        let Some(usb) = &port.usb else { return false };
        let id = UsbId {
            vendor: usb.vendor,
            product: usb.product,
        };
        usb_serial
            .as_ref()
            .is_none_or(|serial| usb.serial.as_ref() == Some(serial))
            && usb_vid_pid.is_none_or(|wanted| wanted == id)
            && interface.is_none_or(|wanted| wanted == usb.interface)
    }
}

impl std::fmt::Display for SerialSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Identity(identity) => f.write_str(&match_text(identity)),
        }
    }
}

/// A match as written in rig files.
fn match_text(identity: &SerialMatch) -> String {
    let mut parts = Vec::new();
    if let Some(serial) = &identity.usb_serial {
        parts.push(format!("usb-serial = {}", quoted(serial)));
    }
    if let Some(id) = identity.usb_vid_pid {
        parts.push(format!("usb-vid-pid = \"{id}\""));
    }
    if let Some(interface) = identity.interface {
        parts.push(format!("interface = {interface}"));
    }
    format!("{{ {} }}", parts.join(", "))
}

impl SerialPort {
    /// What it physically is, for locks: by identity where there is one, else by location.
    pub fn identity(&self) -> String {
        match &self.usb {
            Some(Usb {
                vendor,
                product,
                serial: Some(serial),
                interface,
                ..
            }) => {
                format!("usb:{vendor:04x}:{product:04x}:{serial}:if{interface}")
            }
            _ => format!(
                "tty:{}",
                self.by_path.as_ref().unwrap_or(&self.node).display()
            ),
        }
    }

    /// The match that finds it again wherever it is plugged in; none without a USB identity.
    pub fn matching(&self) -> Option<SerialMatch> {
        let usb = self.usb.as_ref()?;
        let id = UsbId {
            vendor: usb.vendor,
            product: usb.product,
        };
        Some(SerialMatch {
            usb_serial: usb.serial.clone(),
            usb_vid_pid: usb.serial.is_none().then_some(id),
            interface: Some(usb.interface),
        })
    }

    fn in_words(&self) -> String {
        let what = self
            .matching()
            .map_or("no USB identity".to_owned(), |found| match_text(&found));
        format!("{} {what}", self.node.display())
    }
}

impl Inventory {
    /// For people: one line per device, remedies below.
    pub fn table(&self) -> String {
        let mut rows =
            vec![["kind", "device", "identity", "location", "access"].map(str::to_owned)];
        let mut notes = Vec::new();
        for port in &self.serial {
            let usb = port.usb.as_ref();
            let identity = port
                .matching()
                .map_or("-".to_owned(), |found| match_text(&found));
            let location = port
                .by_path
                .as_ref()
                .map_or("-".to_owned(), |path| path.display().to_string());
            let description = usb.map_or(String::new(), |usb| format!(" ({})", usb.description));
            let access = match &port.access {
                Access::Granted => "yes".to_owned(),
                Access::Denied { fix } => {
                    notes.push(format!("{}: {fix}", port.node.display()));
                    "no".to_owned()
                }
            };
            let device = format!("{}{description}", port.node.display());
            rows.push(["serial".to_owned(), device, identity, location, access]);
        }
        for token in &self.tokens {
            let device = format!("{} {}", token.manufacturer, token.model)
                .trim()
                .to_owned();
            let identity = format!("{{ label = {} }}", quoted(&token.label));
            let location = format!("{} slot {}", token.module.display(), token.slot);
            rows.push([
                "pkcs11".to_owned(),
                device,
                identity,
                location,
                "PIN".to_owned(),
            ]);
        }
        let mut text = String::new();
        if rows.len() > 1 {
            let width = |column: usize| {
                rows.iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            };
            let widths: [usize; 5] = std::array::from_fn(width);
            for row in &rows {
                let cells = row
                    .iter()
                    .zip(widths)
                    .map(|(cell, width)| format!("{cell:<width$}"));
                let line = cells.collect::<Vec<_>>().join("  ");
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        for note in notes.iter().chain(&self.remarks) {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// For rig files: a `[resource.X]` block per device, selected by identity, with its location as comment.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for (index, port) in self.serial.iter().enumerate() {
            let _ = writeln!(text, "[resource.line{index}]\nkind = \"serial\"");
            if let Some(usb) = &port.usb {
                let _ = writeln!(text, "# {}, now {}", usb.description, port.node.display());
            }
            let location = port
                .by_path
                .as_ref()
                .map(|path| format!("path = {}", quoted(&path.display().to_string())));
            match (port.matching(), location) {
                (Some(found), location) => {
                    let _ = writeln!(text, "match = {}", match_text(&found));
                    if found.usb_serial.is_none() {
                        text.push_str("# this adapter has no serial number: two alike can only be told apart by location\n");
                    }
                    if let Some(location) = location {
                        let _ = writeln!(text, "# by location: {location}");
                    }
                }
                (None, Some(location)) => {
                    let _ = writeln!(text, "{location}");
                }
                (None, None) => {
                    let _ = writeln!(text, "path = {}", quoted(&port.node.display().to_string()));
                }
            }
            text.push_str("baud = 9600     # of what is connected: 9600 8N1 for SML, 2400 8E1 for M-Bus\nformat = \"8N1\"\n");
            if let Access::Denied { fix } = &port.access {
                let _ = writeln!(text, "# not accessible: {fix}");
            }
            text.push('\n');
        }
        for (index, token) in self.tokens.iter().enumerate() {
            let module = quoted(&token.module.display().to_string());
            let _ = writeln!(
                text,
                "[resource.token{index}]\nkind = \"pkcs11\"\nmodule = {module}"
            );
            let _ = writeln!(text, "token = {{ label = {} }}", quoted(&token.label));
            let _ = writeln!(
                text,
                "# by serial number: token = {{ serial = {} }}",
                quoted(&token.serial)
            );
            text.push_str("pin = { env = \"SMGW_BENCH_PIN\" }\n\n");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "# {remark}");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("strings and numbers are always representable");
        text.push('\n');
        text
    }
}
