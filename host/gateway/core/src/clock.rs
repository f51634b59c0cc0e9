// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's time: UTC of monotonic instants, disciplined by a time server's authentic answers
//! (TR-03109-1 detail specifications §14; catalogue rows TIM-06 to TIM-12).
//!
//! The machine keeps an interval that holds the true time as long as the server tells the truth and the oscillator keeps
//! its promise: an estimate and its uncertainty, which grows with the assumed drift. A sample is an interval too. Where
//! both overlap, the truth lies in the overlap, and its middle is the new estimate; where they do not, the sample is
//! authentic and the own estimate is wrong. So a slow answer never makes a good clock worse.
//!
//! Small corrections are spread over time, so that UTC never runs backwards; larger ones are steps, and reported. The
//! time is valid from the first sample on, as long as the uncertainty stays within the limit of 3 % of the smallest
//! registration period. A sample that shows a valid clock to have been further off than that makes the time invalid until
//! another sample confirms the correction.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_units::{Nanos, UtcNanos};

/// What the clock keeps to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockSettings {
    /// The most that time is off while it is valid.
    pub limit: Duration,
    /// A valid clock ignores corrections beyond this (REQ.TA.NTP.ProcessResponse.110).
    pub longest_jump: Duration,
    /// Assumed error of the oscillator's rate, in parts per million.
    pub drift_ppm: u32,
    /// The largest correction that is spread over time.
    pub longest_slew: Duration,
    /// How fast it is spread, in parts per million.
    pub slew_ppm: u32,
    /// Time between polls of a valid clock, and the longest pause after failures.
    pub poll_interval: Duration,
    /// The shortest time between polls (detail specifications §14.3.2.2: a minute).
    pub shortest_poll: Duration,
}

impl ClockSettings {
    /// The defaults for a smallest registration period: 3 % of it are the limit; 1000 s; 50 ppm; corrections up to half
    /// a second are spread at 0.5 %, half of what an interval between registrations may vary; a poll every quarter of an
    /// hour, at most one a minute.
    pub fn for_period(period: Duration) -> Self {
        let limit = period * 3 / 100;
        Self {
            limit,
            longest_jump: Duration::from_secs(1_000),
            drift_ppm: 50,
            // A correction that is being spread must leave room for the uncertainty.
            longest_slew: Duration::from_millis(500).min(limit / 2),
            slew_ppm: 5_000,
            poll_interval: Duration::from_secs(900),
            shortest_poll: Duration::from_secs(60),
        }
    }
}

/// An authentic answer of the time server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeSample {
    /// The monotonic instant it is about.
    pub at: Nanos,
    /// UTC then.
    pub utc: UtcNanos,
    /// The most that `utc` can be off.
    pub uncertainty: Duration,
}

/// Whether times may be used for billing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// Off by no more than the limit.
    Valid,
    /// Never set, too long without an answer, or found to be wrong (status bit 9).
    Invalid,
}

/// Why time became invalid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidReason {
    /// Without answers the uncertainty has outgrown the limit.
    TooUncertain,
    /// A sample shows that it was off by more than the limit.
    Deviation,
}

impl core::fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooUncertain => "no answer for so long that it may be off by more than the limit",
            Self::Deviation => "it was off by more than the limit",
        })
    }
}

/// What the clock tells of itself. All but [`Self::Slewed`] concern calibration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockEvent {
    /// Set by the first sample after the start; what was added to the time assumed until then, in nanoseconds.
    SetFirst {
        /// New minus old time.
        by: i64,
    },
    /// Set at once.
    Stepped {
        /// New minus old time, in nanoseconds.
        by: i64,
    },
    /// Being corrected gradually.
    Slewed {
        /// New minus old time, in nanoseconds.
        by: i64,
    },
    /// Not used for billing from now on.
    BecameInvalid(InvalidReason),
    /// Fit for billing from now on.
    BecameValid,
    /// A sample was too far off to be believed by a valid clock.
    JumpIgnored {
        /// Its time minus ours, in nanoseconds.
        by: i64,
    },
}

impl ClockEvent {
    /// Whether the calibration log wants it.
    pub fn concerns_calibration(self) -> bool {
        !matches!(self, Self::Slewed { .. })
    }
}

/// How far the clock has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// No sample yet: the time is what somebody assumed.
    Assumed,
    /// A sample has set it.
    Set,
    /// The last sample contradicted it beyond the limit.
    Contradicted,
}

