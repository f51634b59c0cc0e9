// SPDX-License-Identifier: MIT OR Apache-2.0
//! What handshakes ask of a card, as the driver recorded it and as the card itself saw it: no private key leaves, and
//! just what has to run in the card runs there (TR-03116-3 §2.4, TR-03109-1 detail specifications §13.4).

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use hsm_api::traced::{Recorder, Traced};
use hsm_api::{Curve, Import, KeyId, KeyUsage, Operation, Pin};
use hsm_card::profile::Instruction::{
    self, Agree, ChangePin, DeleteKey, EnterPhase, GenerateEphemeralKey, GenerateKeyPair,
    GetChallenge, ReadBinary, ReadPublicKey, SelectFile, SetAgreementKey, SetSigningKey,
    SetVerifyingKey, Sign, Terminate, UpdateBinary, Verify,
};
use hsm_card::{ApduRecord, CardOptions, CardProfile, CardSession, Recording};
use hsm_card_emulator::SharedCard;
use hsm_card_emulator::card::Exchange;
use hsm_card_emulator::randomness::{Random, System};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_tls::{Identity, TlsProfile};
use rustls::KeyLog;
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, describe};

use crate::party::{Ends, PIN, Party, line_to, new_card, open_card};

/// A command that the card carried out, and what it drew at random for it.
#[derive(Clone)]
struct Seen {
    instruction: Option<Instruction>,
    exchange: Exchange,
    drawn: Vec<Vec<u8>>,
}

#[derive(Clone)]
struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Notes<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn add(&self, note: T) {
        self.0.lock().unwrap().push(note);
    }

    fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The machine's randomness, written down.
impl Random for Notes<Vec<u8>> {
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        System.fill(out)?;
        self.add(out.to_vec());
        Ok(())
    }
}

/// The secrets that the host derives.
impl KeyLog for Notes<Vec<u8>> {
    fn log(&self, _: &str, _: &[u8], secret: &[u8]) {
        self.add(secret.to_vec());
    }
}

impl std::fmt::Debug for Notes<Vec<u8>> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notes(..)")
    }
}

/// A card that tells whatever it does.
fn watched() -> (SharedCard, Notes<Seen>) {
    let (drawn, seen) = (Notes::new(), Notes::new());
    let card = new_card(drawn.clone());
    let (profile, log) = (CardProfile::tr03109_2_assumed(), seen.clone());
    card.with(|card| {
        card.watch(move |exchange| {
            log.add(Seen {
                instruction: profile.recognise(&exchange.command, exchange.protected),
                drawn: drawn.take(),
                exchange,
            });
        });
    });
    (card, seen)
}

/// So many bytes of a secret in a row, in either direction, count as the secret. By chance they never come.
const WINDOW: usize = 8;

fn windows(bytes: &[u8]) -> impl Iterator<Item = &[u8; WINDOW]> {
    bytes
        .windows(WINDOW)
        .filter_map(|window| window.try_into().ok())
}

/// All that was said, to look for secrets in.
struct Said(HashSet<[u8; WINDOW]>);

impl Said {
    fn new(messages: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut said = HashSet::new();
        for message in messages {
            said.extend(windows(&message));
        }
        Self(said)
    }

    fn has_part_of(&self, secret: &[u8]) -> bool {
        assert!(secret.len() >= WINDOW);
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        windows(secret)
            .chain(windows(&reversed))
            .any(|window| self.0.contains(window))
    }
}

/// What the card said and heard, without protection.
fn plain(seen: &[Seen]) -> Said {
    let both = |one: &Seen| {
        let Exchange {
            command, answer, ..
        } = &one.exchange;
        [command.data.clone(), answer.data.clone()]
    };
    Said::new(seen.iter().flat_map(both))
}

/// What went over the line.
fn wire(records: &[ApduRecord]) -> Said {
    let both = |one: &ApduRecord| [one.sent.clone(), one.received.clone()];
    Said::new(records.iter().flat_map(both))
}

/// What the card drew: for challenges, and for what nobody else may know.
fn drawn(seen: &[Seen]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (challenges, others): (Vec<_>, Vec<_>) =
        (seen.iter()).partition(|one| one.instruction == Some(GetChallenge));
    let drawn = |those: Vec<&Seen>| those.iter().flat_map(|one| one.drawn.clone()).collect();
    (drawn(challenges), drawn(others))
}

/// Each operation of the module, the command that does it, and one that says with which key.
const IN_CARD: [(Operation, Instruction, Option<Instruction>); 5] = [
    (Operation::Random, GetChallenge, None),
    (Operation::EphemeralKey, GenerateEphemeralKey, None),
    (Operation::Agree, Agree, Some(SetAgreementKey)),
    (Operation::Sign, Sign, Some(SetSigningKey)),
    (Operation::Verify, Verify, Some(SetVerifyingKey)),
];

