// SPDX-License-Identifier: MIT OR Apache-2.0
//! PACE with generic mapping on brainpoolP256r1, for terminal and card (BSI TR-03110-3 A.3, B.1; TR-03116-3 §10):
//! id-PACE-ECDH-GM-AES-CBC-CMAC-128.
//!
//! Sans-IO: each state is a type named for what it awaits, takes the data field of one GENERAL AUTHENTICATE and gives the
//! next. Randomness is passed in. A state that failed is gone; PACE then starts over, which costs a try of the PIN only
//! once the tokens have been compared.
//!
//! ```
//! use hsm_card::pace::{AwaitNonce, AwaitStart, Randomness};
//!
//! let random = |seed| Randomness::new([seed; 48]);
//! let pin = b"1234567890";
//! let (terminal, start) = AwaitNonce::new(pin);
//! let (card, nonce) = AwaitStart::new(pin).start(&start, [7; 16])?;
//! let (terminal, key) = terminal.nonce(&nonce, random(1))?;
//! let (card, card_key) = card.mapping_key(&key, random(2))?;
//! let (terminal, key) = terminal.mapping_key(&card_key, random(3))?;
//! let (card, card_key) = card.ephemeral_key(&key, random(4))?;
//! let (terminal, token) = terminal.ephemeral_key(&card_key)?;
//! let (_card_keys, card_token) = card.token(&token)?;
//! let _terminal_keys = terminal.token(&card_token)?;
//! # Ok::<(), hsm_card::pace::PaceError>(())
//! ```

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use bp256::r1::{AffinePoint, ProjectivePoint, Sec1Point};
use cmac::{Cmac, KeyInit, Mac};
use elliptic_curve::Group;
use elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use sha1::{Digest, Sha1};
use smgw_apdu::SessionKeys;
use smgw_apdu::tlv::{self, Tag};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// id-PACE-ECDH-GM-AES-CBC-CMAC-128, 0.4.0.127.0.7.2.2.4.2.2: the value of the object identifier.
pub const PROTOCOL: [u8; 10] = [0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x04, 0x02, 0x02];

/// The number of brainpoolP256r1 among the standardised domain parameters (TR-03110-3 table 4).
pub const BRAINPOOL_P256R1: u8 = 13;

/// The version of the protocol that lets the terminal choose the domain parameters (TR-03110-3 A.1.1.1).
const VERSION: u8 = 2;

/// Why PACE did not end in a channel.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PaceError {
    /// The peer's data is not the one dynamic authentication object that belongs to the step.
    #[error("peer's data is not what this step of PACE has")]
    BadData,
    /// The peer's public key is no point of the curve, or its neutral element.
    #[error("peer's key of PACE is no point of brainpoolP256r1")]
    BadPoint,
    /// The peer sent our own key back, or the shared point is the neutral element.
    #[error("peer's key of PACE is our own, or makes the secret predictable")]
    Degenerate,
    /// The peer's token is wrong: it does not know the PIN, or somebody is in between.
    #[error("peer's authentication token is wrong: it used another PIN")]
    WrongToken,
}

/// Random bytes for one private key: 48, so that reducing them to a scalar leaves no bias. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Randomness([u8; 48]);

impl Randomness {
    /// From a generator that is good enough for keys.
    pub const fn new(bytes: [u8; 48]) -> Self {
        Self(bytes)
    }
}

/// Terminal: has asked for the encrypted nonce.
pub struct AwaitNonce {
    password: Key,
}

/// Terminal: has sent its mapping key.
pub struct AwaitMappingKey {
    nonce: Nonce,
    own: KeyPair,
}

/// Terminal: has sent its ephemeral key.
pub struct AwaitEphemeralKey {
    own: KeyPair,
}

/// Terminal: has sent its token.
pub struct AwaitToken {
    keys: Derived,
    own_public: Vec<u8>,
}

