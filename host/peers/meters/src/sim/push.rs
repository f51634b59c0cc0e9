// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters that speak without being asked: one telegram per interval of their own clock.

use smgw_units::Nanos;

use super::fault::Fault;
use super::world::{Sample, World};
use super::{Frame, Machine, Places};

/// Makes the bytes of a telegram.
pub(super) trait Compose: Send {
    /// The telegram of what was sensed at `at`.
    fn compose(
        &mut self,
        world: &World,
        at: Nanos,
        samples: &[Sample],
        faults: &[Fault],
    ) -> Composed;
}

/// A telegram without its circumstances.
pub(super) struct Composed {
    pub(super) bytes: Vec<u8>,
    pub(super) places: Places,
    pub(super) telegram: String,
}

/// Pushes what a composer makes.
pub(super) struct Pusher<C> {
    composer: C,
    due: Nanos,
}

impl<C: Compose> Pusher<C> {
    pub(super) fn new(world: &World, composer: C) -> Self {
        Self {
            composer,
            due: world.next_push(world.epoch()),
        }
    }
}

impl<C: Compose> Machine for Pusher<C> {
    fn poll_timeout(&self) -> Option<Nanos> {
        Some(self.due)
    }

    fn poll_transmit(&mut self, world: &mut World, _: Nanos) -> Option<Frame> {
        let due = self.due;
        self.due = world.next_push(due);
        let faults = world.draw(due, true);
        let sampled_at = Nanos(due.0.saturating_sub(world.latency())).max(world.epoch());
        let samples = world.samples(0, sampled_at, &faults);
        let Composed {
            bytes,
            places,
            telegram,
        } = self.composer.compose(world, sampled_at, &samples, &faults);
        let line = world.profile.line;
        Some(Frame {
            due,
            bytes,
            data: true,
            telegram,
            samples,
            sampled_at,
            faults,
            places,
            line,
        })
    }
}
