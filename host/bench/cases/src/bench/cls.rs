// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CLS leg and what becomes of it at the EMT (TR-03109-1 detail specifications §11).

use std::sync::Arc;

use bench_engine::{Ctx, Stop, StopExt};
use hsm_tls::TlsProfile;
use smgw_peers::net::{
    ClientTls, ClsChannel, ClsClient, ClsTls, Failure, GreetingOutcome, NoTap, Party,
};

use super::Bench;

impl Bench {
    /// A TCP connection to the proxy.
    pub fn open_cls(&self, ctx: &Ctx) -> Result<ClsClient, Stop> {
        ctx.check()?;
        ClsClient::open(
            self.listening.cls,
            Arc::clone(&self.taps.cls),
            self.step_deadline(ctx),
        )
        .map_err(|failure| Stop::Device(format!("connecting to the CLS proxy: {failure}")))
    }

    /// Greeting and TLS handshake; what went wrong in TLS is the inner error.
    pub fn cls_tls(
        &self,
        ctx: &mut Ctx,
        party: Option<&Party>,
        profile: &TlsProfile,
    ) -> Result<Result<ClsTls, Failure>, Stop> {
        let mut client = self.open_cls(ctx)?;
        let deadline = self.step_deadline(ctx);
        match client.greet(&[6], deadline) {
            Ok(GreetingOutcome::Method(6)) => {}
            other => {
                self.trouble_or_fail(ctx, format!("greeting with method 06: {other:?}"))?;
                return Err(Stop::Done);
            }
        }
        let side = self
            .client_tls(party, profile)
            .or_bench("setting up TLS of the CLS")?;
        Ok(client.tls(&side, deadline))
    }

    /// A channel to the EMT, which must come about: otherwise the case fails and ends.
    pub fn channel(&self, ctx: &mut Ctx, party: &Party, name: &str) -> Result<ClsChannel, Stop> {
        let opened = self.cls_tls(ctx, Some(party), &TlsProfile::cls_client())?;
        let deadline = self.step_deadline(ctx);
        let failed = match opened {
            Ok(mut tls) => match tls.connect_name(name.as_bytes(), 443, deadline) {
                Ok(reply) if reply.code == 0 => return Ok(tls.into_channel()),
                Ok(reply) => format!("CONNECT {name}: reply {:02x}, expected 00", reply.code),
                Err(failure) => format!("CONNECT {name}: {failure}"),
            },
            Err(failure) => format!("TLS of the registered CLS {}: {failure}", party.name()),
        };
        self.trouble_or_fail(ctx, failed)?;
        Err(Stop::Done)
    }

    /// The good case of every negative CLS case: a channel opens and bytes come back.
    pub fn cls_alive(&self, ctx: &mut Ctx) -> Result<(), Stop> {
        let mut channel = self.channel(ctx, &self.parties.cls_a, &self.names.a)?;
        match channel.ping(b"alive", self.step_deadline(ctx)) {
            Ok(_) => Ok(()),
            Err(failure) => {
                self.trouble_or_fail(ctx, format!("a good channel afterwards: {failure}"))
            }
        }
    }

    /// A channel straight to an EMT: what the rig itself contributes to a latency.
    pub fn direct_channel(&self, ctx: &Ctx) -> Result<ClsChannel, Stop> {
        let profile = TlsProfile::cls_client();
        let tls = ClientTls::new(Some(&self.parties.cls_a), &profile, &self.emt_certificate)
            .or_bench("setting up TLS towards the EMT")?;
        ClsChannel::direct(
            self.baseline_emt.addr(),
            &tls,
            Arc::new(NoTap),
            self.step_deadline(ctx),
        )
        .or_rig("connecting straight to an EMT")
    }

    /// Connections the EMT has accepted so far.
    pub fn emt_connections(&self) -> usize {
        self.emt.connections().len()
    }

    /// Fails the case when the EMT saw anybody since `before`.
    pub fn expect_no_emt_connection(&self, ctx: &mut Ctx, before: usize) {
        let seen = self.emt_connections() - before;
        ctx.expect(
            seen == 0,
            "connections at the EMT meanwhile",
            "0",
            seen.to_string(),
        );
    }
}
