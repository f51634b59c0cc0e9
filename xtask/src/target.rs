// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask target`: the gateway as the whole user space of a board: one static program, a kernel, and the file system
//! the kernel starts with. All of it lies in `target/NAME` afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::setup::{self, Installing};
use crate::toolchain::{self, Compiler};
use crate::{Failure, cargo, workspace};

const HELP: &str = "\
cargo xtask target arm64: the gateway as the whole user space of a 64-bit Arm board

  --no-install   do not install missing tools, list them and stop
  --fetch        fetch Debian's kernel again, even if one is there

Makes target/arm64/smgw (one static program), Image (Debian's arm64 kernel) and initramfs.cpio (the program as /init, and the
kernel modules it loads). Emulated boards boot them: a rig whose gateway has target = \"qemu-arm64\" (docs/rig.md).
The kernel is fetched once through a package state of its own below target/arm64/cache; the machine's own is not touched.
";

/// The program's target. Static: the board has no libraries.
const TRIPLE: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";

/// What is needed beside a compiler: program, Debian package, purpose.
const TOOLS: [(&str, &str, &str); 5] = [
    (
        LINKER,
        "gcc-aarch64-linux-gnu",
        "links the program, and compiles its database",
    ),
    (
        "/usr/aarch64-linux-gnu/lib/libc.a",
        "libc6-dev-arm64-cross",
        "the C library inside the program",
    ),
    (
        "qemu-system-aarch64",
        "qemu-system-arm",
        "is the board where there is none",
    ),
    (
        "cpio",
        "cpio",
        "packs the file system the kernel starts with",
    ),
    ("xz", "xz-utils", "unpacks kernel modules"),
];

/// Kernel modules in the order of loading; those a kernel has built in are left out.
const MODULES: [&str; 6] = [
    "failover",
    "net_failover",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_net",
];

/// Runs the task with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (mut installing, mut fetch, mut board) = (Installing::Allowed, false, None);
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            "--no-install" => installing = Installing::Forbidden,
            "--fetch" => fetch = true,
            "arm64" => board = Some(argument),
            other => return Err(Failure::usage(format!("`target` does not know `{other}`"))),
        }
    }
    if board.is_none() {
        return Err(Failure::usage("`target` needs to know which: arm64"));
    }
    let root = workspace::root();
    if fetch {
        let cache = directory(&root)?.join("cache");
        fs::remove_dir_all(&cache).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(&cache)(error)),
        })?;
    }
    build(&root, installing).map(|directory| println!("target: {} is ready", directory.display()))
}

/// Where everything of the board lies, and tests look for it.
pub(crate) fn directory(root: &Path) -> Result<PathBuf, Failure> {
    Ok(cargo::target_directory(root)?.join("arm64"))
}

/// Makes whatever is not up to date.
pub(crate) fn build(root: &Path, installing: Installing) -> Result<PathBuf, Failure> {
    let directory = directory(root)?;
    fs::create_dir_all(&directory).map_err(failed(&directory))?;
    tools(installing)?;
    let program = directory.join("smgw");
    compile(root, &program, installing)?;
    let kernel = kernel(&directory)?;
    copy(
        &find(&kernel.join("boot"), "vmlinuz-")?,
        &directory.join("Image"),
    )?;
    println!(
        "target: packing {}",
        directory.join("initramfs.cpio").display()
    );
    pack(&directory, &program, &kernel)?;
    Ok(directory)
}

fn tools(installing: Installing) -> Result<(), Failure> {
    let missing = |(program, ..): &&(&str, &str, &str)| {
        !Path::new(program).is_file() && !setup::in_path(program)
    };
    let wanted: Vec<_> = TOOLS.iter().filter(missing).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for (program, package, purpose) in &wanted {
        println!("target: {program} is missing (package {package}): {purpose}");
    }
    let packages: Vec<_> = wanted.iter().map(|(_, package, _)| *package).collect();
    let by_hand = format!("sudo apt-get install {}", packages.join(" "));
    if installing == Installing::Forbidden {
        let what = format!("tools are missing; install them with: {by_hand}");
        return Err(Failure::environment(what));
    }
    setup::install(&packages)?;
    match TOOLS.iter().find(missing) {
        None => Ok(()),
        Some((program, ..)) => Err(Failure::environment(format!(
            "{program} is still missing after installing; by hand: {by_hand}"
        ))),
    }
}

