// SPDX-License-Identifier: MIT OR Apache-2.0
//! The evaluations at work: fed with what the value lists decide, and what they make goes into the same batch
//! (TR-03109-1, evaluation profiles; catalogue rows MET-05 to MET-14, MET-19).

use std::collections::BTreeMap;

use hsm_api::Hash;
use smgw_core::log::{Event, EventKind};
use smgw_core::profile::{EvaluationProfile, ProfileName, ProfileSet, UserRole, Validity};
use smgw_core::taf::{Effect, Evaluation};
use smgw_units::{DeviceId, UtcNanos};
use tracing::{error, info, warn};

use crate::defects::{Defect, Defects};
use crate::journal::Journal;
use crate::measuring::Window;
use crate::store::{Batch, Kept};

/// One evaluation and the set of profiles it belongs to.
struct AtWork {
    version: u32,
    span: Validity,
    evaluation: Evaluation,
    /// Whose meters it works on.
    consumers: Vec<ProfileName>,
}

/// Consumers and their meters.
pub type Consumers = Vec<(ProfileName, Vec<DeviceId>)>;

/// All evaluations.
pub struct Evaluations {
    at_work: Vec<AtWork>,
    /// States the store held at the start, until somebody claims them.
    states: BTreeMap<ProfileName, Vec<u8>>,
    /// Of sets that name no users.
    consumers: Consumers,
    defects: Defects,
}

impl Evaluations {
    /// None at work yet; `states` is what the store holds of earlier ones, `consumers` who they are unless a set says.
    pub fn new(
        states: BTreeMap<ProfileName, Vec<u8>>,
        consumers: Consumers,
        defects: Defects,
    ) -> Self {
        let states = match defects.has(Defect::LostRegisters) {
            true => BTreeMap::new(),
            false => states,
        };
        Self {
            at_work: Vec::new(),
            states,
            consumers,
            defects,
        }
    }

    /// Makes the evaluations fit the sets. One that a later set repeats unchanged goes on with its registers; others begin
    /// anew with their set and end with it.
    pub fn arm(&mut self, windows: &[Window], now: UtcNanos) {
        let begin = windows.first().and_then(|window| window.span.from());
        self.at_work.retain_mut(|work| {
            match windows.iter().find(|window| window.number == work.version) {
                Some(window) => {
                    work.span = window.span;
                    true
                }
                // A set that is over may still have grid points to be decided; one that was to come is gone.
                None if work.span.from().is_none_or(|from| from <= now) => {
                    if work.span.to().is_none() {
                        work.span = Validity::new(work.span.from(), begin).unwrap_or(work.span);
                    }
                    true
                }
                None => false,
            }
        });
        for window in windows {
            for profile in &window.set.evaluations {
                if self.continues(profile, window) {
                    continue;
                }
                let start = window.span.from().unwrap_or(now);
                let state = self.states.remove(profile.name());
                let evaluation = state
                    .and_then(|state| go_on(profile, &state))
                    .unwrap_or_else(|| Evaluation::new(profile.clone(), start));
                let consumers = self.concerned(profile, &window.set);
                self.at_work.push(AtWork {
                    version: window.number,
                    span: window.span,
                    evaluation,
                    consumers,
                });
            }
        }
    }