/// Card: has been told which password will be used.
pub struct AwaitStart {
    password: Key,
}

/// Card: has sent the encrypted nonce.
pub struct AwaitTerminalMappingKey {
    nonce: Nonce,
}

/// Card: has sent its mapping key.
pub struct AwaitTerminalEphemeralKey {
    generator: ProjectivePoint,
}

/// Card: has sent its ephemeral key.
pub struct AwaitTerminalToken {
    keys: Derived,
    own_public: Vec<u8>,
    peer_public: Vec<u8>,
}

impl AwaitNonce {
    /// Starts PACE with a password; gives the first command's data.
    pub fn new(password: &[u8]) -> (Self, Vec<u8>) {
        let password = derive(password, PASSWORD_KEY);
        (Self { password }, tlv::object(DYNAMIC, &[]))
    }

    /// Takes the encrypted nonce; gives the data with the mapping key.
    ///
    /// # Errors
    /// [`PaceError::BadData`], [`PaceError::Degenerate`].
    pub fn nonce(
        self,
        answer: &[u8],
        random: Randomness,
    ) -> Result<(AwaitMappingKey, Vec<u8>), PaceError> {
        let encrypted: [u8; 16] = dynamic(answer, 0x80)?
            .try_into()
            .map_err(|_| PaceError::BadData)?;
        let mut nonce = Zeroizing::new(encrypted);
        Aes128::new((&*self.password).into()).decrypt_block((&mut *nonce).into());
        let own = KeyPair::new(&ProjectivePoint::GENERATOR, random)?;
        let request = template(0x81, &own.public);
        Ok((AwaitMappingKey { nonce, own }, request))
    }
}

impl AwaitMappingKey {
    /// Takes the card's mapping key; gives the data with the ephemeral key on the mapped generator.
    ///
    /// # Errors
    /// All but [`PaceError::WrongToken`].
    pub fn mapping_key(
        self,
        answer: &[u8],
        random: Randomness,
    ) -> Result<(AwaitEphemeralKey, Vec<u8>), PaceError> {
        let shared = self.own.agree(dynamic(answer, 0x82)?)?;
        let own = KeyPair::new(&map(&self.nonce, &shared)?, random)?;
        let request = template(0x83, &own.public);
        Ok((AwaitEphemeralKey { own }, request))
    }
}

impl AwaitEphemeralKey {
    /// Takes the card's ephemeral key; gives the data with the terminal's token.
    ///
    /// # Errors
    /// All but [`PaceError::WrongToken`].
    pub fn ephemeral_key(self, answer: &[u8]) -> Result<(AwaitToken, Vec<u8>), PaceError> {
        let peer_public = dynamic(answer, 0x84)?;
        let keys = Derived::from(&self.own.agree(peer_public)?);
        let request = template(0x85, &keys.token(peer_public));
        let own_public = self.own.public.clone();
        Ok((AwaitToken { keys, own_public }, request))
    }
}

impl AwaitToken {
    /// Takes the card's token; gives the keys of the session.
    ///
    /// # Errors
    /// [`PaceError::BadData`], or [`PaceError::WrongToken`] when the card does not know the PIN.
    pub fn token(self, answer: &[u8]) -> Result<SessionKeys, PaceError> {
        self.keys.verify(&self.own_public, dynamic(answer, 0x86)?)?;
        Ok(self.keys.session())
    }
}

impl AwaitStart {
    /// Awaits PACE with a password.
    pub fn new(password: &[u8]) -> Self {
        Self {
            password: derive(password, PASSWORD_KEY),
        }
    }

