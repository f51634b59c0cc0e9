// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the sections of a rig file to a [`Rig`]: every reference is followed, every contradiction reported.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::diagnostic::{Problem, did_you_mean};
use crate::document::Reader;
use crate::filter::{Filter, FilterError};
use crate::resource::{PinSource, Resource};
use crate::rig::{LockDirSetting, Metering, Rig, RigSection};
use crate::role::{
    ActorName, BoardNetwork, Cls, ClsActor, ClsSection, Consumer, Emt, Gateway, GatewayActor,
    GatewayActorName, GatewaySection, GatewayTarget, Identity, Meter, MeterActor, MeterActorName,
    MeterSection, Protocol, SecurityModule, Technician, TimeServer,
};
use crate::sections::{self, Entry, Sections};

/// Reads and resolves a rig file.
pub(crate) fn rig(path: &Path, text: String) -> Result<Rig, Vec<Problem>> {
    let mut reader = Reader::default();
    let Some(sections) = sections::read(&mut reader, &text) else {
        return Err(reader.problems);
    };
    let mut resolver = Resolver {
        reader,
        base: base_of(path),
        users: BTreeMap::new(),
    };
    let resolved = resolver.resolve(path, text, sections);
    resolver.reader.finish(resolved)
}

fn base_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// Follows references; remembers who uses which resource.
struct Resolver {
    reader: Reader,
    base: PathBuf,
    users: BTreeMap<String, String>,
}

impl Resolver {
    fn resolve(&mut self, path: &Path, text: String, sections: Sections) -> Option<Rig> {
        let end = self.reader.head.clone();
        self.check_roles_present(&sections, end);
        let resources = sections.resources;
        let metering = self.metering(sections.metering, sections.metering_at);
        let is_virtual = sections
            .rig
            .as_ref()
            .and_then(|rig| rig.labels.get("class"))
            .is_some_and(|class| class == "virtual");
        for (name, entry) in &resources {
            if let Some(entry) = entry {
                self.check_secrets(name, &entry.section, is_virtual);
            }
        }
        self.check_wires(&resources);
        let ours = sections
            .gateway
            .as_ref()
            .map(|entry| entry.section.actor == GatewayActorName::Ours);
        let mut meters = BTreeMap::new();
        for (name, entry) in sections.meters {
            if let Some(meter) = self.meter(&name, entry, &resources, ours) {
                meters.insert(name, meter);
            }
        }
        let gateway = sections
            .gateway
            .and_then(|entry| self.gateway(entry, &resources));
        let security_module = sections.security_module.map(|entry| {
            let resource = &entry.section.resource;
            let fits = |resource: &Resource| {
                matches!(
                    resource,
                    Resource::SoftHsm(_) | Resource::Pkcs11(_) | Resource::Pcsc(_)
                )
            };
            self.take(
                resource,
                "role.security-module",
                &resources,
                fits,
                "softhsm, pkcs11 or pcsc",
            );
            SecurityModule {
                resource: resource.get_ref().clone(),
            }
        });
        let real = ours == Some(false);
        let mut emts = BTreeMap::new();
        for (name, Entry { section, .. }) in sections.emts {
            let identity = self.identity(section.identity);
            let (tls_name, service) = (section.tls_name, section.service);
            emts.insert(
                name.clone(),
                Emt {
                    name,
                    tls_name,
                    service,
                    identity,
                },
            );
        }
        let mut clss = BTreeMap::new();
        for (name, entry) in sections.clss {
            if let Some(cls) = self.cls(&name, entry, &resources, &sections.emt_names, real) {
                clss.insert(name, cls);
            }
        }
        let mut consumers = BTreeMap::new();
        for (name, Entry { at, section }) in sections.consumers {
            for meter in &section.meters {
                if !sections.meter_names.contains(meter.get_ref()) {
                    self.unknown_name(meter, "meter", &sections.meter_names);
                }
            }
            self.need_identity(
                &format!("role.consumer.{name}"),
                at,
                &section.identity,
                real,
            );
            let meters = section
                .meters
                .into_iter()
                .map(Spanned::into_inner)
                .collect();
            let identity = self.identity(section.identity);
            consumers.insert(
                name.clone(),
                Consumer {
                    name,
                    meters,
                    identity,
                },
            );
        }
        let mut technicians = BTreeMap::new();
        for (name, Entry { at, section }) in sections.technicians {
            self.need_identity(
                &format!("role.technician.{name}"),
                at,
                &section.identity,
                real,
            );
            let identity = self.identity(section.identity);
            technicians.insert(name.clone(), Technician { name, identity });
        }
        let head = sections.rig?;
        let (timeout_multiplier, lock_dir) = self.head(&head);
        let default_filter = self.default_filter(&head);
        let resources = resources
            .into_iter()
            .filter_map(|(name, entry)| {
                let mut resource = entry?.section;
                resource.rebase(&self.base);
                Some((name, resource))
            })
            .collect();
        Some(Rig {
            path: path.to_owned(),
            text,
            name: head.name.into_inner(),
            summary: head.summary,
            labels: head.labels,
            timeout_multiplier,
            lock_dir,
            default_filter,
            clock: sections.clock,
            metering,
            resources,
            meters,
            gateway,
            security_module,
            emts,
            clss,
            consumers,
            technicians,
            time_server: sections.time_server.map(|section| TimeServer {
                tls_name: section.tls_name,
            }),
        })
    }

