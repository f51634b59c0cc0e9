// SPDX-License-Identifier: MIT OR Apache-2.0
//! The decrypter against records made with plain AES and HMAC: every padding, every way to get it wrong, equal work.

use aes::cipher::KeySizeUser;
use proptest::prelude::*;
use rustls::crypto::cipher::OutboundChunks;

use super::digest::tests::{Counted, calls};
use super::*;

const SEQUENCE: u64 = 0x0102_0304_0506_0708;
const KIND: ContentType = ContentType::ApplicationData;
const VERSION: ProtocolVersion = ProtocolVersion::TLSv1_2;

/// One suite's parts, all lengths and keys fixed.
trait Suite {
    type Cipher: BlockCipherEncrypt
        + aes::cipher::BlockCipherDecrypt
        + BlockSizeUser<BlockSize = <Aes128 as BlockSizeUser>::BlockSize>
        + KeyInit
        + Send
        + Sync;
    type Hash: BlockHash;
    type Hmac: Mac + KeyInit + Clone + Send + Sync;

    fn mac_key() -> Vec<u8> {
        vec![0x5a; Self::Hash::OUTPUT]
    }

    fn cipher_key() -> Vec<u8> {
        vec![0xc3; Self::Cipher::key_size()]
    }

    fn reader() -> Reader<Self::Cipher, Counted<Self::Hash>> {
        Reader::new(&Self::mac_key(), &Self::cipher_key())
    }

    fn writer() -> Writer<Self::Cipher, Self::Hmac> {
        Writer::new(&Self::mac_key(), &Self::cipher_key())
    }

    fn mac(payload: &[u8]) -> Vec<u8> {
        let head = make_tls12_aad(SEQUENCE, KIND, VERSION, payload.len());
        let mac = <Self::Hmac as KeyInit>::new_from_slice(&Self::mac_key()).unwrap();
        let mac = mac.chain_update(head).chain_update(payload).finalize();
        mac.into_bytes().to_vec()
    }

    /// What stands in a record before encryption.
    fn plain(payload: &[u8], padding: u8) -> Vec<u8> {
        let mut plain = [payload, &Self::mac(payload)].concat();
        plain.resize(plain.len() + usize::from(padding) + 1, padding);
        plain
    }

    fn open(plain: &[u8]) -> (usize, Option<usize>) {
        let reader = Self::reader();
        calls(|| reader.open(plain, SEQUENCE, KIND, VERSION))
    }
}

struct Small;

impl Suite for Small {
    type Cipher = Aes128;
    type Hash = Sha256State;
    type Hmac = Hmac<Sha256>;
}

struct Large;

impl Suite for Large {
    type Cipher = Aes256;
    type Hash = Sha384State;
    type Hmac = Hmac<Sha384>;
}

/// Payloads that with this padding fill whole blocks, so that the record is as long as `blocks` blocks.
fn payload_of<S: Suite>(blocks: usize, padding: u8) -> Option<Vec<u8>> {
    let len = (blocks * BLOCK).checked_sub(S::Hash::OUTPUT + usize::from(padding) + 1)?;
    Some((0..len).map(|n| (n * 11) as u8).collect())
}

fn every_padding_is_taken<S: Suite>() {
    for blocks in [3, 4, 5, 18, 19, 20, 21, 40] {
        let mut work = None;
        let mut seen = 0;
        for padding in 0..=255 {
            let Some(payload) = payload_of::<S>(blocks, padding) else {
                continue;
            };
            let (count, opened) = S::open(&S::plain(&payload, padding));
            assert_eq!(
                opened,
                Some(payload.len()),
                "{blocks} blocks, padding {padding}"
            );
            assert_eq!(
                *work.get_or_insert(count),
                count,
                "{blocks} blocks, padding {padding}"
            );
            seen += 1;
        }
        assert!(seen > 0 || blocks * BLOCK <= S::Hash::OUTPUT);
    }
}

#[test]
fn every_padding_length_is_taken_with_equal_work() {
    every_padding_is_taken::<Small>();
    every_padding_is_taken::<Large>();
}

fn every_wrong_byte_is_refused<S: Suite>() {
    const BLOCKS: usize = 22;
    let good = payload_of::<S>(BLOCKS, 0).unwrap();
    let (work, _) = S::open(&S::plain(&good, 0));
    for padding in 0..=255_u8 {
        let payload = payload_of::<S>(BLOCKS, padding).unwrap();
        let plain = S::plain(&payload, padding);
        // One byte after the other of MAC, padding and stated length, and one of the payload.
        let mut places: Vec<usize> = (payload.len()..plain.len()).collect();
        places.extend(payload.len().checked_sub(1));
        for place in places {
            for bits in [0x01, 0x80] {
                let mut plain = plain.clone();
                plain[place] ^= bits;
                let (count, opened) = S::open(&plain);
                assert_eq!(opened, None, "padding {padding}, byte {place}");
                assert_eq!(count, work, "padding {padding}, byte {place}");
            }
        }
    }
}

