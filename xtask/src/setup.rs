// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out which tools are missing, says why they are needed, and installs them with apt-get.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// Whether missing tools may be installed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Installing {
    Allowed,
    Forbidden,
}

/// A tool we need.
struct Tool {
    name: &'static str,
    package: &'static str,
    purpose: &'static str,
    present: fn() -> bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "softhsm2-util",
        package: "softhsm2",
        purpose: "makes the software token that holds the gateway's keys",
        present: || in_path("softhsm2-util"),
    },
    Tool {
        name: "libsofthsm2.so",
        package: "softhsm2",
        purpose: "the software token itself",
        present: || in_libraries(&["softhsm/libsofthsm2.so", "pkcs11/libsofthsm2.so"]),
    },
    Tool {
        name: "pkcs11-spy.so",
        package: "opensc-pkcs11",
        purpose: "records the calls to the security module, for the cases that judge them",
        present: || in_libraries(&["pkcs11-spy.so", "pkcs11/pkcs11-spy.so"]),
    },
    Tool {
        name: "tshark",
        package: "tshark",
        purpose: "reads the recorded traces back, as an independent witness",
        present: || in_path("tshark"),
    },
    Tool {
        name: "strace",
        package: "strace",
        purpose: "tells what the store wrote and synced, for the tests of power cuts",
        present: || in_path("strace"),
    },
    Tool {
        name: "openssl",
        package: "openssl",
        purpose: "the independent TLS partner and certificate reader of the tests",
        present: || in_path("openssl"),
    },
    Tool {
        name: "pcscd",
        package: "pcscd",
        purpose: "stands between the card driver and its reader; runs isolated from the machine's own",
        present: || in_path("pcscd") || Path::new("/usr/sbin/pcscd").is_file(),
    },
    Tool {
        name: "libpcsclite.so",
        package: "libpcsclite-dev",
        purpose: "lets the card driver speak with pcscd",
        present: || in_libraries(&["libpcsclite.so"]),
    },
    Tool {
        name: "libifdvpcd.so",
        package: "vsmartcard-vpcd",
        purpose: "the virtual reader that the emulated card is put into",
        present: || in_libraries(&["pcsc/drivers/serial/libifdvpcd.so"]),
    },
    Tool {
        name: "opensc-tool",
        package: "opensc",
        purpose: "looks at the emulated card with the eyes of others",
        present: || in_path("opensc-tool"),
    },
    Tool {
        name: "ip",
        package: "iproute2",
        purpose: "switches on the loopback device of the network namespace in which pcscd runs isolated",
        present: || in_path("ip") || Path::new("/usr/sbin/ip").is_file(),
    },
    Tool {
        name: "qemu-system-arm",
        package: "qemu-system-arm",
        purpose: "is the microcontroller board that the firmware runs on where there is no hardware",
        present: || in_path("qemu-system-arm"),
    },
    Tool {
        name: "eac.h",
        package: "libeac-dev",
        purpose: "is the independent other side of PACE and secure messaging for the emulated card",
        present: || Path::new("/usr/include/eac/eac.h").is_file(),
    },
    Tool {
        name: "evp.h",
        package: "libssl-dev",
        purpose: "lets the test's terminal be compiled with the former",
        present: || Path::new("/usr/include/openssl/evp.h").is_file(),
    },
    Tool {
        name: "sshd",
        package: "openssh-server",
        purpose: "stands for a board that is reached by ssh; tests start one of their own on the loopback interface",
        present: || has_ssh_server() || services_start_by_themselves(),
    },
    Tool {
        name: "chronyd",
        package: "chrony",
        purpose: "asks our time service and answers our time client; tests start one of their own that sets no clock",
        present: || {
            in_path("chronyd")
                || Path::new("/usr/sbin/chronyd").is_file()
                || services_start_by_themselves()
        },
    },
];

fn has_ssh_server() -> bool {
    Path::new("/usr/sbin/sshd").is_file() && in_path("scp")
}

/// Whether installing a server would also start it, for everybody to reach: on computers that people work at, that is
/// theirs to decide, and the tests that want one say that they are skipped.
fn services_start_by_themselves() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Keeps Debian's vpcd package from telling the machine's own pcscd of the virtual reader: that one would listen for
/// cards on all addresses, ports 35963 and 35964. Ours is told by a configuration of its own.
const WITHOUT_READER: &str = "Dpkg::Options::=--path-exclude=/etc/reader.conf.d/vpcd";

pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Looks below the library directories and, on Debian, below those of the architecture.
fn in_libraries(names: &[&str]) -> bool {
    let mut directories: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .iter()
        .map(PathBuf::from)
        .collect();
    if let Ok(entries) = std::fs::read_dir("/usr/lib") {
        let entries = entries.flatten().map(|entry| entry.path());
        directories.extend(entries.filter(|path| path.to_string_lossy().contains("-linux-gnu")));
    }
    directories
        .iter()
        .any(|directory| names.iter().any(|name| directory.join(name).is_file()))
}