    /// Roles that others need, named when they are missing.
    fn check_roles_present(&mut self, sections: &Sections, end: Range<usize>) {
        if !sections.any_role {
            let help = "add at least one, for example [role.gateway]";
            self.reader
                .problem_help(end, "the rig has no role", "no [role.…] in this file", help);
            return;
        }
        if let Some(Entry { at, section }) = &sections.gateway
            && section.actor == GatewayActorName::Ours
            && !sections.has_security_module
        {
            let message = "the role `security-module` is missing: our gateway keeps its keys there";
            let help = "add [role.security-module] with resource = \"…\"";
            self.reader
                .problem_help(at.clone(), message, "needs it", help);
        }
        if sections.has_gateway {
            return;
        }
        let needing = sections.clss.values().map(|entry| &entry.at);
        let needing = needing.chain(sections.consumers.values().map(|entry| &entry.at));
        let needing = needing.chain(sections.technicians.values().map(|entry| &entry.at));
        if let Some(at) = needing.min_by_key(|at| at.start).cloned() {
            let message = "the role `gateway` is missing: there is nothing to connect to";
            let help = "add [role.gateway] with actor = \"ours\" or \"device\"";
            self.reader.problem_help(at, message, "needs it", help);
        }
    }

    /// Checks what `[rig]` says; the multiplier and the lock directory as they count.
    fn head(&mut self, section: &RigSection) -> (f64, LockDirSetting) {
        let name = section.name.get_ref();
        let usable = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !usable {
            let message = "the rig's name becomes part of file names";
            let help = "1 to 64 characters of a-z, 0-9 and -";
            self.reader
                .problem_help(section.name.span(), message, "not usable", help);
        }
        let multiplier = section.timeout_multiplier.as_ref();
        if let Some(multiplier) = multiplier.filter(|m| !(0.1..=100.0).contains(m.get_ref())) {
            let message = "timeout-multiplier must lie between 0.1 and 100";
            self.reader
                .problem(multiplier.span(), message, "out of range");
        }
        let lock_dir = match section.lock_dir.as_deref() {
            None | Some("auto") => LockDirSetting::Auto,
            Some(path) => LockDirSetting::At(self.base.join(path)),
        };
        (
            multiplier.map_or(1.0, |multiplier| *multiplier.get_ref()),
            lock_dir,
        )
    }

    fn default_filter(&mut self, section: &RigSection) -> Option<(String, Filter)> {
        let text = section.default_filter.as_ref()?;
        match text.get_ref().parse() {
            Ok(filter) => Some((text.get_ref().clone(), filter)),
            Err(error) => {
                let error: FilterError = error;
                let message = format!("default-filter: {error}");
                let help = "for example default-filter = \"!needs(cls.device)\"; `smgw-bench list` prints what cases need";
                self.reader
                    .problem_help(text.span(), message, "not a filter", help);
                None
            }
        }
    }

