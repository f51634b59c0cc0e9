// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys: random numbers, signatures, agreement, generation, and the administrator's proof (ISO/IEC 7816-8, TR-03111).

use hsm_api::{Curve, KeyUsage, PublicKey};
use hsm_soft::PrivateKey;
use sha2::{Digest, Sha256};
use smgw_apdu::StatusWord;
use smgw_apdu::tlv::{self, Tag};
use zeroize::Zeroizing;

use super::{Card, Outcome, byte, value};
use crate::fault::Fault;
use crate::state::Key;

const PUBLIC_KEY: Tag = Tag(0x7f49);
const DYNAMIC: Tag = Tag(0x7c);
const OBJECT_IDENTIFIER: Tag = Tag(0x06);
const POINT_OR_SECRET: Tag = Tag(0x86);

/// The shortest challenge that an administrator's proof may answer.
const CHALLENGE: usize = 8;

/// Random scalars beyond the group order are drawn again; even for the unluckiest curve each draw has a chance of one half.
const DRAWS: usize = 128;

impl Card {
    pub(super) fn challenge(&mut self, expected: Option<u32>) -> Outcome {
        let expected = expected.and_then(|expected| usize::try_from(expected).ok());
        let length = expected.filter(|length| (1..=self.chunk()).contains(length));
        let mut challenge = vec![0; length.ok_or(StatusWord::WRONG_LENGTH)?];
        self.draw(&mut challenge)?;
        self.session()?.challenge = Some(challenge.clone());
        Ok(challenge)
    }

    pub(super) fn set_signing_key(&mut self, data: &[u8]) -> Outcome {
        let reference = self.chosen(data, KeyUsage::Sign)?;
        self.session()?.signing = Some(reference);
        Ok(Vec::new())
    }

    pub(super) fn sign(&mut self, digest: &[u8]) -> Outcome {
        let reference = self.session()?.signing.ok_or(StatusWord::CONDITIONS)?;
        let key = self.lasting_key(reference)?;
        let mut signature = key.private.sign_digest(digest).map_err(wrong_data)?;
        if self.faults.strikes(Fault::WrongSignature)
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        Ok(signature)
    }

    pub(super) fn set_verifying_key(&mut self, data: &[u8]) -> Outcome {
        let key = public_key(data).ok_or(StatusWord::WRONG_DATA)?;
        self.session()?.verifying = Some(key);
        Ok(Vec::new())
    }

    pub(super) fn verify(&mut self, data: &[u8]) -> Outcome {
        let key = self.session()?.verifying.clone();
        let key = key.ok_or(StatusWord::CONDITIONS)?;
        let (digest, signature) = (value(data, 0x9a)?, value(data, 0x9e)?);
        match hsm_soft::verify(&key, digest, signature).map_err(wrong_data)? {
            true => Ok(Vec::new()),
            false => Err(StatusWord::NOT_AUTHENTICATED),
        }
    }

    pub(super) fn set_agreement_key(&mut self, data: &[u8]) -> Outcome {
        let reference = self.chosen(data, KeyUsage::Agree)?;
        self.session()?.agreeing = Some(reference);
        Ok(Vec::new())
    }

    /// ECKA-EG with a key that stays, ECKA-DH with one that is used up.
    pub(super) fn agree(&mut self, data: &[u8]) -> Outcome {
        let request = tlv::only(data, DYNAMIC).ok_or(StatusWord::WRONG_DATA)?;
        let point = value(request, 0x85)?;
        let session = self.session()?;
        let reference = session.agreeing.ok_or(StatusWord::CONDITIONS)?;
        let secret = match session.ephemeral.remove(&reference) {
            Some(ephemeral) => ephemeral.agree(point),
            None => self.lasting_key(reference)?.private.agree(point),
        };
        let secret = secret.map_err(wrong_data)?;
        let answer = Zeroizing::new(tlv::object(POINT_OR_SECRET, &secret.0));
        Ok(tlv::object(DYNAMIC, &answer))
    }

    /// Makes a key pair that stays; one that was there under the reference is gone.
    pub(super) fn generate_key_pair(&mut self, data: &[u8]) -> Outcome {
        let reference = byte(data, 0x84)?;
        let keys = &self.profile.keys;
        let known = keys.named.iter().any(|named| named.reference == reference);
        if !known && !keys.free.contains(reference) {
            return Err(StatusWord::NOT_FOUND);
        }
        let template = value(data, 0xac)?;
        let usage = self.profile.usage(byte(template, 0x80)?);
        let usage = usage.ok_or(StatusWord::WRONG_DATA)?;
        let private = self.new_private_key(template)?;
        let public = template_of(private.public_key());
        let key = Key { private, usage };
        self.change(|state| drop(state.keys.insert(reference, key)))?;
        Ok(public)
    }

