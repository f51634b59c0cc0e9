// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that send wrong points and broken records (TR-03111 §4.3.1, RFC 8422 §5.11, RFC 8446 §4.2.8.2).

use std::io::{Read, Write};
use std::sync::Arc;

use hsm_api::{Curve, EphemeralKey, Layer, ModuleError, PublicKey, SecurityModule, SharedSecret};
use hsm_tls::TlsProfile;
use rustls::{AlertDescription, Error, PeerMisbehaved};

use crate::party::{Ends, Party};

type Bend = fn(&mut Vec<u8>);

/// What can be wrong with a point.
const BENDS: [(&str, Bend); 6] = [
    ("off the curve", |point| *point.last_mut().unwrap() ^= 1),
    ("one byte short", |point| point.truncate(point.len() - 1)),
    ("one byte long", |point| point.push(0)),
    ("compressed", |point| {
        point.truncate(point.len() / 2 + 1);
        point[0] = 2;
    }),
    ("the origin, which is on no curve", |point| {
        point[1..].fill(0)
    }),
    ("the point at infinity", |point| *point = vec![0]),
];

/// A module whose ephemeral public keys are bent.
#[derive(Debug)]
struct Bent {
    own: Arc<dyn SecurityModule>,
    bend: Bend,
}

impl Bent {
    fn of(party: &Party, bend: Bend) -> Party {
        let own = Arc::clone(&party.module);
        Party {
            module: Arc::new(Self { own, bend }),
            identity: party.identity.clone(),
        }
    }
}

impl Layer for Bent {
    fn below(&self) -> &dyn SecurityModule {
        self.own.as_ref()
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let own = self.own.ephemeral_key(curve)?;
        let mut public = own.public_key().clone();
        (self.bend)(&mut public.point);
        Ok(Box::new(BentKey { own, public }))
    }
}

struct BentKey {
    own: Box<dyn EphemeralKey>,
    public: PublicKey,
}

impl EphemeralKey for BentKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.own.agree(peer_point)
    }
}

#[test]
fn wrong_points_are_refused_with_illegal_parameter() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let wrong = Some(Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare));
    let alert = Some(Error::AlertReceived(AlertDescription::IllegalParameter));
    let groups = [26, 27, 28, 31, 32, 33, 23, 24];
    let versions = [TlsProfile::only_tls12, TlsProfile::only_tls13];
    let mut met = 0;
    for (group, version) in groups
        .iter()
        .flat_map(|group| versions.map(|version| (*group, version)))
    {
        let client = version(TlsProfile::han_client()).only_group(group);
        if client.groups().is_empty() {
            continue;
        }
        let server = version(TlsProfile::smgw_han_server()).only_group(group);
        for (why, bend) in BENDS {
            let what = format!("{why}, group {group}, TLS 1.2: {}", client.allows_tls12());
            let ends = Ends::connect(
                Bent::of(&consumer, bend).client(&client, &gateway),
                gateway.server(&server, &consumer),
            );
            assert_eq!(
                (&ends.server_error, &ends.client_error),
                (&wrong, &alert),
                "{what}"
            );
            let ends = Ends::connect(
                consumer.client(&client, &gateway),
                Bent::of(&gateway, bend).server(&server, &consumer),
            );
            assert_eq!(
                (&ends.client_error, &ends.server_error),
                (&wrong, &alert),
                "{what}"
            );
            met += 1;
        }
    }
    assert_eq!(met, 10 * BENDS.len(), "five curves in each version");
}

type Damage = fn(&mut Vec<u8>);

/// What can happen to the bytes of a record after its header.
const DAMAGES: [(&str, Damage); 6] = [
    ("last byte cut off", |record| {
        record.truncate(record.len() - 1)
    }),
    ("a block of AES cut off", |record| {
        record.truncate(record.len() - 16)
    }),
    ("all but three bytes cut off", |record| record.truncate(3)),
    ("first bit flipped", |record| record[0] ^= 0x80),
    ("last bit flipped", |record| {
        *record.last_mut().unwrap() ^= 1
    }),
    ("a bit in the middle flipped", |record| {
        let middle = record.len() / 2;
        record[middle] ^= 8;
    }),
];

#[test]
fn broken_records_are_refused_alike_and_give_no_data() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    for suite in TlsProfile::han_client().with_cbc().suites() {
        let client = TlsProfile::han_client().with_cbc().only_suite(suite);
        let server = TlsProfile::smgw_han_server().with_cbc();
        for (why, damage) in DAMAGES {
            let mut ends = Ends::connect(
                consumer.client(&client, &gateway),
                gateway.server(&server, &consumer),
            );
            ends.assert_connected();
            ends.client
                .writer()
                .write_all(b"a reading that must not be forged")
                .unwrap();
            let mut wire = Vec::new();
            ends.client.write_tls(&mut wire).unwrap();
            let mut body = wire.split_off(5);
            damage(&mut body);
            wire[3..].copy_from_slice(&(body.len() as u16).to_be_bytes());
            wire.extend(body);
            ends.server.read_tls(&mut wire.as_slice()).unwrap();
            let error = ends.server.process_new_packets().unwrap_err();
            assert_eq!(error, Error::DecryptError, "{suite:#x}: {why}");
            let mut data = Vec::new();
            let _ = ends.server.reader().read_to_end(&mut data);
            assert!(data.is_empty(), "{suite:#x}: {why}");
            ends.pump();
            assert_eq!(
                ends.client_error,
                Some(Error::AlertReceived(AlertDescription::BadRecordMac)),
                "{suite:#x}: {why}"
            );
        }
    }
}
