// SPDX-License-Identifier: MIT OR Apache-2.0
//! Networks into the trace: each TCP connection of a leg becomes a conversation Wireshark can follow, and each frame
//! between emulated boards a packet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bench_evidence::trace::{self, EthernetTap, Side, TcpTap, Trace};
use bench_wire::FrameTap;
use smgw_peers::net::{CloseKind, ConnId, Direction, Tap};
use smgw_units::Nanos;

/// Writes one leg (HAN, CLS, WAN) into the trace.
pub struct NetworkTap {
    trace: Trace,
    leg: String,
    open: Mutex<HashMap<ConnId, TcpTap>>,
}

impl NetworkTap {
    /// A tap on leg `leg`.
    pub fn new(trace: Trace, leg: &str) -> Self {
        Self {
            trace,
            leg: leg.to_owned(),
            open: Mutex::default(),
        }
    }

    fn with(&self, conn: ConnId, action: impl FnOnce(&TcpTap)) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tap) = open.get(&conn) {
            action(tap);
        }
    }
}

impl Tap for NetworkTap {
    fn opened(&self, conn: ConnId, at: Nanos) {
        let tap = self.trace.tcp(&self.leg, conn.client, conn.server);
        tap.opened(at);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(conn, tap);
    }

    fn bytes(&self, conn: ConnId, direction: Direction, at: Nanos, octets: &[u8]) {
        let side = side(direction);
        self.with(conn, |tap| tap.data(at, side, octets));
    }

    fn closed(&self, conn: ConnId, at: Nanos, how: CloseKind) {
        // The tap does not know which end is ours; a reset has no polite side, so it is drawn from the server.
        self.with(conn, |tap| match how {
            CloseKind::Local | CloseKind::Peer => {
                tap.fin(at, Side::Client);
                tap.fin(at, Side::Server);
            }
            CloseKind::Reset => tap.reset(at, Side::Server),
        });
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&conn);
    }
}

fn side(direction: Direction) -> Side {
    match direction {
        Direction::ClientToServer => Side::Client,
        Direction::ServerToClient => Side::Server,
    }
}

/// Writes the frames between emulated boards into the trace, each once, as it leaves its station.
pub struct WireTap(EthernetTap);

impl WireTap {
    /// A tap on the wire.
    pub fn new(tap: EthernetTap) -> Self {
        Self(tap)
    }
}

impl FrameTap for WireTap {
    fn entered(&mut self, _port: &str, at: Nanos, frame: &[u8]) {
        self.0.frame(at, trace::Direction::Outbound, frame);
    }

    fn left(&mut self, _port: &str, _at: Nanos, _frame: &[u8]) {}
}
