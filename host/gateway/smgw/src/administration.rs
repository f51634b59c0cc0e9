// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator orders: sets of profiles, checked to the last certificate before anything changes, kept, and
//! made active at their instant (catalogue rows ADM-02, ADM-03).

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hsm_api::Hash;
use hsm_tls::TlsConfigError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use smgw_core::log::{Event, EventKind};
use smgw_core::profile::{
    MeterProfile, ProfileSet, Refused, Schedule, UserRole, Validity, Version,
};
use smgw_socks::ConnectName;
use smgw_units::{DeviceId, UtcNanos};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info};

use crate::active::{Active, Current};
use crate::cls::Proxy;
use crate::config::{Cls, Config, Profile, Role, User};
use crate::defects::{Defect, Defects};
use crate::journal::Journal;
use crate::measuring::{Order, Window};
use crate::store::{ProfileKind, ProfileVersion, StoreError};
use crate::tls::TlsFactory;

/// Why an order is not carried out; everything stays as it was.
#[derive(Debug, Error)]
pub enum OrderError {
    /// The document is no set of profiles; whoever wrote it is at fault.
    #[error("{0}")]
    Document(String),
    /// The set does not fit this gateway.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The set is good, but cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the gateway is without profiles, and what never changes.
#[derive(Debug)]
struct Base {
    /// Meters there is a line for, with what is kept of them.
    set: Arc<ProfileSet>,
    users: Vec<User>,
    cls: Cls,
    tls: Option<TlsFactory>,
    /// The gateway's own registration period.
    period: Duration,
    defects: Defects,
}

/// Carries out the administrator's orders.
#[derive(Debug)]
pub struct Administration {
    base: Base,
    schedule: Schedule,
    journal: Journal,
    current: watch::Sender<Arc<Active>>,
    measuring: mpsc::Sender<Order>,
}

impl Administration {
    /// Begins where the store says, or with the configuration; tells the measuring thread.
    ///
    /// # Errors
    /// When the store cannot be read, or the configuration does not fit the security module.
    pub fn start(
        config: &Config,
        tls: Option<TlsFactory>,
        defects: Defects,
        journal: Journal,
        measuring: mpsc::Sender<Order>,
        now: UtcNanos,
    ) -> Result<(Self, Current), OrderError> {
        let base = Base {
            set: Arc::new(configured(config)),
            users: config.han.users.clone(),
            cls: config.cls.clone(),
            tls,
            period: config.registration_period,
            defects,
        };
        let mut kept = journal.with_store(|store| store.profiles())?;
        kept.retain(|kept| kept.kind == kind());
        let newest = kept.iter().map(|kept| kept.version).max();
        let versions = kept.into_iter().filter_map(|kept| {
            // A set that this build can no longer read was taken by another one: it must not stop the gateway.
            let set = match toml::from_str(&kept.document) {
                Ok(set) => Arc::new(set),
                Err(error) => {
                    error!(version = kept.version, %error, "a kept set of profiles cannot be read");
                    return None;
                }
            };
            Some(Version {
                number: kept.version,
                active_from: kept.active_from,
                set,
            })
        });
        let schedule = Schedule::restore(versions, newest.unwrap_or_default(), now);
        let active = base.activate(schedule.active())?;
        let (current, watching) = watch::channel(Arc::new(active));
        let administration = Self {
            base,
            schedule,
            journal,
            current,
            measuring,
        };
        administration.tell_measuring();
        Ok((administration, watching))
    }

    /// Takes a set of profiles as a whole, or refuses it as a whole; either stands in the log books.
    ///
    /// # Errors
    /// [`OrderError`]; then everything is as it was.
    pub fn submit(&mut self, document: &str, now: UtcNanos) -> Result<Version, OrderError> {
        let taken = self.take(document, now);
        if let Err(error) = &taken {
            info!(%error, "set of profiles refused");
            let event = Event::new(EventKind::ProfileRefused).with(NAME);
            self.journal.note(event.with(error));
        }
        taken
    }

