// SPDX-License-Identifier: MIT OR Apache-2.0
//! The directory of names on the card: which key has which reference, which object lies in which file.
//!
//! TR-03109-2's references are numbers, the trait's are names; this file between them is our own. It is kept twice, each
//! copy with a count and a checksum, and written over the older one, so that a loss of power leaves one that is whole.

use hsm_api::{Curve, KeyId, KeyInfo, KeyUsage, ModuleError, ObjectId, ObjectKind, Reason};
use sha1::{Digest, Sha1};
use smgw_apdu::tlv::{self, Tag};

use crate::profile::{CardProfile, FileId};

/// Bytes in front of each copy: its count, its length, its checksum.
pub const HEADER: usize = 4 + 2 + 8;

/// The longest name in bytes.
pub const LONGEST_NAME: usize = 64;

/// All names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Directory {
    /// Rises with each change.
    pub count: u32,
    /// The keys.
    pub keys: Vec<KeyEntry>,
    /// The certificates and data objects.
    pub objects: Vec<ObjectEntry>,
}

/// A key of the card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyEntry {
    /// Name, curve and usage.
    pub info: KeyInfo,
    /// The card's reference.
    pub reference: u8,
}

/// An object of the card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectEntry {
    /// Kind and name.
    pub object: ObjectId,
    /// Its file.
    pub file: FileId,
    /// Bytes of the file that it fills.
    pub len: u16,
}

/// The head of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The count of the copy.
    pub count: u32,
    /// Bytes that follow the head.
    pub len: u16,
    checksum: [u8; 8],
}

const KEY: Tag = Tag(0xe0);
const OBJECT: Tag = Tag(0xe1);
const NAME: Tag = Tag(0x80);
const REFERENCE: Tag = Tag(0x81);
const CURVE: Tag = Tag(0x82);
const USAGE: Tag = Tag(0x83);
const KIND: Tag = Tag(0x84);
const LENGTH: Tag = Tag(0x85);

impl Head {
    /// Reads the first bytes of a file.
    pub fn read(file: &[u8]) -> Option<Self> {
        let (count, rest) = file.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (checksum, _) = rest.split_first_chunk()?;
        Some(Self {
            count: u32::from_be_bytes(*count),
            len: u16::from_be_bytes(*len),
            checksum: *checksum,
        })
    }

    /// Whether the file was never written.
    pub fn is_blank(&self) -> bool {
        self.count == 0 && self.len == 0 && self.checksum == [0; 8]
    }

    /// The head of a copy with this count and body; `None` for a body beyond 65,535 bytes.
    pub fn of(count: u32, body: &[u8]) -> Option<Self> {
        let len = u16::try_from(body.len()).ok()?;
        let hash = Sha1::new()
            .chain_update(count.to_be_bytes())
            .chain_update(len.to_be_bytes())
            .chain_update(body)
            .finalize();
        let mut checksum = [0; 8];
        checksum
            .iter_mut()
            .zip(hash)
            .for_each(|(to, from)| *to = from);
        Some(Self {
            count,
            len,
            checksum,
        })
    }
}

impl Directory {
    /// Reads what follows a head; `None` when it is not what the head says.
    pub fn read(head: Head, body: &[u8], profile: &CardProfile) -> Option<Self> {
        if Head::of(head.count, body)? != head {
            return None;
        }
        let mut directory = Self {
            count: head.count,
            ..Self::default()
        };
        for entry in tlv::objects(body) {
            let entry = entry.ok()?;
            match entry.tag {
                KEY => directory.keys.push(key_entry(entry.value, profile)?),
                OBJECT => directory.objects.push(object_entry(entry.value)?),
                _ => return None,
            }
        }
        Some(directory)
    }

    /// The bytes of a copy that replaces this one.
    ///
    /// # Errors
    /// [`Reason::Memory`] when the directory's file is too small for it.
    pub fn write(&self, profile: &CardProfile) -> Result<Vec<u8>, ModuleError> {
        let mut body = Vec::new();
        for KeyEntry { info, reference } in &self.keys {
            let curve = profile.curves.iter().find(|spec| spec.curve == info.curve);
            let fields = [
                tlv::object(NAME, info.key.0.as_bytes()),
                tlv::object(REFERENCE, &[*reference]),
                tlv::object(CURVE, &[curve.map_or(0, |spec| spec.parameters)]),
                tlv::object(USAGE, &[profile.algorithm(info.usage)]),
            ];
            tlv::put(&mut body, KEY, &fields.concat());
        }
        for ObjectEntry { object, file, len } in &self.objects {
            let fields = [
                tlv::object(NAME, object.name.as_bytes()),
                tlv::object(REFERENCE, &file.to_be_bytes()),
                tlv::object(KIND, &[u8::from(object.kind == ObjectKind::Certificate)]),
                tlv::object(LENGTH, &len.to_be_bytes()),
            ];
            tlv::put(&mut body, OBJECT, &fields.concat());
        }
        let head = Head::of(self.count, &body)
            .filter(|_| HEADER + body.len() <= usize::from(profile.files.directory_size))
            .ok_or_else(|| {
                ModuleError::module("the card's directory of names is full; remove some")
                    .because(Reason::Memory)
            })?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(head.count.to_be_bytes());
        bytes.extend(head.len.to_be_bytes());
        bytes.extend(head.checksum);
        bytes.append(&mut body);
        Ok(bytes)
    }

    /// The entry of a key.
    pub fn key(&self, key: &KeyId) -> Option<&KeyEntry> {
        self.keys.iter().find(|entry| entry.info.key == *key)
    }