    /// Takes the first command's data and a random nonce; gives the answer with the nonce encrypted.
    ///
    /// # Errors
    /// [`PaceError::BadData`].
    pub fn start(
        self,
        request: &[u8],
        nonce: [u8; 16],
    ) -> Result<(AwaitTerminalMappingKey, Vec<u8>), PaceError> {
        match tlv::only(request, DYNAMIC) {
            Some([]) => {}
            _ => return Err(PaceError::BadData),
        }
        let mut encrypted = nonce;
        Aes128::new((&*self.password).into()).encrypt_block((&mut encrypted).into());
        let nonce = Zeroizing::new(nonce);
        Ok((
            AwaitTerminalMappingKey { nonce },
            template(0x80, &encrypted),
        ))
    }
}

impl AwaitTerminalMappingKey {
    /// Takes the terminal's mapping key; gives the answer with the card's.
    ///
    /// # Errors
    /// All but [`PaceError::WrongToken`].
    pub fn mapping_key(
        self,
        request: &[u8],
        random: Randomness,
    ) -> Result<(AwaitTerminalEphemeralKey, Vec<u8>), PaceError> {
        let own = KeyPair::new(&ProjectivePoint::GENERATOR, random)?;
        let shared = own.agree(dynamic(request, 0x81)?)?;
        let generator = map(&self.nonce, &shared)?;
        Ok((
            AwaitTerminalEphemeralKey { generator },
            template(0x82, &own.public),
        ))
    }
}

impl AwaitTerminalEphemeralKey {
    /// Takes the terminal's ephemeral key; gives the answer with the card's.
    ///
    /// # Errors
    /// All but [`PaceError::WrongToken`].
    pub fn ephemeral_key(
        self,
        request: &[u8],
        random: Randomness,
    ) -> Result<(AwaitTerminalToken, Vec<u8>), PaceError> {
        let own = KeyPair::new(&self.generator, random)?;
        let peer_public = dynamic(request, 0x83)?;
        let keys = Derived::from(&own.agree(peer_public)?);
        let answer = template(0x84, &own.public);
        let next = AwaitTerminalToken {
            keys,
            own_public: own.public.clone(),
            peer_public: peer_public.to_vec(),
        };
        Ok((next, answer))
    }
}

impl AwaitTerminalToken {
    /// Takes the terminal's token; gives the keys of the session and the answer with the card's token.
    ///
    /// # Errors
    /// [`PaceError::BadData`], or [`PaceError::WrongToken`], which costs a try of the PIN.
    pub fn token(self, request: &[u8]) -> Result<(SessionKeys, Vec<u8>), PaceError> {
        self.keys
            .verify(&self.own_public, dynamic(request, 0x85)?)?;
        let answer = template(0x86, &self.keys.token(&self.peer_public));
        Ok((self.keys.session(), answer))
    }
}

/// Content of EF.CardAccess for the one protocol there is: `SecurityInfos` with one `PACEInfo` (TR-03110-3 A.1.1.1).
pub fn card_access() -> Vec<u8> {
    let info = [
        tlv::object(OBJECT_IDENTIFIER, &PROTOCOL),
        tlv::object(INTEGER, &[VERSION]),
        tlv::object(INTEGER, &[BRAINPOOL_P256R1]),
    ];
    tlv::object(SET, &tlv::object(SEQUENCE, &info.concat()))
}

/// Whether a card whose EF.CardAccess has this content offers the protocol.
pub fn is_offered(card_access: &[u8]) -> bool {
    let offers = |info: &[u8]| {
        let fields: Result<Vec<_>, _> = tlv::objects(info).take(4).collect();
        fields.is_ok_and(|fields| {
            matches!(&fields[..], [protocol, version, parameters]
                if protocol.tag == OBJECT_IDENTIFIER && protocol.value == PROTOCOL
                && version.tag == INTEGER && version.value == [VERSION]
                && parameters.tag == INTEGER && parameters.value == [BRAINPOOL_P256R1])
        })
    };
    tlv::only(card_access, SET).is_some_and(|infos| {
        tlv::objects(infos)
            .map_while(Result::ok)
            .any(|info| info.tag == SEQUENCE && offers(info.value))
    })
}

