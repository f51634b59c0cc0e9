// SPDX-License-Identifier: MIT OR Apache-2.0
//! The OpenSSL command line as a second opinion.

use std::process::Command;

/// Runs it: whether it succeeded, and all it said. None, said visibly, where it is not installed.
pub fn openssl(args: &[&str]) -> Option<(bool, String)> {
    match Command::new("openssl").args(args).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            Some((output.status.success(), said))
        }
        Err(_) => {
            println!("SKIPPED: openssl is not installed");
            None
        }
    }
}
