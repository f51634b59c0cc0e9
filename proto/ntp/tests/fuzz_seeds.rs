// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed property over its seeds and thousands of mutations of them, and what holds for any instants.

mod properties;

use std::time::Duration;

use proptest::prelude::*;
use smgw_ntp::{Client, ClientRules, Packet, ServerState, Timestamp, answer};
use smgw_units::{Nanos, UtcNanos};
use test_material::hold;

#[test]
fn ntp_packet() {
    hold("ntp_packet", &[0x23, 0x24, 0], 20_000, properties::packet);
}

const SECOND: i64 = 1_000_000_000;

proptest! {
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..100)) {
        properties::packet(&octets);
    }

    #[test]
    fn any_message(octets in prop::collection::vec(any::<u8>(), 48)) {
        prop_assert_eq!(&Packet::parse(&octets).unwrap().encode()[..], &octets[..]);
        properties::packet(&octets);
    }

    /// Every nanosecond of every era comes back, as long as it lies in the window.
    #[test]
    fn instants_survive(
        earliest in i64::MIN..i64::MAX - (1 << 32) * SECOND,
        ahead in 0..(1i64 << 32) * SECOND,
    ) {
        let instant = UtcNanos(earliest + ahead);
        prop_assert_eq!(Timestamp::of(instant).utc(UtcNanos(earliest)), Some(instant));
    }

    /// Whatever the ways and the server take, the error is at most half of the difference of the ways.
    #[test]
    fn the_error_is_bounded(
        start in 1_577_836_800i64..5_869_583_000,
        sent in 0..u64::MAX / 4,
        there in 0..4_000_000_000u64,
        work in 0..900_000_000u64,
        back in 0..4_000_000_000u64,
    ) {
        let mut client = Client::new(ClientRules::default());
        let question = client.ask([1; 8], Nanos(sent));
        let received = UtcNanos(start * SECOND + there as i64);
        let left = UtcNanos(received.0 + work as i64);
        let reply = answer(&question, received, left, &ServerState::primary(*b"PTB\0")).unwrap();
        let time = client.judge(&reply, Nanos(sent + there + work + back)).unwrap();
        let truth = left.0 + back as i64;
        let error = time.utc.0.abs_diff(truth);
        prop_assert!(error <= there.abs_diff(back) / 2 + 1);
        prop_assert!(Duration::from_nanos(error) <= time.uncertainty());
        prop_assert_eq!(time.delay, Duration::from_nanos(there + back));
    }
}
