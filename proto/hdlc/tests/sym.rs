// SPDX-License-Identifier: MIT OR Apache-2.0
//! Protected messages: keys as others derived them, damage and replays refused.

use proptest::prelude::*;
use serde_json::Value as Json;
use smgw_hdlc::{
    PlaceholderLayout, Sender, SymCodec, SymError, SymKind, SymMaster, SymMessage, SymSession,
};
use smgw_lmn_keys::{Error, Key};
use smgw_units::{DeviceId, Nanos};

fn master() -> SymMaster {
    let id: DeviceId = "1MTR0E00000123".parse().unwrap();
    SymMaster::new(Key::new([0x42; 16]), &id.server_id())
}

fn session(role: Sender) -> SymSession<PlaceholderLayout> {
    SymSession::new(PlaceholderLayout::default(), master(), role, None, None)
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn keys_are_those_of_another_implementation() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/lmn/vectors.json"
    );
    let all: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut compared = 0;
    for vector in all.iter().filter(|vector| vector["kind"] == "kdf_wired") {
        let id: DeviceId = vector["device_id"].as_str().unwrap().parse().unwrap();
        let key = Key::new(bytes(&vector["mk"]).try_into().unwrap());
        let master = SymMaster::new(key, &id.server_id());
        let counter = u32::try_from(vector["counter"].as_u64().unwrap()).unwrap();
        let (kenc, kmac) = master.keys(Sender::Meter, counter);
        let (lenc, lmac) = master.keys(Sender::Gateway, counter);
        for (name, key) in [
            ("Kenc", kenc),
            ("Kmac", kmac),
            ("Lenc", lenc),
            ("Lmac", lmac),
        ] {
            let expected = bytes(&vector["keys"][name]["key"]);
            assert_eq!(
                key.expose().as_slice(),
                expected,
                "{} {name}",
                vector["name"]
            );
            compared += 1;
        }
    }
    assert!(compared >= 16);
}

#[test]
fn both_ends_understand_each_other() {
    let (mut gateway, mut meter) = (session(Sender::Gateway), session(Sender::Meter));
    for counter in 1..4 {
        let sealed = gateway.seal(SymKind::CRYPTO_RESET, b"please").unwrap();
        // Version, kind, counter in clear, length; a block; a MAC.
        assert_eq!(sealed[..8], [1, 6, 0, 0, 0, counter, 0, 6]);
        assert_eq!(sealed.len(), 8 + 16 + 16);
        let opened = meter.open(&sealed, Nanos(0)).unwrap();
        assert_eq!(
            (opened.kind, opened.payload),
            (SymKind::CRYPTO_RESET, b"please".to_vec())
        );
        let sealed = meter.seal(SymKind::CRYPTO_RESET_DONE, &[]).unwrap();
        assert_eq!(gateway.open(&sealed, Nanos(0)).unwrap().payload, b"");
    }
    assert_eq!(gateway.counters(), (Some(3), Some(3)));
}

#[test]
fn replays_and_reflections_are_refused() {
    let (mut gateway, mut meter) = (session(Sender::Gateway), session(Sender::Meter));
    let first = gateway.seal(SymKind(1), b"1").unwrap();
    let second = gateway.seal(SymKind(1), b"2").unwrap();
    assert!(meter.open(&second, Nanos(0)).is_ok());
    for replayed in [&second, &first] {
        let refusal = meter.open(replayed, Nanos(0));
        assert!(matches!(
            refusal,
            Err(SymError::Protection(Error::Replay { last: 2, .. }))
        ));
    }
    // What the gateway sent does not pass for something of the meter's.
    assert_eq!(
        gateway.open(&second, Nanos(0)),
        Err(SymError::Protection(Error::Tag))
    );
    // A new master key starts anew, and makes the old messages worthless.
    let new = SymMaster::new(Key::new([0x43; 16]), b"another id");
    gateway.rekey(new.clone());
    meter.rekey(new);
    assert_eq!(
        meter.open(&first, Nanos(0)),
        Err(SymError::Protection(Error::Tag))
    );
    let sealed = gateway.seal(SymKind(1), b"3").unwrap();
    assert_eq!(meter.open(&sealed, Nanos(0)).unwrap().counter, 1);
}

#[test]
fn counters_and_payloads_have_an_end() {
    let layout = PlaceholderLayout::default();
    let mut gateway = SymSession::new(layout, master(), Sender::Gateway, Some(u32::MAX - 1), None);
    assert!(gateway.seal(SymKind(1), b"").is_ok());
    assert_eq!(gateway.seal(SymKind(1), b""), Err(SymError::CounterUsedUp));
    let mut fresh = session(Sender::Gateway);
    let sealed = fresh
        .seal(SymKind(1), &[0; smgw_hdlc::MAX_PAYLOAD])
        .unwrap();
    assert!(sealed.len() <= 2034);
    assert_eq!(
        fresh.seal(SymKind(1), &[0; smgw_hdlc::MAX_PAYLOAD + 1]),
        Err(SymError::TooLong)
    );
    assert_eq!(fresh.counters(), (Some(1), None));
}

#[test]
fn no_damaged_message_opens() {
    for short_mac in [false, true] {
        let layout = PlaceholderLayout { short_mac };
        let message = SymMessage {
            kind: SymKind(3),
            counter: 9,
            payload: vec![7; 21],
        };
        let sealed = layout.seal(&master(), Sender::Meter, &message).unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert!(layout.open(&master(), Sender::Meter, &damaged).is_err());
            }
            assert!(
                layout
                    .open(&master(), Sender::Meter, &sealed[..at])
                    .is_err()
            );
        }
        let other = PlaceholderLayout {
            short_mac: !short_mac,
        };
        assert!(other.open(&master(), Sender::Meter, &sealed).is_err());
    }
}

proptest! {
    #[test]
    fn messages_survive(
        kind: u8, counter: u32, payload in prop::collection::vec(any::<u8>(), 0..200),
        short_mac: bool, from_meter: bool,
    ) {
        let layout = PlaceholderLayout { short_mac };
        let sender = if from_meter { Sender::Meter } else { Sender::Gateway };
        let message = SymMessage { kind: SymKind(kind), counter, payload };
        let sealed = layout.seal(&master(), sender, &message).unwrap();
        prop_assert_eq!(layout.open(&master(), sender, &sealed), Ok(message));
    }
}