/// The machine; see the module. Same inputs, same outputs.
#[derive(Clone, Debug)]
pub struct Discipline {
    settings: ClockSettings,
    phase: Phase,
    /// The estimate at `base`, with what is still to be spread left out.
    base: Nanos,
    utc: UtcNanos,
    uncertainty: u64,
    /// Correction to be spread from `base` on, in nanoseconds.
    slew: i64,
    set_at: Option<UtcNanos>,
    validity: Validity,
    next_poll: Nanos,
    polled: Option<Nanos>,
    failures: u32,
    events: VecDeque<(Nanos, ClockEvent)>,
}

impl Discipline {
    /// A clock that assumes `utc` at `start`, invalid until a sample comes. It wants to poll at once.
    pub fn new(settings: ClockSettings, start: Nanos, utc: UtcNanos) -> Self {
        Self {
            settings,
            phase: Phase::Assumed,
            base: start,
            utc,
            uncertainty: 0,
            slew: 0,
            set_at: None,
            validity: Validity::Invalid,
            next_poll: start,
            polled: None,
            failures: 0,
            events: VecDeque::new(),
        }
    }

    /// UTC at `at`. Between two samples it never runs backwards.
    pub fn utc(&self, at: Nanos) -> UtcNanos {
        let elapsed = self.elapsed(at);
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let utc = self.utc.0.saturating_add(elapsed);
        UtcNanos(utc.saturating_add(self.spread(at)))
    }

    /// The most that [`Self::utc`] is off; `None` before the first sample.
    pub fn uncertainty(&self, at: Nanos) -> Option<Duration> {
        if self.phase == Phase::Assumed {
            return None;
        }
        let drift = drifted(self.elapsed(at), self.settings.drift_ppm);
        let unspread = self.slew.abs_diff(self.spread(at));
        let sum = self
            .uncertainty
            .saturating_add(drift)
            .saturating_add(unspread);
        Some(Duration::from_nanos(sum))
    }

    /// Whether times taken at `at` may be used for billing.
    pub fn validity(&self, at: Nanos) -> Validity {
        let certain = |uncertainty| uncertainty <= self.settings.limit;
        match self.phase {
            Phase::Set if self.uncertainty(at).is_some_and(certain) => Validity::Valid,
            _ => Validity::Invalid,
        }
    }

    /// UTC of the last sample that was believed.
    pub fn set_at(&self) -> Option<UtcNanos> {
        self.set_at
    }

    /// A poll leaves at `at`.
    pub fn polled(&mut self, at: Nanos) {
        self.polled = Some(at);
        // Should nobody tell what came of it.
        self.schedule();
    }

    /// The poll brought nothing usable: the next ones wait twice as long each.
    pub fn handle_failure(&mut self, now: Nanos) {
        self.handle_time(now);
        self.failures = self.failures.saturating_add(1);
        self.schedule();
    }

    /// The poll brought `sample`.
    pub fn handle_sample(&mut self, sample: TimeSample) {
        let TimeSample { at, utc, .. } = sample;
        self.handle_time(at);
        let own = self.utc(at);
        let by = utc.0.saturating_sub(own.0);
        let beyond = |limit: Duration| u128::from(by.unsigned_abs()) > limit.as_nanos();
        if self.validity == Validity::Valid && beyond(self.settings.longest_jump) {
            self.note(at, ClockEvent::JumpIgnored { by });
            self.failures = self.failures.saturating_add(1);
            self.schedule();
            return;
        }
        let contradicted = self.validity == Validity::Valid && beyond(self.settings.limit);
        let (uncertainty, by) = self.combine(own, sample);
        let first = self.phase == Phase::Assumed;
        let small = u128::from(by.unsigned_abs()) <= self.settings.longest_slew.as_nanos();
        self.base = at;
        self.uncertainty = uncertainty;
        (self.utc, self.slew) = match small && !first {
            true => (own, by),
            false => (UtcNanos(own.0.saturating_add(by)), 0),
        };
        self.set_at = Some(self.utc(at));
        self.failures = 0;
        let event = match (first, small) {
            (true, _) => Some(ClockEvent::SetFirst { by }),
            (false, false) => Some(ClockEvent::Stepped { by }),
            (false, true) if by != 0 => Some(ClockEvent::Slewed { by }),
            (false, true) => None,
        };
        if let Some(event) = event {
            self.note(at, event);
        }
        self.phase = if contradicted {
            Phase::Contradicted
        } else {
            Phase::Set
        };
        self.judge(at);
        self.schedule();
    }