/// A private key that the card's maker knows.
const KNOWN: [u8; 32] = *b"\x3aThis private key must not leave";
const MESSAGES: usize = 3;

#[test]
fn handshakes_use_private_keys_in_the_card_only() {
    let (card, seen) = watched();
    let recording = Recording::new(usize::MAX);
    let options = CardOptions {
        recorder: Some(recording.recorder()),
        ..CardOptions::default()
    };
    let key = KeyId::from("gw-tls");
    let curve = Curve::BrainpoolP256r1;
    let public = card
        .import_key(&key, curve, KeyUsage::Sign, &KNOWN)
        .unwrap();
    let operations = Arc::new(Recorder::new(0));
    let module = Arc::new(open_card(line_to(&card), options));
    let module = Arc::new(Traced::new(module, "card", operations.clone()));
    let request = CertificateRequest::new("gateway").with_dns_name("gateway");
    let chain = vec![self_signed(&*module, &key, &request).unwrap()];
    let gateway = Party {
        module,
        identity: Identity { key, chain },
    };
    let consumer = Party::soft("consumer");

    let (begun, before) = (seen.all().len(), operations.summary());
    let host_secrets = Notes::new();
    let mut records = 0;
    for profile in [
        TlsProfile::han_client().only_tls12(),
        TlsProfile::han_client().only_tls13(),
    ] {
        let log = || Arc::new(host_secrets.clone());
        let mut server = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
        Arc::make_mut(&mut server).key_log = log();
        let mut client = gateway.client(&profile, &consumer);
        Arc::make_mut(&mut client).key_log = log();
        let partners = [
            (consumer.client(&profile, &gateway), server),
            (
                client,
                consumer.server(&TlsProfile::smgw_han_server(), &gateway),
            ),
        ];
        for (client, server) in partners {
            let mut ends = Ends::connect(client, server);
            ends.assert_connected();
            let commands = seen.all().len();
            records += talk(&mut ends);
            assert_eq!(seen.all().len(), commands, "the card protects no records");
        }
    }
    let (all, after) = (seen.all(), operations.summary());
    let handshakes = &all[begun..];

    // The driver's record and the card's are one, command by command, and all commands are in the profile's table.
    let recorded = recording.records();
    let told: Vec<_> = recorded.iter().map(|one| one.command.clone()).collect();
    let carried_out: Vec<_> = all
        .iter()
        .map(|one| describe(&one.exchange.command))
        .collect();
    assert_eq!(told, carried_out);
    for one in &all {
        assert!(one.instruction.is_some(), "{:?}", one.exchange);
    }

    // Each operation of the module ran in the card, and there was nothing else but finding the key.
    let mut counts = BTreeMap::new();
    for one in handshakes {
        *counts.entry(one.instruction.unwrap()).or_insert(0) += 1;
    }
    let mut table = format!(
        "{:<28} {:<5} {:>5}  {}\n",
        "operation", "where", "count", "command"
    );
    for (operation, command, choice) in IN_CARD {
        let grown = after.count("card", operation) - before.count("card", operation);
        let count = counts.remove(&command).unwrap_or_default();
        assert_eq!(count, grown, "{operation}");
        if let Some(choice) = choice {
            assert_eq!(counts.remove(&choice), Some(count), "{choice:?}");
        }
        // In each handshake the gateway draws a random value, and does the others once.
        let expected = if operation == Operation::Random {
            grown.max(4)
        } else {
            4
        };
        assert_eq!(count, expected, "{operation}");
        table += &format!("{operation:<28} {:<5} {count:>5}  {command:?}\n", "card");
    }
    for (command, count) in counts {
        assert!(
            [SelectFile, ReadBinary, ReadPublicKey].contains(&command),
            "{command:?}"
        );
        table += &format!(
            "{:<28} {:<5} {count:>5}  {command:?}\n",
            "finding the key", "card"
        );
    }
    let host_secrets = host_secrets.all();
    // One master secret in TLS 1.2; in TLS 1.3 two secrets of each direction, and the exporter's.
    assert_eq!(host_secrets.len(), 2 * (1 + 5));
    for (operation, count) in [
        ("deriving traffic secrets", host_secrets.len()),
        ("protecting records", records),
    ] {
        table += &format!("{operation:<28} {:<5} {count:>5}  none\n", "host");
    }
    println!("four mutual handshakes with a card:\n{table}");

    // What the search finds: challenges and public keys in the clear only, and what was agreed on.
    let (inside, outside) = (plain(&all), wire(&recorded));
    let (mut challenges, drawn) = drawn(&all);
    challenges.retain(|bytes| bytes.len() >= WINDOW);
    assert!(challenges.len() >= 4);
    for known in challenges.iter().chain([&public.point]) {
        assert!(inside.has_part_of(known) && !outside.has_part_of(known));
    }
    // And what it does not: private keys, PACE's randomness, and what the host derived.
    assert!(
        drawn.len() >= 4 + 3,
        "four ephemeral keys, and nonce and two keys of PACE"
    );
    for secret in drawn.iter().chain(&host_secrets).chain([&KNOWN.to_vec()]) {
        assert!(!inside.has_part_of(secret) && !outside.has_part_of(secret));
    }
    // Files are read for names of keys and the phase of life, and no file of the table holds a private key.
    let files = CardProfile::tr03109_2_assumed().files;
    let known = HashSet::from([files.directory[0], files.directory[1], files.life_cycle]);
    assert!(
        read_files(&all).is_subset(&known),
        "{:x?}",
        read_files(&all)
    );

    let (tried, refused) = try_everything(&card);
    let tries = &seen.all()[all.len()..];
    let inside = plain(tries);
    for secret in drawn.iter().chain([&KNOWN.to_vec()]) {
        assert!(
            !inside.has_part_of(secret),
            "a command gives a private key away"
        );
    }
    println!(
        "{tried} other commands with references of keys: {refused} refused, none gave a private key away"
    );
    assert!(refused > 1_000 && tried > refused);
}

