// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one table of the card's command set (TR-03109-2): commands, references, files, access rules, each with its source
//! and how sure it is.
//!
//! Driver and emulated card both work from it, so there is one command set. The built-in table holds what is verified in
//! TR-03110 and ISO/IEC 7816, what is remembered, and what is plainly our own choice; a card's maker supplies another as
//! a TOML file of the same form.

use std::collections::BTreeSet;
use std::fmt;

use hsm_api::{Curve, KeyId, KeyUsage, LifeCycle, ObjectId};
use serde::Deserialize;
use smgw_apdu::Command;
use thiserror::Error;

mod form;
mod rows;

pub use rows::ProfileRow;

/// How sure an entry is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Our own choice; nothing is known.
    Assumed,
    /// From memory of the source, not checked.
    Remembered,
    /// Read in the source, or seen running.
    Verified,
}

/// What a command does, whatever its bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Instruction {
    /// Selects the application by its identifier.
    SelectApplication,
    /// Selects an elementary file by its identifier.
    SelectFile,
    /// Reads EF.CardAccess by its short identifier, without protection.
    ReadCardAccess,
    /// Starts PACE: protocol and password.
    SetPace,
    /// One step of PACE.
    Pace,
    /// Reads the selected file at an offset.
    ReadBinary,
    /// Writes the selected file at an offset.
    UpdateBinary,
    /// Gives random bytes.
    GetChallenge,
    /// Chooses the key that signs.
    SetSigningKey,
    /// Signs a digest.
    Sign,
    /// Gives the public key that verifies.
    SetVerifyingKey,
    /// Verifies a signature.
    Verify,
    /// Chooses the key that agrees.
    SetAgreementKey,
    /// Agrees with a point.
    Agree,
    /// Makes a key pair that stays.
    GenerateKeyPair,
    /// Makes a key pair for one agreement.
    GenerateEphemeralKey,
    /// Reads the public half of a key pair.
    ReadPublicKey,
    /// Destroys a key pair that would stay.
    DeleteKey,
    /// Destroys a key pair for one agreement that is not needed.
    DeleteEphemeralKey,
    /// Chooses the administrator's public key.
    SetAdministratorKey,
    /// Authenticates the administrator.
    ExternalAuthenticate,
    /// Changes the PIN.
    ChangePin,
    /// Enters a later phase of the life cycle.
    EnterPhase,
    /// Takes the card out of use.
    Terminate,
}

impl Instruction {
    /// All instructions; a table has each exactly once.
    pub const ALL: [Self; 24] = [
        Self::SelectApplication,
        Self::SelectFile,
        Self::ReadCardAccess,
        Self::SetPace,
        Self::Pace,
        Self::ReadBinary,
        Self::UpdateBinary,
        Self::GetChallenge,
        Self::SetSigningKey,
        Self::Sign,
        Self::SetVerifyingKey,
        Self::Verify,
        Self::SetAgreementKey,
        Self::Agree,
        Self::GenerateKeyPair,
        Self::GenerateEphemeralKey,
        Self::ReadPublicKey,
        Self::DeleteKey,
        Self::DeleteEphemeralKey,
        Self::SetAdministratorKey,
        Self::ExternalAuthenticate,
        Self::ChangePin,
        Self::EnterPhase,
        Self::Terminate,
    ];
}

/// What P1 and P2 of a command hold besides the constants of its header.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Parameters {
    /// Nothing: they are constants.
    #[default]
    Fixed,
    /// P1 and P2 hold an offset into the selected file, below 32,768.
    Offset,
    /// P2 holds the number of a phase: its place in [`LifeCycle::ALL`], counted from 0.
    Phase,
}

