// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver does with a card, command by command (TR-03109-2), and how it comes back to a card it lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use hsm_api::{Curve, KeyId, KeyInfo, LifeCycle, ModuleError, ObjectId, Pin, PublicKey, Reason};
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, Response, StatusWord};
use zeroize::Zeroizing;

use crate::directory::{Directory, HEADER, Head, KeyEntry, ObjectEntry};
use crate::driver::Administrator;
use crate::profile::{CardProfile, FileId, Instruction, Need};
use crate::session::CardSession;
use crate::transport::refused;

/// A card with everything the driver knows of it.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) session: CardSession,
    pub(crate) pin: Pin,
    pub(crate) administrator: Option<AdministratorOf>,
    /// As last read; forgotten with the session, since another program may have the card in between.
    directory: Option<Directory>,
    phase: Option<LifeCycle>,
    /// References of ephemeral keys in use.
    ephemeral: BTreeSet<u8>,
}

/// The administrator; nothing of it can be shown.
pub(crate) struct AdministratorOf(pub(crate) Administrator);

impl std::fmt::Debug for AdministratorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Administrator(..)")
    }
}

pub(crate) const KEY_REFERENCE: Tag = Tag(0x84);
const PUBLIC_KEY_REFERENCE: Tag = Tag(0x83);
const ALGORITHMS: Tag = Tag(0xac);
const ALGORITHM: Tag = Tag(0x80);
const CURVE: Tag = Tag(0x06);
const PUBLIC_KEY: Tag = Tag(0x7f49);
const POINT: Tag = Tag(0x86);
const DYNAMIC: Tag = Tag(0x7c);
const PEER_POINT: Tag = Tag(0x85);
const SECRET: Tag = Tag(0x86);
const HASH: Tag = Tag(0x9a);
const SIGNATURE: Tag = Tag(0x9e);

/// Bytes of the challenge that the administrator signs.
const CHALLENGE: u32 = 32;

impl Card {
    pub(crate) fn new(
        session: CardSession,
        pin: Pin,
        administrator: Option<Administrator>,
    ) -> Self {
        Self {
            session,
            pin,
            administrator: administrator.map(AdministratorOf),
            directory: None,
            phase: None,
            ephemeral: BTreeSet::new(),
        }
    }

    pub(crate) fn profile(&self) -> Arc<CardProfile> {
        Arc::clone(self.session.profile())
    }

    /// Carries out what may be carried out twice: once more, over a new session, when the first one was lost on the way.
    pub(crate) fn run<T>(
        &mut self,
        mut task: impl FnMut(&mut Self) -> Result<T, ModuleError>,
    ) -> Result<T, ModuleError> {
        self.ready()?;
        match task(self) {
            Err(error) if matches!(error.reason(), Reason::Gone | Reason::Channel) => {
                self.session.reset().ok();
                self.ready()?;
                task(self)
            }
            result => result,
        }
    }

    /// Opens the channel if none is open.
    pub(crate) fn ready(&mut self) -> Result<(), ModuleError> {
        if self.session.is_open() {
            return Ok(());
        }
        self.directory = None;
        self.phase = None;
        self.ephemeral.clear();
        self.session.open(&self.pin)
    }

    /// Sends a command; `what` completes "card refused to".
    pub(crate) fn send(&mut self, command: &Command, what: &str) -> Result<Response, ModuleError> {
        let response = self.session.exchange_protected(command)?;
        match response.status.is_ok() {
            true => Ok(response),
            false => Err(refused(response.status, what)),
        }
    }

    fn command(&self, id: Instruction) -> Command {
        self.session.profile().command(id)
    }

    // Randomness, keys.

    pub(crate) fn random(&mut self, out: &mut [u8]) -> Result<(), ModuleError> {
        let chunk = usize::from(self.profile().limits.chunk);
        for part in out.chunks_mut(chunk) {
            let command = self.command(Instruction::GetChallenge);
            let command = command.expecting(part.len() as u32);
            let response = self.send(&command, "give random bytes")?;
            if response.data.len() != part.len() {
                return Err(wrong_result(format!(
                    "{} random bytes instead of {}",
                    response.data.len(),
                    part.len()
                )));
            }
            part.copy_from_slice(&response.data);
        }
        Ok(())
    }

