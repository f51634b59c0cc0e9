// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many agreements with fresh keys: finds what goes wrong with one point in a hundred.

use hsm_api::{Curve, SecurityModule};

use crate::Failure;
use crate::checks::{Checks, Doing};

/// Agrees `count` times between fresh ephemeral keys of both sides, on as many threads as the module works in parallel.
///
/// # Errors
/// The first agreement that differs or fails.
pub fn agreements(
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
    count: usize,
) -> Result<usize, Failure> {
    let threads = module.capabilities().parallel.clamp(1, MOST_THREADS);
    let share = |thread: usize| (count + thread) / threads;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || some(module, oracle, curve, share(thread))))
            .collect();
        let mut agreed = 0;
        for thread in threads {
            agreed += match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
        }
        Ok(agreed)
    })
}

/// A module that says it works on any number of requests shall not make us start as many threads.
const MOST_THREADS: usize = 16;

fn some(
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
    count: usize,
) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    for _ in 0..count {
        let ours = module.ephemeral_key(curve).doing("make an ephemeral key")?;
        let theirs = oracle.ephemeral_key(curve).doing("make an ephemeral key")?;
        let (our_key, their_key) = (ours.public_key().clone(), theirs.public_key().clone());
        let points = || format!("{our_key:02x?} with {their_key:02x?}");
        let a = ours
            .agree(&their_key.point)
            .doing(&format!("agree {}", points()))?;
        let b = theirs
            .agree(&our_key.point)
            .doing(&format!("agree {}", points()))?;
        let same = a.0.len() == curve.field_len() && *a.0 == *b.0;
        checks.hold(same, format!("different secrets: {}", points()))?;
    }
    Ok(checks.0)
}
