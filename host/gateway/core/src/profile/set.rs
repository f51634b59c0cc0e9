// SPDX-License-Identifier: MIT OR Apache-2.0
//! A set of profiles: taken as a whole or refused as a whole, with the reason (catalogue row ADM-02).

use core::time::Duration;

use serde::{Deserialize, Serialize};
use smgw_units::{DeviceId, UtcNanos};

use super::evaluation::EvaluationProfile;
use super::meter::MeterProfile;
use super::name::ProfileName;
use super::partner::{CommunicationProfile, ProxyProfile, UserProfile, UserRole};
use super::refusal::Refused;
use super::written::instant;

/// Everything the administrator tells the gateway, valid together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "RawSet", into = "RawSet")]
pub struct ProfileSet {
    /// The first grid point it counts for; `None` means at once.
    pub active_from: Option<UtcNanos>,
    /// Meters, each once.
    pub meters: Vec<MeterProfile>,
    /// Evaluations, each name once.
    pub evaluations: Vec<EvaluationProfile>,
    /// Market participants, each name once.
    pub partners: Vec<CommunicationProfile>,
    /// Users of the home area network; `None` leaves those of the configuration.
    pub users: Option<Vec<UserProfile>>,
    /// Controllable local systems; `None` leaves those of the configuration.
    pub proxies: Option<Vec<ProxyProfile>>,
}

/// The set as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSet {
    schema: String,
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    active_from: Option<UtcNanos>,
    #[serde(default)]
    meter: Vec<MeterProfile>,
    #[serde(default)]
    evaluation: Vec<EvaluationProfile>,
    #[serde(default)]
    partner: Vec<CommunicationProfile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Vec<UserProfile>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Vec<ProxyProfile>>,
}

impl TryFrom<RawSet> for ProfileSet {
    type Error = Refused;

    fn try_from(raw: RawSet) -> Result<Self, Refused> {
        if raw.schema != SCHEMA {
            let what = format!("schema is \"{}\", expected \"{SCHEMA}\"", raw.schema);
            return Err(Refused::new(what));
        }
        let set = Self {
            active_from: raw.active_from,
            meters: raw.meter,
            evaluations: raw.evaluation,
            partners: raw.partner,
            users: raw.user,
            proxies: raw.proxy,
        };
        set.check()?;
        Ok(set)
    }
}

impl From<ProfileSet> for RawSet {
    fn from(set: ProfileSet) -> Self {
        Self {
            schema: SCHEMA.into(),
            active_from: set.active_from,
            meter: set.meters,
            evaluation: set.evaluations,
            partner: set.partners,
            user: set.users,
            proxy: set.proxies,
        }
    }
}

impl ProfileSet {
    /// Registration periods at which evaluations want the registers of a meter.
    pub fn periods_of(&self, meter: DeviceId) -> impl Iterator<Item = Duration> + '_ {
        let concerned = move |profile: &&EvaluationProfile| {
            profile.inputs().iter().any(|input| input.meter == meter)
        };
        let seconds = |profile: &EvaluationProfile| profile.registration_period().into();
        self.evaluations
            .iter()
            .filter(concerned)
            .map(seconds)
            .map(Duration::from_secs)
    }

    /// What only the set as a whole can tell.
    fn check(&self) -> Result<(), Refused> {
        once("meter", self.meters.iter().map(|profile| profile.meter))?;
        once("partner", self.partners.iter().map(|profile| &profile.name))?;
        once(
            "evaluation",
            self.evaluations.iter().map(EvaluationProfile::name),
        )?;
        for evaluation in &self.evaluations {
            self.check_evaluation(evaluation)?;
        }
        let users = self.users.iter().flatten();
        once("user", users.clone().map(|profile| &profile.name))?;
        once(
            "certificate of users",
            users.clone().map(|profile| &profile.certificate),
        )?;
        for user in users {
            let UserRole::Consumer { meters } = &user.role else {
                continue;
            };
            let known =
                |meter: &DeviceId| self.meters.iter().any(|profile| profile.meter == *meter);
            if let Some(unknown) = meters.iter().find(|meter| !known(meter)) {
                let what = format!("user {}: no meter {unknown} in this set", user.name);
                return Err(Refused::new(what));
            }
        }
        let proxies = self.proxies.iter().flatten();
        once(
            "name of a proxy for one CLS",
            proxies.map(|profile| {
                format!("{} {}", profile.local_server_name, profile.cls_certificate)
            }),
        )
    }
}

impl ProfileSet {
    /// Everything an evaluation names must be in the same set.
    fn check_evaluation(&self, evaluation: &EvaluationProfile) -> Result<(), Refused> {
        let refuse = |what: String| {
            Err(Refused::new(format!(
                "evaluation {}: {what}",
                evaluation.name()
            )))
        };
        for input in evaluation.inputs() {
            let profile = self
                .meters
                .iter()
                .find(|profile| profile.meter == input.meter);
            let Some(profile) = profile else {
                return refuse(format!("no meter {} in this set", input.meter));
            };
            if !profile.registers.contains(&input.obis) {
                return refuse(format!(
                    "register {} of meter {} is not kept",
                    input.obis, input.meter
                ));
            }
        }
        let known = |name: &ProfileName| self.partners.iter().any(|partner| partner.name == *name);
        match evaluation.recipients().iter().find(|name| !known(name)) {
            Some(unknown) => refuse(format!("no partner {unknown} in this set")),
            None => Ok(()),
        }
    }
}

/// Refuses what stands twice.
fn once<T: PartialEq + core::fmt::Display>(
    what: &str,
    items: impl Iterator<Item = T>,
) -> Result<(), Refused> {
    let mut seen: Vec<T> = Vec::new();
    for item in items {
        if seen.contains(&item) {
            let shown: String = item.to_string().chars().take(80).collect();
            return Err(Refused::new(format!("{what} {shown} stands twice")));
        }
        if seen.len() == MOST_OF_A_KIND {
            return Err(Refused::new(format!(
                "more than {MOST_OF_A_KIND} times {what}"
            )));
        }
        seen.push(item);
    }
    Ok(())
}

const SCHEMA: &str = "smgw.profiles/1";
/// Profiles of one kind in a set.
const MOST_OF_A_KIND: usize = 1_024;