    /// Makes a key pair with a reference; one that is there already is lost.
    pub(crate) fn generate(
        &mut self,
        id: Instruction,
        reference: u8,
        curve: Curve,
        algorithm: Option<u8>,
    ) -> Result<PublicKey, ModuleError> {
        let mut kind = Vec::new();
        if let Some(code) = algorithm {
            tlv::put(&mut kind, ALGORITHM, &[code]);
        }
        kind.extend_from_slice(curve.oid_der());
        let objects = [
            tlv::object(KEY_REFERENCE, &[reference]),
            tlv::object(ALGORITHMS, &kind),
        ];
        let command = self.command(id).with(objects.concat()).expecting(256);
        let response = self.send(&command, "make a key pair")?;
        let key = public_key(&response.data)?;
        match key.curve == curve {
            true => Ok(key),
            false => Err(wrong_result(format!("a key on {}, not {curve}", key.curve))),
        }
    }

    pub(crate) fn read_public(&mut self, reference: u8) -> Result<PublicKey, ModuleError> {
        let command = self
            .command(Instruction::ReadPublicKey)
            .with(tlv::object(KEY_REFERENCE, &[reference]))
            .expecting(256);
        let response = self.send(&command, "give a public key")?;
        public_key(&response.data)
    }

    pub(crate) fn delete(&mut self, id: Instruction, reference: u8) -> Result<(), ModuleError> {
        let command = self.command(id);
        let command = command.with(tlv::object(KEY_REFERENCE, &[reference]));
        self.send(&command, "destroy a key").map(drop)
    }

    pub(crate) fn sign(
        &mut self,
        reference: u8,
        curve: Curve,
        digest: &[u8],
    ) -> Result<Vec<u8>, ModuleError> {
        let choose = self
            .command(Instruction::SetSigningKey)
            .with(tlv::object(KEY_REFERENCE, &[reference]));
        self.send(&choose, "sign with this key")?;
        let sign = self
            .command(Instruction::Sign)
            .with(curve.leftmost(digest))
            .expecting(256);
        let mut response = self.send(&sign, "sign")?;
        if response.data.len() != 2 * curve.field_len() {
            return Err(wrong_result(format!(
                "a signature of {} bytes on {curve}",
                response.data.len()
            )));
        }
        Ok(std::mem::take(&mut response.data))
    }

    pub(crate) fn verify(
        &mut self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        let choose = self
            .command(Instruction::SetVerifyingKey)
            .with(public_key_template(key));
        self.send(&choose, "verify with this key")?;
        let objects = [
            tlv::object(HASH, key.curve.leftmost(digest)),
            tlv::object(SIGNATURE, signature),
        ];
        let verify = self.command(Instruction::Verify).with(objects.concat());
        let response = self.session.exchange_protected(&verify)?;
        match response.status {
            StatusWord::OK => Ok(true),
            StatusWord::NOT_AUTHENTICATED => Ok(false),
            status => Err(refused(status, "verify")),
        }
    }

    /// The X coordinate of the point agreed on.
    pub(crate) fn agree(
        &mut self,
        reference: u8,
        peer: &PublicKey,
    ) -> Result<Zeroizing<Vec<u8>>, ModuleError> {
        let choose = self
            .command(Instruction::SetAgreementKey)
            .with(tlv::object(KEY_REFERENCE, &[reference]));
        self.send(&choose, "agree with this key")?;
        let agree = self
            .command(Instruction::Agree)
            .with(tlv::object(DYNAMIC, &tlv::object(PEER_POINT, &peer.point)))
            .expecting(256);
        let response = self.send(&agree, "agree with this point")?;
        tlv::only(&response.data, DYNAMIC)
            .and_then(|inner| tlv::only(inner, SECRET))
            .filter(|secret| secret.len() == peer.curve.field_len())
            .map(|secret| Zeroizing::new(secret.to_vec()))
            .ok_or_else(|| wrong_result("no secret of the curve's length".to_owned()))
    }

