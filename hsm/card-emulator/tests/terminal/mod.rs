// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gateway's side of the tests does: PACE and secure messaging over any line to a card.

use hsm_api::{Curve, KeyUsage, PublicKey};
use hsm_card::CardProfile;
use hsm_card::pace::{AwaitNonce, PROTOCOL, Randomness};
use hsm_card::profile::Instruction;
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, Response, SecureChannel, SecureError, StatusWord};

pub const PIN: &str = "1234567890";
pub const SIGNING: u8 = 0x12;
pub const AGREEING: u8 = 0x13;
pub const EPHEMERAL: u8 = 0x60;

/// The far end of a line to a card.
pub struct Terminal<L> {
    pub line: L,
    pub profile: CardProfile,
    pub channel: Option<SecureChannel>,
}

/// A line to a card: a command, and the response unless the card is gone.
pub trait Line {
    fn send(&mut self, command: &[u8]) -> Option<Vec<u8>>;
}

impl<F: FnMut(&[u8]) -> Option<Vec<u8>>> Line for F {
    fn send(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        self(command)
    }
}

impl<L: Line> Terminal<L> {
    pub fn new(line: L) -> Self {
        Self {
            line,
            profile: CardProfile::tr03109_2_assumed(),
            channel: None,
        }
    }

    /// A command without protection.
    pub fn plain(&mut self, command: &Command) -> Response {
        let bytes = command.encode().unwrap();
        Response::decode(&self.line.send(&bytes).expect("the card is there")).unwrap()
    }

    /// A command under secure messaging.
    pub fn try_protected(&mut self, command: &Command) -> Result<Response, SecureError> {
        let sent = self.channel.as_mut().unwrap().protect_command(command)?;
        let answer = self.plain(&sent);
        self.channel.as_mut().unwrap().open_response(&answer)
    }

    pub fn protected(&mut self, command: &Command) -> Response {
        self.try_protected(command).unwrap()
    }

    /// The named instruction with this data.
    pub fn run(&mut self, id: Instruction, data: &[u8]) -> Response {
        let command = self.profile.command(id).with(data).expecting(256);
        self.protected(&command)
    }

    /// The data of an instruction that must succeed.
    pub fn get(&mut self, id: Instruction, data: &[u8]) -> Vec<u8> {
        let response = self.run(id, data);
        assert_eq!(response.status, StatusWord::OK, "{id:?}");
        response.data.clone()
    }

    pub fn set_pace(&mut self) -> StatusWord {
        let data = [
            tlv::object(Tag(0x80), &PROTOCOL),
            tlv::object(Tag(0x83), &[self.profile.password.reference]),
        ];
        let command = self.profile.command(Instruction::SetPace);
        self.plain(&command.with(data.concat())).status
    }

    /// PACE with fixed randomness on this side, which is enough for tests.
    pub fn pace(&mut self, pin: &str) -> Result<(), StatusWord> {
        match self.set_pace() {
            StatusWord(0x9000 | 0x63c1..=0x63cf) => {}
            other => return Err(other),
        }
        let random = |seed| Randomness::new([seed; 48]);
        let (step, data) = AwaitNonce::new(pin.as_bytes());
        let (step, data) = step.nonce(&self.step(data, true)?, random(1)).unwrap();
        let (step, data) = step
            .mapping_key(&self.step(data, true)?, random(2))
            .unwrap();
        let (step, data) = step.ephemeral_key(&self.step(data, true)?).unwrap();
        let keys = step.token(&self.step(data, false)?).unwrap();
        self.channel = Some(SecureChannel::new(keys));
        Ok(())
    }

    pub fn step(&mut self, data: Vec<u8>, more: bool) -> Result<Vec<u8>, StatusWord> {
        let command = self
            .profile
            .command(Instruction::Pace)
            .with(data)
            .expecting(256);
        let response = self.plain(&if more { command.chained() } else { command });
        match response.status {
            StatusWord::OK => Ok(response.data.clone()),
            other => Err(other),
        }
    }

    pub fn challenge(&mut self, length: u32) -> Vec<u8> {
        let command = self.profile.command(Instruction::GetChallenge);
        self.protected(&command.expecting(length)).data.clone()
    }

    pub fn generate(&mut self, reference: u8, curve: Curve, usage: KeyUsage) -> PublicKey {
        let oid = tlv::only(curve.oid_der(), Tag(0x06)).unwrap();
        let template = [
            tlv::object(Tag(0x80), &[self.profile.algorithm(usage)]),
            tlv::object(Tag(0x06), oid),
        ];
        let data = [
            tlv::object(Tag(0x84), &[reference]),
            tlv::object(Tag(0xac), &template.concat()),
        ];
        let ephemeral = self.profile.keys.ephemeral.contains(reference);
        let id = match ephemeral {
            true => Instruction::GenerateEphemeralKey,
            false => Instruction::GenerateKeyPair,
        };
        public_key(&self.get(id, &data.concat()))
    }

    pub fn sign(&mut self, reference: u8, digest: &[u8]) -> Vec<u8> {
        let key = tlv::object(Tag(0x84), &[reference]);
        self.get(Instruction::SetSigningKey, &key);
        self.get(Instruction::Sign, digest)
    }

    pub fn agree(&mut self, reference: u8, point: &[u8]) -> Response {
        let key = tlv::object(Tag(0x84), &[reference]);
        self.get(Instruction::SetAgreementKey, &key);
        let request = tlv::object(Tag(0x85), point);
        self.run(Instruction::Agree, &tlv::object(Tag(0x7c), &request))
    }
}

/// The key in 7F49{06 curve, 86 point}.
pub fn public_key(data: &[u8]) -> PublicKey {
    let template = tlv::only(data, Tag(0x7f49)).unwrap();
    let oid = tlv::find(template, Tag(0x06)).unwrap().unwrap();
    let point = tlv::find(template, Tag(0x86)).unwrap().unwrap();
    let curve = Curve::from_oid_der(&tlv::object(Tag(0x06), oid)).unwrap();
    PublicKey::new(curve, point.to_vec()).unwrap()
}

/// The X coordinate in 7C{86 ..}.
pub fn secret(data: &[u8]) -> Vec<u8> {
    let answer = tlv::only(data, Tag(0x7c)).unwrap();
    tlv::only(answer, Tag(0x86)).unwrap().to_vec()
}
