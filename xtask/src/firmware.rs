// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask firmware`: builds the images of all boards and tells what they take of flash and RAM.
//!
//! A package of `firmware/` whose manifest has `[package.metadata.firmware]` with `board` and `target` is a board's: each
//! of its binaries becomes `target/firmware/BOARD/NAME.elf`. A package with the feature `defects` has a second image of
//! `cls`, built when asked for: `cls-defects.elf` with seeded defects, which the bench chooses from.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::Installing;
use crate::toolchain::{self, Compiler};
use crate::{Failure, cargo, sizes, workspace};

/// What the firmware logs: defmt leaves out everything when this is not set while compiling.
const LOG_LEVEL: (&str, &str) = ("DEFMT_LOG", "debug");

/// The feature of packages that can be built with seeded defects, and the binary that has some.
const DEFECTS: (&str, &str) = ("defects", "cls");

/// A package with the binaries of a board.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Package {
    name: String,
    board: String,
    target: String,
    binaries: Vec<String>,
    /// Whether it has the feature of [`DEFECTS`].
    defects: bool,
}

/// An image that was built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    pub(crate) board: String,
    pub(crate) name: String,
    pub(crate) elf: PathBuf,
}

/// What is done with the sizes of images.
type Judge = fn(&Path, &[Image]) -> Result<(), Failure>;

/// Runs the task with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut installing = Installing::Allowed;
    let mut board = None;
    let mut judge: Option<Judge> = None;
    let mut defects = false;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--no-install" => installing = Installing::Forbidden,
            "--defects" => defects = true,
            "--sizes" => judge = Some(sizes::compare),
            "--update-sizes" => judge = Some(sizes::update),
            "--board" => {
                let name = arguments.next();
                board = Some(name.ok_or_else(|| Failure::usage("--board wants a name"))?);
            }
            other => {
                return Err(Failure::usage(format!(
                    "`firmware` does not know `{other}`"
                )));
            }
        }
    }
    let root = workspace::root();
    let board = board.map(String::as_str);
    let images = build(&root, board, installing)?;
    if defects {
        build_defects(&root, board, installing)?;
    }
    match judge {
        Some(judge) => judge(&root, &images),
        None => Ok(()),
    }
}

/// Builds the images of one board or of all.
pub(crate) fn build(
    root: &Path,
    board: Option<&str>,
    installing: Installing,
) -> Result<Vec<Image>, Failure> {
    let directory = directory(root)?;
    let mut images = Vec::new();
    for package in &wanted(root, board)? {
        let built = build_package(root, &directory, package, installing, &["--bins"])?;
        for name in &package.binaries {
            images.push(keep(&directory, package, &built, name, name)?);
        }
    }
    Ok(images)
}

/// Builds the images with seeded defects of one board or of all that have some.
pub(crate) fn build_defects(
    root: &Path,
    board: Option<&str>,
    installing: Installing,
) -> Result<(), Failure> {
    let directory = directory(root)?;
    let (feature, binary) = DEFECTS;
    for package in wanted(root, board)?
        .iter()
        .filter(|package| package.defects)
    {
        let what = ["--bin", binary, "--features", feature];
        let built = build_package(root, &directory, package, installing, &what)?;
        keep(
            &directory,
            package,
            &built,
            binary,
            &format!("{binary}-{feature}"),
        )?;
    }
    Ok(())
}

/// The packages of one board or of all.
fn wanted(root: &Path, board: Option<&str>) -> Result<Vec<Package>, Failure> {
    let known = packages(root)?;
    let (wanted, others): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|package| board.is_none_or(|board| package.board == board));
    if wanted.is_empty() {
        let mut boards: Vec<&str> = others
            .iter()
            .map(|package| package.board.as_str())
            .collect();
        boards.dedup();
        return Err(Failure::usage(format!(
            "there is no board {}; known: {}",
            board.unwrap_or("at all"),
            boards.join(", ")
        )));
    }
    Ok(wanted)
}

