// SPDX-License-Identifier: MIT OR Apache-2.0
//! When billing periods are closed (TAF 1 to 5, 8 and 12 of TR-03109-1): with the first point that counts at their end or
//! after it. The line's target time tells which one it was (assumption: nothing is put in place of a missing value).

use smgw_units::UtcNanos;

use crate::profile::EvaluationProfile;
use crate::taf::state::state;

/// The end of the billing period that is open, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    end: i64,
}

state!(Closing { end });

impl Closing {
    /// An evaluation that begins at `start`. Where a period begins exactly there, it is closed with its first point: the
    /// opening reading.
    pub(crate) fn new(profile: &EvaluationProfile, start: UtcNanos) -> Self {
        let (from, _) = profile.validity();
        let begin = start.max(from);
        let period = profile.billing().period_of(profile.zone(), from, begin);
        let exact =
            UtcNanos::from_seconds(begin.seconds()) == begin && begin.seconds() == period.start;
        let end = if exact { period.start } else { period.end };
        Self {
            end: end.min(last_of(profile)),
        }
    }

    /// Whether a point that counts closes a billing period.
    pub(crate) fn closes(&mut self, profile: &EvaluationProfile, target: UtcNanos) -> bool {
        let second = target.seconds();
        if second < self.end {
            return false;
        }
        let (from, _) = profile.validity();
        let last = last_of(profile);
        self.end = if second >= last {
            i64::MAX
        } else {
            profile
                .billing()
                .period_of(profile.zone(), from, target)
                .end
                .min(last)
        };
        true
    }
}

/// The last second of the profile's validity, which closes whatever is open.
fn last_of(profile: &EvaluationProfile) -> i64 {
    profile.validity().1.seconds()
}
