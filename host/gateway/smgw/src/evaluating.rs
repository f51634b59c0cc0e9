// SPDX-License-Identifier: MIT OR Apache-2.0
//! The evaluations at work: fed with what the value lists decide, and what they make goes into the same batch
//! (TR-03109-1, evaluation profiles; catalogue rows MET-05 to MET-14, MET-19).

use std::collections::BTreeMap;

use smgw_core::profile::{ProfileName, Validity};
use smgw_core::taf::{Effect, Evaluation};
use smgw_units::UtcNanos;
use tracing::{error, info, warn};

use crate::defects::Defects;
use crate::measuring::Window;
use crate::store::{Batch, Kept};

/// One evaluation and the set of profiles it belongs to.
struct AtWork {
    version: u32,
    span: Validity,
    evaluation: Evaluation,
}

/// All evaluations.
pub struct Evaluations {
    at_work: Vec<AtWork>,
    /// States the store held at the start, until somebody claims them.
    states: BTreeMap<ProfileName, Vec<u8>>,
    defects: Defects,
}

impl Evaluations {
    /// None at work yet; `states` is what the store holds of earlier ones.
    pub fn new(states: BTreeMap<ProfileName, Vec<u8>>, defects: Defects) -> Self {
        Self {
            at_work: Vec::new(),
            states,
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
                let restored = state.map(|state| Evaluation::restore(profile.clone(), &state));
                let evaluation = match restored {
                    Some(Ok(evaluation)) => evaluation,
                    Some(Err(error)) => {
                        warn!(profile = %profile.name(), %error, "an evaluation begins anew");
                        Evaluation::new(profile.clone(), start)
                    }
                    None => Evaluation::new(profile.clone(), start),
                };
                self.at_work.push(AtWork {
                    version: window.number,
                    span: window.span,
                    evaluation,
                });
            }
        }
    }

    /// Whether `profile` is at work already, for this set or for the one before it, which then hands it over.
    fn continues(
        &mut self,
        profile: &smgw_core::profile::EvaluationProfile,
        window: &Window,
    ) -> bool {
        let same = |work: &&mut AtWork| work.evaluation.profile() == profile;
        let Some(work) = self.at_work.iter_mut().find(same) else {
            return false;
        };
        if work.version < window.number && work.span.to() == window.span.from() {
            let whole = Validity::new(work.span.from(), window.span.to());
            work.span = whole.unwrap_or(window.span);
            work.version = window.number;
        }
        true
    }

    /// Feeds the batch's entries, tells the time, and adds to the batch what follows.
    pub fn handle(&mut self, batch: &mut Batch, now: UtcNanos) {
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
                carry_out(&name, effect, batch, self.defects);
            }
            batch.states.push((name, work.evaluation.save()));
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

fn carry_out(profile: &ProfileName, effect: Effect, batch: &mut Batch, defects: Defects) {
    match effect {
        Effect::Derived(mut line) => {
            defects.falsify_derived(&mut line);
            batch.derived.push(line);
        }
        Effect::Delivery(delivery) => {
            info!(%profile, recipient = %delivery.recipient, due = %delivery.due, lines = delivery.lines.len(), "to be sent");
            batch.deliveries.push(delivery);
        }
        Effect::Expired { before } => batch.expired.push((profile.clone(), before)),
        Effect::Finding { at, finding } => warn!(%profile, %at, ?finding, "evaluation"),
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