/// Builds the static program, with its seeded defects, so that a rehearsal can ask for one.
fn compile(root: &Path, program: &Path, installing: Installing) -> Result<(), Failure> {
    println!("target: building the gateway for {TRIPLE}");
    let compiler = Compiler::find(TRIPLE, installing)?;
    let output = cargo::target_directory(root)?;
    let mut command = compiler.build_with(root, TRIPLE, &output, "std,panic_abort")?;
    command.args(["--profile", PROFILE, "-p", "smgw"]);
    command.args(["--no-default-features", "--features", "defects"]);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        "-C target-feature=+crt-static",
    );
    command.env("CC_aarch64_unknown_linux_gnu", LINKER);
    toolchain::run(command, || {
        format!("the gateway does not build for {TRIPLE}")
    })?;
    let built = compiler.release(TRIPLE, &output).with_file_name(PROFILE);
    copy(&built.join("smgw"), program)
}

/// Debian's kernel and its modules, unpacked; fetched unless it is there.
fn kernel(directory: &Path) -> Result<PathBuf, Failure> {
    let cache = directory.join("cache");
    let root = cache.join("root");
    if root.is_dir() {
        println!("target: the kernel is there ({})", root.display());
        return Ok(root);
    }
    println!("target: fetching Debian's kernel for arm64");
    for folder in ["lists/partial", "cache/archives/partial", "packages"] {
        let folder = cache.join(folder);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
    }
    apt(&cache, "apt-get", &["-qq", "update"])?;
    let dependencies = apt(&cache, "apt-cache", &["depends", KERNEL])?;
    let package = dependencies
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .ok_or_else(|| {
            Failure::environment(format!(
                "the package source has no kernel {KERNEL}: only Debian's is known here"
            ))
        })?;
    println!("target: downloading {package}");
    apt(&cache, "apt-get", &["-qq", "download", package])?;
    let archive = find(&cache.join("packages"), "linux-image-")?;
    // Unpacked elsewhere and moved, so that what is there is whole.
    let partial = cache.join("root.partial");
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&archive)
            .arg(&partial),
    )?;
    fs::rename(&partial, &root).map_err(failed(&root))?;
    Ok(root)
}

/// Asks apt about arm64, with lists and archives of our own.
fn apt(cache: &Path, program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command.current_dir(cache.join("packages"));
    for option in [
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
        "APT::Sandbox::User=root",
    ] {
        command.args(["-o", option]);
    }
    for (name, folder) in [("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")] {
        let folder = cache.join(folder);
        command.args(["-o", &format!("{name}={}", folder.display())]);
    }
    output(command.args(arguments))
}

fn pack(directory: &Path, program: &Path, kernel: &Path) -> Result<(), Failure> {
    let stage = directory.join("initramfs");
    let _ = fs::remove_dir_all(&stage);
    let modules = stage.join("lib/modules");
    fs::create_dir_all(&modules).map_err(failed(&modules))?;
    copy(program, &stage.join("init"))?;
    let mut order = String::new();
    for name in MODULES {
        let Some(found) = module(&kernel.join("lib/modules"), name) else {
            println!("target: the kernel has no module {name}; it should be built in");
            continue;
        };
        let file = modules.join(format!("{name}.ko"));
        copy(&found, &file)?;
        if found.extension().is_some_and(|extension| extension == "xz") {
            let packed = file.with_extension("ko.xz");
            fs::rename(&file, &packed).map_err(failed(&packed))?;
            output(Command::new("xz").arg("--decompress").arg(&packed))?;
        }
        order += &format!("{name}.ko\n");
    }
    let list = modules.join("order");
    fs::write(&list, order).map_err(failed(&list))?;
    let archive = directory.join("initramfs.cpio");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", PACK, "sh"])
        .arg(&archive)
        .current_dir(&stage);
    output(&mut shell).map(drop)
}

/// The file of a kernel module, anywhere below `folder`.
fn module(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let wanted = |path: &&PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file == format!("{name}.ko") || file == format!("{name}.ko.xz")
    };
    let here = paths.iter().find(wanted).cloned();
    here.or_else(|| {
        let folders = paths
            .iter()
            .filter(|path| path.is_dir() && !path.is_symlink());
        folders.filter_map(|folder| module(folder, name)).next()
    })
}

/// The file of a folder whose name begins so.
fn find(folder: &Path, beginning: &str) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(beginning)
        })
        .ok_or_else(|| Failure::new(format!("{} holds no {beginning}…", folder.display())))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(failed(from))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

/// Runs a program to its end; what it printed.
fn output(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::environment(format!("cannot run {name}: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::environment(format!(
            "{name} failed ({})",
            output.status
        ))),
    }
}

/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-arm64";
/// The profile of the workspace for programs of boards.
const PROFILE: &str = "board";
/// Packs the current folder into the file it is given.
const PACK: &str = "find . -mindepth 1 | sort | cpio --quiet --create --format=newc --reproducible --owner=0:0 > \"$1\"";
