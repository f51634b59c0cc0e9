// SPDX-License-Identifier: MIT OR Apache-2.0
//! An emulated arm64 board that runs nothing but the gateway: QEMU's machine `virt` with a UART for every meter and a
//! network interface for every side of the gateway.
//!
//! The kernel's console is the process's input and output. The board ends with its parent: `setpriv` sees to that.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench_wire::Plug;

use crate::archive::Archive;
use crate::{MachineError, file, installed};

/// What a board boots: made by `cargo xtask target arm64`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Images {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Images {
    /// Names the folder of the images, for programs that do not lie beside it.
    pub const VARIABLE: &str = "SMGW_BENCH_ARM64";

    /// The images of a folder.
    ///
    /// # Errors
    /// [`MachineError::NotBuilt`].
    pub fn find(folder: &Path) -> Result<Self, MachineError> {
        let named = |name: &str| {
            let path = folder.join(name);
            match path.is_file() {
                true => Ok(path),
                false => Err(MachineError::NotBuilt(path)),
            }
        };
        Ok(Self {
            kernel: named("Image")?,
            initramfs: named("initramfs.cpio")?,
        })
    }
}

/// A side of the gateway as the board has it: a network of its own with the bench at `.2` and the gateway at `.15`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Guest {
    name: &'static str,
    network: u8,
    /// Port the gateway listens on; 0 where it does not.
    port: u16,
}

impl Guest {
    /// Consumers and technicians.
    pub const HAN: Self = Self {
        name: "han",
        network: 2,
        port: 443,
    };
    /// Controllable systems.
    pub const CLS: Self = Self {
        name: "cls",
        network: 3,
        port: 1080,
    };
    /// Everything outside: market participants, the time, the security module.
    pub const WAN: Self = Self {
        name: "wan",
        network: 1,
        port: 0,
    };

    const ALL: [Self; 3] = [Self::HAN, Self::CLS, Self::WAN];

    /// Where the gateway listens, as the board knows it.
    pub fn listen(self) -> SocketAddr {
        (self.address(15), self.port).into()
    }

    /// An address of the bench's loopback interface, as the board reaches it.
    pub fn reach(self, bench: SocketAddr) -> SocketAddr {
        (self.address(2), bench.port()).into()
    }

    fn address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.network, host)
    }

    fn mac(self) -> String {
        format!("52:54:00:00:{:02x}:0f", self.network)
    }
}

/// Two ports of a switch in the CLS network.
#[derive(Clone, Debug)]
pub struct Plugs {
    /// The gateway's network card.
    pub card: Plug,
    /// The way from and to the bench's loopback interface.
    pub bench: Plug,
}

/// A board that is ready to be started.
#[derive(Clone, Debug)]
pub struct Board {
    /// What it boots.
    pub images: Images,
    /// Terminals on the bench's side, one for each of the board's UARTs.
    pub lines: Vec<PathBuf>,
    /// Loopback ports of the bench that lead to HAN and CLS of the gateway.
    pub ports: [u16; 2],
    /// Ports of the bench's switch, when other boards are in the CLS network.
    pub plugs: Option<Plugs>,
    /// Who tells the time, on the bench's loopback interface.
    pub time: SocketAddr,
    /// Seeded defect of the gateway.
    pub defect: Option<String>,
}

impl Board {
    /// Name of UART `number` inside the board.
    pub fn line(number: usize) -> PathBuf {
        format!("/dev/ttyS{number}").into()
    }