    fn take(&mut self, document: &str, now: UtcNanos) -> Result<Version, OrderError> {
        if document.len() > LONGEST_DOCUMENT {
            let what = format!("the document is longer than {LONGEST_DOCUMENT} bytes");
            return Err(OrderError::Document(what));
        }
        let set: ProfileSet = toml::from_str(document)
            .map_err(|error| OrderError::Document(error.to_string().trim_end().into()))?;
        let version = self.schedule.propose(set, now)?;
        // Certificates, names and TLS too: what is taken can become active.
        if let Err(error) = self.base.activate(Some(&version)) {
            if self.base.defects.has(Defect::HalfSet) {
                self.take_half(&version, now);
            }
            return Err(error);
        }
        let kept = ProfileVersion {
            kind: kind(),
            name: NAME.parse().map_err(|_| Refused::new("no name"))?,
            version: version.number,
            active_from: version.active_from,
            document: document.into(),
            hash: Hash::Sha256.digest(document.as_bytes()),
        };
        self.journal
            .with_store(|store| store.add_profiles(&[kept]))?;
        self.schedule.take(version.clone());
        info!(number = version.number, active_from = %version.active_from, "set of profiles taken");
        self.handle_time(now);
        self.tell_measuring();
        Ok(version)
    }

    /// What must never happen: what is good of a refused set counts.
    fn take_half(&mut self, refused: &Version, now: UtcNanos) {
        let known = self.base.set.meters.iter().map(|profile| profile.meter);
        let known: Vec<_> = known.collect();
        let mut meters = refused.set.meters.clone();
        meters.retain(|profile| known.contains(&profile.meter));
        self.schedule.take(Version {
            set: Arc::new(ProfileSet {
                meters,
                evaluations: refused.set.evaluations.clone(),
                ..ProfileSet::default()
            }),
            ..refused.clone()
        });
        self.handle_time(now);
        self.tell_measuring();
    }

    /// Makes active what is due; the log books have it before it takes effect.
    pub fn handle_time(&mut self, now: UtcNanos) {
        while let Some(version) = self.schedule.handle_time(now) {
            let number = version.number;
            let event = Event::new(EventKind::ProfileActivated).with(NAME);
            let lost = self.base.defects.has(Defect::LostActivation) && number % 2 == 0;
            if !lost && let Err(error) = self.journal.note_durably(event.with(number)) {
                error!(number, %error, "the activation waits for its place in the log books");
            }
            match self.base.activate(Some(&version)) {
                Ok(active) => {
                    info!(number, "set of profiles active");
                    self.current.send_replace(Arc::new(active));
                }
                Err(error) => error!(number, %error, "set of profiles cannot become active"),
            }
        }
    }

    /// When [`Self::handle_time`] has something to do.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        self.schedule.next_deadline()
    }

    /// The versions that count now or later, oldest first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.schedule
            .active()
            .into_iter()
            .chain(self.schedule.waiting())
    }

    /// Each set counts from its first grid point to that of the next one.
    fn tell_measuring(&self) {
        let base = self
            .schedule
            .active()
            .is_none()
            .then(|| (0, None, self.base.set.clone()));
        let versions = self.versions().map(|version| {
            let from = Some(self.base.first_point(version));
            (version.number, from, version.set.clone())
        });
        let sets: Vec<_> = base.into_iter().chain(versions).collect();
        let ends = sets.iter().skip(1).map(|(_, from, _)| *from).chain([None]);
        let windows = sets
            .iter()
            .zip(ends)
            .filter_map(|((number, from, set), to)| {
                Some(Window {
                    number: *number,
                    span: Validity::new(*from, to).ok()?,
                    set: set.clone(),
                })
            });
        // The measuring thread outlives this; if it is gone, the gateway is ending.
        let _ = self.measuring.send(Order::Profiles(windows.collect()));
    }
}

impl Base {
    /// The first grid point a set counts for.
    fn first_point(&self, version: &Version) -> UtcNanos {
        let early = self.defects.has(Defect::EarlySet) && version.set.active_from.is_some();
        let earlier = if early { self.period } else { Duration::ZERO };
        // A registration period is at most 31 days.
        UtcNanos(version.active_from.0 - earlier.as_nanos() as i64)
    }

