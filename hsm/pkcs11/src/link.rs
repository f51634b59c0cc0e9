// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way to one token: a fixed set of logged-in sessions, each of which runs one operation at a time (PKCS#11 v2.40
//! §5.6.7), and their return after the token or a session was lost.
//!
//! All sessions are opened together and lost together; one such set is a *generation*. Object handles hold within
//! their generation only. A new one begins when the last session of the old one is back from its work, so that no
//! handle of the old one can be taken for one of the new.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use hsm_api::{ModuleError, Pin, Reason};

use crate::TokenSelector;
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::library::{Library, TokenInfo};

/// What makes a link.
pub(crate) struct Settings {
    pub(crate) selector: TokenSelector,
    /// The token that was found at first; another one under the same name is not taken for it.
    pub(crate) serial: String,
    /// Kept for exactly one login per generation.
    pub(crate) pin: Pin,
    pub(crate) sessions: usize,
    pub(crate) lease_timeout: Duration,
    pub(crate) reopen_pause: Duration,
    /// See [`crate::Quirks::lists_tokens_at_start`].
    pub(crate) restart_library: bool,
}

pub(crate) struct Link {
    // Sessions close before the library is released: fields drop in this order.
    state: Mutex<State>,
    changed: Condvar,
    settings: Settings,
    library: Library,
}

struct State {
    phase: Phase,
    generation: u64,
    /// In phase `Up` those to be leased, otherwise those to be closed.
    free: Vec<Session>,
    busy: usize,
    /// Calls that wait for a session or for the token; to wake nobody would cost each operation a system call.
    waiting: usize,
    /// Whether anything was done in this generation; a token that opens and then fails is as bad as an absent one.
    proven: bool,
    backoff: Backoff,
}

enum Phase {
    Up,
    /// The next call opens the token again, when no session is at work and the pause is over.
    Lost,
    /// One call is opening it.
    Opening,
    /// The token refused the PIN: nobody touches it any more.
    Refused(ModuleError),
}

/// Where work is done: a session, and the generation its handles belong to.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) session: &'a Session,
    pub(crate) generation: u64,
}

impl Link {
    /// Opens all sessions and logs in once; the login holds for all of them.
    pub(crate) fn open(
        library: Library,
        slot: Slot,
        settings: Settings,
    ) -> Result<Self, ModuleError> {
        if settings.sessions == 0 {
            return Err(
                ModuleError::caller("a token needs at least one session").because(Reason::BadInput)
            );
        }
        let free = open_sessions(&library, slot, &settings)?;
        Ok(Self {
            state: Mutex::new(State {
                phase: Phase::Up,
                generation: 0,
                free,
                busy: 0,
                waiting: 0,
                proven: false,
                backoff: Backoff::new(settings.reopen_pause),
            }),
            changed: Condvar::new(),
            settings,
            library,
        })
    }

    /// How many sessions there are.
    pub(crate) fn size(&self) -> usize {
        self.settings.sessions
    }

