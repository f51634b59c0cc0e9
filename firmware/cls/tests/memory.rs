// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device takes of the heap: far less than the smallest one that a board gives it.
//!
//! Counted is the whole process, so the gateway's side too, and with pointers twice as long as the device's: the figure is
//! an upper bound. A file of its own, so that no other test runs beside.

#[path = "world/proxy.rs"]
mod proxy;
mod world;

use hsm_api::Curve;
use hsm_tls::TlsProfile;
use peak_alloc::PeakAlloc;
use proxy::{Connection, Gateway};
use smgw_cls::command::{Command, Report};
use smgw_cls::settings::KeyCurve;
use world::{Host, Parts, Relay};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The smallest heap of a board: nucleo-h743zi.
const SMALLEST_HEAP: usize = 256 * 1024;

/// Octets of each echo, near the longest message.
const ECHO: usize = 4_000;

#[test]
fn heap_of_the_smallest_board_suffices() {
    let gateway = Gateway::new(Curve::BrainpoolP256r1);
    let settings = world::settings(gateway.certificate(), KeyCurve::BrainpoolP256r1);
    let config = gateway.config(&settings.certificate, &TlsProfile::smgw_cls_server());
    let (near, far) = world::cable();
    let parts = Parts::default();

    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let mut device = parts.device(Relay::default(), near, &settings);
    let mut host = Host::new(far);
    // Later channels show whether earlier ones leave something behind.
    let mut peaks = Vec::with_capacity(3);
    let mut now = 0;
    for channel in 0..3 {
        let mut connection = Connection::new(&config, 0);
        let mut asked = 0;
        let echoes = |connection: &Connection| {
            let is_echo = |report: &&Report| matches!(report, Report::Echoed(_));
            connection.reports.iter().filter(is_echo).count()
        };
        while echoes(&connection) < 4 {
            now += 10;
            assert!(now < 600_000, "channel {channel} does not get there");
            device.poll(now);
            host.poll(now);
            connection.receive(&host.receive());
            if device.is_open() && asked < 4 {
                connection.say(&Command::Echo(vec![0x5a; ECHO]).encode());
                asked += 1;
            }
            host.send(connection.out());
            host.poll(now);
        }
        peaks.push(HEAP.peak_usage() - before);
        connection.close();
        while !host.has_ended() {
            now += 10;
            assert!(now < 600_000, "channel {channel} does not end");
            device.poll(now);
            host.poll(now);
            connection.receive(&host.receive());
            host.send(connection.out());
            host.poll(now);
        }
        host.close();
        host.poll(now);
    }
    println!("heap, at most, after each channel: {peaks:?} octets");
    assert!(peaks.iter().all(|peak| *peak < SMALLEST_HEAP), "{peaks:?}");
}
