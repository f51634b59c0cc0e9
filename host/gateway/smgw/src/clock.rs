// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's clock: what every time of the gateway is taken from. It never sets the machine's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smgw_core::clock::{Discipline, Validity};
use smgw_units::{Nanos, UtcNanos};

/// A handle on the clock; clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// The operating system's UTC (`CLOCK_REALTIME`), taken as valid.
    System { origin: Instant },
    /// An offset to the monotonic clock, as a time server's answers set it.
    Disciplined {
        origin: Instant,
        discipline: Box<Mutex<Discipline>>,
    },
}

impl Clock {
    /// The operating system's clock, which somebody else keeps right.
    pub fn system() -> Self {
        let origin = Instant::now();
        Self(Arc::new(Kind::System { origin }))
    }

    /// A clock that a time server disciplines; until its first answer it assumes the operating system's time and is
    /// invalid. `make` gets monotonic now and the assumed UTC.
    pub fn disciplined(make: impl FnOnce(Nanos, UtcNanos) -> Discipline) -> Self {
        let origin = Instant::now();
        let discipline = Box::new(Mutex::new(make(Nanos(0), system_now())));
        Self(Arc::new(Kind::Disciplined { origin, discipline }))
    }

    /// Now, in UTC.
    pub fn now(&self) -> UtcNanos {
        match self.discipline() {
            Some(discipline) => discipline.utc(self.monotonic()),
            None => system_now(),
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
        let (Kind::System { origin } | Kind::Disciplined { origin, .. }) = &*self.0;
        // 2^64 ns are 584 years.
        Nanos(origin.elapsed().as_nanos() as u64)
    }

    /// The machine behind a disciplined clock; `None` for the operating system's.
    pub fn discipline(&self) -> Option<MutexGuard<'_, Discipline>> {
        match &*self.0 {
            Kind::System { .. } => None,
            // The machine is consistent between any two calls.
            Kind::Disciplined { discipline, .. } => {
                Some(discipline.lock().unwrap_or_else(PoisonError::into_inner))
            }
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
