// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boards as cases see them: the channel each opens to the active EMT, and what a debug probe shows.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bench_engine::{Ctx, Stop, StopExt};
use bench_probe::qemu::Uplink;
use bench_wire::{Impairments, Wire};
use hsm_tls::TlsProfile;
use smgw_cls::command::{Command, State};
use smgw_peers::net::{ActiveEmt, Asked, ClsProxy, Party, ServerTls, Session};

use super::{Bench, within};
use crate::boards::{Redirected, RunningBoard};

/// The network between emulated boards and what the rig file does to it.
pub struct BoardNetwork {
    /// The switch.
    pub wire: Wire,
    /// What happens to frames when no case says otherwise.
    pub usual: Impairments,
    /// The way to a gateway on this computer.
    pub(crate) _uplink: Option<Uplink>,
}

/// A wire that a case has spoilt.
pub struct Spoiled<'b> {
    network: &'b BoardNetwork,
    /// What the rig's usual state, or a case before, had hit already.
    before: u64,
}

impl BoardNetwork {
    fn hits(&self) -> u64 {
        let ports = self.wire.ports();
        ports
            .map(|port| self.wire.counters(port))
            .map(|seen| seen.lost + seen.truncated + seen.reordered + seen.duplicated)
            .sum()
    }
}

impl Spoiled<'_> {
    /// Frames that were lost, cut, reordered or doubled since the wire was spoilt, at all ports together.
    pub fn hits(&self) -> u64 {
        self.network.hits() - self.before
    }
}

impl Drop for Spoiled<'_> {
    fn drop(&mut self) {
        for port in self.network.wire.ports() {
            self.network.wire.impair(port, self.network.usual);
        }
    }
}

/// How long a board may take to come back: the longest back-off, a handshake on a small processor, a slow emulation.
const RETURN: Duration = Duration::from_secs(60);

impl Bench {
    /// The board that the case works on.
    pub fn board(&self) -> Result<&RunningBoard, Stop> {
        let first = self.boards.first();
        first.ok_or_else(|| Stop::Bench("the rig has no board".into()))
    }

    /// The active EMT.
    pub fn active_emt(&self) -> Result<&ActiveEmt, Stop> {
        let emt = self.active_emt.as_ref();
        emt.ok_or_else(|| Stop::Bench("the rig has no active EMT".into()))
    }

    /// Takes the gateway's place towards the board: a proxy of the bench's, and the guard that sends the board back.
    pub fn take_gateways_place(&self) -> Result<(ClsProxy, Redirected<'_>), Stop> {
        let board = self.board()?;
        let party = Party::new("played.smgw").or_bench("making a gateway's certificate")?;
        let profile = TlsProfile::smgw_cls_server();
        let tls = ServerTls::new(&party, &profile, &[board.certificate()])
            .or_bench("setting up a gateway's TLS")?;
        let proxy =
            ClsProxy::start(tls, Arc::clone(&self.taps.cls)).or_bench("starting a proxy")?;
        let redirected = board
            .redirect(proxy.addr(), party.certificate())
            .or_rig("calling the board to the bench")?;
        Ok((proxy, redirected))
    }

    /// Waits for a board that calls the bench in the gateway's place.
    pub fn next_call(&self, ctx: &mut Ctx, proxy: &ClsProxy) -> Result<Asked, Stop> {
        let deadline = within(ctx, RETURN.mul_f64(self.multiplier));
        let asked = proxy.hear(deadline);
        ctx.check()?;
        asked.map_err(|failure| Stop::Device(format!("the board's call: {failure}")))
    }

    /// Waits for a board's next channel.
    pub fn next_channel(&self, ctx: &mut Ctx) -> Result<Session, Stop> {
        let deadline = within(ctx, RETURN.mul_f64(self.multiplier));
        let session = self.active_emt()?.session(deadline);
        ctx.check()?;
        session.ok_or_else(|| {
            let said = self.board().map(|board| board.log()).unwrap_or_default();
            let last = said
                .last()
                .map_or("nothing".to_owned(), ToString::to_string);
            Stop::Device(format!("no board opens its channel; it said last: {last}"))
        })
    }

    /// The board's channel: the one of the case before when it still works, else the next.
    pub fn board_channel(&self, ctx: &mut Ctx) -> Result<Session, Stop> {
        let board = self.board()?;
        let kept = self
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&board.name);
        if let Some(mut session) = kept {
            let deadline = self.step_deadline(ctx);
            if session
                .command(&Command::Status, deadline, |_| true)
                .is_ok()
            {
                return Ok(session);
            }
        }
        self.next_channel(ctx)
    }

    /// Keeps the channel for the next case.
    pub fn keep_channel(&self, session: Session) {
        if let Ok(board) = self.board() {
            let mut kept = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(board.name.clone(), session);
        }
    }

    /// Spoils the wire at every port, and gives it back its usual state when the guard is dropped.
    pub fn spoil_wire(&self, impairments: Impairments) -> Result<Spoiled<'_>, Stop> {
        let network = self.wire.as_ref();
        let network = network.ok_or_else(|| Stop::Bench("the rig has no wire".into()))?;
        let before = network.hits();
        for port in network.wire.ports() {
            network.wire.impair(port, impairments);
        }
        Ok(Spoiled { network, before })
    }

    /// Sends a command and waits for a state that fits; the case fails and ends when it does not come.
    pub fn command(
        &self,
        ctx: &mut Ctx,
        session: &mut Session,
        command: &Command,
        what: &str,
        fits: impl Fn(&State) -> bool,
    ) -> Result<(State, Duration), Stop> {
        let deadline = self.step_deadline(ctx);
        match session.command(command, deadline, fits) {
            Ok(answered) => Ok(answered),
            Err(failure) => {
                self.trouble_or_fail(ctx, format!("{what}: {failure}"))?;
                Err(Stop::Done)
            }
        }
    }

    /// Compares the relay's output as the debug probe reads it with what the board says. On chips that do not show it,
    /// the case notes that.
    pub fn expect_relay(&self, ctx: &mut Ctx, when: &str, released: bool) -> Result<(), Stop> {
        let word = |released| if released { "on" } else { "off" };
        let seen = self.board()?.relay();
        let seen = seen.map_err(|error| Stop::Rig(format!("reading the relay: {error}")))?;
        match seen {
            Some(seen) => {
                ctx.expect(
                    seen == released,
                    format!("relay at the pin, {when}"),
                    word(released),
                    word(seen),
                );
            }
            None => ctx.note(
                format!("relay at the pin, {when}"),
                "not shown by this chip; the board's own word stands alone",
            ),
        }
        Ok(())
    }
}