    /// Time passes. Call it about once a second: the event that tells of a change waits for it, the validity does not.
    pub fn handle_time(&mut self, now: Nanos) {
        self.judge(now);
    }

    /// When the next poll is wanted.
    pub fn next_poll(&self) -> Nanos {
        self.next_poll
    }

    /// What happened since the last call, oldest first, with its monotonic instant.
    pub fn poll_event(&mut self) -> Option<(Nanos, ClockEvent)> {
        self.events.pop_front()
    }

    /// The new uncertainty, and what has to be added to `own` time.
    fn combine(&self, own: UtcNanos, sample: TimeSample) -> (u64, i64) {
        let theirs = u64::try_from(sample.uncertainty.as_nanos()).unwrap_or(u64::MAX);
        let offset = i128::from(sample.utc.0) - i128::from(own.0);
        let sample_alone = (theirs, i64::try_from(offset).unwrap_or(i64::MAX));
        let (Phase::Set | Phase::Contradicted, Some(ours)) =
            (self.phase, self.uncertainty(sample.at))
        else {
            return sample_alone;
        };
        let (ours, theirs) = (ours.as_nanos() as i128, i128::from(theirs));
        let low = (-ours).max(offset - theirs);
        let high = ours.min(offset + theirs);
        if low > high {
            return sample_alone;
        }
        let middle = low + (high - low) / 2;
        let radius = (high - middle).max(middle - low);
        match (u64::try_from(radius), i64::try_from(middle)) {
            (Ok(radius), Ok(middle)) => (radius, middle),
            _ => sample_alone,
        }
    }

    fn judge(&mut self, at: Nanos) {
        let validity = self.validity(at);
        if validity == self.validity {
            return;
        }
        self.validity = validity;
        let event = match (validity, self.phase) {
            (Validity::Valid, _) => ClockEvent::BecameValid,
            (Validity::Invalid, Phase::Contradicted) => {
                ClockEvent::BecameInvalid(InvalidReason::Deviation)
            }
            (Validity::Invalid, _) => ClockEvent::BecameInvalid(InvalidReason::TooUncertain),
        };
        self.note(at, event);
        self.schedule();
    }

    /// A valid clock polls at leisure, any other soon; failures double the pause up to the usual one.
    fn schedule(&mut self) {
        let Some(polled) = self.polled else { return };
        let ClockSettings {
            poll_interval,
            shortest_poll,
            ..
        } = self.settings;
        let longest = poll_interval.max(shortest_poll);
        let pause = match (self.failures, self.validity) {
            (0, Validity::Valid) => longest,
            (failures, _) => {
                let doubled = failures.saturating_sub(1).min(16);
                shortest_poll.saturating_mul(1 << doubled).min(longest)
            }
        };
        self.next_poll = polled + pause;
    }

    fn elapsed(&self, at: Nanos) -> u64 {
        at.0.saturating_sub(self.base.0)
    }

    /// How much of the slew has been applied by `at`.
    fn spread(&self, at: Nanos) -> i64 {
        let most = parts_per_million(self.elapsed(at), self.settings.slew_ppm.min(999_999));
        let spread = most.min(self.slew.unsigned_abs());
        // No more than the slew itself.
        self.slew.signum() * spread as i64
    }

    fn note(&mut self, at: Nanos, event: ClockEvent) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((at, event));
    }
}

/// What an oscillator may be off after it has shown `span` nanoseconds, rounded up. Its parts per million are of true time,
/// of which a slow one shows less.
fn drifted(span: u64, ppm: u32) -> u64 {
    let ppm = u128::from(ppm.min(999_999));
    let drift = (u128::from(span) * ppm).div_ceil(1_000_000 - ppm);
    u64::try_from(drift).unwrap_or(u64::MAX).saturating_add(1)
}

/// `ppm` parts per million of a span in nanoseconds, rounded down.
fn parts_per_million(span: u64, ppm: u32) -> u64 {
    let part = u128::from(span) * u128::from(ppm) / 1_000_000;
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Events kept for a caller that does not ask.
const MOST_EVENTS: usize = 64;