    /// Writes what this start boots to `scratch`, and gives the process to start. `files` are the gateway's, the first
    /// of them its configuration; they lie in one folder of the board under their own names.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn command(&self, files: &[PathBuf], scratch: &Path) -> Result<Command, MachineError> {
        for (program, package) in [(QEMU, "qemu-system-arm"), (GUARD, "util-linux")] {
            if !installed(program) {
                return Err(MachineError::NotInstalled { program, package });
            }
        }
        let mut archive = Archive::new();
        archive.file("etc/smgw/target.toml", self.describe().as_bytes());
        for (number, path) in files.iter().enumerate() {
            let name = match path.file_name() {
                _ if number == 0 => "config.toml".into(),
                Some(name) => name.to_string_lossy(),
                None => continue,
            };
            archive.file(&format!("etc/smgw/{name}"), &file(fs::read(path), path)?);
        }
        let shared = &self.images.initramfs;
        let mut boot = file(fs::read(shared), shared)?;
        boot.resize(boot.len().next_multiple_of(512), 0);
        boot.extend(archive.finish());
        let initramfs = scratch.join("initramfs");
        let mut private = fs::OpenOptions::new();
        private.write(true).create(true).truncate(true).mode(0o600);
        let written = private
            .open(&initramfs)
            .and_then(|mut out| std::io::Write::write_all(&mut out, &boot));
        file(written, &initramfs)?;
        let mut command = Command::new(GUARD);
        command.args(["--pdeathsig", "KILL", QEMU]);
        command
            .args(MACHINE)
            .arg("-kernel")
            .arg(&self.images.kernel);
        command.arg("-initrd").arg(&initramfs);
        command.args(["-append", KERNEL]);
        for side in Guest::ALL {
            command.args(self.network(side));
        }
        for (number, line) in self.lines.iter().enumerate() {
            let mut backend = OsString::from(format!("serial,id=line{number},path="));
            backend.push(line);
            command.arg("-chardev").arg(backend);
            command.args(["-device", &format!("pci-serial,chardev=line{number}")]);
        }
        Ok(command)
    }

    fn network(&self, side: Guest) -> Vec<OsString> {
        let Guest { name, .. } = side;
        let (bench, gateway, mac) = (side.address(2), side.address(15), side.mac());
        let mut user = format!("user,id={name},net={}/24,host={bench}", side.address(0));
        let forwarded = [(Guest::HAN, self.ports[0]), (Guest::CLS, self.ports[1])];
        if let Some((_, port)) = forwarded.iter().find(|(of, _)| *of == side) {
            user += &format!(",hostfwd=tcp:127.0.0.1:{port}-{gateway}:{}", side.port);
        }
        let mut words: Vec<OsString> = vec!["-netdev".into(), user.into()];
        let mut card = name;
        if let (Guest::CLS, Some(plugs)) = (side, &self.plugs) {
            // QEMU's user network takes frames for any address as its own, so it must not share a cable with the card:
            // it gets a port of the switch, over a hub, since two backends cannot be joined otherwise.
            let [own, bench] = [(&plugs.card, "wire"), (&plugs.bench, "wire-bench")]
                .map(|(plug, id)| plug.qemu_netdev(id));
            let hub = |port: &str, peer: &str| format!("hubport,id={port},hubid=0,netdev={peer}");
            let backends = [
                own,
                bench,
                hub("hub-bench", name),
                hub("hub-wire", "wire-bench"),
            ];
            words.extend(
                backends
                    .into_iter()
                    .flat_map(|backend| ["-netdev".into(), backend.into()]),
            );
            card = "wire";
        }
        let device = format!("virtio-net-pci,netdev={card},mac={mac},romfile=");
        words.extend(["-device".into(), device.into()]);
        words
    }

    /// `smgw.target/1` (docs/gateway.md).
    fn describe(&self) -> String {
        let mut text = format!(
            "schema = \"smgw.target/1\"\ntime-server = \"{}\"\n",
            Guest::WAN.reach(self.time)
        );
        if let Some(defect) = &self.defect {
            text += &format!("defect = \"{defect}\"\n");
        }
        for side in Guest::ALL {
            let (mac, address) = (side.mac(), side.address(15));
            text += &format!("[[interface]]\nmac = \"{mac}\"\naddress = \"{address}/24\"\n");
        }
        text
    }

    /// What the console must be sent for the gateway to stop in good order: the end of its input.
    pub const FAREWELL: &[u8] = &[0x04];

    /// Whether a board ended because somebody else had taken one of its ports, by its last words.
    pub fn lost_its_ports(said: &str) -> bool {
        said.contains("Could not set up host forwarding rule")
    }
}

const QEMU: &str = "qemu-system-aarch64";
const GUARD: &str = "setpriv";
const MACHINE: [&str; 18] = [
    "-machine",
    "virt",
    "-cpu",
    "cortex-a53",
    "-smp",
    "2",
    "-m",
    "256",
    "-display",
    "none",
    "-monitor",
    "none",
    "-no-reboot",
    "-nodefaults",
    "-chardev",
    "stdio,id=console,signal=off",
    "-serial",
    "chardev:console",
];
/// Only errors from the kernel, so that the console's lines stay whole; a kernel that panics ends the machine.
const KERNEL: &str = "console=ttyAMA0 quiet loglevel=3 panic=-1 8250.nr_uarts=8";
