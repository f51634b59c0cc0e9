// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one end writes the other reads, for any contents.

mod properties;

use proptest::prelude::*;
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, Response, SecureChannel, StatusWord};

fn command() -> impl Strategy<Value = Command> {
    let expected = prop_oneof![
        Just(None),
        (1..=300u32).prop_map(Some),
        (1..=Command::MOST_EXPECTED).prop_map(Some)
    ];
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 200..300)
    ];
    (any::<[u8; 4]>(), data, expected).prop_map(|([cla, ins, p1, p2], data, expected)| Command {
        data,
        expected,
        // Secure messaging adds its bits, so it must not find them.
        ..Command::new(cla & 0xf3, ins, p1, p2)
    })
}

fn tag() -> impl Strategy<Value = Tag> {
    let one = (1..=0xfeu32).prop_filter("one byte", |tag| tag & 0x1f != 0x1f);
    let two = (0..8u32, 0x1f..=0x7fu32).prop_map(|(class, low)| (class << 13) | 0x1f00 | low);
    let three = (0..8u32, 0x81..=0xffu32, 0..=0x7fu32)
        .prop_map(|(class, high, low)| (class << 21) | 0x1f_0000 | (high << 8) | low);
    // A first byte FF is reserved.
    prop_oneof![one, two, three]
        .prop_filter("reserved", |tag| !matches!(tag >> 8, 0xff | 0xff00..))
        .prop_map(Tag)
}

proptest! {
    #[test]
    fn commands_survive(command in command()) {
        prop_assert_eq!(Command::decode(&command.encode().unwrap()), Ok(command));
    }

    #[test]
    fn objects_survive(objects in prop::collection::vec((tag(), prop::collection::vec(any::<u8>(), 0..300)), 0..6)) {
        let mut bytes = Vec::new();
        for (tag, value) in &objects {
            tlv::put(&mut bytes, *tag, value);
        }
        let read: Result<Vec<_>, _> = tlv::objects(&bytes).map(|one| one.map(|one| (one.tag, one.value.to_vec()))).collect();
        prop_assert_eq!(read, Ok(objects));
    }

    #[test]
    fn protected_sessions_survive(turns in prop::collection::vec((command(), prop::collection::vec(any::<u8>(), 0..300), any::<u16>()), 1..5)) {
        let (mut gateway, mut card) = (SecureChannel::new(properties::keys()), SecureChannel::new(properties::keys()));
        for (command, answer, status) in turns {
            let sent = gateway.protect_command(&command).unwrap().encode().unwrap();
            prop_assert_eq!(card.open_command(&Command::decode(&sent).unwrap()), Ok(command));
            let answer = Response::new(answer, StatusWord(status));
            let sent = card.protect_response(&answer).unwrap();
            prop_assert_eq!(gateway.open_response(&Response::decode(&sent.encode()).unwrap()), Ok(answer));
        }
    }

    #[test]
    fn arbitrary_bytes_keep_the_properties(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        properties::command(&bytes);
        properties::objects(&bytes);
        properties::secure(&bytes);
    }
}
