// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resources: how to reach a thing, by what it is (identity) or where it is plugged in (location).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bench_wire::{Chance, Impairments};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::document::text;
use crate::duration::Span;

/// Character format of a serial line.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
pub enum LineFormat {
    /// Eight data bits, no parity, one stop bit (SML, IEC 62056-21 mode E binary).
    #[default]
    #[serde(rename = "8N1")]
    Eight,
    /// Eight data bits, even parity, one stop bit (M-Bus).
    #[serde(rename = "8E1")]
    EightEven,
    /// Seven data bits, even parity, one stop bit (IEC 62056-21).
    #[serde(rename = "7E1")]
    SevenEven,
}

impl LineFormat {
    /// The format as written in files, e.g. `8E1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eight => "8N1",
            Self::EightEven => "8E1",
            Self::SevenEven => "7E1",
        }
    }

    /// Bit times per character: start, data, parity, stop.
    pub fn bits_per_character(self) -> u32 {
        match self {
            Self::Eight | Self::SevenEven => 10,
            Self::EightEven => 11,
        }
    }
}

/// USB vendor and product id, written `0403:6001`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UsbId {
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

impl FromStr for UsbId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part: &str| match part.len() {
            4 => u16::from_str_radix(part, 16).ok(),
            _ => None,
        };
        text.split_once(':')
            .and_then(|(vendor, product)| {
                Some(Self {
                    vendor: parse(vendor)?,
                    product: parse(product)?,
                })
            })
            .ok_or("a USB id is two times four hex digits, as in \"0403:6001\"")
    }
}

/// What a serial adapter must be to match. All given fields must agree; exactly one device may.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SerialMatch {
    /// Serial number of the USB device.
    pub usb_serial: Option<String>,
    /// Vendor and product id, `0403:6001`.
    #[serde(default, deserialize_with = "usb_id")]
    #[schemars(with = "Option<String>")]
    pub usb_vid_pid: Option<UsbId>,
    /// Interface number of an adapter with several ports.
    pub interface: Option<u8>,
}

fn usb_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UsbId>, D::Error> {
    text(deserializer).map(Some)
}

/// Which serial port: by what it is, or by where it is plugged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SerialSelector {
    /// By identity: survives re-plugging.
    Identity(SerialMatch),
    /// By location: `/dev/serial/by-path/…`; survives exchanging the adapter.
    Path(PathBuf),
}

/// Where a token's PIN comes from. The text of a PIN is never printed.
#[derive(Clone, Eq, PartialEq)]
pub enum PinSource {
    /// An environment variable.
    Env(String),
    /// The first line of a file.
    File(PathBuf),
    /// Asked on the terminal; refused when the bench runs non-interactively.
    Prompt,
    /// Written in the rig file; only a virtual rig may.
    Inline(String),
}

impl fmt::Debug for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Prompt => f.write_str("Prompt"),
            Self::Inline(_) => f.write_str("Inline(..)"),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PinTable {
    /// Name of an environment variable that holds the PIN.
    env: Option<String>,
    /// File whose first line is the PIN.
    file: Option<PathBuf>,
    /// `true`: ask on the terminal.
    prompt: Option<bool>,
}

impl<'de> Deserialize<'de> for PinSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pin;

        impl<'de> Visitor<'de> for Pin {
            type Value = PinSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table saying where the PIN comes from, as in { env = \"SMGW_BENCH_PIN\" }",
                )
            }

            fn visit_str<E: Error>(self, pin: &str) -> Result<PinSource, E> {
                Ok(PinSource::Inline(pin.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PinSource, A::Error> {
                match PinTable::deserialize(MapAccessDeserializer::new(map))? {
                    PinTable {
                        env: Some(name),
                        file: None,
                        prompt: None,
                    } => Ok(PinSource::Env(name)),
                    PinTable {
                        env: None,
                        file: Some(path),
                        prompt: None,
                    } => Ok(PinSource::File(path)),
                    PinTable {
                        env: None,
                        file: None,
                        prompt: Some(true),
                    } => Ok(PinSource::Prompt),
                    _ => Err(A::Error::custom(
                        "exactly one of env, file and prompt = true is needed",
                    )),
                }
            }
        }

        deserializer.deserialize_any(Pin)
    }
}

