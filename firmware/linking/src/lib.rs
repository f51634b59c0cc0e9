// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every board's build script tells the linker: its memory map, the sections of cortex-m-rt and defmt, and a build id.
//!
//! The build id (GNU note `.note.gnu.build-id`, SHA-1 of the image) lies in flash, so that a debug probe can read which
//! image a board already has.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, fs};

/// Keeps the build id in flash, behind the constants.
const BUILD_ID: &str = "\
SECTIONS
{
  .note.gnu.build-id : ALIGN(4)
  {
    __build_id_note = .;
    KEEP(*(.note.gnu.build-id));
    . = ALIGN(4);
  } > FLASH
} INSERT AFTER .rodata;
";

/// Links all binaries of the package with this memory map: the text of a linker script that defines the regions `FLASH`
/// and `RAM`. Called by a build script.
///
/// # Panics
///
/// When cargo did not start it, or the output directory cannot be written.
pub fn link(memory: &str) {
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output directory"));
    fs::write(output.join("memory.x"), format!("{memory}\n{BUILD_ID}"))
        .expect("the output directory can be written");
    println!("cargo:rustc-link-search={}", output.display());
    for argument in ["-Tlink.x", "-Tdefmt.x", "--nmagic", "--build-id=sha1"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=memory.x");
}
