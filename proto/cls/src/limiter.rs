// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limit on power consumption, with heartbeat and fail-safe value: the states of EEBUS LPC, without any clock.
//!
//! | rule | source |
//! |---|---|
//! | no heartbeat for 120 s leads into [`Mode::Failsafe`] | EEBUS LPC, as public bridges implement it |
//! | the way back from there needs a heartbeat and a limit that is new | the same |
//! | a limit without duration never expires | the same |
//! | nothing is unlimited before a time of grace has passed, as long as the heartbeat's | the same |
//! | the fail-safe state lasts 2 to 24 hours when nobody calls any more | the same |
//! | a limit that comes without heartbeat waits as long as the grace for one | assumption |
//! | the relay releases the load when the limit leaves its nominal power, and in no other case | assumption |
//!
//! 4 200 W is the least that §14a EnWG leaves a device (BNetzA BK6-22-300).
//!
//! Times are milliseconds of a clock that never goes back. What falls due between two calls happens at its own time, so
//! it does not matter how often [`Limiter::handle_timeout`] is called.

/// The states of EEBUS LPC.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Mode {
    /// Just started: the fail-safe limit holds until somebody takes control or the grace has passed.
    Init = 0,
    /// Somebody is in control and sets no limit.
    UnlimitedControlled = 1,
    /// Somebody is in control and sets a limit.
    Limited = 2,
    /// Control was lost: the fail-safe limit holds.
    Failsafe = 3,
    /// Nobody has been in control for long enough.
    UnlimitedAutonomous = 4,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 5] = [
        Self::Init,
        Self::UnlimitedControlled,
        Self::Limited,
        Self::Failsafe,
        Self::UnlimitedAutonomous,
    ];
}

/// What a device is and how long it waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// What the load draws when nothing limits it, in watts.
    pub nominal_watts: u32,
    /// The limit without control, in watts.
    pub failsafe_watts: u32,
    /// The longest time between two heartbeats, and the time of grace, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long the fail-safe limit holds when nobody calls any more, in milliseconds.
    pub failsafe_ms: u64,
}

impl Default for Rules {
    /// A wallbox of 11 kW with the times and values of the module's table.
    fn default() -> Self {
        Self {
            nominal_watts: 11_000,
            failsafe_watts: 4_200,
            heartbeat_ms: 120_000,
            failsafe_ms: 2 * 3_600_000,
        }
    }
}

/// A limit and the time it ends at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Limit {
    watts: u32,
    until: Option<u64>,
}