#[test]
fn every_wrong_byte_is_refused_with_equal_work() {
    every_wrong_byte_is_refused::<Small>();
    every_wrong_byte_is_refused::<Large>();
}

/// A stated padding longer than the record leaves room for, which must not wrap around.
#[test]
fn paddings_beyond_the_record_are_refused() {
    for blocks in 3..8 {
        let work = Small::open(&vec![0; blocks * BLOCK]).0;
        for stated in 0..=255_u8 {
            let plain = vec![stated; blocks * BLOCK];
            assert_eq!(
                Small::open(&plain),
                (work, None),
                "{blocks} blocks of {stated}"
            );
        }
    }
    for len in 0..=32 {
        assert_eq!(
            Small::open(&vec![0; len]).1,
            None,
            "too short for a MAC: {len}"
        );
    }
}

/// A MAC at another place than the padding says, also when it is right for what stands before it.
#[test]
fn a_mac_counts_only_where_the_padding_puts_it() {
    let payload = payload_of::<Small>(10, 15).unwrap();
    let mut plain = Small::plain(&payload, 15);
    // The last byte now says that there is no padding; the MAC stands 15 bytes too early.
    *plain.last_mut().unwrap() = 0;
    assert_eq!(Small::open(&plain).1, None);
}

fn records_round_trip<S: Suite>() {
    for len in (0..70).chain([1000, LONGEST_PAYLOAD]) {
        let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let mut writer = S::writer();
        let chunks = OutboundPlainMessage {
            typ: KIND,
            version: VERSION,
            payload: OutboundChunks::Single(&payload),
        };
        let sealed = writer.encrypt(chunks, SEQUENCE).unwrap();
        let mut bytes = sealed.encode().split_off(5);
        assert_eq!(bytes.len(), writer.encrypted_payload_len(len));
        let mut reader = S::reader();
        let whole = InboundOpaqueMessage::new(KIND, VERSION, &mut bytes);
        assert_eq!(reader.decrypt(whole, SEQUENCE).unwrap().payload, payload);
    }
}

#[test]
fn records_survive_the_way_there_and_back() {
    records_round_trip::<Small>();
    records_round_trip::<Large>();
}

/// RFC 5246 §6.2.3.2 wants IVs that nobody can foresee; a repeated one would be the worst of these.
#[test]
fn no_iv_repeats_between_records_directions_and_keys() {
    let mut seen = std::collections::HashSet::new();
    for key in 0..4_u8 {
        let mut writer = Writer::<Aes128, Hmac<Sha256>>::new(&[key; 32], &[7; 16]);
        for sequence in 0..100 {
            let message = OutboundPlainMessage {
                typ: KIND,
                version: VERSION,
                payload: OutboundChunks::Single(b"same"),
            };
            let record = writer.encrypt(message, sequence).unwrap().encode();
            assert!(
                seen.insert(record[5..21].to_vec()),
                "key {key}, record {sequence}"
            );
        }
    }
}

#[test]
fn oversized_payloads_are_refused() {
    let payload = vec![0; LONGEST_PAYLOAD + 1];
    let plain = Small::plain(&payload, 14);
    assert_eq!(plain.len() % BLOCK, 0);
    let mut plain = plain;
    let iv = [9; BLOCK];
    let (blocks, _) = Block::slice_as_chunks_mut(&mut plain);
    cbc::Encryptor::<Aes128>::new_from_slices(&Small::cipher_key(), &iv)
        .unwrap()
        .encrypt_blocks(blocks);
    let mut record = [&iv[..], &plain].concat();
    let message = InboundOpaqueMessage::new(KIND, VERSION, &mut record);
    assert_eq!(
        Small::reader().decrypt(message, SEQUENCE).err(),
        Some(Error::PeerSentOversizedRecord)
    );
}

proptest! {
    /// OpenSSL pads as it likes; any padding around any payload comes back as the payload.
    #[test]
    fn payloads_of_any_length_survive_any_padding(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        blocks in 0_usize..15,
    ) {
        let filled = payload.len() + Sha256State::OUTPUT;
        let padding = BLOCK - 1 - filled % BLOCK + blocks * BLOCK;
        let plain = Small::plain(&payload, padding as u8);
        prop_assert_eq!(plain.len() % BLOCK, 0);
        prop_assert_eq!(Small::open(&plain).1, Some(payload.len()));
    }
}