impl JsonSchema for PinSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PinSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<PinTable>();
        let inline = json_schema!({ "type": "string", "description": "Only in rigs labelled class = \"virtual\"." });
        json_schema!({ "oneOf": [table, inline] })
    }
}

/// Which token of a PKCS#11 module.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSelector {
    /// By label.
    Label(String),
    /// By serial number.
    Serial(String),
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "label {label}"),
            Self::Serial(serial) => write!(f, "serial {serial}"),
        }
    }
}

/// What switches the power of a device.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum PowerDriver {
    /// Nothing to switch; always on.
    Virtual,
    /// A port of a USB hub that can be switched.
    UsbHub,
    /// A Shelly relay, generation 2 or newer, over HTTP.
    Shelly2,
    /// A line of a GPIO chip.
    Gpio,
    /// A laboratory supply that speaks SCPI.
    Scpi,
    /// Any command.
    Command,
    /// The operator, on request.
    Manual,
}

/// A virtual serial line.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pty {
    #[schemars(extend("const" = "pty"))]
    kind: String,
    /// Bits per second; the simulated line is paced by it.
    pub baud: u32,
    /// Character format; part of the pace.
    #[serde(default)]
    pub format: LineFormat,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SerialSection {
    #[schemars(extend("const" = "serial"))]
    #[expect(dead_code, reason = "read by the dispatcher")]
    kind: String,
    pub(crate) baud: u32,
    #[serde(default)]
    pub(crate) format: LineFormat,
    /// By identity: `{ usb-serial = "A50285BI", interface = 0 }`.
    #[serde(rename = "match")]
    #[schemars(with = "Option<SerialMatch>")]
    pub(crate) matching: Option<Spanned<SerialMatch>>,
    /// By location: `/dev/serial/by-path/…`.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) path: Option<Spanned<PathBuf>>,
    /// How long to wait for the port after power-up; 5s when not given.
    pub(crate) appear_timeout: Option<Span>,
}

/// A serial port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Serial {
    /// Which one.
    pub selector: SerialSelector,
    /// Bits per second.
    pub baud: u32,
    /// Character format.
    pub format: LineFormat,
    /// How long to wait for the port after power-up.
    pub appear_timeout: Span,
}

/// A software token made for each run, in its own directory.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SoftHsm {
    #[schemars(extend("const" = "softhsm"))]
    kind: String,
    /// The module; looked for in the usual places when not given.
    pub module: Option<PathBuf>,
    /// Label of the token to make.
    #[serde(default = "default_token_label")]
    pub label: String,
}

fn default_token_label() -> String {
    "smgw-bench".to_owned()
}

/// Where distributions put SoftHSM2's module.
pub const SOFTHSM_PATHS: [&str; 8] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

impl SoftHsm {
    /// The module to load: the one given, else the first that exists in [`SOFTHSM_PATHS`].
    pub fn module_path(&self) -> Option<PathBuf> {
        match &self.module {
            Some(path) => Some(path.clone()),
            None => SOFTHSM_PATHS
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists()),
        }
    }
}

/// A PKCS#11 token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pkcs11 {
    #[schemars(extend("const" = "pkcs11"))]
    #[expect(dead_code, reason = "read by the dispatcher")]
    kind: String,
    /// The module's shared library.
    pub module: PathBuf,
    /// Which token.
    pub token: TokenSelector,
    #[schemars(with = "PinSource")]
    pub(crate) pin: Spanned<PinSource>,
}

impl Pkcs11 {
    /// Where the PIN comes from.
    pub fn pin(&self) -> &PinSource {
        self.pin.get_ref()
    }
}

