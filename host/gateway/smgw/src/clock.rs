// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's clock: what every time of the gateway is taken from. It never sets the machine's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smgw_core::clock::{Discipline, Validity};
use smgw_units::{Nanos, UtcNanos};

pub use self::driven::AdvanceError;
use self::driven::Driven;

mod driven;

/// A handle on the clock; clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    oscillator: Oscillator,
    /// An offset to the oscillator, as a time server's answers set it; without it the oscillator's UTC is taken as valid.
    discipline: Option<Mutex<Discipline>>,
}

/// What moves time on.
#[derive(Debug)]
enum Oscillator {
    /// The operating system's clocks.
    System { origin: Instant },
    /// Orders over the local socket.
    Driven(Driven),
}

impl Oscillator {
    /// Time since it was made.
    fn monotonic(&self) -> Nanos {
        match self {
            // 2^64 ns are 584 years.
            Self::System { origin } => Nanos(origin.elapsed().as_nanos() as u64),
            Self::Driven(driven) => driven.now(),
        }
    }

    /// UTC as far as it knows.
    fn utc(&self) -> UtcNanos {
        match self {
            Self::System { .. } => system_now(),
            Self::Driven(driven) => driven.utc(),
        }
    }
}

impl Clock {
    /// The operating system's clock, which somebody else keeps right.
    pub fn system() -> Self {
        Self::new(None, None::<fn(Nanos, UtcNanos) -> Discipline>)
    }

    /// A clock that shows `driven_from` until it is advanced, or else goes with the operating system's; and that a time
    /// server disciplines, if one is to: until its first answer such a clock assumes the oscillator's time and is
    /// invalid. `make` gets monotonic now and the assumed UTC.
    pub fn new(
        driven_from: Option<UtcNanos>,
        make: Option<impl FnOnce(Nanos, UtcNanos) -> Discipline>,
    ) -> Self {
        let oscillator = match driven_from {
            Some(start) => Oscillator::Driven(Driven::new(start)),
            None => Oscillator::System {
                origin: Instant::now(),
            },
        };
        let discipline = make.map(|make| Mutex::new(make(Nanos(0), oscillator.utc())));
        Self(Arc::new(Inner {
            oscillator,
            discipline,
        }))
    }

    /// Now, in UTC.
    pub fn now(&self) -> UtcNanos {
        match self.discipline() {
            Some(discipline) => discipline.utc(self.monotonic()),
            None => self.0.oscillator.utc(),
        }
    }

    /// Whether times taken now may be used for billing.
    pub fn validity(&self) -> Validity {
        self.discipline().map_or(Validity::Valid, |discipline| {
            discipline.validity(self.monotonic())
        })
    }

    /// How long until `deadline`, zero when it has passed.
    pub fn until(&self, deadline: UtcNanos) -> Duration {
        Duration::from_nanos(u64::try_from(deadline.signed_since(self.now())).unwrap_or(0))
    }

    /// Time since this clock was made, which no correction touches.
    pub fn monotonic(&self) -> Nanos {
        self.0.oscillator.monotonic()
    }

    /// The machine behind a disciplined clock; `None` for one that needs no time server.
    pub fn discipline(&self) -> Option<MutexGuard<'_, Discipline>> {
        let discipline = self.0.discipline.as_ref()?;
        // The machine is consistent between any two calls.
        Some(discipline.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For somebody who waits for instants of this clock.
    pub fn alarm(&self) -> Alarm {
        let seat = self.driven().map(Driven::seat);
        Alarm {
            clock: self.clone(),
            seat,
        }
    }

    /// Lets a driven clock be so late, and returns when everybody with an alarm has done what was due. What its oscillator
    /// shows is meant; a time server may make something else of it.
    ///
    /// # Errors
    /// [`NotDriven`] and [`Backwards`](AdvanceError::Backwards).
    ///
    /// [`NotDriven`]: AdvanceError::NotDriven
    pub async fn advance(&self, to: UtcNanos) -> Result<(), AdvanceError> {
        let driven = self.driven().ok_or(AdvanceError::NotDriven)?;
        driven.advance(to).await
    }

    fn driven(&self) -> Option<&Driven> {
        match &self.0.oscillator {
            Oscillator::System { .. } => None,
            Oscillator::Driven(driven) => Some(driven),
        }
    }
}

/// A place among those who wait for instants of a clock: a driven clock knows by it when all of them are done. Whoever has
/// one and waits for anything else keeps that clock waiting.
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    seat: Option<usize>,
}

impl Alarm {
    /// Returns after `span` of the clock's monotonic time.
    pub async fn sleep(&self, span: Duration) {
        match self.clock.driven().zip(self.seat) {
            Some((driven, seat)) => driven.sleep(seat, span).await,
            None => tokio::time::sleep(span).await,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((driven, seat)) = self.clock.driven().zip(self.seat) {
            driven.leave(seat);
        }
    }
}

/// An instant as people write it, ISO 8601 with an offset; `None` for anything else, and beyond 64 bits of nanoseconds.
pub fn instant(text: &str) -> Option<UtcNanos> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(instant.as_nanosecond()).ok().map(UtcNanos)
}

fn system_now() -> UtcNanos {
    let signed = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    UtcNanos(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => signed(since),
        Err(before) => -signed(before.duration()),
    })
}
