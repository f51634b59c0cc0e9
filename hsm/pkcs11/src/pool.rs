// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fixed set of logged-in sessions; each runs one operation at a time (PKCS#11 v2.40 §5.6.7).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cryptoki::error::RvError;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use hsm_api::{ModuleError, Pin};

use crate::failure::Failure;
use crate::library::Library;

pub(crate) struct Pool {
    // Sessions close before the library is released: fields drop in this order.
    state: Mutex<State>,
    returned: Condvar,
    token: String,
    size: usize,
    _library: Library,
}

struct State {
    free: Vec<Session>,
    /// Sessions that exist, free or at work; lost ones are not replaced, since that would need the PIN again.
    alive: usize,
}

impl Pool {
    /// Opens `sessions` sessions and logs in once; the login holds for all of them.
    pub(crate) fn open(
        library: Library,
        slot: Slot,
        token: String,
        pin: &Pin,
        sessions: usize,
    ) -> Result<Self, ModuleError> {
        if sessions == 0 {
            return Err(ModuleError::caller("a token needs at least one session"));
        }
        let open = |number: usize| {
            library.context().open_rw_session(slot).map_err(|error| {
                Failure::from(error).explain(&format!(
                    "opening session {number} of {sessions} with {token}"
                ))
            })
        };
        let free = (1..=sessions).map(open).collect::<Result<Vec<_>, _>>()?;
        if let Some(session) = free.first() {
            login(&library, slot, session, &token, pin)?;
        }
        Ok(Self {
            state: Mutex::new(State {
                free,
                alive: sessions,
            }),
            returned: Condvar::new(),
            token,
            size: sessions,
            _library: library,
        })
    }

    /// How many sessions were opened.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Runs `work` on a free session, waiting for one if all are busy.
    pub(crate) fn run<T>(
        &self,
        what: &str,
        work: impl FnOnce(&Session) -> Result<T, Failure>,
    ) -> Result<T, ModuleError> {
        let mut lease = self.lease()?;
        let outcome = match &lease.session {
            Some(session) => work(session),
            None => Err(ModuleError::module("a lease without a session").into()),
        };
        if let Err(failure) = &outcome {
            lease.lost = failure.ends_session();
        }
        outcome.map_err(|failure| failure.explain(what))
    }

    fn lease(&self) -> Result<Lease<'_>, ModuleError> {
        let mut state = self.state();
        loop {
            if let Some(session) = state.free.pop() {
                return Ok(Lease {
                    pool: self,
                    session: Some(session),
                    lost: false,
                });
            }
            if state.alive == 0 {
                return Err(ModuleError::transport(format!(
                    "all sessions with {} are lost",
                    self.token
                )));
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below can panic while holding the lock, so a poisoned lock still guards a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session taken out of the pool; it returns on drop, also when the work panics.
struct Lease<'a> {
    pool: &'a Pool,
    /// `None` only while being dropped.
    session: Option<Session>,
    lost: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let session = self.session.take();
        let mut state = self.pool.state();
        if self.lost {
            state.alive = state.alive.saturating_sub(1);
            // Whoever waits must learn that nothing may come any more.
            self.pool.returned.notify_all();
        } else {
            state.free.extend(session);
            self.pool.returned.notify_one();
        }
    }
}

/// One attempt and never a second: a token locks itself after a few wrong PINs.
fn login(
    library: &Library,
    slot: Slot,
    session: &Session,
    token: &str,
    pin: &Pin,
) -> Result<(), ModuleError> {
    let flags = || library.context().get_token_info(slot);
    if flags().is_ok_and(|info| info.user_pin_locked()) {
        return Err(ModuleError::module(format!(
            "the PIN of {token} is locked; it was not tried"
        )));
    }
    let pin = AuthPin::new(pin.expose().to_owned().into());
    let Err(error) = session.login(UserType::User, Some(&pin)) else {
        return Ok(());
    };
    let failure = Failure::from(error);
    match failure.rv() {
        // Another module of this process is logged in to the same token; the login is shared.
        Some(RvError::UserAlreadyLoggedIn) => Ok(()),
        Some(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinLocked,
        ) => {
            let left = match flags() {
                Ok(info) if info.user_pin_locked() => "; the PIN is locked now",
                Ok(info) if info.user_pin_final_try() => "; one attempt is left",
                _ => "",
            };
            Err(ModuleError::module(format!(
                "{token} refused the PIN, and it was not tried again{left}"
            )))
        }
        _ => Err(failure.explain(&format!("logging in to {token}"))),
    }
}