    /// Everything a set leads to.
    fn activate(&self, version: Option<&Version>) -> Result<Active, OrderError> {
        let set = version.map_or(&self.set, |version| &version.set);
        let known = |meter: DeviceId| self.set.meters.iter().any(|profile| profile.meter == meter);
        if let Some(unknown) = set.meters.iter().find(|profile| !known(profile.meter)) {
            let what = format!(
                "meter {}: no line of this gateway leads to it",
                unknown.meter
            );
            return Err(Refused::new(what).into());
        }
        let users = match &set.users {
            None => self.users.clone(),
            Some(users) => {
                let user = |profile: &smgw_core::profile::UserProfile| {
                    Ok(User {
                        id: profile.name.to_string(),
                        role: match &profile.role {
                            UserRole::Consumer { meters } => Role::Consumer {
                                meters: meters.clone(),
                            },
                            UserRole::Technician => Role::Technician,
                        },
                        certificate: leaf(&format!("user {}", profile.name), &profile.certificate)?,
                    })
                };
                users.iter().map(user).collect::<Result<_, Refused>>()?
            }
        };
        let profiles = match &set.proxies {
            None => self.cls.profiles.clone(),
            Some(proxies) => proxies.iter().map(proxy).collect::<Result<_, Refused>>()?,
        };
        for partner in &set.partners {
            leaf(&format!("partner {}", partner.name), &partner.certificate)?;
        }
        let tls = self.tls.as_ref();
        let servers = tls.map(|tls| self.servers(tls, &users, profiles));
        let servers = servers.transpose().map_err(|error| {
            let what = format!("TLS cannot be set up with these certificates: {error}");
            Refused::new(what)
        })?;
        let (han, proxy) = servers.unzip();
        Ok(Active {
            version: version.map_or(0, |version| version.number),
            set: set.clone(),
            users,
            han,
            proxy,
        })
    }

    /// TLS towards the home area network, and the proxy.
    fn servers(
        &self,
        tls: &TlsFactory,
        users: &[User],
        profiles: Vec<Profile>,
    ) -> Result<(Arc<ServerConfig>, Arc<Proxy>), TlsConfigError> {
        let users = users.iter().map(|user| user.certificate.clone()).collect();
        let systems = profiles
            .iter()
            .map(|profile| profile.cls_certificate.clone())
            .collect();
        let profiles = profiles.into_iter().map(|profile| {
            let emt = tls.emt(profile.emt_certificate.clone())?;
            Ok((profile, emt))
        });
        let proxy = Proxy {
            tls: tls.cls(systems)?,
            profiles: profiles.collect::<Result<_, TlsConfigError>>()?,
            handshake_timeout: self.cls.handshake_timeout,
            defects: self.defects,
        };
        Ok((tls.han(users)?, Arc::new(proxy)))
    }
}

/// What the configuration says of meters, as a set.
fn configured(config: &Config) -> ProfileSet {
    let meter = |meter: &crate::config::Meter| MeterProfile {
        meter: meter.id,
        registers: meter.registers.clone(),
        period: None,
        validity: Validity::default(),
    };
    ProfileSet {
        meters: config.meters.iter().map(meter).collect(),
        ..ProfileSet::default()
    }
}

fn proxy(profile: &smgw_core::profile::ProxyProfile) -> Result<Profile, Refused> {
    let name = &profile.local_server_name;
    let refuse = |what: String| Refused::new(format!("proxy {name}: {what}"));
    Ok(Profile {
        local_server_name: ConnectName::parse(name.as_bytes())
            .map_err(|error| refuse(error.to_string()))?,
        cls_certificate: leaf(&format!("proxy {name}, CLS"), &profile.cls_certificate)?,
        wan_peer_address: profile.wan_peer_address,
        wan_tls_sni: ServerName::try_from(profile.wan_tls_sni.clone())
            .map_err(|error| refuse(error.to_string()))?,
        emt_certificate: leaf(&format!("proxy {name}, EMT"), &profile.emt_certificate)?,
        connect_timeout: profile.connect_timeout.unwrap_or(Cls::CONNECT_TIMEOUT),
    })
}

/// The first certificate of a PEM text, if it can be read as one.
fn leaf(whose: &str, pem: &str) -> Result<CertificateDer<'static>, Refused> {
    let refuse = |what: String| Refused::new(format!("{whose}: certificate: {what}"));
    let leaf = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| refuse(error.to_string()))?;
    ParsedCertificate::try_from(&leaf).map_err(|error| refuse(error.to_string()))?;
    Ok(leaf)
}

/// Sets are kept as one kind of profile under one name.
fn kind() -> ProfileKind {
    ProfileKind("set".into())
}

const NAME: &str = "gateway";

/// Longest document: a thousand meters with all their certificates.
pub const LONGEST_DOCUMENT: usize = 4 << 20;
