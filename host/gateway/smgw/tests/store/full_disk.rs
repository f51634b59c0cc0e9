// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk that is really full, and has room again: values are refused before anything is lost, the log still tells, and
//! everything goes on by itself.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use smgw::store::{Batch, Options, Store, StoreError};

use crate::{again, store_in, writer};

/// Runs `inside` in a mount namespace of its own with a file system of 8 MiB.
#[test]
fn a_full_disk_stops_values_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |inner: &Command| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=8m none \"$SMGW_SMALL_DISK\" || exit 77; exec \"$@\"")
            .arg("sh")
            .arg(inner.get_program())
            .args(inner.get_args())
            .env("SMGW_SMALL_DISK", folder.path());
        command
    };
    if !mount(&Command::new("true"))
        .output()
        .is_ok_and(|output| output.status.success())
    {
        println!("SKIPPED: no mount namespace with a small file system may be made here");
        return;
    }
    let output = mount(&again("full_disk::inside")).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}{told}"
    );
}

#[test]
#[ignore = "needs a small disk of its own, see above"]
fn inside() {
    let Ok(disk) = std::env::var("SMGW_SMALL_DISK") else {
        return;
    };
    let disk = Path::new(&disk);
    let path = store_in(disk);
    let mut store = Store::open(&path, Options::default()).unwrap();
    let (mut logs, _) = writer::resume(&store);
    store.commit(&writer::batch(1, &mut logs)).unwrap();
    let filler = disk.join("filler");
    fill(&filler);

    // Some more fit into what the write-ahead log already has.
    let mut last = 1;
    let refused = loop {
        assert!(last < 100_000);
        let batch = writer::batch(last + 1, &mut logs);
        match store.commit(&batch) {
            Ok(()) => last += 1,
            Err(error) => {
                assert!(matches!(error, StoreError::Full), "{error}");
                break batch;
            }
        }
    };
    // The log tells by the reserve.
    let log_only = Batch {
        log: refused.log.clone(),
        ..Batch::default()
    };
    store.commit(&log_only).unwrap();
    // Something else takes what is left: without a reserve no values.
    let second = disk.join("filler-2");
    fill(&second);
    let values = Batch {
        log: Vec::new(),
        ..refused
    };
    for _ in 0..3 {
        let still = store.commit(&values);
        assert!(matches!(still, Err(StoreError::Full)), "{still:?}");
    }
    let reader = Store::open_reader(&path).unwrap();
    assert_eq!(writer::resume(&reader).1, last);

    fs::remove_file(filler).unwrap();
    fs::remove_file(second).unwrap();
    store.commit(&values).unwrap();
    drop(store);
    assert_eq!(writer::check(&path).unwrap(), last + 1);
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for block in [65_536, 4_096, 512] {
        while let Ok(written) = file.write(&vec![0; block]).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }) {
            assert_ne!(written, 0);
        }
    }
}
