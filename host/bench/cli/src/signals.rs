// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C once ends the run after the current case, twice at once; SIGTERM and SIGHUP end it at once.
//! Teardown happens in every case.

use std::io;
use std::sync::Arc;
use std::thread;

use bench_engine::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Turns signals into requests to end.
pub fn watch(interrupt: Arc<Interrupt>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGINT {
                    interrupt.request();
                    if !interrupt.abort_now() {
                        eprintln!("ending after this case; press Ctrl-C again to end it at once");
                    }
                } else {
                    interrupt.request_now();
                }
            }
        })?;
    Ok(())
}
