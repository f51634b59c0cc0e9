// SPDX-License-Identifier: MIT OR Apache-2.0
//! A board's timer as timing probe: what interrupt and application share, and the probe's commands over the console.

use core::cell::RefCell;
use core::fmt;

use critical_section::Mutex;
use timing_probe::{Capture, Edge, EdgeQueue, Probe, PulseOutput, PulseTrain, Refusal};

use crate::{Clock, Console};

/// Stamps that the probe keeps until the host has them.
const STAMPS: usize = 4096;

/// A timer's registers.
pub trait Timer: Send {
    /// Counts in a second.
    const HERTZ: u32;

    /// Shortest level of a pulse in counts: an interrupt must fit.
    const SHORTEST: u32;

    /// The count now; it goes up and wraps around after 2^32 counts.
    fn counter(&self) -> u32;

    /// Takes the edges that the hardware holds, in the order of time.
    fn take_edges(&mut self, course: &mut Course);

    /// Makes the first edge of the train that has just begun, now or by interrupt.
    fn begin(&mut self, course: &mut Course);
}

/// How far edges and pulses are.
#[derive(Debug)]
pub struct Course {
    /// The pulses under way.
    pub train: PulseTrain,
    /// Edges that nobody has taken yet.
    pub edges: EdgeQueue<128>,
}

/// A timer between its interrupt and the application.
pub struct SharedTimer<T>(Mutex<RefCell<Option<(T, Course)>>>);

impl<T: Timer> SharedTimer<T> {
    /// Before there is a timer.
    #[allow(clippy::new_without_default, reason = "only statics hold one")]
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(None)))
    }

    /// Gives it the timer; its interrupt may be let through from then on.
    pub fn start(&'static self, timer: T) -> Timing<T> {
        let course = Course {
            train: PulseTrain::idle(),
            edges: EdgeQueue::new(),
        };
        critical_section::with(|section| self.0.replace(section, Some((timer, course))));
        Timing(self)
    }

    /// Works with the timer while no interrupt does; `None` before there is one.
    pub fn with<R>(&self, work: impl FnOnce(&mut T, &mut Course) -> R) -> Option<R> {
        critical_section::with(|section| {
            let mut shared = self.0.borrow_ref_mut(section);
            shared.as_mut().map(|(timer, course)| work(timer, course))
        })
    }
}

/// A shared timer as both halves of a timing probe.
pub struct Timing<T: 'static>(&'static SharedTimer<T>);

impl<T> Clone for Timing<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Timing<T> {}

impl<T> fmt::Debug for Timing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timing").finish_non_exhaustive()
    }
}

impl<T: Timer> Capture for Timing<T> {
    const HERTZ: u32 = T::HERTZ;

    fn counter(&mut self) -> u32 {
        self.0.with(|timer, _| timer.counter()).unwrap_or_default()
    }

    fn next_edge(&mut self) -> Option<Edge> {
        let next = self.0.with(|timer, course| {
            timer.take_edges(course);
            course.edges.pop()
        });
        next.flatten()
    }
}

impl<T: Timer> PulseOutput for Timing<T> {
    fn begin(&mut self, count: u32, period: u32) -> Result<(), Refusal> {
        let begun = self.0.with(|timer, course| {
            course.train.begin(count, period, T::SHORTEST)?;
            timer.begin(course);
            Ok(())
        });
        begun.unwrap_or(Err(Refusal::Busy))
    }
}

/// Plays the timing probe; commands and replies go over the console.
pub fn probe<T: Timer>(timing: Timing<T>, mut console: Console, clock: Clock) -> ! {
    let mut probe = Probe::<_, _, STAMPS>::new(timing, timing);
    defmt::info!("started");
    let mut bytes = [0; 64];
    clock.run(|_| {
        probe.poll();
        let length = console.read(&mut bytes);
        for byte in &bytes[..length] {
            probe.input(*byte, |line| console.write(line));
        }
    })
}