    fn metering(&mut self, metering: Metering, at: Range<usize>) -> Metering {
        let period = metering.registration_period.0;
        if period < Duration::from_secs(1) || period > Duration::from_secs(86_400) {
            let message = "registration-period must lie between 1s and 1d";
            self.reader.problem(at, message, "out of range");
        }
        metering
    }

    fn check_secrets(&mut self, name: &str, resource: &Resource, is_virtual: bool) {
        let pin = match resource {
            Resource::Pkcs11(pkcs11) => Some(&pkcs11.pin),
            Resource::Pcsc(pcsc) => pcsc.pin.as_ref(),
            _ => None,
        };
        let Some(pin) = pin else { return };
        if matches!(pin.get_ref(), PinSource::Inline(_)) && !is_virtual {
            let message = format!("the PIN of [resource.{name}] stands in the file");
            let help = "use { env = \"…\" }, { file = \"…\" } or { prompt = true }; \
                        only rigs labelled class = \"virtual\" may hold secrets, because theirs are worth nothing";
            self.reader
                .problem_help(pin.span(), message, "secret in a file people share", help);
        }
    }

    /// Boards are plugged into the wire of the rig, if it has one; there is one at most.
    fn check_wires(&mut self, resources: &BTreeMap<String, Option<Entry<Resource>>>) {
        let present = || {
            resources
                .iter()
                .filter_map(|(name, entry)| Some((name, entry.as_ref()?)))
        };
        let is_wire = |entry: &Entry<Resource>| matches!(entry.section, Resource::Wire(_));
        let wires: Vec<String> = present()
            .filter(|(_, entry)| is_wire(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for (name, entry) in present().filter(|(_, entry)| is_wire(entry)).skip(1) {
            let message = format!("resource.{name} is a second wire");
            let help = "plug all emulated boards into one";
            self.reader
                .problem_help(entry.at.clone(), message, "one too many", help);
        }
        for (_, entry) in present() {
            if let Resource::Qemu(board) = &entry.section
                && let Some(wire) = &board.wire
                && !wires.contains(wire.get_ref())
            {
                self.unknown_name(wire, "resource of kind wire", &wires);
            }
        }
    }

    /// A role takes a resource: it must exist, be of the right kind, and be free. Whether it fits.
    fn take(
        &mut self,
        reference: &Spanned<String>,
        role: &str,
        resources: &BTreeMap<String, Option<Entry<Resource>>>,
        fits: impl Fn(&Resource) -> bool,
        wanted: &str,
    ) -> bool {
        let name = reference.get_ref();
        let Some(entry) = resources.get(name) else {
            let known: Vec<String> = resources.keys().cloned().collect();
            self.unknown_name(reference, "resource", &known);
            return false;
        };
        if let Some(user) = self.users.insert(name.clone(), role.to_owned()) {
            let message = format!("{role} and {user} both use the resource `{name}`");
            let help = "give each role its own resource";
            self.reader
                .problem_help(reference.span(), message, "already in use", help);
        }
        // A resource that could not be read was reported where it stands.
        let Some(entry) = entry else { return false };
        if fits(&entry.section) {
            return true;
        }
        let kind = entry.section.kind();
        let message = format!("{role} cannot use the resource `{name}` of kind {kind}");
        self.reader.problem_help(
            reference.span(),
            message,
            "wrong kind",
            format!("it needs {wanted}"),
        );
        false
    }

    fn unknown_name(&mut self, reference: &Spanned<String>, what: &str, known: &[String]) {
        let name = reference.get_ref();
        let message = format!("there is no {what} `{name}`");
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = match known.as_slice() {
            [] if what == "resource" => format!("add [resource.{name}]"),
            [] => format!("add [role.{what}.{name}]"),
            known => did_you_mean(name, known),
        };
        self.reader
            .problem_help(reference.span(), message, "not in this file", help);
    }

    fn meter(
        &mut self,
        name: &str,
        Entry { at, section }: Entry<MeterSection>,
        resources: &BTreeMap<String, Option<Entry<Resource>>>,
        ours: Option<bool>,
    ) -> Option<Meter> {
        let role = format!("role.meter.{name}");
        let fitting = self.take(
            &section.resource,
            &role,
            resources,
            Resource::is_line,
            "pty or serial",
        );
        let protocol = *section.protocol.get_ref();
        let on_pty = resources
            .get(section.resource.get_ref())
            .and_then(Option::as_ref)
            .is_some_and(|entry| matches!(entry.section, Resource::Pty(_)));
        if fitting && on_pty && section.actor == MeterActorName::Device {
            let message = format!("{role} is a real meter on a virtual line");
            let help = "use a resource of kind serial, or actor = \"simulated\"";
            self.reader
                .problem_help(section.resource.span(), message, "virtual", help);
        } else if fitting && on_pty && ours == Some(false) {
            let message = format!("{role} is on a virtual line, which a real gateway cannot reach");
            let help = "use a resource of kind serial wired to the gateway";
            self.reader
                .problem_help(section.resource.span(), message, "virtual", help);
        }
        let address = self.address(&role, protocol, section.address.as_ref(), at.clone());
        let registers: Vec<_> = section
            .registers
            .get_ref()
            .iter()
            .map(|text| text.0)
            .collect();
        if registers.is_empty() {
            let help = "for example registers = [\"1-0:1.8.0*255\"]";
            let message = format!("{role} names no register");
            self.reader
                .problem_help(section.registers.span(), message, "empty", help);
        }
        if let (Protocol::Mbus, Some(interval)) = (protocol, &section.push_interval) {
            let message = "an M-Bus meter answers polls, it does not push";
            self.reader
                .problem(interval.span(), message, "no meaning here");
        }
        let push_interval = section
            .push_interval
            .as_ref()
            .map_or(Duration::from_secs(1), |span| span.get_ref().0);
        let actor = self.meter_actor(
            &role,
            at,
            section,
            push_interval.max(Duration::from_millis(1)),
        )?;
        let (name, resource, device_id) = (name.to_owned(), actor.1, actor.2);
        Some(Meter {
            name,
            resource,
            protocol,
            device_id,
            registers,
            address,
            actor: actor.0,
        })
    }

    fn address(
        &mut self,
        role: &str,
        protocol: Protocol,
        address: Option<&Spanned<u8>>,
        at: Range<usize>,
    ) -> Option<u8> {
        match (protocol, address) {
            (Protocol::Mbus, None) => {
                let help = "add address = 1 (primary addresses are 1 to 250)";
                let message = format!("{role} speaks M-Bus and lacks its `address`");
                self.reader
                    .problem_help(at, message, "`address` missing", help);
                None
            }
            (Protocol::Mbus, Some(address)) if !(1..=250).contains(address.get_ref()) => {
                let message = "primary addresses of M-Bus meters are 1 to 250";
                self.reader.problem(address.span(), message, "out of range");
                None
            }
            (Protocol::Mbus, Some(address)) => Some(*address.get_ref()),
            (_, Some(address)) => {
                let message = format!(
                    "only M-Bus meters have an `address`, and {role} speaks {}",
                    protocol.as_str()
                );
                self.reader
                    .problem(address.span(), message, "no meaning here");
                None
            }
            (_, None) => None,
        }
    }

    fn meter_actor(
        &mut self,
        role: &str,
        at: Range<usize>,
        section: MeterSection,
        push_interval: Duration,
    ) -> Option<(MeterActor, String, smgw_units::DeviceId)> {
        let simulated = section.actor == MeterActorName::Simulated;
        if let (false, Some(law)) = (simulated, &section.law) {
            let message = format!("{role} is not simulated, so it follows no `law` of ours");
            self.reader.problem(law.span(), message, "no meaning here");
        }
        if let (false, Some(profile)) = (simulated, &section.profile) {
            let message = format!("{role} is not simulated, so it plays no `profile`");
            self.reader
                .problem(profile.span(), message, "no meaning here");
        }
        if let (true, Some(_)) = (simulated, &section.profile) {
            let law = section.law.as_ref().map(Spanned::span);
            let interval = section.push_interval.as_ref().map(Spanned::span);
            for (key, span) in [("law", law), ("push-interval", interval)] {
                if let Some(span) = span {
                    let message = format!("{role} plays a profile, which has its own");
                    let help = format!("remove `{key}`, or remove `profile`");
                    self.reader.problem_help(span, message, "said twice", help);
                }
            }
        }
        if let (true, Some(capture)) = (section.actor != MeterActorName::Replay, &section.capture) {
            let message = format!("{role} plays no `capture`");
            let help = "set actor = \"replay\", or remove it";
            self.reader
                .problem_help(capture.span(), message, "no meaning here", help);
        }
        let actor = match section.actor {
            MeterActorName::Simulated if section.profile.is_some() => {
                let profile = section.profile.map(Spanned::into_inner).unwrap_or_default();
                let profile = self.base.join(profile);
                MeterActor::Profile { profile }
            }
            MeterActorName::Simulated => {
                let law = section.law.map(Spanned::into_inner).unwrap_or_default();
                MeterActor::Simulated { law, push_interval }
            }
            MeterActorName::Replay => {
                let Some(capture) = section.capture else {
                    let help = "add capture = \"FILE\"";
                    let message = format!("{role} replays, but lacks its `capture`");
                    self.reader
                        .problem_help(at, message, "`capture` missing", help);
                    return None;
                };
                let capture = self.base.join(capture.into_inner());
                MeterActor::Replay {
                    capture,
                    push_interval,
                }
            }
            MeterActorName::Device => MeterActor::Device,
        };
        Some((actor, section.resource.into_inner(), section.device_id))
    }

    fn gateway(
        &mut self,
        Entry { at, section }: Entry<GatewaySection>,
        resources: &BTreeMap<String, Option<Entry<Resource>>>,
    ) -> Option<Gateway> {
        let device_id = section.device_id;
        let actor = match section.actor {
            GatewayActorName::Ours => {
                let help = "they belong to actor = \"device\"";
                for (key, span) in [
                    ("resource", section.resource.as_ref().map(Spanned::span)),
                    (
                        "certificate",
                        section.certificate.as_ref().map(Spanned::span),
                    ),
                ] {
                    if let Some(span) = span {
                        let message = format!("our own gateway needs no `{key}`");
                        self.reader
                            .problem_help(span, message, "no meaning here", help);
                    }
                }
                let target = section.target.map(Spanned::into_inner).unwrap_or_default();
                if let (GatewayTarget::QemuArm64, Some(binary)) = (&target, &section.binary) {
                    let message = "an emulated board boots what `cargo xtask target arm64` makes";
                    self.reader
                        .problem(binary.span(), message, "no meaning here");
                }
                let binary = section.binary.map(|path| self.base.join(path.into_inner()));
                GatewayActor::Ours { binary, target }
            }
            GatewayActorName::Device => {
                for (key, span) in [
                    ("binary", section.binary.as_ref().map(Spanned::span)),
                    ("target", section.target.as_ref().map(Spanned::span)),
                ] {
                    if let Some(span) = span {
                        let message = format!("a real gateway has no `{key}` here");
                        self.reader.problem(span, message, "no meaning here");
                    }
                }
                let missing = [
                    ("resource", section.resource.is_none()),
                    ("certificate", section.certificate.is_none()),
                ];
                for (key, _) in missing.iter().filter(|(_, missing)| *missing) {
                    let message = format!("role.gateway is a device and lacks `{key}`");
                    self.reader
                        .problem(at.clone(), message, format!("`{key}` missing"));
                }
                let (resource, certificate) = (section.resource?, section.certificate?);
                let fits = |resource: &Resource| matches!(resource, Resource::Network(_));
                self.take(&resource, "role.gateway", resources, fits, "network");
                GatewayActor::Device {
                    resource: resource.into_inner(),
                    certificate: self.base.join(certificate.into_inner()),
                }
            }
        };
        Some(Gateway { device_id, actor })
    }

    fn cls(
        &mut self,
        name: &str,
        Entry { at, section }: Entry<ClsSection>,
        resources: &BTreeMap<String, Option<Entry<Resource>>>,
        emts: &[String],
        real: bool,
    ) -> Option<Cls> {
        let role = format!("role.cls.{name}");
        if !emts.contains(section.emt.get_ref()) {
            self.unknown_name(&section.emt, "emt", emts);
        }
        let server = section.local_server_name.get_ref();
        let usable = (1..=63).contains(&server.len())
            && server
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
        if !usable {
            let help = "1 to 63 characters of a-z, 0-9, . and -";
            let message = "local-server-name cannot be asked for in CONNECT";
            self.reader.problem_help(
                section.local_server_name.span(),
                message,
                "not usable",
                help,
            );
        }
        self.need_identity(&role, at.clone(), &section.identity, real);
        let actor = match section.actor {
            ActorName::Simulated => {
                for (key, span) in [
                    ("resource", section.resource.as_ref().map(Spanned::span)),
                    ("firmware", section.firmware.as_ref().map(Spanned::span)),
                    ("address", section.address.as_ref().map(Spanned::span)),
                    ("gateway", section.gateway.as_ref().map(Spanned::span)),
                ] {
                    if let Some(span) = span {
                        let message = format!("{role} is simulated and needs no `{key}`");
                        let help = "set actor = \"device\", or remove it";
                        self.reader
                            .problem_help(span, message, "no meaning here", help);
                    }
                }
                ClsActor::Simulated
            }
            ActorName::Device => {
                let Some(resource) = section.resource else {
                    let message = format!("{role} is a device and lacks `resource`");
                    self.reader.problem(at, message, "`resource` missing");
                    return None;
                };
                let fits = |r: &Resource| matches!(r, Resource::Probe(_) | Resource::Qemu(_));
                self.take(&resource, &role, resources, fits, "probe or qemu");
                let real = resources
                    .get(resource.get_ref())
                    .and_then(Option::as_ref)
                    .is_some_and(|entry| matches!(entry.section, Resource::Probe(_)));
                let network = match (section.address, section.gateway) {
                    (Some(address), Some(gateway)) => Some(BoardNetwork {
                        address: address.into_inner().0,
                        gateway: gateway.into_inner().0,
                    }),
                    (None, None) if !real => None,
                    (address, _) => {
                        let key = if address.is_none() {
                            "address"
                        } else {
                            "gateway"
                        };
                        let help = "a board needs its own address = \"192.0.2.20/24\" and where the proxy listens, gateway = \"192.0.2.1:4433\"";
                        let message = format!("{role} is a board and lacks `{key}`");
                        self.reader
                            .problem_help(at, message, format!("`{key}` missing"), help);
                        None
                    }
                };
                ClsActor::Device {
                    resource: resource.into_inner(),
                    firmware: section
                        .firmware
                        .map(|path| self.base.join(path.into_inner())),
                    network,
                }
            }
        };
        Some(Cls {
            name: name.to_owned(),
            local_server_name: section.local_server_name.into_inner(),
            emt: section.emt.into_inner(),
            connect_timeout: section
                .connect_timeout
                .map_or(Duration::from_secs(3), |span| span.0),
            actor,
            identity: self.identity(section.identity),
        })
    }

    /// A real gateway's administrator pinned certificates; ours are told to our gateway at each start.
    fn need_identity(
        &mut self,
        role: &str,
        at: Range<usize>,
        identity: &Option<Identity>,
        real: bool,
    ) {
        if real && identity.is_none() {
            let message = format!("{role} meets a real gateway and lacks its `identity`");
            let help = "add identity = { certificate = \"FILE\", key = \"FILE\" }, as its administrator registered it";
            self.reader
                .problem_help(at, message, "`identity` missing", help);
        }
    }

    fn identity(&self, identity: Option<Identity>) -> Option<Identity> {
        identity.map(|Identity { certificate, key }| Identity {
            certificate: self.base.join(certificate),
            key: self.base.join(key),
        })
    }
}
