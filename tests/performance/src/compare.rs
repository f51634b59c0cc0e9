// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes turns between two pieces of work and compares their speed: by processor time, or on threads by elapsed time,
//! where waiting for each other is part of it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Turns of each side.
    pub rounds: usize,
    /// Processor time of one turn.
    pub slice: Duration,
}

impl Rounds {
    /// Enough for a median within about 5 % on a shared machine.
    pub const USUAL: Self = Self {
        rounds: 15,
        slice: Duration::from_millis(200),
    };
    /// Only to see that a benchmark runs.
    pub const QUICK: Self = Self {
        rounds: 3,
        slice: Duration::from_millis(20),
    };
}

/// Rates in items per second, one per turn.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Ours.
    pub ours: Vec<f64>,
    /// The peer's, turn by turn beside ours; empty when there is no peer.
    pub peer: Vec<f64>,
}

/// Processor time this thread has used.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Items per second of processor time over one slice; each pass handles `items`.
pub fn rate(slice: Duration, items: usize, pass: &mut dyn FnMut()) -> f64 {
    let start = processor_time();
    let mut passes = 0_u64;
    loop {
        pass();
        passes += 1;
        let used = processor_time() - start;
        if used >= slice {
            return items as f64 * passes as f64 / used.as_secs_f64();
        }
    }
}

/// Measures two passes over the same `items` by turns.
pub fn beside(
    rounds: Rounds,
    items: usize,
    mut ours: impl FnMut(),
    mut peer: impl FnMut(),
) -> Measured {
    // The first pass of each fills caches and is not counted.
    ours();
    peer();
    take_turns(
        rounds.rounds,
        || rate(rounds.slice, items, &mut ours),
        || rate(rounds.slice, items, &mut peer),
    )
}

/// One rate of ours and one of the peer's, by turns.
pub fn take_turns(
    turns: usize,
    mut ours: impl FnMut() -> f64,
    mut peer: impl FnMut() -> f64,
) -> Measured {
    let (ours, peer) = (0..turns).map(|_| (ours(), peer())).unzip();
    Measured { ours, peer }
}

/// Work on so many threads at once; each is told its number, from 0.
#[derive(Clone, Copy)]
pub struct OnThreads<'a> {
    /// How many.
    pub threads: usize,
    /// One pass of one thread.
    pub pass: &'a (dyn Fn(usize) + Sync),
}

impl OnThreads<'_> {
    /// Passes of all threads per second of elapsed time, over one slice.
    pub fn rate(self, slice: Duration) -> f64 {
        let together = Barrier::new(self.threads);
        let one = |thread: usize| {
            together.wait();
            let start = Instant::now();
            let mut passes = 0_u64;
            loop {
                (self.pass)(thread);
                passes += 1;
                let used = start.elapsed();
                if used >= slice {
                    return passes as f64 / used.as_secs_f64();
                }
            }
        };
        std::thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| scope.spawn(move || one(thread)))
                .collect();
            let rates = threads.into_iter().map(|thread| match thread.join() {
                Ok(rate) => rate,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            rates.sum()
        })
    }
}

/// Measures a pass that no peer can do.
pub fn alone(rounds: Rounds, items: usize, mut ours: impl FnMut()) -> Measured {
    ours();
    Measured {
        ours: (0..rounds.rounds)
            .map(|_| rate(rounds.slice, items, &mut ours))
            .collect(),
        peer: Vec::new(),
    }
}

impl Measured {
    /// Median of our rates.
    pub fn ours(&self) -> f64 {
        median(self.ours.clone())
    }

    /// Median of the peer's rates.
    pub fn peer(&self) -> Option<f64> {
        (!self.peer.is_empty()).then(|| median(self.peer.clone()))
    }

    /// Median of the ratios of neighbouring turns.
    pub fn ratio(&self) -> Option<f64> {
        let ratios: Vec<_> = self
            .ours
            .iter()
            .zip(&self.peer)
            .map(|(a, b)| a / b)
            .collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_pair_neighbouring_turns() {
        let measured = Measured {
            ours: vec![10.0, 40.0, 30.0],
            peer: vec![5.0, 10.0, 10.0],
        };
        assert_eq!(measured.ratio(), Some(3.0));
        assert_eq!(measured.peer(), Some(10.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn every_thread_works() {
        let passes = [const { std::sync::atomic::AtomicUsize::new(0) }; 3];
        let pass = |thread: usize| {
            passes[thread].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let work = OnThreads {
            threads: 3,
            pass: &pass,
        };
        assert!(work.rate(Duration::ZERO) > 0.0);
        assert!(passes.into_iter().all(|passes| passes.into_inner() == 1));
    }

    #[test]
    fn every_turn_is_counted() {
        let (mut ours, mut peer) = (0, 0);
        let rounds = Rounds {
            rounds: 2,
            slice: Duration::ZERO,
        };
        let measured = beside(rounds, 1, || ours += 1, || peer += 1);
        assert_eq!((measured.ours.len(), measured.peer.len()), (2, 2));
        assert_eq!((ours, peer), (3, 3));
    }
}