/// The packages that know no board: their tests run on the host.
pub(crate) fn applications(root: &Path) -> Result<Vec<String>, Failure> {
    let packages = cargo::packages(&root.join("firmware"))?;
    let boardless = packages
        .into_iter()
        .filter(|package| !package.directory.starts_with("boards/"));
    Ok(boardless.map(|package| package.name).collect())
}

/// Where images are put, and tests look for them.
pub(crate) fn directory(root: &Path) -> Result<PathBuf, Failure> {
    Ok(cargo::target_directory(root)?.join("firmware"))
}

/// Builds of a package what these arguments of cargo say; where that then is.
fn build_package(
    root: &Path,
    directory: &Path,
    package: &Package,
    installing: Installing,
    what: &[&str],
) -> Result<PathBuf, Failure> {
    let compiler = Compiler::find(&package.target, installing)?;
    let output = directory.join("build");
    // One package at a time: features that one board asks for must not reach another.
    let mut command = compiler.build(&root.join("firmware"), &package.target, &output)?;
    command.args(["--release", "-p", &package.name]).args(what);
    command.env(
        LOG_LEVEL.0,
        std::env::var_os(LOG_LEVEL.0).unwrap_or_else(|| LOG_LEVEL.1.into()),
    );
    toolchain::run(command, || format!("{} does not build", package.name))?;
    Ok(compiler.release(&package.target, &output))
}

/// Puts a binary that was built where it is looked for.
fn keep(
    directory: &Path,
    package: &Package,
    built: &Path,
    binary: &str,
    name: &str,
) -> Result<Image, Failure> {
    let place = directory.join(&package.board);
    let image = Image {
        board: package.board.clone(),
        name: name.to_owned(),
        elf: place.join(format!("{name}.elf")),
    };
    fs::create_dir_all(&place)
        .and_then(|()| fs::copy(built.join(binary), &image.elf))
        .map_err(|error| Failure::new(format!("{}: {error}", image.elf.display())))?;
    println!("firmware: {}", image.elf.display());
    Ok(image)
}

/// The packages of `firmware/` that belong to a board, by board and name.
fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let metadata = cargo::metadata(&root.join("firmware"))?;
    let packages = metadata["packages"].as_array();
    let mut packages: Vec<Package> = packages.into_iter().flatten().filter_map(package).collect();
    packages.sort_by(|a, b| (&a.board, &a.name).cmp(&(&b.board, &b.name)));
    Ok(packages)
}

fn package(package: &serde_json::Value) -> Option<Package> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let firmware = &package["metadata"]["firmware"];
    let targets = package["targets"].as_array()?.iter();
    let is_binary = |target: &&serde_json::Value| {
        let kinds = target["kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
    };
    Some(Package {
        name: text(&package["name"])?,
        board: text(&firmware["board"])?,
        target: text(&firmware["target"])?,
        binaries: targets
            .filter(is_binary)
            .filter_map(|target| text(&target["name"]))
            .collect(),
        defects: package["features"].get(DEFECTS.0).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_packages_with_a_board_have_images() {
        let board = json!({
            "name": "kit",
            "features": { "defects": [] },
            "metadata": { "firmware": { "board": "kit-1", "target": "thumbv7m-none-eabi" } },
            "targets": [
                { "name": "kit", "kind": ["lib"] },
                { "name": "cls", "kind": ["bin"] },
                { "name": "build-script-build", "kind": ["custom-build"] },
            ],
        });
        let expected = Package {
            name: "kit".to_owned(),
            board: "kit-1".to_owned(),
            target: "thumbv7m-none-eabi".to_owned(),
            binaries: vec!["cls".to_owned()],
            defects: true,
        };
        assert_eq!(package(&board), Some(expected));
        let library = json!({ "name": "cls-app", "metadata": null, "targets": [] });
        assert_eq!(package(&library), None);
    }
}