/// One command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandSpec {
    /// What it does.
    pub id: Instruction,
    /// The name in its source.
    pub name: String,
    /// CLA, INS, P1, P2 without secure messaging and chaining.
    #[serde(deserialize_with = "form::hex_array")]
    pub header: [u8; 4],
    /// What P1 and P2 hold.
    #[serde(default)]
    pub parameters: Parameters,
    /// What its data field and that of its answer hold, in words.
    pub objects: String,
    /// Whether it is only allowed under secure messaging.
    #[serde(default = "form::always")]
    pub protected: bool,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// The application on the card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Application {
    /// Its identifier.
    #[serde(deserialize_with = "form::hex")]
    pub id: Vec<u8>,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// How much a command may carry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Most bytes read, written or drawn at once.
    pub chunk: u16,
    /// Whether the card understands extended lengths.
    pub extended: bool,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// The password of PACE.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Password {
    /// In DO 83 of MSE:Set AT.
    #[serde(deserialize_with = "form::hex_byte")]
    pub reference: u8,
    /// How many wrong PINs in a row the card allows.
    pub tries: u8,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A curve the card knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CurveSpec {
    /// Which.
    #[serde(rename = "name", deserialize_with = "form::curve")]
    pub curve: Curve,
    /// Its number among the standardised domain parameters (TR-03110-3 table 4).
    pub parameters: u8,
}

/// Codes of what a key may be used for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Algorithms {
    /// Signatures.
    #[serde(deserialize_with = "form::hex_byte")]
    pub sign: u8,
    /// Key agreement.
    #[serde(deserialize_with = "form::hex_byte")]
    pub agree: u8,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// Elementary files that are not objects of the caller.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Files {
    /// EF.CardAccess.
    #[serde(deserialize_with = "form::hex_file")]
    pub card_access: FileId,
    /// One byte: the phase's place in [`LifeCycle::ALL`].
    #[serde(deserialize_with = "form::hex_file")]
    pub life_cycle: FileId,
    /// The two copies of the directory.
    #[serde(deserialize_with = "form::hex_files")]
    pub directory: [FileId; 2],
    /// Bytes of each copy.
    pub directory_size: u16,
    /// Bytes of each object's file.
    pub object_size: u16,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// Private keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Keys with a reference of their own.
    pub named: Vec<NamedKey>,
    /// References for keys of other names.
    pub free: KeyRange,
    /// References for keys of one agreement, which do not outlive the session.
    pub ephemeral: KeyRange,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A key with a reference of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NamedKey {
    /// In DO 84.
    #[serde(deserialize_with = "form::hex_byte")]
    pub reference: u8,
    /// Its name.
    pub name: String,
    /// What it may be used for, if the card had it before the directory of names knew it.
    #[serde(deserialize_with = "form::usage")]
    pub usage: KeyUsage,
}

/// Key references in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyRange {
    #[serde(deserialize_with = "form::hex_byte")]
    first: u8,
    count: u8,
}

impl KeyRange {
    /// All references.
    pub fn references(&self) -> impl Iterator<Item = u8> + Clone {
        let first = self.first;
        (0..self.count).filter_map(move |at| first.checked_add(at))
    }

    /// Whether the reference is one of these.
    pub fn contains(&self, reference: u8) -> bool {
        self.references().any(|one| one == reference)
    }
}

/// Identifier of an elementary file.
pub type FileId = u16;

/// Files of certificates and data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Objects {
    /// Objects with a file of their own.
    pub named: Vec<NamedObject>,
    /// Files for objects of other names.
    pub free: FileRange,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// An object with a file of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NamedObject {
    /// Its file.
    #[serde(deserialize_with = "form::hex_file")]
    pub file: FileId,
    #[serde(flatten, deserialize_with = "form::object")]
    /// Its name.
    pub object: ObjectId,
}

/// File identifiers in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileRange {
    #[serde(deserialize_with = "form::hex_file")]
    first: FileId,
    count: u8,
}

impl FileRange {
    /// All identifiers.
    pub fn files(&self) -> impl Iterator<Item = FileId> + Clone {
        let first = self.first;
        (0..self.count).filter_map(move |at| first.checked_add(FileId::from(at)))
    }
}