    // Ephemeral keys.

    pub(crate) fn ephemeral(&mut self, curve: Curve) -> Result<(u8, PublicKey), ModuleError> {
        let profile = self.profile();
        let mut references = profile.keys.ephemeral.references();
        let reference = references
            .find(|reference| !self.ephemeral.contains(reference))
            .ok_or_else(|| {
                ModuleError::module("all ephemeral keys of the card are in use; try again later")
                    .because(Reason::Memory)
            })?;
        let key = self.generate(Instruction::GenerateEphemeralKey, reference, curve, None)?;
        self.ephemeral.insert(reference);
        Ok((reference, key))
    }

    /// Frees the reference, and destroys the key if the card still has it.
    pub(crate) fn release(&mut self, reference: u8, epoch: u64, spent: bool) {
        if !self.is_of(epoch) {
            return;
        }
        if !spent {
            // If this fails the key goes with the session, or with the next one of this reference.
            drop(self.delete(Instruction::DeleteEphemeralKey, reference));
        }
        self.ephemeral.remove(&reference);
    }

    /// Whether the session is still the one with this number.
    pub(crate) fn is_of(&self, epoch: u64) -> bool {
        self.session.epoch() == epoch && self.session.is_open()
    }

    // Life cycle and rights.

    pub(crate) fn read_phase(&mut self) -> Result<LifeCycle, ModuleError> {
        let file = self.profile().files.life_cycle;
        let content = self.read_file(file, 0, 1)?;
        let number = content.first().copied().unwrap_or(u8::MAX);
        let phase = LifeCycle::ALL.get(usize::from(number)).ok_or_else(|| {
            wrong_result(format!(
                "phase {number} of its life, which has {}",
                LifeCycle::ALL.len()
            ))
        })?;
        self.phase = Some(*phase);
        Ok(*phase)
    }

    fn phase(&mut self) -> Result<LifeCycle, ModuleError> {
        match self.phase {
            Some(phase) => Ok(phase),
            None => self.read_phase(),
        }
    }

    pub(crate) fn enter_phase(&mut self, phase: LifeCycle) -> Result<(), ModuleError> {
        let present = self.read_phase()?;
        present.require_forward(phase)?;
        if present == phase {
            return Ok(());
        }
        let mut command = self.command(match phase {
            LifeCycle::Decommissioned => Instruction::Terminate,
            _ => Instruction::EnterPhase,
        });
        if phase != LifeCycle::Decommissioned {
            let place = LifeCycle::ALL.iter().position(|one| *one == phase);
            command.p2 = place.unwrap_or_default() as u8;
        }
        self.phase = None;
        self.send(&command, &format!("enter the phase {phase}"))
            .map(drop)
    }

    /// Refuses what the phase forbids.
    pub(crate) fn allowed(
        &mut self,
        id: Instruction,
        file: Option<FileId>,
    ) -> Result<Need, ModuleError> {
        let phase = self.phase()?;
        match self.profile().needs(id, phase, file) {
            Need::NothingSuffices => Err(ModuleError::caller(format!(
                "the module is in phase {phase}, in which it refuses {}",
                self.profile().spec(id).name
            ))
            .because(Reason::WrongPhase)),
            need => Ok(need),
        }
    }

    /// Refuses what the phase forbids, and lets the administrator authenticate for what needs it.
    pub(crate) fn authorise(
        &mut self,
        id: Instruction,
        file: Option<FileId>,
    ) -> Result<(), ModuleError> {
        match self.allowed(id, file)? {
            Need::Administrator => self.authenticate(),
            _ => Ok(()),
        }
    }

