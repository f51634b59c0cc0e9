// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_cls::command::{Command, Report};
use smgw_cls::settings::{MAX_LEN, Settings};

/// What is accepted is written as it was read, and no octets are a message of both directions.
pub fn message(bytes: &[u8]) {
    let command = Command::parse(bytes);
    let report = Report::parse(bytes);
    if let Ok(Some((command, taken))) = &command {
        assert_eq!(bytes.get(..*taken), Some(&*command.encode()));
        assert!(report.is_err());
    }
    if let Ok(Some((report, taken))) = &report {
        assert_eq!(bytes.get(..*taken), Some(&*report.encode()));
        assert!(command.is_err());
    }
}

/// What is accepted is written as it was read.
pub fn settings(bytes: &[u8]) {
    if let Ok(settings) = Settings::decode(bytes) {
        let written = settings.encode().expect("what was read can be written");
        assert_eq!(written.as_slice(), bytes);
        assert!(bytes.len() <= MAX_LEN);
    }
}