/// A smartcard reader.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pcsc {
    #[schemars(extend("const" = "pcsc"))]
    kind: String,
    /// Name of the reader as PC/SC lists it.
    pub reader: String,
    /// Where the card's PIN comes from.
    #[schemars(with = "Option<PinSource>")]
    pub(crate) pin: Option<Spanned<PinSource>>,
}

impl Pcsc {
    /// Where the card's PIN comes from.
    pub fn pin(&self) -> Option<&PinSource> {
        self.pin.as_ref().map(Spanned::get_ref)
    }
}

/// A debug probe with a chip behind it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probe {
    #[schemars(extend("const" = "probe"))]
    kind: String,
    /// `VID:PID:SERIAL` of the probe.
    pub select: String,
    /// Name of the chip, e.g. `nRF52840_xxAA`.
    pub chip: String,
}

/// A machine that QEMU emulates and the bench has firmware for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// Arm MPS2 with the Cortex-M3 image AN385: UARTs, timers, LAN9118 Ethernet.
    #[serde(rename = "mps2-an385")]
    Mps2An385,
}

impl Machine {
    /// The name QEMU and the firmware's folders use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mps2An385 => "mps2-an385",
        }
    }
}

/// An emulated board.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Qemu {
    #[schemars(extend("const" = "qemu"))]
    #[expect(dead_code, reason = "read by the dispatcher")]
    kind: String,
    /// QEMU machine.
    pub machine: Machine,
    /// The wire it is plugged into; without one it reaches a gateway on this computer directly, unseen by trace and cases.
    #[schemars(with = "Option<String>")]
    pub(crate) wire: Option<Spanned<String>>,
}

impl Qemu {
    /// Name of the wire it is plugged into.
    pub fn wire(&self) -> Option<&str> {
        self.wire.as_ref().map(|wire| wire.get_ref().as_str())
    }
}

/// The network between emulated boards: a switch whose frames are recorded, and spoiled as told here.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wire {
    #[schemars(extend("const" = "wire"))]
    kind: String,
    /// Every frame is this late.
    pub delay: Option<Span>,
    /// And up to this much more, evenly spread.
    pub jitter: Option<Span>,
    /// Part of the frames that vanish, `0.01` or `\"1 %\"`.
    #[serde(default)]
    pub loss: Share,
    /// Part of the frames that later ones overtake.
    #[serde(default)]
    pub reorder: Share,
    /// How far those fall back; 5ms when not given.
    pub reorder_by: Option<Span>,
    /// Part of the frames that arrive twice.
    #[serde(default)]
    pub duplicate: Share,
    /// Part of the frames that lose their tail.
    #[serde(default)]
    pub truncate: Share,
    /// Decides which frames are hit; 1 when not given.
    pub seed: Option<u64>,
}

impl Wire {
    /// What happens to the frames of every station.
    pub fn impairments(&self) -> Impairments {
        let time = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);
        Impairments {
            delay: time(self.delay),
            jitter: time(self.jitter),
            loss: self.loss.0,
            reorder: self.reorder.0,
            reorder_by: self
                .reorder_by
                .map_or(Duration::from_millis(5), |span| span.0),
            duplicate: self.duplicate.0,
            truncate: self.truncate.0,
        }
    }
}

/// A part of all frames, a number from 0 to 1 or a percentage as a string.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub Chance);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;

        impl Visitor<'_> for Part {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1, or a percentage as in \"1 %\"")
            }

            fn visit_f64<E: Error>(self, part: f64) -> Result<Share, E> {
                Chance::new(part).map(Share).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, part: i64) -> Result<Share, E> {
                self.visit_f64(part as f64)
            }

            fn visit_str<E: Error>(self, part: &str) -> Result<Share, E> {
                part.parse().map(Share).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Part)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "string", "description": "a percentage, `1 %`" },
        ] })
    }
}

