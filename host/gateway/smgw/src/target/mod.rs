// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway as the only program of a board: first process of a Linux kernel, which makes its machine ready and then
//! works as everywhere else. What it needs lies in the kernel's initial file system (`docs/gateway.md`).

mod config;
pub mod netlink;
mod network;
mod sntp;

use std::ffi::CStr;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::defects::Defects;
use crate::gateway::Failure;
use config::TargetConfig;

/// Whether the kernel started this program as its first process, by the name it looks for.
pub fn is_init() -> bool {
    std::process::id() == 1
        && std::env::args_os()
            .next()
            .is_some_and(|name| name == "/init")
}

/// Makes the machine ready, runs the gateway until it is told to stop, and switches the machine off. The exit code, for
/// which a machine has no other way, is told as the last line on the console.
pub fn as_init(start_log: fn()) -> ExitCode {
    let code = match run(start_log) {
        Ok(()) => 0,
        Err(failure) => {
            error!(%failure, "the gateway cannot go on");
            failure.exit_code()
        }
    };
    let mut output = io::stdout().lock();
    let _ = writeln!(output, r#"{{"event":"ended","code":{code}}}"#);
    let _ = output.flush();
    // Only a kernel without the right to switch off comes back from this; then the end of its first process ends it.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::from(code)
}

fn run(start_log: fn()) -> Result<(), Failure> {
    let mounted = file_systems();
    start_log();
    mounted?;
    modules()?;
    let target = TargetConfig::load(Path::new(TARGET))?;
    for interface in &target.interfaces {
        network::configure(interface)?;
    }
    network::loopback()?;
    serial_lines();
    if let Some(server) = target.time_server {
        set_clock(server)?;
    }
    let defects = match &target.defect {
        Some(id) => Defects::choose(id).ok_or_else(|| wrong("there is no such defect"))?,
        None => Defects::default(),
    };
    // The console is standard input; its end of file is the bench's wish that the gateway ends.
    crate::run(Config::load(Path::new(GATEWAY))?, true, defects)
}

/// What every program expects to find.
fn file_systems() -> io::Result<()> {
    for (kind, place, flags) in [
        ("devtmpfs", "/dev", MountFlags::NOSUID),
        ("proc", "/proc", MountFlags::NOSUID | MountFlags::NODEV),
        ("sysfs", "/sys", MountFlags::NOSUID | MountFlags::NODEV),
        ("tmpfs", "/var", MountFlags::NOSUID | MountFlags::NODEV),
    ] {
        fs::create_dir_all(place)?;
        mount(kind, place, kind, flags, None::<&CStr>)?;
    }
    Ok(())
}

/// Loads the kernel's modules in the order of their list.
fn modules() -> io::Result<()> {
    let folder = Path::new(MODULES);
    let Ok(order) = fs::read_to_string(folder.join("order")) else {
        // A kernel with everything built in.
        return Ok(());
    };
    for name in order.lines() {
        let file = fs::File::open(folder.join(name))?;
        if let Err(error) = finit_module(&file, c"", 0) {
            warn!(module = name, %error, "kernel module not loaded");
        }
    }
    Ok(())
}

/// A UART that waits for several characters before it tells of the first makes every receive stamp late.
fn serial_lines() {
    let lines = fs::read_dir("/sys/class/tty").into_iter().flatten();
    for line in lines.flatten() {
        // Lines without such a buffer have no such file.
        let _ = fs::write(line.path().join("rx_trig_bytes"), "1");
    }
}

/// Sets the clock once, before anything is stamped.
fn set_clock(server: std::net::SocketAddr) -> io::Result<()> {
    let time = sntp::ask(server)?;
    let before = clock_gettime(ClockId::Realtime);
    let now = time.now();
    clock_settime(
        ClockId::Realtime,
        Timespec {
            tv_sec: now.seconds(),
            tv_nsec: now.0.rem_euclid(1_000_000_000) as _,
        },
    )?;
    let before = i128::from(before.tv_sec) * 1_000_000_000 + i128::from(before.tv_nsec);
    let offset_us = (i128::from(now.0) - before) / 1000;
    let delay_us = time.delay().as_micros();
    info!(%server, %offset_us, %delay_us, "clock set");
    Ok(())
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What the machine is, apart from the gateway.
const TARGET: &str = "/etc/smgw/target.toml";
/// The gateway's own configuration.
const GATEWAY: &str = "/etc/smgw/config.toml";
const MODULES: &str = "/lib/modules";
/// How long the kernel may take for an answer.
const SOON: Duration = Duration::from_secs(5);