    /// Makes a key pair for one agreement, which ends with the session at the latest.
    pub(super) fn generate_ephemeral_key(&mut self, data: &[u8]) -> Outcome {
        let reference = byte(data, 0x84)?;
        if !self.profile.keys.ephemeral.contains(reference) {
            return Err(StatusWord::NOT_FOUND);
        }
        let private = self.new_private_key(value(data, 0xac)?)?;
        let public = template_of(private.public_key());
        self.session()?.ephemeral.insert(reference, private);
        Ok(public)
    }

    pub(super) fn read_public_key(&mut self, data: &[u8]) -> Outcome {
        let key = self.lasting_key(byte(data, 0x84)?)?;
        Ok(template_of(key.private.public_key()))
    }

    pub(super) fn delete_key(&mut self, data: &[u8]) -> Outcome {
        let reference = byte(data, 0x84)?;
        self.lasting_key(reference)?;
        self.change(|state| drop(state.keys.remove(&reference)))?;
        Ok(Vec::new())
    }

    pub(super) fn delete_ephemeral_key(&mut self, data: &[u8]) -> Outcome {
        let reference = byte(data, 0x84)?;
        let removed = self.session()?.ephemeral.remove(&reference);
        removed.ok_or(StatusWord::NOT_FOUND)?;
        Ok(Vec::new())
    }

    pub(super) fn set_administrator_key(&mut self, data: &[u8]) -> Outcome {
        let administrator = self.profile.administrator.reference;
        if byte(data, 0x83)? != administrator {
            return Err(StatusWord::NOT_FOUND);
        }
        let content = self.content(self.profile.administrator_file());
        // What follows the one object is the rest of the file.
        let first = tlv::objects(&content).next().and_then(Result::ok);
        let key = first
            .filter(|object| object.tag == PUBLIC_KEY)
            .and_then(|object| key_of(object.value))
            .ok_or(StatusWord::NOT_FOUND)?;
        self.session()?.administrator_key = Some(key);
        Ok(Vec::new())
    }

    /// Takes a signature over the challenge last given.
    pub(super) fn external_authenticate(&mut self, signature: &[u8]) -> Outcome {
        let session = self.session()?;
        let challenge = session
            .challenge
            .take()
            .filter(|bytes| bytes.len() >= CHALLENGE);
        let key = session.administrator_key.clone();
        let (Some(challenge), Some(key)) = (challenge, key) else {
            return Err(StatusWord::CONDITIONS);
        };
        let digest = Sha256::digest(challenge);
        session.administrator = hsm_soft::verify(&key, &digest, signature).map_err(wrong_data)?;
        match session.administrator {
            true => Ok(Vec::new()),
            false => Err(StatusWord::NOT_AUTHENTICATED),
        }
    }

    /// The reference in an MSE:Set, of a key that may be used so.
    fn chosen(&mut self, data: &[u8], usage: KeyUsage) -> Result<u8, StatusWord> {
        let reference = byte(data, 0x84)?;
        let ephemeral = self.session()?.ephemeral.contains_key(&reference);
        let allowed = match ephemeral {
            true => usage == KeyUsage::Agree,
            false => self.lasting_key(reference)?.usage == usage,
        };
        match allowed {
            true => Ok(reference),
            false => Err(StatusWord::CONDITIONS),
        }
    }

    fn lasting_key(&self, reference: u8) -> Result<&Key, StatusWord> {
        self.state.keys.get(&reference).ok_or(StatusWord::NOT_FOUND)
    }

    /// A new key on the curve that the template names.
    fn new_private_key(&mut self, template: &[u8]) -> Result<PrivateKey, StatusWord> {
        let curve = curve(value(template, 0x06)?).ok_or(StatusWord::WRONG_DATA)?;
        if self.profile.curves.iter().all(|known| known.curve != curve) {
            return Err(StatusWord::WRONG_DATA);
        }
        let mut scalar = Zeroizing::new(vec![0; curve.field_len()]);
        for _ in 0..DRAWS {
            self.draw(&mut scalar)?;
            if let Ok(key) = PrivateKey::from_bytes(curve, &scalar) {
                return Ok(key);
            }
        }
        Err(StatusWord::NO_DIAGNOSIS)
    }
}

/// The curve with this object identifier, given without tag and length.
fn curve(identifier: &[u8]) -> Option<Curve> {
    Curve::from_oid_der(&tlv::object(OBJECT_IDENTIFIER, identifier))
}

/// The public key template 7F49{06 curve, 86 point}.
fn template_of(key: &PublicKey) -> Vec<u8> {
    let point = tlv::object(POINT_OR_SECRET, &key.point);
    tlv::object(PUBLIC_KEY, &[key.curve.oid_der(), &point].concat())
}

fn public_key(data: &[u8]) -> Option<PublicKey> {
    key_of(tlv::only(data, PUBLIC_KEY)?)
}

fn key_of(template: &[u8]) -> Option<PublicKey> {
    let curve = curve(value(template, 0x06).ok()?)?;
    PublicKey::new(curve, value(template, 0x86).ok()?.to_vec()).ok()
}

fn wrong_data<E>(_: E) -> StatusWord {
    StatusWord::WRONG_DATA
}
