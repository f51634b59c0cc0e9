// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's clock: UTC as the operating system keeps it (`CLOCK_REALTIME`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smgw_units::UtcNanos;

/// Now, in UTC.
pub fn utc_now() -> UtcNanos {
    let signed = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    UtcNanos(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => signed(since),
        Err(before) => -signed(before.duration()),
    })
}

/// How long until `deadline`, zero when it has passed.
pub fn until(deadline: UtcNanos) -> Duration {
    Duration::from_nanos(u64::try_from(deadline.signed_since(utc_now())).unwrap_or(0))
}