    fn authenticate(&mut self) -> Result<(), ModuleError> {
        let Some(AdministratorOf(administrator)) = &self.administrator else {
            return Err(ModuleError::caller(
                "the card wants the administrator's authentication for this, and no administrator was given",
            )
            .because(Reason::NotAllowed));
        };
        let administrator = Arc::clone(administrator);
        let reference = self.profile().administrator.reference;
        let choose = self
            .command(Instruction::SetAdministratorKey)
            .with(tlv::object(PUBLIC_KEY_REFERENCE, &[reference]));
        self.send(&choose, "authenticate its administrator")?;
        let challenge = self.command(Instruction::GetChallenge).expecting(CHALLENGE);
        let challenge = self.send(&challenge, "give a challenge")?;
        let proof = administrator(&challenge.data)?;
        let prove = self.command(Instruction::ExternalAuthenticate).with(proof);
        self.send(&prove, "take the administrator's signature")
            .map(drop)
    }

    // Files.

    fn select(&mut self, file: FileId) -> Result<(), ModuleError> {
        let command = self
            .command(Instruction::SelectFile)
            .with(file.to_be_bytes());
        self.send(&command, &format!("select file {file:04X}"))
            .map(drop)
    }

    pub(crate) fn read_file(
        &mut self,
        file: FileId,
        from: u16,
        len: u16,
    ) -> Result<Vec<u8>, ModuleError> {
        self.select(file)?;
        let profile = self.profile();
        let mut content = Vec::with_capacity(usize::from(len));
        while content.len() < usize::from(len) {
            let left = usize::from(len) - content.len();
            let part = left.min(usize::from(profile.limits.chunk));
            let at = offset(from, content.len())?;
            let command = profile
                .command_at(Instruction::ReadBinary, at)
                .expecting(part as u32);
            let response = self.session.exchange_protected(&command)?;
            if !matches!(response.status, StatusWord::OK | StatusWord::END_OF_FILE) {
                return Err(refused(response.status, &format!("read file {file:04X}")));
            }
            if response.data.is_empty() || response.data.len() > part {
                return Err(wrong_result(format!(
                    "{} bytes of file {file:04X} at {at}",
                    response.data.len()
                )));
            }
            content.extend_from_slice(&response.data);
        }
        Ok(content)
    }

    pub(crate) fn write_file(
        &mut self,
        file: FileId,
        from: u16,
        content: &[u8],
    ) -> Result<(), ModuleError> {
        self.select(file)?;
        let profile = self.profile();
        let chunk = usize::from(profile.limits.chunk);
        for (place, part) in content.chunks(chunk).enumerate() {
            let at = offset(from, place * chunk)?;
            let command = profile.command_at(Instruction::UpdateBinary, at).with(part);
            self.send(&command, &format!("write file {file:04X}"))?;
        }
        Ok(())
    }

    // The directory of names.