/// The gateway administrator, who authenticates to the card from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Administrator {
    /// Reference of its public key, in DO 83.
    #[serde(deserialize_with = "form::hex_byte")]
    pub reference: u8,
    /// The data object that holds its public key, as 7F49{06 curve, 86 point}.
    pub object: String,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// What a command needs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// PACE, if the command is a protected one.
    Pace,
    /// PACE and the administrator's authentication.
    Administrator,
    /// It is refused whatever is presented.
    NothingSuffices,
}

/// What commands need in certain phases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccessRule {
    /// Which commands.
    pub commands: Vec<Instruction>,
    /// In which phases.
    #[serde(deserialize_with = "form::phases")]
    pub phases: Vec<LifeCycle>,
    /// For which named data objects only; all files when empty.
    #[serde(default)]
    pub files: Vec<String>,
    /// What they need.
    pub needs: Need,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CardProfile {
    /// Name of the table.
    pub name: String,
    /// The application on the card.
    pub application: Application,
    /// How much a command may carry.
    pub limits: Limits,
    /// The password of PACE.
    pub password: Password,
    /// The commands, each [`Instruction`] once.
    #[serde(rename = "command")]
    pub commands: Vec<CommandSpec>,
    /// The curves.
    #[serde(rename = "curve")]
    pub curves: Vec<CurveSpec>,
    /// Codes of what a key may be used for.
    pub algorithms: Algorithms,
    /// Files that are not objects.
    pub files: Files,
    /// Private keys.
    pub keys: Keys,
    /// Files of certificates and data.
    pub objects: Objects,
    /// The gateway administrator.
    pub administrator: Administrator,
    /// What commands need; the last rule that fits counts.
    pub access: Vec<AccessRule>,
}

/// Why a text is no card profile.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("card profile: {0}")]
pub struct ProfileError(String);

impl CardProfile {
    /// The text of the built-in table, a pattern for tables of real cards.
    pub const TR03109_2_ASSUMED: &str = include_str!("tr03109_2_assumed.toml");

    /// The built-in table: TR-03109-2 as far as it can be known without its text.
    pub fn tr03109_2_assumed() -> Self {
        Self::parse(Self::TR03109_2_ASSUMED).expect("a test reads the built-in table")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`ProfileError`] says which entry is wrong, missing or doubled.
    pub fn parse(toml: &str) -> Result<Self, ProfileError> {
        let profile: Self =
            toml::from_str(toml).map_err(|error| ProfileError(error.to_string()))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let wrong = |what: String| Err(ProfileError(what));
        for id in Instruction::ALL {
            let count = self.commands.iter().filter(|spec| spec.id == id).count();
            if count != 1 {
                return wrong(format!("the command {id:?} is there {count} times"));
            }
        }
        for (at, spec) in self.commands.iter().enumerate() {
            let [cla, ..] = spec.header;
            if cla & 0x1c != 0 {
                return wrong(format!(
                    "the class of {} has bits of chaining or secure messaging",
                    spec.name
                ));
            }
            // PACE and ECKA share GENERAL AUTHENTICATE: one comes without protection, the other with it.
            let same = |other: &&CommandSpec| {
                other.header == spec.header && other.protected == spec.protected
            };
            if let Some(other) = self.commands.iter().take(at).find(same) {
                return wrong(format!("{} and {} have one header", other.name, spec.name));
            }
        }
        if self.application.id.is_empty() || self.application.id.len() > 16 {
            return wrong("an application identifier has 1 to 16 bytes".to_owned());
        }
        if !(16..=4096).contains(&self.limits.chunk)
            || (!self.limits.extended && self.limits.chunk > 223)
        {
            return wrong(
                "the chunk is 16 to 4096 bytes, and at most 223 without extended lengths"
                    .to_owned(),
            );
        }
        for size in [self.files.directory_size, self.files.object_size] {
            if !(256..=0x7fff).contains(&size) {
                return wrong(format!("a file of {size} bytes is not within 256 to 32767"));
            }
        }
        if self.password.tries == 0 || self.password.tries > 15 {
            return wrong("a PIN has 1 to 15 tries".to_owned());
        }
        if self.algorithms.sign == self.algorithms.agree {
            return wrong("signing and agreeing have one code".to_owned());
        }
        distinct(
            "curve",
            self.curves.iter().map(|spec| spec.curve.to_string()),
        )?;
        distinct(
            "curve number",
            self.curves.iter().map(|spec| spec.parameters),
        )?;
        let named = self.keys.named.iter();
        distinct("key name", named.clone().map(|key| &key.name))?;
        let references = named.map(|key| key.reference);
        distinct(
            "key reference",
            references
                .chain(self.keys.free.references())
                .chain(self.keys.ephemeral.references()),
        )?;
        let named = self.objects.named.iter();
        distinct("object", named.clone().map(|one| &one.object))?;
        distinct("file", self.all_files())?;
        let administrator = ObjectId::data(self.administrator.object.clone());
        if self.named_file(&administrator).is_none() {
            return wrong("the administrator's object has no file of its own".to_owned());
        }
        for name in self.access.iter().flat_map(|rule| &rule.files) {
            if self.named_file(&ObjectId::data(name.clone())).is_none() {
                return wrong(format!(
                    "an access rule names {name}, which has no file of its own"
                ));
            }
        }
        Ok(())
    }