/// Sends data both ways, one record each; returns how many of them the gateway protected or opened.
fn talk(ends: &mut Ends) -> usize {
    for number in 0..MESSAGES {
        let message = format!("message {number}");
        ends.client.writer().write_all(message.as_bytes()).unwrap();
        ends.server.writer().write_all(message.as_bytes()).unwrap();
        ends.pump();
        let mut heard = vec![0; message.len()];
        ends.client.reader().read_exact(&mut heard).unwrap();
        assert_eq!(heard, message.as_bytes());
        ends.server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(heard, message.as_bytes());
    }
    2 * MESSAGES
}

/// The elementary files that were read.
fn read_files(seen: &[Seen]) -> HashSet<u16> {
    let mut selected = None;
    let mut read = HashSet::new();
    for one in seen {
        let command = &one.exchange.command;
        match one.instruction {
            Some(SelectFile) => {
                let id = command.data.as_slice().try_into().unwrap();
                selected = Some(u16::from_be_bytes(id));
            }
            Some(ReadBinary) => drop(read.insert(selected.expect("a file"))),
            _ => {}
        }
    }
    read
}

/// Sends whatever has two bytes of instruction and parameters to be thought of, with the known key's reference, through
/// the protected channel; returns how many commands these were, and how many of them were refused.
fn try_everything(card: &SharedCard) -> (usize, usize) {
    let profile = Arc::new(CardProfile::tr03109_2_assumed());
    let reference = profile.named_key(&"gw-tls".into()).unwrap();
    let mut parameters: HashSet<_> = profile
        .commands
        .iter()
        .map(|one| (one.header[2], one.header[3]))
        .collect();
    // The selected file, files by short identifier, the current template of ISO/IEC 7816-4.
    parameters.extend((0..=0x1f).map(|file| (0x80 | file, 0)));
    parameters.extend([(0, 0), (0, reference), (0x3f, 0xff)]);
    let mut session = CardSession::new(line_to(card), Arc::clone(&profile));
    let (mut tried, mut refused) = (0, 0);
    for ins in 0..=u8::MAX {
        for (p1, p2) in &parameters {
            for data in [
                vec![],
                vec![0, reference],
                tlv::object(Tag(0x84), &[reference]),
            ] {
                let command = Command::new(0, ins, *p1, *p2).with(data).expecting(256);
                let spoils = [
                    GenerateKeyPair,
                    DeleteKey,
                    UpdateBinary,
                    ChangePin,
                    EnterPhase,
                    Terminate,
                ];
                if profile
                    .recognise(&command, true)
                    .is_some_and(|id| spoils.contains(&id))
                {
                    continue;
                }
                if !session.is_open() {
                    session.open(&Pin::new(PIN)).unwrap();
                }
                let answer = session.exchange_protected(&command).unwrap();
                tried += 1;
                refused += usize::from(answer.data.is_empty() && !answer.status.is_ok());
            }
        }
    }
    assert!(card.with(|card| card.state().keys.contains_key(&reference)));
    (tried, refused)
}

#[test]
fn the_search_finds_parts_of_a_secret_in_either_direction() {
    let secret: Vec<u8> = (0..32).collect();
    let backwards: Vec<u8> = secret.iter().rev().copied().collect();
    for (said, found) in [
        (&secret[5..13], true),
        (&backwards[5..13], true),
        (&secret[5..12], false),
        (&[0; 40][..], false),
    ] {
        let message = [&[0xff; 3], said, &[0xff; 3]].concat();
        assert_eq!(Said::new([message]).has_part_of(&secret), found, "{said:?}");
    }
}