/// The network addresses of a real device.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    #[schemars(extend("const" = "network"))]
    kind: String,
    /// Address and port of the HAN server, `192.0.2.1:443`.
    pub han: Option<std::net::SocketAddr>,
    /// Address and port of the CLS proxy.
    pub cls: Option<std::net::SocketAddr>,
    /// Address under which the gateway reaches this bench on its WAN side.
    pub wan: Option<std::net::IpAddr>,
}

/// A power switch.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Power {
    #[schemars(extend("const" = "power"))]
    kind: String,
    /// What switches.
    pub driver: PowerDriver,
    /// Where the switch is: host name, hub port, GPIO line; depends on the driver.
    pub address: Option<String>,
    /// For `command`: program and arguments; `on`, `off` or `cycle` is appended.
    #[serde(default)]
    pub run: Vec<String>,
}

/// A resource of a rig.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Resource {
    /// Virtual serial line.
    Pty(Pty),
    /// Serial port.
    Serial(Serial),
    /// Software token made for the run.
    SoftHsm(SoftHsm),
    /// PKCS#11 token.
    Pkcs11(Pkcs11),
    /// Smartcard reader.
    Pcsc(Pcsc),
    /// Debug probe.
    Probe(Probe),
    /// Emulated board.
    Qemu(Qemu),
    /// Network between emulated boards.
    Wire(Wire),
    /// Network addresses.
    Network(Network),
    /// Power switch.
    Power(Power),
}

/// The kinds of resources, as written in `kind = "…"`.
pub(crate) const KINDS: [&str; 10] = [
    "pty", "serial", "softhsm", "pkcs11", "pcsc", "probe", "qemu", "wire", "network", "power",
];

impl Resource {
    /// The kind as written in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pty(_) => "pty",
            Self::Serial(_) => "serial",
            Self::SoftHsm(_) => "softhsm",
            Self::Pkcs11(_) => "pkcs11",
            Self::Pcsc(_) => "pcsc",
            Self::Probe(_) => "probe",
            Self::Qemu(_) => "qemu",
            Self::Wire(_) => "wire",
            Self::Network(_) => "network",
            Self::Power(_) => "power",
        }
    }

    /// Whether it exists only inside the bench; nobody else can hold it.
    pub fn is_virtual(&self) -> bool {
        matches!(
            self,
            Self::Pty(_) | Self::SoftHsm(_) | Self::Qemu(_) | Self::Wire(_)
        ) || matches!(self, Self::Power(power) if power.driver == PowerDriver::Virtual)
    }

    /// Whether bytes of a wired meter can pass through it.
    pub(crate) fn is_line(&self) -> bool {
        matches!(self, Self::Pty(_) | Self::Serial(_))
    }

    /// Relative paths in a rig file are relative to the file.
    pub(crate) fn rebase(&mut self, base: &Path) {
        match self {
            Self::SoftHsm(soft) => {
                if let Some(module) = &mut soft.module {
                    *module = base.join(&module);
                }
            }
            Self::Pkcs11(pkcs11) => {
                pkcs11.module = base.join(&pkcs11.module);
                if let PinSource::File(path) = pkcs11.pin.get_mut() {
                    *path = base.join(&path);
                }
            }
            _ => {}
        }
    }
}

/// The schema of `[resource.NAME]`: one alternative for each kind.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let alternatives = [
        generator.subschema_for::<Pty>(),
        generator.subschema_for::<SerialSection>(),
        generator.subschema_for::<SoftHsm>(),
        generator.subschema_for::<Pkcs11>(),
        generator.subschema_for::<Pcsc>(),
        generator.subschema_for::<Probe>(),
        generator.subschema_for::<Qemu>(),
        generator.subschema_for::<Wire>(),
        generator.subschema_for::<Network>(),
        generator.subschema_for::<Power>(),
    ];
    json_schema!({ "oneOf": alternatives })
}