type Key = Zeroizing<[u8; 16]>;
type Nonce = Zeroizing<[u8; 16]>;

const DYNAMIC: Tag = Tag(0x7c);
const SET: Tag = Tag(0x31);
const SEQUENCE: Tag = Tag(0x30);
const INTEGER: Tag = Tag(0x02);
const OBJECT_IDENTIFIER: Tag = Tag(0x06);
const PUBLIC_KEY: Tag = Tag(0x7f49);
const PUBLIC_POINT: Tag = Tag(0x86);

/// Counters of the key derivation (TR-03110-3 A.2.3).
const ENCRYPTION_KEY: u32 = 1;
const AUTHENTICATION_KEY: u32 = 2;
const PASSWORD_KEY: u32 = 3;

const TOKEN_LEN: usize = 8;

fn template(tag: u32, value: &[u8]) -> Vec<u8> {
    tlv::object(DYNAMIC, &tlv::object(Tag(tag), value))
}

fn dynamic(data: &[u8], tag: u32) -> Result<&[u8], PaceError> {
    tlv::only(data, DYNAMIC)
        .and_then(|inner| tlv::only(inner, Tag(tag)))
        .ok_or(PaceError::BadData)
}

/// The key derivation with SHA-1, of which 128 bits are taken.
fn derive(secret: &[u8], counter: u32) -> Key {
    let hash = Sha1::new()
        .chain_update(secret)
        .chain_update(counter.to_be_bytes())
        .finalize();
    let mut key = Key::default();
    key.iter_mut()
        .zip(hash)
        .for_each(|(byte, from)| *byte = from);
    key
}

/// A number reduced to the order of the curve's group; takes the same steps for any number of the same length.
fn scalar(bytes: &[u8]) -> Zeroizing<bp256::Scalar> {
    let base = bp256::Scalar::from(256u64);
    Zeroizing::new(bytes.iter().fold(bp256::Scalar::ZERO, |sum, byte| {
        sum * base + bp256::Scalar::from(u64::from(*byte))
    }))
}

/// The generic mapping: nonce times generator plus the shared point.
fn map(nonce: &Nonce, shared: &ProjectivePoint) -> Result<ProjectivePoint, PaceError> {
    not_neutral(ProjectivePoint::GENERATOR * *scalar(&**nonce) + shared)
}

fn not_neutral(point: ProjectivePoint) -> Result<ProjectivePoint, PaceError> {
    match bool::from(point.is_identity()) {
        true => Err(PaceError::Degenerate),
        false => Ok(point),
    }
}

struct KeyPair {
    private: Zeroizing<bp256::Scalar>,
    /// Uncompressed.
    public: Vec<u8>,
}

impl KeyPair {
    fn new(generator: &ProjectivePoint, random: Randomness) -> Result<Self, PaceError> {
        let private = scalar(&random.0);
        let public = not_neutral(*generator * *private)?;
        Ok(Self {
            private,
            public: encoded(&public),
        })
    }

    fn agree(&self, peer: &[u8]) -> Result<ProjectivePoint, PaceError> {
        if peer == self.public {
            return Err(PaceError::Degenerate);
        }
        not_neutral(point(peer)? * *self.private)
    }
}

fn encoded(point: &ProjectivePoint) -> Vec<u8> {
    point.to_affine().to_sec1_point(false).as_bytes().to_vec()
}

/// Reads an uncompressed point of the curve. The group has a prime order, so each one but the neutral element will do.
fn point(bytes: &[u8]) -> Result<ProjectivePoint, PaceError> {
    if bytes.len() != 65 || bytes.first() != Some(&4) {
        return Err(PaceError::BadPoint);
    }
    let point = Sec1Point::from_bytes(bytes).map_err(|_| PaceError::BadPoint)?;
    Option::<AffinePoint>::from(AffinePoint::from_sec1_point(&point))
        .map(ProjectivePoint::from)
        .filter(|point| !bool::from(point.is_identity()))
        .ok_or(PaceError::BadPoint)
}