    /// The entry of an object.
    pub fn object(&self, object: &ObjectId) -> Option<&ObjectEntry> {
        self.objects.iter().find(|entry| entry.object == *object)
    }

    /// The reference for a new key: its own, or a free one.
    pub fn reference_for(&self, key: &KeyId, profile: &CardProfile) -> Option<u8> {
        let free = |reference: &u8| self.keys.iter().all(|entry| entry.reference != *reference);
        profile
            .named_key(key)
            .or_else(|| profile.keys.free.references().find(free))
    }

    /// The file for an object's new content: its own, or one that is free, so that the old content stays until the new
    /// one is whole, or else the present one.
    pub fn file_for(&self, object: &ObjectId, profile: &CardProfile) -> Option<FileId> {
        let free = |file: &FileId| self.objects.iter().all(|entry| entry.file != *file);
        profile
            .named_file(object)
            .or_else(|| profile.objects.free.files().find(free))
            .or_else(|| self.object(object).map(|entry| entry.file))
    }
}

fn field(fields: &[u8], tag: Tag) -> Option<&[u8]> {
    tlv::find(fields, tag).ok().flatten()
}

fn byte(fields: &[u8], tag: Tag) -> Option<u8> {
    match field(fields, tag)? {
        [byte] => Some(*byte),
        _ => None,
    }
}

fn name(fields: &[u8]) -> Option<String> {
    let name = field(fields, NAME).filter(|name| name.len() <= LONGEST_NAME)?;
    String::from_utf8(name.to_vec()).ok()
}

fn key_entry(fields: &[u8], profile: &CardProfile) -> Option<KeyEntry> {
    let number = byte(fields, CURVE)?;
    let curve: Curve = profile
        .curves
        .iter()
        .find(|spec| spec.parameters == number)?
        .curve;
    let usage: KeyUsage = profile.usage(byte(fields, USAGE)?)?;
    Some(KeyEntry {
        info: KeyInfo {
            key: KeyId(name(fields)?),
            curve,
            usage,
        },
        reference: byte(fields, REFERENCE)?,
    })
}

fn object_entry(fields: &[u8]) -> Option<ObjectEntry> {
    let number = |tag| Some(u16::from_be_bytes(field(fields, tag)?.try_into().ok()?));
    let name = name(fields)?;
    let object = match byte(fields, KIND)? {
        0 => ObjectId::data(name),
        1 => ObjectId::certificate(name),
        _ => return None,
    };
    Some(ObjectEntry {
        object,
        file: number(REFERENCE)?,
        len: number(LENGTH)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(profile: &CardProfile) -> Directory {
        let key = |number: u8| KeyEntry {
            info: KeyInfo {
                key: KeyId(format!("key {number}")),
                curve: Curve::ALL[usize::from(number) % 5],
                usage: if number.is_multiple_of(2) {
                    KeyUsage::Sign
                } else {
                    KeyUsage::Agree
                },
            },
            reference: number,
        };
        let object = |number: u16| ObjectEntry {
            object: ObjectId::data(format!("object {number}")),
            file: number,
            len: 5 * number,
        };
        Directory {
            count: 77,
            keys: profile.keys.free.references().map(key).collect(),
            objects: profile
                .objects
                .free
                .files()
                .take(9)
                .map(|file| object(file & 0xff))
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_bit_is_watched() {
        let profile = CardProfile::tr03109_2_assumed();
        let directory = full(&profile);
        let bytes = directory.write(&profile).unwrap();
        let read = |bytes: &[u8]| {
            let (head, body) = bytes.split_at(HEADER);
            Directory::read(Head::read(head).unwrap(), body, &profile)
        };
        assert_eq!(read(&bytes), Some(directory));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), None, "byte {at}");
        }
        assert!(Head::read(&[0; HEADER]).unwrap().is_blank());
        assert!(!Head::read(&bytes).unwrap().is_blank());
        assert_eq!(Head::read(&bytes[..HEADER - 1]), None);
    }

    #[test]
    fn too_many_names_are_told() {
        let profile = CardProfile::tr03109_2_assumed();
        let mut directory = full(&profile);
        directory.objects.extend((0..60).map(|number| ObjectEntry {
            object: ObjectId::data("n".repeat(LONGEST_NAME)),
            file: number,
            len: 1,
        }));
        assert_eq!(
            directory.write(&profile).unwrap_err().reason(),
            Reason::Memory
        );
    }

    /// New content goes to a free file, that of a name with a file of its own always there.
    #[test]
    fn places_are_chosen() {
        let profile = CardProfile::tr03109_2_assumed();
        let mut directory = Directory::default();
        let (mine, other) = (ObjectId::data("mine"), ObjectId::data("other"));
        let first = directory.file_for(&mine, &profile).unwrap();
        let entry = |object: &ObjectId, file| ObjectEntry {
            object: object.clone(),
            file,
            len: 1,
        };
        directory.objects.push(entry(&mine, first));
        assert_ne!(directory.file_for(&mine, &profile), Some(first));
        directory.objects = profile
            .objects
            .free
            .files()
            .map(|file| entry(&other, file))
            .collect();
        assert_eq!(directory.file_for(&mine, &profile), None);
        assert_eq!(directory.file_for(&other, &profile), Some(first));
        let own = ObjectId::certificate("gw-tls");
        assert_eq!(directory.file_for(&own, &profile), profile.named_file(&own));
        let free = profile.keys.free.references().next();
        assert_eq!(directory.reference_for(&"mine".into(), &profile), free);
        assert_eq!(
            directory.reference_for(&"gw-tls".into(), &profile),
            Some(0x11)
        );
    }
}
