// SPDX-License-Identifier: MIT OR Apache-2.0
//! What firmware images take of flash and RAM, compared with the figures committed in `firmware/sizes.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::firmware::Image;

/// Growth that needs no new figures, in per cent: compilers differ by about that much.
const TOLERANCE: u64 = 5;

/// Where RAM begins on every Cortex-M; what is loaded below is flash.
const RAM: u32 = 0x2000_0000;

/// Bytes of an image: flash with the initial values of variables, RAM with the heap but without the stack.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Size {
    flash: u64,
    ram: u64,
}

/// By board and image.
type Sizes = BTreeMap<(String, String), Size>;

/// Prints the sizes and fails when an image has grown by more than [`TOLERANCE`] or has no figure.
pub(crate) fn compare(root: &Path, images: &[Image]) -> Result<(), Failure> {
    let path = path(root);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let committed = parse(&text)?;
    let mut grown = Vec::new();
    for (key, size) in measure(images)? {
        let name = format!("{}/{}", key.0, key.1);
        let Some(before) = committed.get(&key) else {
            println!("sizes: {name}: flash {}, RAM {}, new", size.flash, size.ram);
            grown.push(name);
            continue;
        };
        println!(
            "sizes: {name}: flash {} ({:+}), RAM {} ({:+})",
            size.flash,
            size.flash.cast_signed() - before.flash.cast_signed(),
            size.ram,
            size.ram.cast_signed() - before.ram.cast_signed(),
        );
        if has_grown(*before, size) {
            grown.push(name);
        }
    }
    match grown.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{} new or grown by more than {TOLERANCE} %; if that is meant, commit what `cargo xtask firmware \
             --update-sizes` writes",
            grown.join(", ")
        ))),
    }
}

/// Writes the sizes of these images to the file; those of others stay.
pub(crate) fn update(root: &Path, images: &[Image]) -> Result<(), Failure> {
    let path = path(root);
    let mut sizes = match fs::read_to_string(&path) {
        Ok(text) => parse(&text)?,
        Err(_) => Sizes::new(),
    };
    sizes.extend(measure(images)?);
    fs::write(&path, render(&sizes))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    println!("sizes: {} written", path.display());
    Ok(())
}

fn path(root: &Path) -> PathBuf {
    root.join("firmware/sizes.toml")
}

fn has_grown(before: Size, now: Size) -> bool {
    let beyond = |before: u64, now: u64| now * 100 > before * (100 + TOLERANCE);
    beyond(before.flash, now.flash) || beyond(before.ram, now.ram)
}

fn measure(images: &[Image]) -> Result<Sizes, Failure> {
    let measure = |image: &Image| {
        let wrong = |reason: &str| Failure::new(format!("{}: {reason}", image.elf.display()));
        let elf = fs::read(&image.elf).map_err(|error| wrong(&error.to_string()))?;
        let size = size(&elf).ok_or_else(|| wrong("not a 32-bit little-endian ELF file"))?;
        Ok(((image.board.clone(), image.name.clone()), size))
    };
    images.iter().map(measure).collect()
}

/// Adds up the segments of an ELF file that are loaded.
fn size(elf: &[u8]) -> Option<Size> {
    /// Type of a segment that is loaded.
    const LOAD: u32 = 1;
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    if elf.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let first = usize::try_from(word(28)?).ok()?;
    let (length, count) = (usize::from(half(42)?), usize::from(half(44)?));
    let mut size = Size::default();
    for at in (0..count).map(|index| first + index * length) {
        let (kind, virtual_address) = (word(at)?, word(at + 8)?);
        if kind != LOAD {
            continue;
        }
        size.flash += u64::from(word(at + 16)?);
        if virtual_address >= RAM {
            size.ram += u64::from(word(at + 20)?);
        }
    }
    Some(size)
}

fn parse(text: &str) -> Result<Sizes, Failure> {
    let wrong = |reason: String| Failure::new(format!("firmware/sizes.toml: {reason}"));
    let boards: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let mut sizes = Sizes::new();
    for (board, images) in &boards {
        for (image, size) in images.as_table().into_iter().flatten() {
            let bytes = |key: &str| {
                let value = size.get(key).and_then(toml::Value::as_integer);
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .ok_or_else(|| wrong(format!("{board}.{image} lacks {key}, in bytes")))
            };
            let size = Size {
                flash: bytes("flash")?,
                ram: bytes("ram")?,
            };
            sizes.insert((board.clone(), image.clone()), size);
        }
    }
    Ok(sizes)
}

fn render(sizes: &Sizes) -> String {
    let mut text = String::from(
        "# Bytes of flash and RAM (with heap, without stack) of each image, as `cargo xtask firmware --update-sizes`\n\
         # writes them. `cargo xtask test` fails when an image grows beyond them by more than 5 %.\n",
    );
    let mut last = "";
    for ((board, image), size) in sizes {
        if board != last {
            let _ = write!(text, "\n[{board}]\n");
            last = board;
        }
        let _ = writeln!(
            text,
            "{image} = {{ flash = {}, ram = {} }}",
            size.flash, size.ram
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these segments: type, virtual address, bytes in the file, bytes in memory.
    fn elf(segments: &[[u32; 4]]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x01\x01".to_vec();
        elf.resize(52, 0);
        elf[28] = 52;
        elf[42] = 32;
        elf[44] = u8::try_from(segments.len()).expect("few segments");
        for [kind, address, in_file, in_memory] in segments {
            for word in [*kind, 0, *address, 0, *in_file, *in_memory, 0, 0] {
                elf.extend(word.to_le_bytes());
            }
        }
        elf
    }

    #[test]
    fn segments_count_where_they_lie() {
        let elf = elf(&[
            [1, 0, 1000, 1000],
            [1, RAM, 24, 24],
            [1, RAM + 24, 0, 500],
            [4, 0, 36, 36],
        ]);
        assert_eq!(
            size(&elf),
            Some(Size {
                flash: 1024,
                ram: 524
            })
        );
        for end in 0..elf.len() - 32 {
            assert_eq!(size(&elf[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn growth_beyond_the_tolerance_is_noticed() {
        let before = Size {
            flash: 1000,
            ram: 100,
        };
        assert!(!has_grown(
            before,
            Size {
                flash: 1050,
                ram: 1
            }
        ));
        assert!(has_grown(
            before,
            Size {
                flash: 1051,
                ram: 1
            }
        ));
        assert!(has_grown(before, Size { flash: 1, ram: 106 }));
    }

    #[test]
    fn what_is_written_is_read() {
        let key = |board: &str, image: &str| (board.to_owned(), image.to_owned());
        let sizes = Sizes::from([
            (key("a", "cls"), Size { flash: 1, ram: 2 }),
            (key("a", "timing-probe"), Size { flash: 3, ram: 4 }),
            (key("b", "cls"), Size { flash: 5, ram: 6 }),
        ]);
        assert_eq!(parse(&render(&sizes)).ok(), Some(sizes));
        assert!(parse("[a]\ncls = { flash = 1 }\n").is_err());
    }
}
