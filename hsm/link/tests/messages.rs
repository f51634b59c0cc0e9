// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages survive the wire, and the numbers of the table stay what they are.

use hsm_api::{Curve, Fault, KeyUsage, LifeCycle, ModuleError, ObjectId, PublicKey, Reason};
use hsm_link::message::{
    Answer, Asked, Listed, MOST_RANDOM, Named, Octets, Request, from_bytes, to_bytes,
};
use hsm_link::{LinkError, MAX_MESSAGE};
use proptest::prelude::*;

fn octets() -> impl Strategy<Value = Octets> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| bytes.as_slice().into())
}

fn listed<T: hsm_link::message::List + std::fmt::Debug>() -> impl Strategy<Value = Listed<T>> {
    prop::sample::select(T::LIST).prop_map(Listed)
}

fn object() -> impl Strategy<Value = hsm_link::message::Object> {
    (any::<bool>(), ".{0,40}").prop_map(|(certificate, name)| {
        let id = match certificate {
            true => ObjectId::certificate(name),
            false => ObjectId::data(name),
        };
        (&id).into()
    })
}

fn point() -> impl Strategy<Value = hsm_link::message::Point> {
    (listed::<Curve>(), octets()).prop_map(|(curve, point)| {
        let point = point.0.to_vec();
        (&PublicKey {
            curve: curve.0,
            point,
        })
            .into()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let key = || ".{0,40}";
    prop_oneof![
        prop::sample::select(vec![
            Request::Capabilities,
            Request::Keys,
            Request::Objects,
            Request::LifeCycle
        ]),
        any::<u16>().prop_map(|count| Request::Random { count }),
        (key(), listed(), listed()).prop_map(|(key, curve, usage)| Request::GenerateKey {
            key,
            curve,
            usage
        }),
        key().prop_map(|key| Request::RemoveKey { key }),
        key().prop_map(|key| Request::PublicKey { key }),
        (key(), octets()).prop_map(|(key, digest)| Request::SignDigest { key, digest }),
        (point(), octets(), octets()).prop_map(|(key, digest, signature)| {
            Request::VerifyDigest {
                key,
                digest,
                signature,
            }
        }),
        listed().prop_map(|curve| Request::EphemeralKey { curve }),
        (any::<u32>(), octets()).prop_map(|(number, peer)| Request::Agree { number, peer }),
        (key(), octets()).prop_map(|(key, peer)| Request::AgreeStatic { key, peer }),
        object().prop_map(|object| Request::ReadObject { object }),
        (object(), octets()).prop_map(|(object, content)| Request::WriteObject { object, content }),
        object().prop_map(|object| Request::RemoveObject { object }),
        listed().prop_map(|phase| Request::EnterPhase { phase }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (listed(), listed(), ".{0,40}").prop_map(|(fault, reason, what)| Answer::Failed {
            fault,
            reason,
            what
        }),
        Just(Answer::Done),
        (
            ".{0,40}",
            ".{0,9}",
            prop::collection::vec(listed(), 0..6),
            any::<bool>(),
            any::<u16>(),
            any::<Option<u32>>()
        )
            .prop_map(
                |(name, version, curves, keys_stay_inside, parallel, largest_object)| {
                    Answer::Capabilities {
                        name,
                        version,
                        curves,
                        keys_stay_inside,
                        parallel,
                        largest_object,
                    }
                }
            ),
        octets().prop_map(|bytes| Answer::Bytes { bytes }),
        point().prop_map(|key| Answer::Key { key }),
        (any::<u32>(), point()).prop_map(|(number, key)| Answer::Ephemeral { number, key }),
        any::<bool>().prop_map(|right| Answer::Verdict { right }),
        prop::collection::vec((".{0,9}", listed(), listed()), 0..4).prop_map(|keys| Answer::Keys {
            keys: keys
                .into_iter()
                .map(|(key, curve, usage)| Named { key, curve, usage })
                .collect()
        }),
        prop::collection::vec(object(), 0..4).prop_map(|objects| Answer::Objects { objects }),
        listed().prop_map(|phase| Answer::Phase { phase }),
    ]
}

proptest! {
    #[test]
    fn requests_survive(forgotten in prop::collection::vec(any::<u32>(), 0..4), request in request()) {
        let asked = Asked { forgotten, request };
        let bytes = to_bytes(&asked).unwrap();
        prop_assert_eq!(from_bytes::<Asked>(&bytes).unwrap(), asked);
        // One byte less or more is none.
        prop_assert!(from_bytes::<Asked>(&bytes[..bytes.len() - 1]).is_err());
        prop_assert!(from_bytes::<Asked>(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn answers_survive(answer in answer()) {
        let bytes = to_bytes(&answer).unwrap();
        prop_assert_eq!(from_bytes::<Answer>(&bytes).unwrap(), answer);
    }
}

/// What the table of `docs/module-link.md` says, byte for byte (RFC 8949).
#[test]
fn the_numbers_of_the_table_stay() {
    let asked = |request| {
        to_bytes(&Asked {
            forgotten: vec![3],
            request,
        })
        .unwrap()
        .to_vec()
    };
    let request = Request::SignDigest {
        key: "k".into(),
        digest: (&[1, 2][..]).into(),
    };
    assert_eq!(
        asked(request),
        [0x82, 0x81, 3, 0x82, 6, 0x82, 0x61, b'k', 0x42, 1, 2]
    );
    let request = Request::GenerateKey {
        key: "k".into(),
        curve: Listed(Curve::NistP384),
        usage: Listed(KeyUsage::Agree),
    };
    assert_eq!(
        asked(request),
        [0x82, 0x81, 3, 0x82, 2, 0x83, 0x61, b'k', 4, 1]
    );
    let refused = ModuleError::transport("no").because(Reason::Channel);
    assert_eq!(
        to_bytes(&Answer::from(&refused)).unwrap().as_slice(),
        [0x82, 0, 0x83, 2, 13, 0x62, b'n', b'o']
    );
    let phase = Listed(LifeCycle::Decommissioned);
    assert_eq!(
        to_bytes(&Answer::Phase { phase }).unwrap().as_slice(),
        [0x82, 9, 0x81, 5]
    );
    assert_eq!(
        <Fault as hsm_link::message::List>::LIST.len(),
        3,
        "a new fault needs a number"
    );
}

#[test]
fn what_no_frame_can_carry_is_not_written() {
    let bytes = |len: usize| Answer::Bytes {
        bytes: vec![0; len].as_slice().into(),
    };
    assert!(to_bytes(&bytes(usize::from(MOST_RANDOM))).is_ok());
    assert!(to_bytes(&bytes(MAX_MESSAGE - 6)).is_ok());
    assert!(matches!(
        to_bytes(&bytes(MAX_MESSAGE)),
        Err(LinkError::TooLong)
    ));
}

#[test]
fn octets_do_not_show() {
    let bytes: Octets = (&[0xab, 0xcd][..]).into();
    assert_eq!(format!("{bytes:?}"), "2 bytes");
}
