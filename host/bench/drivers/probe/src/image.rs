// SPDX-License-Identifier: MIT OR Apache-2.0
//! A firmware image: what of an ELF file goes to the target, the GNU build id that names it, and where its log is.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::elf::{FileHeader32, PT_LOAD};
use object::read::elf::{ElfFile32, ProgramHeader, SectionHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};

/// Largest ELF file that is read, in bytes: far above any with debug information for a microcontroller.
pub const LONGEST: u64 = 256 << 20;

const NOTE_SECTION: &str = ".note.gnu.build-id";
const NT_GNU_BUILD_ID: u32 = 3;
const OWNER: &[u8] = b"GNU\0";
const RTT_SYMBOL: &str = "_SEGGER_RTT";

/// What the linker calls an image: a digest of its contents.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BuildId(Vec<u8>);

impl BuildId {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(hex: &str) -> Option<Self> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |pair: &[u8; 2]| {
            let [high, low] = pair.map(digit);
            u8::try_from(high? << 4 | low?).ok()
        };
        let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
        (rest.is_empty() && !bytes.is_empty()).then_some(Self(bytes))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a file is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot read the image {}: {error}; `cargo xtask firmware` builds the bench's own", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not for a microcontroller.
    #[error("the image is no 32-bit little-endian ELF file: {0}")]
    NotElf(String),
    /// Nothing to flash.
    #[error("the image has no segment to load; its linker script is wrong")]
    Empty,
    /// It cannot be recognised on the target.
    #[error(
        "the image has no GNU build id in what is flashed; link it with --build-id=sha1 and keep {NOTE_SECTION} in flash"
    )]
    NoBuildId,
}

/// An image, parsed.
#[derive(Clone, Debug)]
pub struct Image {
    elf: Vec<u8>,
    segments: Vec<Segment>,
    build_id: BuildId,
    note: Segment,
    rtt: Option<u64>,
}

/// Bytes and where they go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Load address.
    pub address: u64,
    /// Contents.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// When there is none, or it is no image with a build id.
    pub fn read(path: &Path) -> Result<Self, ImageError> {
        let unreadable = |error| ImageError::Read {
            path: path.into(),
            error,
        };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > LONGEST {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        Self::parse(fs::read(path).map_err(unreadable)?)
    }

    /// Parses the contents of an ELF file.
    ///
    /// # Errors
    /// When it is no image with a build id.
    pub fn parse(elf: Vec<u8>) -> Result<Self, ImageError> {
        let broken = |error: object::Error| ImageError::NotElf(error.to_string());
        let file = ElfFile32::<Endianness>::parse(elf.as_slice()).map_err(broken)?;
        if !file.is_little_endian() {
            return Err(ImageError::NotElf("it is big-endian".to_owned()));
        }
        let segments = segments(&file, &elf)?;
        if segments.is_empty() {
            return Err(ImageError::Empty);
        }
        let (note, build_id) = note(&file, &elf).ok_or(ImageError::NoBuildId)?;
        if !segments.iter().any(|segment| segment.holds(&note)) {
            return Err(ImageError::NoBuildId);
        }
        let rtt = file
            .symbols()
            .find(|symbol| symbol.is_definition() && symbol.name() == Ok(RTT_SYMBOL))
            .map(|symbol| symbol.address());
        Ok(Self {
            segments,
            build_id,
            note,
            rtt,
            elf,
        })
    }

    /// The file's contents.
    pub fn elf(&self) -> &[u8] {
        &self.elf
    }

    /// What goes to the target.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The image's name.
    pub fn build_id(&self) -> &BuildId {
        &self.build_id
    }

    /// The note that holds the build id, where it lies on the target.
    pub fn note(&self) -> &Segment {
        &self.note
    }

    /// Address of the control block of the log.
    pub fn rtt(&self) -> Option<u64> {
        self.rtt
    }

    /// Address of a symbol that the firmware exports for the bench.
    pub fn symbol(&self, name: &str) -> Option<u64> {
        let file = ElfFile32::<Endianness>::parse(self.elf.as_slice()).ok()?;
        file.symbols()
            .find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))
            .map(|symbol| symbol.address())
    }
}

impl Segment {
    fn holds(&self, other: &Self) -> bool {
        let offset = other.address.checked_sub(self.address);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        let rest = offset.and_then(|offset| self.bytes.get(offset..));
        rest.is_some_and(|rest| rest.starts_with(&other.bytes))
    }
}

/// What is loaded, by physical address. Segments may share bytes of the file; together they may not exceed it.
fn segments(file: &ElfFile32<'_>, elf: &[u8]) -> Result<Vec<Segment>, ImageError> {
    let endian = file.endian();
    let mut left = elf.len();
    let mut segments = Vec::new();
    for header in file.elf_program_headers() {
        if header.p_type(endian) != PT_LOAD || header.p_filesz(endian) == 0 {
            continue;
        }
        let outside = || ImageError::NotElf("a segment lies outside the file".to_owned());
        let bytes = header.data(endian, elf).map_err(|()| outside())?;
        left = left.checked_sub(bytes.len()).ok_or_else(outside)?;
        segments.push(Segment {
            address: u64::from(header.p_paddr(endian)),
            bytes: bytes.to_vec(),
        });
    }
    Ok(segments)
}

/// The note with the build id, at its load address: length of owner, of contents, kind, owner, contents.
fn note(file: &ElfFile32<'_>, elf: &[u8]) -> Option<(Segment, BuildId)> {
    let endian = file.endian();
    let section = file.section_by_name(NOTE_SECTION)?;
    let bytes = section.data().ok()?;
    let [lengths, rest] = bytes
        .split_at_checked(12)
        .map(|(head, rest)| [head, rest])?;
    let mut words = lengths
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word));
    let (owner, contents, kind) = (words.next()?, words.next()?, words.next()?);
    let (name, id) = rest.split_at_checked(OWNER.len())?;
    let id = id.get(..usize::try_from(contents).ok()?)?;
    let right = kind == NT_GNU_BUILD_ID && name == OWNER && owner == 4 && !id.is_empty();
    let offset = section.elf_section_header().sh_offset(endian);
    let load =
        |header: &<FileHeader32<Endianness> as object::read::elf::FileHeader>::ProgramHeader| {
            let into = offset.checked_sub(header.p_offset(endian))?;
            let inside = header.p_type(endian) == PT_LOAD && into < header.p_filesz(endian);
            inside.then(|| u64::from(header.p_paddr(endian)) + u64::from(into))
        };
    let address = file.elf_program_headers().iter().find_map(load)?;
    let bytes = bytes.get(..12 + OWNER.len() + id.len())?.to_vec();
    debug_assert!(bytes.len() <= elf.len());
    right.then(|| (Segment { address, bytes }, BuildId(id.to_vec())))
}