struct Derived {
    encryption: Key,
    authentication: Key,
}

impl From<&ProjectivePoint> for Derived {
    fn from(shared: &ProjectivePoint) -> Self {
        let shared = Zeroizing::new(encoded(shared));
        // The X coordinate.
        let secret = shared.get(1..33).unwrap_or_default();
        Self {
            encryption: derive(secret, ENCRYPTION_KEY),
            authentication: derive(secret, AUTHENTICATION_KEY),
        }
    }
}

impl Derived {
    fn session(&self) -> SessionKeys {
        SessionKeys::new(*self.encryption, *self.authentication)
    }

    /// The token over a party's ephemeral key, made by the other party.
    fn token(&self, peer_public: &[u8]) -> [u8; TOKEN_LEN] {
        let full: [u8; 16] = self.token_mac(peer_public).finalize().into_bytes().into();
        let mut token = [0; TOKEN_LEN];
        token
            .iter_mut()
            .zip(full)
            .for_each(|(byte, from)| *byte = from);
        token
    }

    fn verify(&self, own_public: &[u8], token: &[u8]) -> Result<(), PaceError> {
        if token.len() != TOKEN_LEN {
            return Err(PaceError::BadData);
        }
        self.token_mac(own_public)
            .verify_truncated_left(token)
            .map_err(|_| PaceError::WrongToken)
    }