    /// The consumers all of whose inputs are their own.
    fn concerned(&self, profile: &EvaluationProfile, set: &ProfileSet) -> Vec<ProfileName> {
        let owns = |meters: &[DeviceId]| {
            let inputs = profile.inputs();
            inputs.iter().all(|input| meters.contains(&input.meter))
        };
        match &set.users {
            Some(users) => users
                .iter()
                .filter(|user| matches!(&user.role, UserRole::Consumer { meters } if owns(meters)))
                .map(|user| user.name.clone())
                .collect(),
            None => self
                .consumers
                .iter()
                .filter(|(_, meters)| owns(meters))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// Whether `profile` is at work already, for this set or for the one before it, which then hands it over.
    fn continues(&mut self, profile: &EvaluationProfile, window: &Window) -> bool {
        let consumers = self.concerned(profile, &window.set);
        let same = |work: &&mut AtWork| work.evaluation.profile() == profile;
        let Some(work) = self.at_work.iter_mut().find(same) else {
            return false;
        };
        if work.version < window.number && work.span.to() == window.span.from() {
            let whole = Validity::new(work.span.from(), window.span.to());
            work.span = whole.unwrap_or(window.span);
            work.version = window.number;
            work.consumers = consumers;
        }
        true
    }

    /// Feeds the batch's entries, tells the time, and adds to the batch what follows.
    pub fn handle(&mut self, batch: &mut Batch, now: UtcNanos, journal: &Journal) {
        for work in &mut self.at_work {
            let due = work.evaluation.next_deadline().is_some_and(|at| at <= now);
            let mut fed = false;
            for Kept {
                meter,
                entry,
                period,
                ..
            } in &batch.entries
            {
                // The reading at the end closes the books, so it counts for the old set as well as for the new one.
                let closes = work.span.to() == Some(entry.target);
                let own = *period == work.evaluation.profile().registration_period();
                if own && (work.span.covers(entry.target) || closes) {
                    work.evaluation.handle_entry(*meter, entry);
                    fed = true;
                }
            }
            if !(fed || due) {
                continue;
            }
            work.evaluation.handle_time(now);
            let name = work.evaluation.profile().name().clone();
            while let Some(effect) = work.evaluation.poll_effect() {
                carry_out(&name, &work.consumers, effect, batch, journal, self.defects);
            }
            let mut state = owner(work.evaluation.profile());
            state.extend(work.evaluation.save());
            batch.states.push((name, state));
        }
        // Grid points at the end of a set are decided within a period of it.
        self.at_work.retain(|work| {
            let patience =
                2 * i64::from(work.evaluation.profile().registration_period()) * 1_000_000_000;
            work.span
                .to()
                .is_none_or(|to| now.0 < to.0.saturating_add(patience))
        });
    }

    /// When the time is to be told, if nothing comes before.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        self.at_work
            .iter()
            .filter_map(|work| work.evaluation.next_deadline())
            .min()
    }
}

/// An evaluation with the registers it had, unless they are those of another profile that had the same name.
fn go_on(profile: &EvaluationProfile, state: &[u8]) -> Option<Evaluation> {
    let name = profile.name();
    let Some(state) = state.strip_prefix(owner(profile).as_slice()) else {
        info!(profile = %name, "the profile has changed: its evaluation begins anew");
        return None;
    };
    let restored = Evaluation::restore(profile.clone(), state);
    restored
        .inspect_err(|error| warn!(profile = %name, %error, "an evaluation begins anew"))
        .ok()
}

/// What stands before a kept state: the hash of the profile it belongs to.
fn owner(profile: &EvaluationProfile) -> Vec<u8> {
    // A profile that was read can be written.
    let written = serde_json::to_vec(profile).unwrap_or_default();
    Hash::Sha256.digest(&written)
}

fn carry_out(
    profile: &ProfileName,
    consumers: &[ProfileName],
    effect: Effect,
    batch: &mut Batch,
    journal: &Journal,
    defects: Defects,
) {
    match effect {
        Effect::Derived(mut line) => {
            defects.falsify_derived(&mut line);
            batch.derived.push(line);
        }
        Effect::Delivery(delivery) => {
            info!(%profile, recipient = %delivery.recipient, due = %delivery.due, lines = delivery.lines.len(), "to be sent");
            batch.deliveries.push(delivery);
        }
        Effect::Expired { before } => {
            batch
                .expired
                .push((profile.clone(), defects.expiry(before)));
        }
        Effect::Finding { at, finding } if finding.is_trouble() => {
            warn!(%profile, %at, %finding, "evaluation");
            let event = Event::new(EventKind::TariffError).with(profile);
            let told = consumers.iter().cloned().fold(event, Event::of_consumer);
            journal.note(told.with(finding));
        }
        Effect::Finding { at, finding } => info!(%profile, %at, %finding, "evaluation"),
        // What a display shows and who opens a breaker is told by the registers; neither is wired to this gateway.
        Effect::Display(lines) => info!(%profile, lines = lines.len(), "for the display"),
        Effect::Warning { .. } => warn!(%profile, "the credit is low"),
        Effect::Breakers { ids, closed } => {
            error!(%profile, breakers = ids.len(), closed, "breakers are to be switched, but none is connected");
        }
    }
}

impl std::fmt::Debug for Evaluations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self
            .at_work
            .iter()
            .map(|work| work.evaluation.profile().name());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use smgw_core::log::Stamp;
    use smgw_core::profile::ProfileSet;
    use smgw_core::{CombinedStatus, Content, Entry};
    use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit};

    use super::*;
    use crate::store::{Options, Store};

    const METER: &str = "1smb0000000001";

    fn stamp() -> Stamp {
        Stamp {
            utc: UtcNanos(0),
            valid: true,
            monotonic: Nanos(0),
        }
    }

    fn window(use_case: &str) -> [Window; 1] {
        let text = format!(
            "schema = \"smgw.profiles/1\"\n[[meter]]\nmeter = \"{METER}\"\nregisters = [\"1-0:1.8.0*255\"]\n\
             [[evaluation]]\nname = \"tariff\"\ninput = [{{ meter = \"{METER}\", obis = \"1-0:1.8.0*255\" }}]\n\
             [evaluation.use-case.taf-4]\nsteps = [\"1-0:1.8.1*255\", \"1-0:1.8.2*255\"]\n{use_case}"
        );
        let set: ProfileSet = toml::from_str(&text).unwrap();
        [Window {
            number: 1,
            span: Validity::default(),
            set: Arc::new(set),
        }]
    }

    fn batch(point: i64, watt_hours: i128) -> Batch {
        let target = UtcNanos::from_seconds(point * 900);
        let content = Content::Value {
            capture: target,
            value: Decimal::new(watt_hours, 0),
            unit: Unit::WATT_HOUR,
        };
        let meter: DeviceId = METER.parse().unwrap();
        Batch {
            entries: vec![Kept {
                meter,
                period: 900,
                entry: Entry {
                    obis: Obis::IMPORT_TOTAL,
                    target,
                    status: CombinedStatus::of_value(0),
                    content,
                },
                signature: Vec::new(),
            }],
            ..Batch::default()
        }
    }

    /// What the total register says after a value of 110 Wh, by an evaluation that held this state for 100 Wh.
    fn total_after(states: BTreeMap<ProfileName, Vec<u8>>, windows: &[Window]) -> i128 {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let (journal, thread) = Journal::start(store, stamp).unwrap();
        let mut evaluations = Evaluations::new(states, Vec::new(), Defects::default());
        let mut last = batch(2, 110);
        let now = UtcNanos::from_seconds(1_811);
        evaluations.arm(windows, UtcNanos::from_seconds(1_000));
        evaluations.handle(&mut last, now, &journal);
        journal.finish();
        thread.join().unwrap();
        let total = last.derived.iter().rev();
        let mut total = total.filter(|line| line.entry.obis == Obis::IMPORT_TOTAL);
        match total.next().map(|line| line.entry.content) {
            Some(Content::Value { value, .. }) => value.mantissa_at(0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_consumer_reads_of_trouble_with_his_meter() {
        use smgw_core::log::Book;

        use crate::store::LogSelection;

        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let (journal, thread) = Journal::start(store, stamp).unwrap();
        let [owner, other]: [ProfileName; 2] = ["owner", "other"].map(|name| name.parse().unwrap());
        let meter: DeviceId = METER.parse().unwrap();
        let consumers = vec![(owner.clone(), vec![meter]), (other.clone(), Vec::new())];
        let mut evaluations = Evaluations::new(BTreeMap::new(), consumers, Defects::default());
        evaluations.arm(&window("bounds = [\"5\"]\n"), UtcNanos::from_seconds(1));
        // The register decreases without a reason.
        for (point, value) in [(1, 100), (2, 50)] {
            let now = UtcNanos::from_seconds(point * 900 + 11);
            evaluations.handle(&mut batch(point, value), now, &journal);
        }
        journal.finish();
        thread.join().unwrap();
        journal.with_store(|store| {
            let told = |name| {
                let records = store.log(&Book::Consumer(name), LogSelection::default());
                let records = records.unwrap().into_iter();
                records.map(|record| record.event).collect::<Vec<_>>()
            };
            assert_eq!(told(owner), [EventKind::TariffError.id()]);
            assert!(told(other).is_empty());
        });
    }

    #[test]
    fn registers_belong_to_the_profile_that_made_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let (journal, thread) = Journal::start(store, stamp).unwrap();
        let [cheap, dear] = ["bounds = [\"5\"]\n", "bounds = [\"50\"]\n"].map(window);
        let mut evaluations = Evaluations::new(BTreeMap::new(), Vec::new(), Defects::default());
        evaluations.arm(&cheap, UtcNanos::from_seconds(1));
        let mut first = batch(1, 100);
        evaluations.handle(&mut first, UtcNanos::from_seconds(911), &journal);
        journal.finish();
        thread.join().unwrap();
        let states: BTreeMap<_, _> = first.states.into_iter().collect();
        assert_eq!(states.len(), 1);

        // Over a restart the same profile goes on; another one of the same name and form begins anew.
        assert_eq!(total_after(states.clone(), &cheap), 10);
        assert_eq!(total_after(states, &dear), 0);
    }
}