    /// All files of the card but EF.CardAccess's contents: system files, then objects.
    pub fn all_files(&self) -> impl Iterator<Item = FileId> + '_ {
        [self.files.card_access, self.files.life_cycle]
            .into_iter()
            .chain(self.files.directory)
            .chain(self.object_files())
    }

    /// The files of objects, named ones first.
    pub fn object_files(&self) -> impl Iterator<Item = FileId> + '_ {
        let named = self.objects.named.iter().map(|one| one.file);
        named.chain(self.objects.free.files())
    }

    /// The entry of an instruction.
    pub fn spec(&self, id: Instruction) -> &CommandSpec {
        let found = self.commands.iter().find(|spec| spec.id == id);
        found.expect("a profile that was parsed has every instruction")
    }

    /// The command without data; parameters that its header leaves open are 0.
    pub fn command(&self, id: Instruction) -> Command {
        let [cla, ins, p1, p2] = self.spec(id).header;
        Command::new(cla, ins, p1, p2)
    }

    /// The command with an offset in P1 and P2.
    pub fn command_at(&self, id: Instruction, offset: u16) -> Command {
        let mut command = self.command(id);
        [command.p1, command.p2] = offset.to_be_bytes();
        command
    }

    /// Tells which instruction a command is. `protected` says whether it came under secure messaging, which has been
    /// taken off. Chaining does not matter.
    pub fn recognise(&self, command: &Command, protected: bool) -> Option<Instruction> {
        let [cla, ins, p1, p2] = command.header();
        let fits = |spec: &&CommandSpec| {
            let [spec_cla, spec_ins, spec_p1, spec_p2] = spec.header;
            let parameters = match spec.parameters {
                Parameters::Fixed => [p1, p2] == [spec_p1, spec_p2],
                Parameters::Offset => p1 & 0x80 == 0,
                Parameters::Phase => p1 == spec_p1,
            };
            (cla & !0x10, ins) == (spec_cla, spec_ins) && parameters
        };
        let mut fitting = self.commands.iter().filter(fits).collect::<Vec<_>>();
        // A protected command is preferred to be what asks for protection, so that of two with one header each is found.
        fitting.sort_by_key(|spec| spec.protected != protected);
        fitting.first().map(|spec| spec.id)
    }

    /// What a command needs in a phase; `file` is the selected one, where that matters.
    pub fn needs(&self, id: Instruction, phase: LifeCycle, file: Option<FileId>) -> Need {
        let fits = |rule: &&AccessRule| {
            let names = |file| self.object_of(file).map(|object| &object.name);
            let of_file = rule.files.is_empty()
                || file
                    .and_then(names)
                    .is_some_and(|name| rule.files.contains(name));
            rule.commands.contains(&id) && rule.phases.contains(&phase) && of_file
        };
        let rule = self.access.iter().rev().find(fits);
        rule.map_or(Need::Pace, |rule| rule.needs)
    }

    /// The entry of a key with a reference of its own.
    pub fn named_key_spec(&self, key: &KeyId) -> Option<&NamedKey> {
        self.keys.named.iter().find(|named| named.name == key.0)
    }

    /// The reference of a key with one of its own.
    pub fn named_key(&self, key: &KeyId) -> Option<u8> {
        self.named_key_spec(key).map(|named| named.reference)
    }

    /// The file of an object with one of its own.
    pub fn named_file(&self, object: &ObjectId) -> Option<FileId> {
        let found = self.objects.named.iter().find(|one| one.object == *object);
        found.map(|one| one.file)
    }

    /// The object with this file of its own.
    pub fn object_of(&self, file: FileId) -> Option<&ObjectId> {
        let found = self.objects.named.iter().find(|one| one.file == file);
        found.map(|one| &one.object)
    }

    /// The file of the administrator's public key.
    pub fn administrator_file(&self) -> FileId {
        let object = ObjectId::data(self.administrator.object.clone());
        self.named_file(&object)
            .expect("a profile that was parsed has the administrator's file")
    }

    /// The code of a usage.
    pub fn algorithm(&self, usage: KeyUsage) -> u8 {
        match usage {
            KeyUsage::Sign => self.algorithms.sign,
            KeyUsage::Agree => self.algorithms.agree,
        }
    }

    /// The usage of a code.
    pub fn usage(&self, algorithm: u8) -> Option<KeyUsage> {
        [KeyUsage::Sign, KeyUsage::Agree]
            .into_iter()
            .find(|usage| self.algorithm(*usage) == algorithm)
    }
}

