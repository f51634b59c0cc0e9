// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a consumer sees of the evaluations that work on his meters: their profiles, registers and derived lists
//! (catalogue rows MET-06, MET-07, MET-20; names of resources and members: assumption `han-json`).

use hyper::StatusCode;
use serde::Serialize;
use smgw_core::Entry;
use smgw_core::profile::EvaluationProfile;
use smgw_core::profile::evaluation::UseCase;
use smgw_core::taf::Derived;
use smgw_units::DeviceId;
use tracing::error;

use super::query::Query;
use super::routes::{Line, Refusal};
use super::view::View;
use crate::defects::{Defect, Defects};
use crate::store::StoreError;

/// The evaluations all of whose meters are the consumer's, with what their registers say.
pub(super) fn list(entitled: &[DeviceId], view: &View) -> Result<Evaluations, Refusal> {
    let evaluations = view.evaluations();
    let own = evaluations
        .iter()
        .filter(|profile| belongs(profile, entitled));
    let told = own.map(|profile| {
        let registers = view.registers_of(profile.name())?;
        Ok(EvaluationInfo {
            name: profile.name().to_string(),
            use_case: profile.use_case().clone(),
            registration_period: profile.registration_period(),
            inputs: profile.inputs().iter().map(Input::from).collect(),
            registers: registers.iter().map(register).collect(),
        })
    });
    let evaluations = told
        .collect::<Result<_, StoreError>>()
        .map_err(unreadable)?;
    Ok(Evaluations { evaluations })
}

/// The derived lists of one evaluation; 404 also for one on other people's meters.
pub(super) fn derived(
    name: &str,
    query: &Query,
    entitled: &[DeviceId],
    view: &View,
    defects: Defects,
) -> Result<DerivedLists, Refusal> {
    let evaluations = view.evaluations();
    let profile = evaluations
        .iter()
        .find(|profile| profile.name().as_str() == name)
        .filter(|profile| belongs(profile, entitled))
        .ok_or(StatusCode::NOT_FOUND)?;
    let lines = view
        .derived(profile.name(), query.obis, query.selection)
        .map_err(unreadable)?;
    let mut lists: Vec<DerivedList> = Vec::new();
    for line in &lines {
        let mut logical_name = line.logical_name().to_string();
        if defects.has(Defect::ListWithoutEnd) {
            logical_name.truncate(logical_name.len() - 3);
        }
        match lists
            .iter_mut()
            .find(|list| list.logical_name == logical_name)
        {
            Some(list) => list.entries.push(Line::of(&line.entry, &[])),
            None => lists.push(DerivedList {
                logical_name,
                obis: line.entry.obis.to_string(),
                entries: vec![Line::of(&line.entry, &[])],
            }),
        }
    }
    Ok(DerivedLists {
        evaluation: name.into(),
        registration_period: profile.registration_period(),
        lists,
    })
}

fn belongs(profile: &EvaluationProfile, entitled: &[DeviceId]) -> bool {
    profile
        .inputs()
        .iter()
        .all(|input| entitled.contains(&input.meter))
}

fn unreadable(error: StoreError) -> Refusal {
    error!(%error, "derived lists cannot be read");
    StatusCode::INTERNAL_SERVER_ERROR
}

fn register(derived: &Derived) -> Register {
    let Entry { obis, .. } = derived.entry;
    Register {
        logical_name: derived.logical_name().to_string(),
        obis: obis.to_string(),
        newest: Line::of(&derived.entry, &[]),
    }
}

#[derive(Serialize)]
pub(super) struct Evaluations {
    evaluations: Vec<EvaluationInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvaluationInfo {
    name: String,
    use_case: UseCase,
    registration_period: u32,
    inputs: Vec<Input>,
    registers: Vec<Register>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    meter_id: String,
    obis: String,
    sign: smgw_core::profile::evaluation::Sign,
}

impl From<&smgw_core::profile::evaluation::Input> for Input {
    fn from(input: &smgw_core::profile::evaluation::Input) -> Self {
        Self {
            meter_id: input.meter.to_string(),
            obis: input.obis.to_string(),
            sign: input.sign,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    logical_name: String,
    obis: String,
    newest: Line,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DerivedLists {
    evaluation: String,
    registration_period: u32,
    lists: Vec<DerivedList>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DerivedList {
    logical_name: String,
    obis: String,
    entries: Vec<Line>,
}
