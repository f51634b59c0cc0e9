// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a rig can do, in the words cases use to say what they need.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::diagnostic::did_you_mean;
use crate::resource::Resource;
use crate::rig::Rig;
use crate::role::{ClsActor, GatewayActor, GatewayTarget, Meter, MeterActor, Protocol};

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something a case may need from a rig.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[$doc])* $variant,)*
        }

        impl Capability {
            /// All of them, in the order of the roles.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name cases and filters use, e.g. `meter.sml`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// A meter that pushes SML.
    MeterSml = "meter.sml",
    /// A meter polled over wired M-Bus.
    MeterMbus = "meter.mbus",
    /// A meter of our own that pushes SML and follows an energy law.
    MeterSmlSimulated = "meter.sml.simulated",
    /// A meter of our own polled over wired M-Bus that follows an energy law.
    MeterMbusSimulated = "meter.mbus.simulated",
    /// A meter that plays a capture.
    MeterReplay = "meter.replay",
    /// A meter of our own that plays a profile.
    MeterProfile = "meter.profile",
    /// A gateway.
    Gateway = "gateway",
    /// A gateway the bench may stop, kill and start.
    GatewayRestart = "gateway.restart",
    /// A gateway of our own that knows after a restart what it knew before.
    GatewayStore = "gateway.store",
    /// A gateway the bench may kill without warning.
    GatewayKill = "gateway.kill",
    /// A gateway that tells when it received each telegram (our own HAN resource).
    GatewayReceptions = "gateway.receptions",
    /// A gateway that works by a set of profiles the bench gives it.
    GatewayProfiles = "gateway.profiles",
    /// A gateway whose administration the bench can reach: orders, and exports of log books.
    GatewayOrders = "gateway.orders",
    /// Room for a second gateway of our own beside the one under test: with other meters, or a clock the bench advances.
    GatewaySecond = "gateway.second",
    /// A security module the bench knows of.
    SecurityModule = "security-module",
    /// A security module whose calls can be recorded.
    SecurityModuleTrace = "security-module.trace",
    /// A security module the bench may take away or exchange.
    SecurityModuleSwap = "security-module.swap",
    /// A market participant.
    Emt = "emt",
    /// Market participants that stay silent or refuse, behind profiles the bench gives the gateway.
    EmtFaults = "emt.faults",
    /// A controllable local system of our own, which can be told to misbehave.
    Cls = "cls",
    /// Two of them with different profiles.
    ClsTwo = "cls.two",
    /// A controllable local system that is a flashed board.
    ClsDevice = "cls.device",
    /// Emulated boards on a network that the bench can spoil.
    ClsWire = "cls.wire",
    /// A board that the bench can call away from the gateway, to a proxy of its own.
    ClsRedirect = "cls.redirect",
    /// A consumer.
    Consumer = "consumer",
    /// Two of them entitled to different meters.
    ConsumerTwo = "consumer.two",
    /// A service technician.
    Technician = "technician",
    /// A time server of our own, and a gateway of our own beside it that can be told to use it.
    TimeServer = "time-server",
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no such capability.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no capability `{name}`; {help}")]
pub struct UnknownCapability {
    name: String,
    help: String,
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        let found = Self::ALL
            .iter()
            .copied()
            .find(|capability| capability.as_str() == name);
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL
                .iter()
                .map(|capability| capability.as_str())
                .collect();
            UnknownCapability {
                name: name.to_owned(),
                help: did_you_mean(name, &known),
            }
        })
    }
}

impl Rig {
    /// Everything this rig can do.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        let ours = self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.is_ours());
        let remote = self.gateway.as_ref().is_some_and(|gateway| {
            matches!(
                &gateway.actor,
                GatewayActor::Ours {
                    target: GatewayTarget::Ssh(_),
                    ..
                }
            )
        });
        let local = self.gateway.as_ref().is_some_and(|gateway| {
            let target = GatewayTarget::Local;
            matches!(&gateway.actor, GatewayActor::Ours { target: on, .. } if *on == target)
        });
        let token = self
            .security_module
            .as_ref()
            .and_then(|module| self.resources.get(&module.resource));
        let softhsm = matches!(token, Some(Resource::SoftHsm(_)));
        let meter = |wanted| self.meters.values().any(|meter| meter.protocol == wanted);
        let simulated = |wanted| {
            let plays = |meter: &Meter| matches!(meter.actor, MeterActor::Simulated { .. });
            self.meters
                .values()
                .any(|meter| meter.protocol == wanted && plays(meter))
        };
        let mut entitled = self.consumers.values().map(|consumer| &consumer.meters);
        let first = entitled.next();
        let (simulated_clss, boards): (Vec<_>, Vec<_>) = self
            .clss
            .values()
            .partition(|cls| cls.actor == ClsActor::Simulated);
        let mut names = simulated_clss.iter().map(|cls| &cls.local_server_name);
        let first_name = names.next();
        Capability::ALL
            .iter()
            .copied()
            .filter(|capability| match capability {
                Capability::MeterSml => meter(Protocol::Sml),
                Capability::MeterMbus => meter(Protocol::Mbus),
                Capability::MeterSmlSimulated => simulated(Protocol::Sml),
                Capability::MeterMbusSimulated => simulated(Protocol::Mbus),
                Capability::MeterReplay => self
                    .meters
                    .values()
                    .any(|m| matches!(m.actor, MeterActor::Replay { .. })),
                Capability::MeterProfile => self
                    .meters
                    .values()
                    .any(|m| matches!(m.actor, MeterActor::Profile { .. })),
                Capability::Gateway => self.gateway.is_some(),
                Capability::GatewayRestart => ours,
                // The emulated board has nothing but RAM.
                Capability::GatewayStore => ours && (local || remote),
                // Elsewhere only what stands for it here would be killed.
                Capability::GatewayKill => local,
                // Its stamps mean something only where its clock is set by the bench's.
                Capability::GatewayReceptions => ours && !remote,
                Capability::GatewayProfiles => ours,
                // Its place is a Unix socket.
                Capability::GatewayOrders => local && softhsm,
                // Orders come over a Unix socket; a module that is no software's takes no second user.
                Capability::GatewaySecond => local && softhsm,
                Capability::SecurityModule => token.is_some(),
                Capability::SecurityModuleTrace => {
                    ours && matches!(token, Some(Resource::SoftHsm(_) | Resource::Pkcs11(_)))
                }
                Capability::SecurityModuleSwap => ours && softhsm,
                Capability::Emt => !self.emts.is_empty(),
                Capability::EmtFaults => ours && !self.emts.is_empty(),
                Capability::Cls => first_name.is_some(),
                Capability::ClsTwo => names.clone().any(|name| Some(name) != first_name),
                Capability::ClsDevice => !boards.is_empty(),
                Capability::ClsWire => {
                    let wired =
                        |r: &Resource| matches!(r, Resource::Qemu(board) if board.wire().is_some());
                    self.resources.values().any(wired)
                }
                Capability::ClsRedirect => boards.iter().any(|board| {
                    let ClsActor::Device { resource, .. } = &board.actor else {
                        return false;
                    };
                    matches!(self.resources.get(resource), Some(Resource::Qemu(_)))
                }),
                Capability::Consumer => first.is_some(),
                Capability::ConsumerTwo => entitled.clone().any(|meters| Some(meters) != first),
                Capability::Technician => !self.technicians.is_empty(),
                Capability::TimeServer => local && softhsm && self.time_server.is_some(),
            })
            .collect()
    }
}
