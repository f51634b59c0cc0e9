// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the application needs of a board beside network, randomness and clock.

/// Counts the pulses of a meter's S0 output (DIN EN 62053-31).
pub trait PulseCounter {
    /// Pulses since the start, modulo 2^32.
    fn pulses(&mut self) -> u32;
}

/// Starts the board anew unless it is fed in time.
pub trait Watchdog {
    /// Begins to watch: from now on it wants to be fed within so many milliseconds.
    fn start(&mut self, milliseconds: u32);

    /// Lets the time begin anew.
    fn feed(&mut self);
}

/// A board's parts.
#[derive(Debug)]
pub struct Board<Relay, Button, Meter, Dog> {
    /// High releases the load.
    pub relay: Relay,
    /// High while it is pressed. A press asks for a new channel: the present one is closed in order, and the back-off
    /// holds.
    pub button: Button,
    /// The meter.
    pub meter: Meter,
    /// The watchdog, asleep: the first poll starts it, so that a board without usable settings stays as it is.
    pub watchdog: Dog,
    /// The MAC address.
    pub address: [u8; 6],
    /// The image's build id, for the hello.
    pub build_id: &'static [u8],
}