impl Limit {
    fn holds(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What was last asked for, and when; `None` asks for no limit.
#[derive(Clone, Copy, Debug)]
struct Wish {
    limit: Option<Limit>,
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Init { until: u64 },
    Controlled { limit: Option<Limit> },
    Failsafe { until: u64 },
    Autonomous,
}

/// The machine. See the [module](self) for its rules.
#[derive(Clone, Debug)]
pub struct Limiter {
    rules: Rules,
    now: u64,
    state: State,
    /// The last heartbeat, while it is not too old.
    heartbeat: Option<u64>,
    /// When heartbeats came back after control was lost.
    returned: Option<u64>,
    wish: Option<Wish>,
}

impl Limiter {
    /// A device that just started.
    pub fn new(rules: Rules, now: u64) -> Self {
        Self {
            rules,
            now,
            state: State::Init {
                until: now.saturating_add(rules.heartbeat_ms),
            },
            heartbeat: None,
            returned: None,
            wish: None,
        }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The state.
    pub fn mode(&self) -> Mode {
        match self.state {
            State::Init { .. } => Mode::Init,
            State::Controlled { limit: Some(_) } => Mode::Limited,
            State::Controlled { limit: None } => Mode::UnlimitedControlled,
            State::Failsafe { .. } => Mode::Failsafe,
            State::Autonomous => Mode::UnlimitedAutonomous,
        }
    }

    /// The limit that holds, in watts.
    pub fn limit(&self) -> Option<u32> {
        match self.state {
            State::Init { .. } | State::Failsafe { .. } => Some(self.rules.failsafe_watts),
            State::Controlled { limit } => limit.map(|limit| limit.watts),
            State::Autonomous => None,
        }
    }

    /// Whether the relay releases the load.
    pub fn relay(&self) -> bool {
        self.limit()
            .is_none_or(|watts| watts >= self.rules.nominal_watts)
    }

    /// Somebody shows that it is in control.
    pub fn heartbeat(&mut self, now: u64) {
        self.handle_timeout(now);
        self.heartbeat = Some(self.now);
        self.returned.get_or_insert(self.now);
        self.take_control();
    }

    /// A limit in watts is asked for, for so many seconds or until further notice.
    pub fn limit_to(&mut self, now: u64, watts: u32, seconds: Option<u32>) {
        self.handle_timeout(now);
        let end = |seconds| self.now.saturating_add(u64::from(seconds) * 1_000);
        let until = seconds.map(end);
        self.wish(Some(Limit { watts, until }));
    }

    /// No limit is asked for.
    pub fn lift(&mut self, now: u64) {
        self.handle_timeout(now);
        self.wish(None);
    }

    /// Lets happen what falls due up to `now`; a time before the last one counts as that.
    pub fn handle_timeout(&mut self, now: u64) {
        let now = now.max(self.now);
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now) {
            self.now = due.max(self.now);
            self.fall_due();
        }
        self.now = now;
    }

    /// When something falls due next.
    pub fn poll_timeout(&self) -> Option<u64> {
        let silence = self.heartbeat.map(|last| self.after(last));
        let of_state = match self.state {
            State::Init { until } => Some(until),
            State::Failsafe { until } => {
                let returned = self.returned.map(|returned| self.after(returned));
                Some(returned.map_or(until, |returned| returned.min(until)))
            }
            State::Controlled { limit } => limit.and_then(|limit| limit.until),
            State::Autonomous => None,
        };
        let of_wish = self.wish.map(|wish| self.after(wish.at));
        [silence, of_state, of_wish].into_iter().flatten().min()
    }

    fn wish(&mut self, limit: Option<Limit>) {
        self.wish = Some(Wish {
            limit,
            at: self.now,
        });
        self.take_control();
    }

    /// A heartbeat and a wish together are control.
    fn take_control(&mut self) {
        if self.heartbeat.is_none() {
            return;
        }
        if let Some(wish) = self.wish.take() {
            let limit = wish.limit.filter(|limit| limit.holds(self.now));
            self.state = State::Controlled { limit };
        }
    }

    /// What is due at `self.now` happens; each call takes away at least one reason for the present time-out.
    fn fall_due(&mut self) {
        let now = self.now;
        let over = |since: u64| self.after(since) <= now;
        let silent = self.heartbeat.is_some_and(over);
        let graced = self.returned.is_some_and(over);
        if self.wish.is_some_and(|wish| over(wish.at)) {
            self.wish = None;
        }
        if silent {
            self.heartbeat = None;
            self.returned = None;
        }
        match self.state {
            State::Controlled { .. } if silent => {
                self.state = State::Failsafe {
                    until: now.saturating_add(self.rules.failsafe_ms),
                };
            }
            State::Controlled { limit } => {
                let limit = limit.filter(|limit| limit.holds(now));
                self.state = State::Controlled { limit };
            }
            State::Failsafe { until } if until <= now || (graced && !silent) => {
                self.state = State::Autonomous;
            }
            State::Init { until } if until <= now => self.state = State::Autonomous,
            State::Init { .. } | State::Failsafe { .. } | State::Autonomous => {}
        }
    }

    /// The end of a heartbeat or a grace that began at `since`. A clock at its last millisecond ends nothing.
    fn after(&self, since: u64) -> u64 {
        since.saturating_add(self.rules.heartbeat_ms.max(1))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000;

    fn limiter() -> Limiter {
        Limiter::new(Rules::default(), 0)
    }

    fn at(limiter: &mut Limiter, now: u64) -> (Mode, Option<u32>, bool) {
        limiter.handle_timeout(now);
        (limiter.mode(), limiter.limit(), limiter.relay())
    }

    #[test]
    fn nobody_calls() {
        let mut limiter = limiter();
        assert_eq!(at(&mut limiter, 0), (Mode::Init, Some(4_200), false));
        assert_eq!(at(&mut limiter, 120 * SECOND - 1).0, Mode::Init);
        let free = (Mode::UnlimitedAutonomous, None, true);
        assert_eq!(at(&mut limiter, 120 * SECOND), free);
        assert_eq!(limiter.poll_timeout(), None);
    }

    #[test]
    fn a_limit_holds_until_it_ends_or_the_heartbeat_does() {
        let mut limiter = limiter();
        limiter.heartbeat(0);
        limiter.limit_to(0, 5_000, Some(60));
        assert_eq!(
            at(&mut limiter, 59_999),
            (Mode::Limited, Some(5_000), false)
        );
        let controlled = (Mode::UnlimitedControlled, None, true);
        assert_eq!(at(&mut limiter, 60_000), controlled);
        limiter.limit_to(60_000, 11_000, None);
        assert_eq!(
            at(&mut limiter, 119_999),
            (Mode::Limited, Some(11_000), true)
        );
        let failsafe = (Mode::Failsafe, Some(4_200), false);
        assert_eq!(at(&mut limiter, 120_000), failsafe);
        limiter.heartbeat(121_000);
        assert_eq!(
            at(&mut limiter, 121_000),
            failsafe,
            "a heartbeat is not enough"
        );
        limiter.lift(122_000);
        assert_eq!(at(&mut limiter, 122_000), controlled);
    }

    #[test]
    fn a_limit_alone_does_not_end_the_failsafe_state() {
        let mut limiter = limiter();
        limiter.heartbeat(0);
        limiter.lift(0);
        limiter.limit_to(130_000, 6_000, None);
        assert_eq!(at(&mut limiter, 130_000).0, Mode::Failsafe);
        limiter.heartbeat(200_000);
        assert_eq!(
            at(&mut limiter, 200_000),
            (Mode::Limited, Some(6_000), false)
        );
        limiter.limit_to(400_000, 6_000, None);
        limiter.heartbeat(520_000);
        assert_eq!(
            at(&mut limiter, 520_000).0,
            Mode::Failsafe,
            "the limit waited too long"
        );
    }

    #[test]
    fn the_failsafe_state_ends_after_two_hours_or_a_grace_with_heartbeats() {
        let mut limiter = limiter();
        limiter.heartbeat(0);
        limiter.lift(0);
        let end = 120 * SECOND + 2 * 3_600 * SECOND;
        let mut other = limiter.clone();
        assert_eq!(at(&mut limiter, end - 1).0, Mode::Failsafe);
        assert_eq!(at(&mut limiter, end).0, Mode::UnlimitedAutonomous);
        for second in [200, 260, 319] {
            other.heartbeat(second * SECOND);
            assert_eq!(other.mode(), Mode::Failsafe);
        }
        assert_eq!(at(&mut other, 320 * SECOND).0, Mode::UnlimitedAutonomous);
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Heartbeat,
        Limit(u32, Option<u32>),
        Lift,
        Wait,
    }

    fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
        let act = prop_oneof![
            Just(Act::Heartbeat),
            (0u32..12_000, prop::option::of(0u32..200)).prop_map(|(w, s)| Act::Limit(w, s)),
            Just(Act::Lift),
            Just(Act::Wait),
        ];
        let pause = prop_oneof![0u64..1_000, 0u64..200_000, Just(120_000), 0u64..9_000_000];
        prop::collection::vec((pause, act), 0..40)
    }

    proptest! {
        /// Whatever comes: no limit weaker than the fail-safe value without control, and no control without heartbeat.
        #[test]
        fn control_needs_heartbeats(acts in acts()) {
            let mut limiter = limiter();
            let (mut now, mut last) = (0, None);
            for (pause, act) in acts {
                now += pause;
                match act {
                    Act::Heartbeat => {
                        limiter.heartbeat(now);
                        last = Some(now);
                    }
                    Act::Limit(watts, seconds) => limiter.limit_to(now, watts, seconds),
                    Act::Lift => limiter.lift(now),
                    Act::Wait => limiter.handle_timeout(now),
                }
                let alive = last.is_some_and(|last| now - last < 120_000);
                match limiter.mode() {
                    Mode::Limited | Mode::UnlimitedControlled => prop_assert!(alive),
                    Mode::Init | Mode::Failsafe => {
                        prop_assert_eq!(limiter.limit(), Some(4_200));
                        prop_assert!(!limiter.relay());
                    }
                    Mode::UnlimitedAutonomous => prop_assert!(now >= 120_000),
                }
                prop_assert!(limiter.poll_timeout().is_none_or(|due| due > now));
            }
        }

        /// How often it is asked changes nothing.
        #[test]
        fn looking_in_between_changes_nothing(acts in acts(), step in 1u64..50_000) {
            let (mut seldom, mut often) = (limiter(), limiter());
            let mut now = 0;
            for (pause, act) in acts {
                for part in (step..pause.min(40 * step)).step_by(step as usize) {
                    often.handle_timeout(now + part);
                }
                now += pause;
                for limiter in [&mut seldom, &mut often] {
                    match act {
                        Act::Heartbeat => limiter.heartbeat(now),
                        Act::Limit(watts, seconds) => limiter.limit_to(now, watts, seconds),
                        Act::Lift => limiter.lift(now),
                        Act::Wait => limiter.handle_timeout(now),
                    }
                }
                prop_assert_eq!(seldom.mode(), often.mode());
                prop_assert_eq!(seldom.limit(), often.limit());
                prop_assert_eq!(seldom.poll_timeout(), often.poll_timeout());
            }
        }

        /// Extreme rules and times neither overflow nor hang.
        #[test]
        fn extremes_are_survived(
            heartbeat_ms in prop_oneof![0u64..3, Just(u64::MAX)],
            failsafe_ms in prop_oneof![0u64..3, Just(u64::MAX)],
            start in prop_oneof![Just(0u64), Just(u64::MAX - 1)],
        ) {
            let rules = Rules { heartbeat_ms, failsafe_ms, ..Rules::default() };
            let mut limiter = Limiter::new(rules, start);
            limiter.heartbeat(start);
            limiter.limit_to(start, 1, Some(u32::MAX));
            limiter.handle_timeout(u64::MAX - 1);
            limiter.heartbeat(u64::MAX - 1);
            let _ = (limiter.mode(), limiter.poll_timeout());
        }
    }
}