    fn token_mac(&self, public: &[u8]) -> Cmac<Aes128> {
        let fields = [
            tlv::object(OBJECT_IDENTIFIER, &PROTOCOL),
            tlv::object(PUBLIC_POINT, public),
        ];
        let mut mac = Cmac::new((&*self.authentication).into());
        mac.update(&tlv::object(PUBLIC_KEY, &fields.concat()));
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smgw_apdu::{Command, Response, SecureChannel, StatusWord};
    use test_material::{repository, unhex};

    use super::*;

    struct Example(serde_json::Value);

    impl Example {
        fn read() -> Self {
            let path = repository().join("fixtures/hsm/eac-worked-example.json");
            Self(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        }

        fn bytes(&self, name: &str) -> Vec<u8> {
            unhex(self.0[name].as_str().unwrap())
        }

        fn random(&self, name: &str) -> Randomness {
            let mut random = [0; 48];
            random[16..].copy_from_slice(&self.bytes(name));
            Randomness::new(random)
        }
    }

    /// Every value of the worked example, from both ends.
    #[test]
    fn worked_example() {
        let example = Example::read();
        let password = example.0["password"].as_str().unwrap().as_bytes();
        let is = |data: &[u8], tag, name: &str| {
            assert_eq!(dynamic(data, tag).unwrap(), example.bytes(name), "{name}");
        };

        let (terminal, start) = AwaitNonce::new(password);
        let nonce = example.bytes("nonce").try_into().unwrap();
        let (card, answer) = AwaitStart::new(password).start(&start, nonce).unwrap();
        is(&answer, 0x80, "nonce_enc");

        let (terminal, request) = terminal
            .nonce(&answer, example.random("map_pcd_priv_key"))
            .unwrap();
        assert_eq!(terminal.nonce[..], example.bytes("nonce"));
        is(&request, 0x81, "map_pcd_pub_key");
        let (card, answer) = card
            .mapping_key(&request, example.random("map_picc_priv_key"))
            .unwrap();
        is(&answer, 0x82, "map_picc_pub_key");
        assert_eq!(encoded(&card.generator), example.bytes("map_generator"));
        let shared = terminal.own.agree(&example.bytes("map_picc_pub_key"));
        assert_eq!(
            encoded(&shared.unwrap()),
            example.bytes("map_shared_secret_h")
        );

        let (terminal, request) = terminal
            .mapping_key(&answer, example.random("pcd_priv_key"))
            .unwrap();
        is(&request, 0x83, "pcd_pub_key");
        let (card, answer) = card
            .ephemeral_key(&request, example.random("picc_priv_key"))
            .unwrap();
        is(&answer, 0x84, "picc_pub_key");

        let shared = terminal.own.agree(&example.bytes("picc_pub_key")).unwrap();
        assert_eq!(encoded(&shared)[1..33], example.bytes("shared_secret_k"));
        let (terminal, request) = terminal.ephemeral_key(&answer).unwrap();
        assert_eq!(terminal.keys.encryption[..], example.bytes("k_enc"));
        assert_eq!(terminal.keys.authentication[..], example.bytes("k_mac"));
        is(&request, 0x85, "authentication_token_pcd");
        let (card_keys, answer) = card.token(&request).unwrap();
        is(&answer, 0x86, "authentication_token_picc");
        let terminal_keys = terminal.token(&answer).unwrap();

        let mut terminal = SecureChannel::new(terminal_keys);
        let mut card = SecureChannel::new(card_keys);
        let command = Command::new(0, 0x22, 0x81, 0xb6).with(example.bytes("command_data"));
        let sent = terminal.protect_command(&command).unwrap();
        let encrypted = tlv::find(&sent.data, Tag(0x87)).unwrap().unwrap();
        assert_eq!(encrypted[1..], example.bytes("command_data_encrypted"));
        assert_eq!(card.open_command(&sent), Ok(command));
        let answer = Response::from(StatusWord::OK);
        let sent = card.protect_response(&answer).unwrap();
        let expected = [
            example.bytes("response_objects"),
            tlv::object(Tag(0x8e), &example.bytes("response_checksum")),
        ];
        assert_eq!(sent.data, expected.concat());
        assert_eq!(terminal.open_response(&sent), Ok(answer));
    }

    /// The encrypted nonce of ICAO Doc 9303-11 appendix G.1, with the key given there.
    #[test]
    fn nonce_of_icao_9303() {
        let key: [u8; 16] = unhex("89DED1B26624EC1E634C1989302849DD")
            .try_into()
            .unwrap();
        let terminal = AwaitNonce {
            password: Zeroizing::new(key),
        };
        let answer = template(0x80, &unhex("95A3A016522EE98D01E76CB6B98B42C3"));
        let (next, _) = terminal.nonce(&answer, Randomness::new([1; 48])).unwrap();
        assert_eq!(next.nonce[..], unhex("3F00C4D39D153F2B2A214A078D899B22"));
    }

    #[test]
    fn card_access_is_read_and_written() {
        assert!(is_offered(&Example::read().bytes("card_access")));
        assert!(is_offered(&card_access()));
        for at in 0..card_access().len() {
            let mut other = card_access();
            other[at] ^= 1;
            assert!(!is_offered(&other), "byte {at}");
            assert!(!is_offered(&card_access()[..at]));
        }
    }

    fn up_to_ephemeral(
        pin: &[u8],
        card_pin: &[u8],
    ) -> (AwaitEphemeralKey, Vec<u8>, AwaitTerminalEphemeralKey) {
        let (terminal, start) = AwaitNonce::new(pin);
        let (card, answer) = AwaitStart::new(card_pin).start(&start, [9; 16]).unwrap();
        let (terminal, request) = terminal.nonce(&answer, Randomness::new([1; 48])).unwrap();
        let (card, answer) = card
            .mapping_key(&request, Randomness::new([2; 48]))
            .unwrap();
        let (terminal, request) = terminal
            .mapping_key(&answer, Randomness::new([3; 48]))
            .unwrap();
        (terminal, request, card)
    }

    #[test]
    fn another_pin_is_found_out_by_the_card() {
        let (terminal, request, card) = up_to_ephemeral(b"1234567890", b"1234567891");
        let (card, answer) = card
            .ephemeral_key(&request, Randomness::new([4; 48]))
            .unwrap();
        let (terminal, request) = terminal.ephemeral_key(&answer).unwrap();
        let card = card.token(&request);
        assert!(matches!(card, Err(PaceError::WrongToken)));
        let terminal = terminal.token(&template(0x86, &[0; 8]));
        assert!(matches!(terminal, Err(PaceError::WrongToken)));
    }

    #[test]
    fn bad_points_and_echoes_are_refused() {
        let (terminal, request, card) = up_to_ephemeral(b"1234567890", b"1234567890");
        let mut own = dynamic(&request, 0x83).unwrap().to_vec();
        assert_eq!(
            terminal.ephemeral_key(&template(0x84, &own)).err(),
            Some(PaceError::Degenerate)
        );
        own[64] ^= 1;
        for (what, key) in [
            ("off the curve", own.clone()),
            ("neutral", vec![0]),
            ("empty", vec![]),
            ("compressed", [&[2], &own[1..33]].concat()),
            ("zero", [&[4][..], &[0; 64]].concat()),
        ] {
            let (terminal, _, card) = up_to_ephemeral(b"1", b"1");
            let error = terminal.ephemeral_key(&template(0x84, &key)).err();
            assert_eq!(error, Some(PaceError::BadPoint), "{what}");
            let random = Randomness::new([4; 48]);
            let error = card.ephemeral_key(&template(0x83, &key), random).err();
            assert_eq!(error, Some(PaceError::BadPoint), "{what}");
        }
        let wrong_step = template(0x81, dynamic(&request, 0x83).unwrap());
        let error = card.ephemeral_key(&wrong_step, Randomness::new([4; 48]));
        assert_eq!(error.err(), Some(PaceError::BadData));
        let (terminal, _) = AwaitNonce::new(b"1");
        let error = terminal.nonce(&template(0x80, &[1; 16]), Randomness::new([0; 48]));
        assert_eq!(error.err(), Some(PaceError::Degenerate), "no randomness");
    }

    proptest! {
        /// The two ends agree for any randomness, and no bytes make either panic.
        #[test]
        fn any_randomness_agrees(
            [a, b, c, d] in prop::array::uniform4(prop::array::uniform32(1u8..)),
            nonce: [u8; 16],
            noise in prop::collection::vec(any::<u8>(), 0..90),
        ) {
            let random = |bytes: [u8; 32]| {
                let mut random = [0x5a; 48];
                random[..32].copy_from_slice(&bytes);
                Randomness::new(random)
            };
            prop_assume!(a != b && c != d);
            let (terminal, start) = AwaitNonce::new(b"0987654321");
            prop_assert!(AwaitStart::new(b"0987654321").start(&noise, nonce).is_err());
            let (card, answer) = AwaitStart::new(b"0987654321").start(&start, nonce).unwrap();
            let (terminal, request) = terminal.nonce(&answer, random(a)).unwrap();
            let (card, answer) = card.mapping_key(&request, random(b)).unwrap();
            let (terminal, request) = terminal.mapping_key(&answer, random(c)).unwrap();
            let (card, answer) = card.ephemeral_key(&request, random(d)).unwrap();
            let (terminal, request) = terminal.ephemeral_key(&answer).unwrap();
            let (card, answer) = card.token(&request).unwrap();
            let terminal = terminal.token(&answer).unwrap();
            let (mut terminal, mut card) = (SecureChannel::new(terminal), SecureChannel::new(card));
            let sent = terminal.protect_command(&Command::new(0, 0x84, 0, 0).expecting(8)).unwrap();
            prop_assert!(card.open_command(&sent).is_ok());
            let (terminal, _) = AwaitNonce::new(b"0987654321");
            prop_assert!(terminal.nonce(&noise, random(a)).is_err() || noise.starts_with(&[0x7c, 18, 0x80, 16]));
        }
    }
}