    /// Whether this generation still is the present one, as far as anybody noticed.
    pub(crate) fn is_up(&self, generation: u64) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Up) && state.generation == generation
    }

    /// Runs `work` on a free session, waiting for one if all are busy. When the session turns out to be lost, the
    /// token is opened again and `work` runs once more, so it must bear being repeated.
    pub(crate) fn run<T>(
        &self,
        what: impl fmt::Display,
        mut work: impl FnMut(Place<'_>) -> Result<T, Failure>,
    ) -> Result<T, ModuleError> {
        let mut last_chance = false;
        loop {
            let failure = match self.lease()?.work(&mut work) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if !failure.ends_session() || last_chance {
                return Err(failure.explain(&what.to_string()));
            }
            last_chance = true;
        }
    }

    fn lease(&self) -> Result<Lease<'_>, ModuleError> {
        let start = Instant::now();
        let mut state = self.state();
        loop {
            match &state.phase {
                Phase::Refused(error) => return Err(error.clone()),
                Phase::Up => {
                    if let Some(session) = state.free.pop() {
                        state.busy += 1;
                        return Ok(Lease {
                            link: self,
                            generation: state.generation,
                            session: Some(session),
                            lost: false,
                        });
                    }
                }
                Phase::Lost if state.busy == 0 => {
                    state = self.reopen(state)?;
                    continue;
                }
                Phase::Lost | Phase::Opening => {}
            }
            let left = self.settings.lease_timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ModuleError::transport(format!(
                    "no session with the {} became free within {:?}",
                    self.settings.selector, self.settings.lease_timeout
                ))
                .because(Reason::Timeout));
            }
            state.waiting += 1;
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.waiting -= 1;
        }
    }

    /// Opens a new generation, without the lock, so that others can see that somebody does.
    fn reopen<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, ModuleError> {
        if let Some(left) = state.backoff.left(Instant::now()) {
            return Err(ModuleError::transport(format!(
                "the {} is gone and is looked for again in {left:.1?}",
                self.settings.selector
            ))
            .because(Reason::Gone));
        }
        state.phase = Phase::Opening;
        let lost = std::mem::take(&mut state.free);
        drop(state);
        drop(lost);
        let opened = find_again(&self.library, &self.settings)
            .and_then(|slot| open_sessions(&self.library, slot, &self.settings));
        let mut state = self.state();
        self.changed.notify_all();
        match opened {
            Ok(sessions) => {
                tracing::info!(token = %self.settings.selector, "token opened again");
                state.phase = Phase::Up;
                state.generation += 1;
                state.proven = false;
                state.free = sessions;
                Ok(state)
            }
            Err(error) => {
                tracing::warn!(token = %self.settings.selector, %error, "token not opened again");
                state.phase = match error.reason() {
                    Reason::PinRefused | Reason::PinLocked => Phase::Refused(error.clone()),
                    _ => Phase::Lost,
                };
                state.backoff.failed(Instant::now());
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below can panic while holding the lock, so a poisoned lock still guards a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session taken out of the free ones; it returns on drop, also when the work panics.
struct Lease<'a> {
    link: &'a Link,
    generation: u64,
    /// `None` only while being dropped.
    session: Option<Session>,
    lost: bool,
}

impl Lease<'_> {
    fn work<T>(
        mut self,
        work: &mut impl FnMut(Place<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(session) = &self.session else {
            return Err(ModuleError::module("a lease without a session").into());
        };
        let outcome = work(Place {
            session,
            generation: self.generation,
        });
        self.lost = outcome.as_ref().is_err_and(Failure::ends_session);
        outcome
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.link.state();
        state.busy = state.busy.saturating_sub(1);
        state.free.extend(self.session.take());
        match (&state.phase, self.lost) {
            (Phase::Up, true) => {
                state.phase = Phase::Lost;
                if state.proven {
                    state.backoff.succeeded();
                } else {
                    state.backoff.failed(Instant::now());
                }
            }
            (Phase::Up, false) => state.proven = true,
            // Another session of this generation was lost meanwhile.
            _ => {}
        }
        let awaited = state.waiting > 0;
        drop(state);
        // Whoever waits may be waiting for a session or for the last one of a lost generation.
        if awaited {
            self.link.changed.notify_all();
        }
    }
}

/// The slot of a token that was open before.
fn find_again(library: &Library, settings: &Settings) -> Result<Slot, ModuleError> {
    let find = || {
        find_token(library, &settings.selector).and_then(|(slot, info)| {
            if info.serial == settings.serial {
                Ok(slot)
            } else {
                Err(ModuleError::transport(format!(
                    "in place of the {} there is one with serial number \"{}\"",
                    settings.selector, info.serial
                ))
                .because(Reason::Gone))
            }
        })
    };
    find().or_else(|_| {
        library.restart(settings.restart_library)?;
        find()
    })
}

fn open_sessions(
    library: &Library,
    slot: Slot,
    settings: &Settings,
) -> Result<Vec<Session>, ModuleError> {
    let Settings {
        selector, sessions, ..
    } = settings;
    let open = |number: usize| {
        library.context().open_rw_session(slot).map_err(|error| {
            Failure::from(error).explain(&format!(
                "opening session {number} of {sessions} with the {selector}"
            ))
        })
    };
    let opened = (1..=*sessions).map(open).collect::<Result<Vec<_>, _>>()?;
    if let Some(session) = opened.first() {
        login(library, slot, session, settings)?;
    }
    Ok(opened)
}

/// One attempt and never a second: a token locks itself after a few wrong PINs.
fn login(
    library: &Library,
    slot: Slot,
    session: &Session,
    settings: &Settings,
) -> Result<(), ModuleError> {
    let token = &settings.selector;
    let flags = || library.context().get_token_info(slot);
    if flags().is_ok_and(|info| info.user_pin_locked()) {
        return Err(ModuleError::module(format!(
            "the PIN of the {token} is locked; it was not tried"
        ))
        .because(Reason::PinLocked));
    }
    let pin = AuthPin::new(settings.pin.expose().to_owned().into());
    let Err(error) = session.login(UserType::User, Some(&pin)) else {
        return Ok(());
    };
    let failure = Failure::from(error);
    // Another module of this process is logged in to the same token; the login is shared.
    if failure.rv() == Some(RvError::UserAlreadyLoggedIn) {
        return Ok(());
    }
    let error = failure.explain(&format!("logging in to the {token}"));
    if !matches!(error.reason(), Reason::PinRefused | Reason::PinLocked) {
        return Err(error);
    }
    let left = match flags() {
        Ok(info) if info.user_pin_locked() => "; the PIN is locked now",
        Ok(info) if info.user_pin_final_try() => "; one attempt is left",
        _ => "",
    };
    Err(ModuleError::module(format!(
        "the {token} refused the PIN, and it was not tried again{left}"
    ))
    .because(error.reason()))
}

/// Fails as lost when the session is not logged in; for work that found nothing, since a token hides private objects
/// from whoever is logged out (PKCS#11 v2.40 §2.4).
pub(crate) fn require_login(session: &Session) -> Result<(), Failure> {
    match session.get_session_info()?.session_state() {
        SessionState::RwUser | SessionState::RoUser => Ok(()),
        _ => Err(Failure::LOGGED_OUT),
    }
}

pub(crate) fn find_token(
    library: &Library,
    selector: &TokenSelector,
) -> Result<(Slot, TokenInfo), ModuleError> {
    let tokens = library.tokens()?;
    let wanted = |info: &TokenInfo| match selector {
        TokenSelector::Label(label) => info.label == *label,
        TokenSelector::Serial(serial) => info.serial == *serial,
    };
    let listing = tokens
        .iter()
        .map(|(_, info)| format!("\"{}\" (serial {})", info.label, info.serial))
        .collect::<Vec<_>>()
        .join(", ");
    let mut matching = tokens.into_iter().filter(|(_, info)| wanted(info));
    let path = library.path().display();
    let text = match (matching.next(), matching.next()) {
        (Some(found), None) => return Ok(found),
        (None, _) if listing.is_empty() => {
            format!("no {selector} in {path}, which has no initialised token")
        }
        (None, _) => format!("no {selector} in {path}, which has {listing}"),
        (Some(_), Some(_)) => format!("more than one {selector} in {path}, which has {listing}"),
    };
    Err(ModuleError::transport(text).because(Reason::Gone))
}