    pub(crate) fn directory(&mut self) -> Result<&Directory, ModuleError> {
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => self.load_directory()?,
        };
        Ok(self.directory.insert(directory))
    }

    fn load_directory(&mut self) -> Result<Directory, ModuleError> {
        let profile = self.profile();
        let mut copies = Vec::new();
        for file in profile.files.directory {
            let bytes = self.read_file(file, 0, HEADER as u16)?;
            copies.extend(Head::read(&bytes).map(|head| (head, file)));
        }
        copies.retain(|(head, _)| !head.is_blank());
        if copies.is_empty() {
            return Ok(Directory::default());
        }
        copies.sort_by_key(|(head, _)| std::cmp::Reverse(head.count));
        for (head, file) in copies {
            if HEADER + usize::from(head.len) <= usize::from(profile.files.directory_size) {
                let body = self.read_file(file, HEADER as u16, head.len)?;
                if let Some(directory) = Directory::read(head, &body, &profile) {
                    return Ok(directory);
                }
            }
        }
        Err(ModuleError::module(
            "the card's directory of names is damaged in both its copies, or not ours",
        )
        .because(Reason::Memory))
    }

    /// Changes the directory on the card.
    pub(crate) fn change_directory(
        &mut self,
        change: impl FnOnce(&mut Directory),
    ) -> Result<(), ModuleError> {
        let profile = self.profile();
        let mut directory = self.directory()?.clone();
        change(&mut directory);
        directory.count = directory.count.wrapping_add(1).max(1);
        let bytes = directory.write(&profile)?;
        let [even, odd] = profile.files.directory;
        let file = if directory.count.is_multiple_of(2) {
            even
        } else {
            odd
        };
        let (head, body) = bytes.split_at(HEADER);
        // Until it is read again nothing is known of what the card has.
        self.directory = None;
        self.write_file(file, HEADER as u16, body)?;
        self.write_file(file, 0, head)?;
        self.directory = Some(directory);
        Ok(())
    }

    /// The entry of a key. The card's maker may have put keys of fixed references there that the directory does not know.
    pub(crate) fn key(&mut self, key: &KeyId) -> Result<KeyEntry, ModuleError> {
        if let Some(entry) = self.directory()?.key(key) {
            return Ok(entry.clone());
        }
        let absent = || {
            ModuleError::caller(format!("the card has no key \"{key}\"")).because(Reason::NotFound)
        };
        let profile = self.profile();
        let named = profile.named_key_spec(key).ok_or_else(absent)?;
        let public = match self.read_public(named.reference) {
            Err(error) if error.reason() == Reason::NotFound => return Err(absent()),
            result => result?,
        };
        let entry = KeyEntry {
            info: KeyInfo {
                key: key.clone(),
                curve: public.curve,
                usage: named.usage,
            },
            reference: named.reference,
        };
        if let Some(directory) = &mut self.directory {
            directory.keys.push(entry.clone());
        }
        Ok(entry)
    }

    /// All keys by name.
    pub(crate) fn keys(&mut self) -> Result<Vec<KeyInfo>, ModuleError> {
        for named in &self.profile().keys.named {
            match self.key(&KeyId(named.name.clone())) {
                Err(error) if error.reason() == Reason::NotFound => {}
                result => drop(result?),
            }
        }
        let entries = self.directory()?.keys.iter();
        let mut keys: Vec<_> = entries.map(|entry| entry.info.clone()).collect();
        keys.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(keys)
    }

    /// The entry of an object.
    pub(crate) fn object(&mut self, object: &ObjectId) -> Result<ObjectEntry, ModuleError> {
        self.directory()?.object(object).cloned().ok_or_else(|| {
            ModuleError::caller(format!("the card has no {object}")).because(Reason::NotFound)
        })
    }
}

/// Offsets have 15 bits.
fn offset(from: u16, done: usize) -> Result<u16, ModuleError> {
    u16::try_from(done)
        .ok()
        .and_then(|done| from.checked_add(done))
        .filter(|offset| *offset < 0x8000)
        .ok_or_else(|| {
            ModuleError::caller("a file of a card ends at 32 KiB").because(Reason::Unsupported)
        })
}

/// 7F49{06 curve, 86 point}.
pub(crate) fn public_key_template(key: &PublicKey) -> Vec<u8> {
    let fields = [key.curve.oid_der(), &tlv::object(POINT, &key.point)].concat();
    tlv::object(PUBLIC_KEY, &fields)
}

/// The key in 7F49{06 curve, 86 point}.
fn public_key(data: &[u8]) -> Result<PublicKey, ModuleError> {
    let read = || {
        let fields = tlv::only(data, PUBLIC_KEY)?;
        let curve = tlv::find(fields, CURVE).ok()??;
        let curve = Curve::from_oid_der(&tlv::object(CURVE, curve))?;
        let point = tlv::find(fields, POINT).ok()??;
        PublicKey::new(curve, point.to_vec()).ok()
    };
    read().ok_or_else(|| wrong_result("no public key in the form 7F49{06 curve, 86 point}".into()))
}

fn wrong_result(what: String) -> ModuleError {
    ModuleError::module(format!("the card gave {what}")).because(Reason::WrongResult)
}
