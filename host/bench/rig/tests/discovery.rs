// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery on a synthetic device tree: two USB adapters (one dual, one without serial number), a built-in port and a phantom.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bench_rig::discover::{Access, Inventory, SelectError, Token, serial_ports};
use bench_rig::resource::{SerialMatch, SerialSelector};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
    fs::write(path, text).expect("a file");
}

/// A port `name` whose device is `device`, relative to `/sys/devices`.
fn port(root: &Path, name: &str, device: &str) {
    let device = root.join("sys/devices").join(device);
    fs::create_dir_all(&device).expect("the device");
    let class = root.join("sys/class/tty").join(name);
    fs::create_dir_all(&class).expect("the class entry");
    symlink(&device, class.join("device")).expect("the link");
    write(&root.join("dev").join(name), "");
}

fn usb(root: &Path, unit: &str, id: (&str, &str), serial: Option<&str>, words: (&str, &str)) {
    let unit = root.join("sys/devices").join(unit);
    write(&unit.join("idVendor"), id.0);
    write(&unit.join("idProduct"), id.1);
    write(&unit.join("manufacturer"), words.0);
    write(&unit.join("product"), words.1);
    if let Some(serial) = serial {
        write(&unit.join("serial"), serial);
    }
}

fn tree() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let root = scratch.path();
    usb(
        root,
        "usb1/1-1",
        ("0403\n", "6010\n"),
        Some("FT5ABCDE\n"),
        ("FTDI", "Dual RS232"),
    );
    for (name, interface) in [("ttyUSB0", "00"), ("ttyUSB1", "01")] {
        let device = format!("usb1/1-1/1-1:1.{interface}");
        write(
            &root
                .join("sys/devices")
                .join(&device)
                .join("bInterfaceNumber"),
            interface,
        );
        port(root, name, &format!("{device}/{name}"));
    }
    usb(
        root,
        "usb1/1-2",
        ("1a86\n", "7523\n"),
        None,
        ("QinHeng", "CH340"),
    );
    write(
        &root.join("sys/devices/usb1/1-2/1-2:1.0/bInterfaceNumber"),
        "00",
    );
    port(root, "ttyUSB2", "usb1/1-2/1-2:1.0/ttyUSB2");
    port(root, "ttyS0", "pnp0/00:05");
    write(&root.join("sys/class/tty/ttyS0/type"), "4\n");
    port(root, "ttyS1", "platform/serial8250");
    write(&root.join("sys/class/tty/ttyS1/type"), "0\n");
    fs::create_dir_all(root.join("sys/class/tty/tty0")).expect("a console without device");
    let by_path = root.join("dev/serial/by-path");
    fs::create_dir_all(&by_path).expect("by-path");
    for (link, node) in [
        ("pci-0000:00:14.0-usb-0:1:1.0-port0", "ttyUSB0"),
        ("pci-0000:00:14.0-usbv2-0:1:1.0-port0", "ttyUSB0"),
        ("pci-0000:00:14.0-usb-0:1:1.1-port0", "ttyUSB1"),
        ("pci-0000:00:14.0-usb-0:2:1.0-port0", "ttyUSB2"),
    ] {
        symlink(format!("../../{node}"), by_path.join(link)).expect("a link");
    }
    scratch
}

fn inventory() -> Inventory {
    let scratch = tree();
    let mut serial = serial_ports(scratch.path());
    // Whether permission is missing depends on who runs the test; the rendering does not.
    for port in &mut serial {
        port.access = match port.node.ends_with("ttyUSB2") {
            true => Access::Denied {
                fix: "sudo usermod -aG dialout $USER, then log in again".to_owned(),
            },
            false => Access::Granted,
        };
    }
    let token = Token {
        module: PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"),
        label: "smgw".to_owned(),
        serial: "9a4b1c".to_owned(),
        manufacturer: "SoftHSM project".to_owned(),
        model: "SoftHSM v2".to_owned(),
        slot: 1_722_315_915,
    };
    let remarks = vec!["/usr/lib/libykcs11.so: no reader".to_owned()];
    Inventory {
        serial,
        tokens: vec![token],
        remarks,
    }
}

#[test]
fn people_see_a_table() {
    insta::assert_snapshot!(inventory().table());
}

#[test]
fn rig_files_get_blocks_to_paste() {
    let blocks = inventory().toml();
    insta::assert_snapshot!(blocks);
    // What is printed is what a rig file may contain.
    let file = format!(
        "schema = \"smgw-bench.rig/1\"\n[rig]\nname = \"lab\"\nsummary = \"\"\n[role.emt.a]\ntls-name = \"emt\"\n{blocks}"
    );
    let rig = bench_rig::Rig::parse(Path::new("lab.toml"), file);
    let rig = rig.unwrap_or_else(|problems| panic!("{:?}", miette::Report::new(problems)));
    assert_eq!(rig.resources.len(), 5);
    let keys = rig
        .lock_keys(&inventory().serial)
        .expect("all are attached");
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(keys.join("\n"));
}

#[test]
fn programs_get_json() {
    insta::assert_snapshot!(inventory().json());
}

#[test]
fn nothing_attached_is_said_too() {
    let empty = tempfile::tempdir().expect("a scratch directory");
    assert_eq!(serial_ports(empty.path()), []);
    assert_eq!(Inventory::default().table(), "");
}

#[test]
fn selectors_hit_exactly_one_or_tell_why_not() {
    let ports = inventory().serial;
    let identity = |serial: Option<&str>, interface: Option<u8>| {
        let usb_serial = serial.map(str::to_owned);
        SerialSelector::Identity(SerialMatch {
            usb_serial,
            usb_vid_pid: None,
            interface,
        })
    };
    let second = identity(Some("FT5ABCDE"), Some(1));
    assert_eq!(
        second.select(&ports).map(|port| port.node.clone()),
        Ok("/dev/ttyUSB1".into())
    );
    let path =
        SerialSelector::Path("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0".into());
    assert_eq!(
        path.select(&ports).map(|port| port.node.clone()),
        Ok("/dev/ttyUSB2".into())
    );
    let both = identity(Some("FT5ABCDE"), None).select(&ports);
    let Err(SelectError::Ambiguous { candidates, .. }) = both else {
        panic!("{both:?}")
    };
    assert_eq!(candidates.len(), 2, "{candidates:?}");
    let none = identity(Some("A50285BI"), None)
        .select(&ports)
        .expect_err("not attached");
    assert_eq!(
        none.to_string(),
        "no serial port matches { usb-serial = \"A50285BI\" }"
    );
}

#[test]
fn missing_permission_comes_with_its_remedy() {
    let scratch = tree();
    let root = scratch.path();
    // Root may do everything, which is why the file's absence stands in for missing permission.
    fs::remove_file(root.join("dev/ttyUSB2")).expect("there");
    fs::set_permissions(root.join("dev"), fs::Permissions::from_mode(0o755)).expect("ours");
    let ports = serial_ports(root);
    let denied = ports
        .iter()
        .find(|port| port.node.ends_with("ttyUSB2"))
        .expect("still in /sys");
    let Access::Denied { fix } = &denied.access else {
        panic!("{denied:?}")
    };
    assert!(fix.contains("udev rule"), "{fix}");
}
