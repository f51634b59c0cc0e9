// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any octets; run by the fuzz target and, over its seeds, by the normal tests.
#![allow(dead_code, reason = "the fuzz target uses one of the functions")]

use std::time::Duration;

use smgw_ntp::{Client, ClientRules, LEN, Packet, ServerState, Timestamp, answer};
use smgw_units::{Nanos, UtcNanos};

/// A message encodes to the octets it was read from, is answered only when it is a question, and is believed only
/// within the rules.
pub fn packet(octets: &[u8]) {
    let noon = UtcNanos::from_seconds(1_800_000_000);
    let read = Packet::parse(octets);
    assert_eq!(read.is_ok(), octets.len() == LEN);
    let answered = answer(octets, noon, noon, &ServerState::primary(*b"PTB\0"));
    let Ok(read) = read else {
        assert!(answered.is_err());
        return;
    };
    assert_eq!(read.encode(), octets);
    assert_eq!(answered.is_ok(), octets[0] & 0x3f == 0x23);
    if let Ok(answer) = answered {
        assert_eq!(answer[24..32], octets[40..]);
    }
    let rules = ClientRules::default();
    let mut client = Client::new(rules);
    let (sent, at) = (Nanos(1_000), Nanos(8_000_001_000));
    let question = client.ask(read.origin.0.to_be_bytes(), sent);
    if let Ok(time) = client.judge(octets, at) {
        assert_eq!(question[40..], octets[24..32]);
        assert_eq!((octets[0] & 0x3f, octets[0] >> 6 == 3), (0x24, false));
        assert!((1..16).contains(&time.stratum));
        assert!(time.delay <= Duration::from_secs(8));
        assert!(time.utc >= rules.earliest);
        assert!(time.utc.0 <= rules.latest.0 + 4_000_000_000);
        let sent = Timestamp::of(UtcNanos(time.utc.0 - (time.delay / 2).as_nanos() as i64));
        assert!(sent.0.abs_diff(read.transmit.0) <= 4);
    }
    // A second one is never believed.
    assert!(client.judge(octets, at).is_err());
}
