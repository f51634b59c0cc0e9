// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: set-up, test, rehearse and check, without needing anything but a Rust toolchain.

use std::process::ExitCode;

mod bench;
mod card;
mod cargo;
mod embedded;
mod firmware;
mod layers;
mod rehearse;
mod setup;
mod sizes;
mod sources;
mod target;
mod test;
mod toolchain;
mod workspace;

const HELP: &str = "\
cargo xtask: what one does with this repository

  cargo xtask rehearse    rehearse a certification on a rig, the virtual one unless told otherwise
      --rig FILE            another rig file (default rigs/virtual.toml; docs/rig.md teaches writing one)
      --report-dir DIR      where the evidence goes (default runs)
      --no-install          do not install missing tools, list them and stop
      everything else is passed on to `smgw-bench run`, for example -E 'iface(cls)' or --defect ID
  cargo xtask test        everything continuous integration checks
      --no-install          as above
  cargo xtask check       the rules of the house: layers, licences, file heads; needs no tools
  cargo xtask setup       install the tools that rehearse and test need
      --no-install          as above
  cargo xtask bench NAME  run a benchmark beside its peers: a table here, the figures in target/bench/NAME.json;
                          without NAME, list them
  cargo xtask firmware    build what is flashed onto microcontrollers: target/firmware/BOARD/NAME.elf
      --board NAME          of this board only
      --defects             and `cls-defects`, with seeded defects, for `smgw-bench run --defect`
      --sizes               say what the images take and compare with firmware/sizes.toml
      --update-sizes        write that file
      --no-install          do not install a missing compiler, name it and stop
  cargo xtask target arm64  the gateway as the whole user space of a board: target/arm64/{smgw,Image,initramfs.cpio};
                          rigs whose gateway is on the target qemu-arm64 boot it (--help tells more)
  cargo xtask card        put the emulated card into a virtual reader behind a pcscd of its own, isolated from the
                          machine's, print the variable by which clients find it, and wait; PIN and state are kept below
                          target/card; all arguments are passed on to `smgw-card` (--help, --latency typical, ...)
  cargo xtask help        this text

Exit codes: 0 well, 1 a check or test failed, 2 usage, 96 a tool is missing; rehearse passes on those of smgw-bench
(100 the device failed a case, 103 trouble with the rig, 106 a file is wrong, 107 a resource is missing).
";

/// Why a task ended early: what to say, and the exit code.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self {
            message: format!("{}; `cargo xtask help` lists what there is", message.into()),
            code: 2,
        }
    }

    fn environment(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 96,
        }
    }
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        print!("{HELP}");
        return ExitCode::from(2);
    }
    let task = arguments.remove(0);
    let done = match task.as_str() {
        "rehearse" => rehearse::run(arguments),
        "test" => flags_only(&task, &arguments).and_then(test::run),
        "check" => none(&task, &arguments).and_then(|()| check()),
        "setup" => flags_only(&task, &arguments).and_then(setup::run),
        "bench" => bench::run(&arguments),
        "card" => card::run(arguments),
        "firmware" => firmware::run(&arguments),
        "target" => target::run(&arguments),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::usage(format!("there is no task `{other}`"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Whether installing is allowed, from the arguments of a task that takes nothing but `--no-install`.
fn flags_only(task: &str, arguments: &[String]) -> Result<setup::Installing, Failure> {
    let mut installing = setup::Installing::Allowed;
    for argument in arguments {
        match argument.as_str() {
            "--no-install" => installing = setup::Installing::Forbidden,
            other => return Err(Failure::usage(format!("`{task}` does not know `{other}`"))),
        }
    }
    Ok(installing)
}

fn none(task: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(Failure::usage(format!(
            "`{task}` does not know `{argument}`"
        ))),
    }
}

/// All rules of the house; every breach is printed.
fn check() -> Result<(), Failure> {
    let root = workspace::root();
    let mut breaches = layers::breaches(&cargo::packages(&root)?);
    breaches.extend(sources::breaches(&workspace::rust_files(&root)?));
    if breaches.is_empty() {
        println!("check: layers, licences and file heads are in order");
        return Ok(());
    }
    for breach in &breaches {
        println!("check: {breach}");
    }
    Err(Failure::new(format!(
        "{} breaches of the rules of the house",
        breaches.len()
    )))
}