/// Makes sure that every tool is there.
pub(crate) fn run(installing: Installing) -> Result<(), Failure> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.present)()).collect();
    if missing.is_empty() {
        println!("setup: all tools are there");
        return Ok(());
    }
    for tool in &missing {
        println!(
            "setup: {} is missing (package {}): {}",
            tool.name, tool.package, tool.purpose
        );
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let by_hand = format!("sudo apt-get install {}", packages.join(" "));
    if installing == Installing::Forbidden {
        return Err(Failure::environment(format!(
            "tools are missing; install them with: {by_hand}"
        )));
    }
    if !in_path("apt-get") {
        let packages = packages.join(", ");
        return Err(Failure::environment(format!(
            "tools are missing and there is no apt-get; install what your system calls {packages}"
        )));
    }
    install(&packages).map_err(|failure| Failure {
        message: format!("{}; by hand: {by_hand}", failure.message),
        ..failure
    })?;
    let still: Vec<&str> = TOOLS
        .iter()
        .filter(|tool| !(tool.present)())
        .map(|tool| tool.name)
        .collect();
    match still.is_empty() {
        true => Ok(()),
        false => {
            let still = still.join(", ");
            Err(Failure::environment(format!(
                "still missing after installing: {still}"
            )))
        }
    }
}

/// Names the interpreter that has pyOpenSSL to the tests that want it.
pub(crate) const PYTHON_VARIABLE: &str = "SMGW_BENCH_PYTHON";

/// A Python with pyOpenSSL, whose wheels bring an OpenSSL new enough for brainpool in TLS 1.3, and with decoders of meter
/// telegrams and of metrics that are none of ours: the one the environment names, the system's, or one in `target/python`
/// made for this. One with pyOpenSSL alone when nothing may be installed. None when there is none; the tests then say that
/// they are skipped.
pub(crate) fn python(root: &Path, installing: Installing) -> Option<PathBuf> {
    let own = root.join("target/python/bin/python3");
    let named = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
    let known = named
        .into_iter()
        .chain([own.clone(), PathBuf::from("python3")]);
    let known: Vec<_> = known.into_iter().collect();
    let found = |modules| known.iter().find(|python| has(python, modules)).cloned();
    if let Some(python) = found(MODULES) {
        return Some(python);
    }
    if installing == Installing::Forbidden {
        return found(PYOPENSSL);
    }
    println!(
        "setup: Python packages are missing: pyOpenSSL, the independent partner for brainpool in TLS 1.3; smllib, \
         pyMeterBus, dsmr-parser, independent decoders of meter telegrams; prometheus-client, one of metrics"
    );
    let environment = root.join("target/python");
    let run = |program: &Path, arguments: &[&std::ffi::OsStr]| {
        Command::new(program)
            .args(arguments)
            .status()
            .is_ok_and(|status| status.success())
    };
    let venv = || {
        run(
            Path::new("python3"),
            &["-m".as_ref(), "venv".as_ref(), environment.as_os_str()],
        )
    };
    // Debian keeps what venv needs in a package of its own.
    let made = venv() || (install(&["python3-venv"]).is_ok() && venv());
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "pyOpenSSL",
        "smllib",
        "pymeterbus",
        "dsmr-parser",
        "prometheus-client",
    ];
    let filled = made && run(&own, &pip.map(std::ffi::OsStr::new));
    (filled && has(&own, MODULES)).then_some(own)
}

const PYOPENSSL: &str = "OpenSSL.SSL, cryptography";
const MODULES: &str = "OpenSSL.SSL, cryptography, smllib, meterbus, dsmr_parser, prometheus_client";

fn has(python: &Path, modules: &str) -> bool {
    Command::new(python)
        .args(["-c", &format!("import {modules}")])
        .output()
        .is_ok_and(|output| output.status.success())
}

pub(crate) fn install(packages: &[&str]) -> Result<(), Failure> {
    let sudo = !is_root();
    if sudo {
        println!(
            "setup: installing needs root: sudo may ask for your password (--no-install forbids this)"
        );
    }
    apt_get(sudo, &["update"])?;
    let mut arguments = vec![
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        WITHOUT_READER,
    ];
    arguments.extend(packages);
    apt_get(sudo, &arguments)
}

fn apt_get(sudo: bool, arguments: &[&str]) -> Result<(), Failure> {
    let mut words = if sudo { vec!["sudo"] } else { Vec::new() };
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(arguments);
    println!("setup: {}", words.join(" "));
    let status = Command::new(words[0])
        .args(&words[1..])
        .status()
        .map_err(|error| Failure::environment(format!("cannot run {}: {error}", words[0])))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::environment(format!(
            "apt-get {} failed",
            arguments[0]
        ))),
    }
}

/// Whether this process is root's: `/proc/self` belongs to the effective user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_present_from_absent() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program-anywhere"));
        assert!(!in_libraries(&["no-such-library.so"]));
    }
}