fn distinct<T: Ord + fmt::Debug>(
    what: &str,
    all: impl Iterator<Item = T>,
) -> Result<(), ProfileError> {
    let mut seen = BTreeSet::new();
    for one in all {
        if let Some(doubled) = seen.replace(one) {
            return Err(ProfileError(format!(
                "the {what} {doubled:?} is there twice"
            )));
        }
    }
    Ok(())
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assumed => "assumed",
            Self::Remembered => "remembered",
            Self::Verified => "verified",
        })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pace => "PACE",
            Self::Administrator => "PACE and the administrator",
            Self::NothingSuffices => "refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> CardProfile {
        CardProfile::tr03109_2_assumed()
    }

    #[test]
    fn every_command_recognises_itself() {
        let profile = built_in();
        for spec in &profile.commands {
            let command = profile.command(spec.id);
            assert_eq!(profile.recognise(&command, spec.protected), Some(spec.id));
            assert_eq!(
                profile.recognise(&command.chained(), spec.protected),
                Some(spec.id)
            );
        }
        let read = profile.command_at(Instruction::ReadBinary, 0x1234);
        assert_eq!((read.p1, read.p2), (0x12, 0x34));
        assert_eq!(
            profile.recognise(&read, true),
            Some(Instruction::ReadBinary)
        );
        assert_eq!(profile.recognise(&Command::new(0, 0xff, 0, 0), true), None);
    }

    #[test]
    fn all_curves_and_names_are_there() {
        let profile = built_in();
        let curves: Vec<_> = profile.curves.iter().map(|spec| spec.curve).collect();
        assert_eq!(curves, Curve::ALL);
        for name in ["gw-tls", "gw-sig", "gw-enc", "gw-tls.next", "seal-enc"] {
            assert!(profile.named_key(&name.into()).is_some());
            assert!(profile.named_file(&ObjectId::certificate(name)).is_some());
        }
        assert_eq!(profile.named_key(&"another".into()), None);
        assert_eq!(
            profile
                .object_of(profile.administrator_file())
                .map(|one| &one.name),
            Some(&profile.administrator.object)
        );
        for usage in [KeyUsage::Sign, KeyUsage::Agree] {
            assert_eq!(profile.usage(profile.algorithm(usage)), Some(usage));
        }
    }

    #[test]
    fn access_depends_on_phase_and_file() {
        use Instruction::{GenerateKeyPair, Sign, UpdateBinary};
        use LifeCycle::{Decommissioned, Operation, Personalisation};
        let profile = built_in();
        let administrator = Some(profile.administrator_file());
        for (id, phase, file, need) in [
            (GenerateKeyPair, Personalisation, None, Need::Pace),
            (GenerateKeyPair, Operation, None, Need::Administrator),
            (
                Instruction::GenerateEphemeralKey,
                Operation,
                None,
                Need::Pace,
            ),
            (GenerateKeyPair, Decommissioned, None, Need::NothingSuffices),
            (Sign, Operation, None, Need::Pace),
            (UpdateBinary, Personalisation, administrator, Need::Pace),
            (UpdateBinary, Operation, administrator, Need::Administrator),
            (UpdateBinary, Operation, Some(0xc100), Need::Pace),
            (UpdateBinary, Decommissioned, None, Need::Pace),
        ] {
            assert_eq!(profile.needs(id, phase, file), need, "{id:?} {phase}");
        }
    }

    /// Each change makes the table wrong, and the error says where.
    #[test]
    fn wrong_tables_are_refused() {
        let text = CardProfile::TR03109_2_ASSUMED;
        for (from, to, says) in [
            ("id = \"sign\"", "id = \"verify\"", "Sign"),
            ("id = \"sign\"", "id = \"signn\"", "unknown variant"),
            ("header = \"00840000\"", "header = \"0C840000\"", "class"),
            (
                "header = \"00840000\"",
                "header = \"0084\"",
                "2 bytes where 4",
            ),
            (
                "header = \"00840000\"",
                "header = \"0084000+\"",
                "hex digits",
            ),
            (
                "header = \"00840000\"",
                "header = \"00E40000\"",
                "one header",
            ),
            ("chunk = 200", "chunk = 3", "chunk"),
            ("tries = 3", "tries = 0", "tries"),
            ("tries = 3", "tries = 3\nsurprise = 1", "unknown field"),
            ("name = \"P-384\"", "name = \"P-521\"", "no curve"),
            ("name = \"P-384\"", "name = \"P-256\"", "twice"),
            (
                "reference = \"12\", name",
                "reference = \"11\", name",
                "twice",
            ),
            (
                "reference = \"12\", name",
                "reference = \"41\", name",
                "twice",
            ),
            ("C012", "C011", "twice"),
            ("C012", "D001", "twice"),
            (
                "data = \"administrator-key\"",
                "data = \"other\"",
                "administrator",
            ),
            (
                "phases = [\"operation\"]",
                "phases = [\"retired\"]",
                "life-cycle phase",
            ),
            (
                "directory-size = 4096",
                "directory-size = 40000",
                "file of 40000",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let error = CardProfile::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{to}: {error}");
        }
    }

    #[test]
    fn the_printed_table_tells_the_confidence_of_everything() {
        let rows = built_in().rows();
        assert!(rows.len() > Instruction::ALL.len());
        let pace = rows.iter().find(|row| row.what == "MSE:Set AT for PACE");
        assert_eq!(pace.unwrap().confidence, Confidence::Verified);
        assert!(
            rows.iter()
                .all(|row| !row.source.is_empty() && !row.value.is_empty())
        );
    }
}
