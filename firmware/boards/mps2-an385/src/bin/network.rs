// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers ARP and ping at 10.0.3.20: shows that clock, Ethernet and watchdog work, without any application.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::entry;
use mps2_an385::Board;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// Longest time without a sign of life.
const WATCHDOG_MILLISECONDS: u32 = 500;

/// How often the board started since power came; not cleared at a start.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".uninit.starts")]
static SMGW_STARTS: AtomicU32 = AtomicU32::new(0);

/// When the host sets this, the application hangs.
#[unsafe(no_mangle)]
#[used]
static SMGW_HANG: AtomicU32 = AtomicU32::new(0);

#[entry]
fn main() -> ! {
    SMGW_STARTS.fetch_add(1, Ordering::SeqCst);
    let mut board = Board::start();
    let mut ethernet = match board.ethernet {
        Ok(ethernet) => ethernet,
        Err(_) => defmt::panic!("no Ethernet controller"),
    };
    let now = || Instant::from_millis(board.clock.milliseconds() as i64);
    let address = EthernetAddress(ethernet.address());
    defmt::info!("started, MAC address {:x}", address.0);
    let mut interface = Interface::new(Config::new(address.into()), &mut ethernet, now());
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(IpAddress::v4(10, 0, 3, 20), 24));
    });
    let mut sockets = SocketSet::new(&mut [][..]);
    board.watchdog.start(WATCHDOG_MILLISECONDS);
    loop {
        interface.poll(now(), &mut ethernet, &mut sockets);
        if SMGW_HANG.load(Ordering::SeqCst) == 0 {
            board.watchdog.feed();
        }
        board.clock.wait();
    }
}
