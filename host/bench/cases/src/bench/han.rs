// SPDX-License-Identifier: MIT OR Apache-2.0
//! The HAN leg: requests as consumer and technician, and looks from outside (TR-03109-1 detail specifications §6).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bench_engine::{Ctx, Stop};
use hsm_tls::TlsProfile;
use serde::de::DeserializeOwned;
use smgw_peers::net::{
    Failure, HanClient, HelloSpec, HttpResponse, Party, PlainOutcome, ProbeOutcome, ProbeTransport,
    plain_http, probe,
};
use smgw_units::{DeviceId, Obis, UtcNanos};

use super::{Bench, within};
use crate::values::{DerivedLists, Receptions, ValueList, ValueLists};

/// What an unauthenticated look at a port showed.
pub struct PlainLook {
    tls: Result<ProbeOutcome, Failure>,
    plain: Result<PlainOutcome, Failure>,
}

impl PlainLook {
    /// Whether neither TLS nor anything readable came back.
    pub fn silent(&self) -> bool {
        let tls = matches!(
            self.tls,
            Ok(ProbeOutcome::Closed | ProbeOutcome::Silence)
                | Err(Failure::Refused | Failure::Reset)
        );
        let plain = matches!(
            self.plain,
            Ok(PlainOutcome::Closed | PlainOutcome::Silence)
                | Err(Failure::Refused | Failure::Reset)
        );
        tls && plain
    }
}

impl fmt::Display for PlainLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tls {
            Ok(outcome) => write!(f, "TLS: {outcome}")?,
            Err(failure) => write!(f, "TLS: {failure}")?,
        }
        match &self.plain {
            Ok(outcome) => write!(f, "; HTTP: {outcome}"),
            Err(failure) => write!(f, "; HTTP: {failure}"),
        }
    }
}

impl Bench {
    /// One request on a connection of its own.
    pub fn han_request(
        &self,
        ctx: &Ctx,
        party: Option<&Party>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<HttpResponse, Failure> {
        self.exchange(
            ctx,
            party,
            &TlsProfile::han_client(),
            method,
            path,
            &[],
            body,
        )
    }

    /// GET under narrowed TLS rules.
    pub fn han_request_with_profile(
        &self,
        ctx: &Ctx,
        party: &Party,
        profile: &TlsProfile,
        path: &str,
    ) -> Result<HttpResponse, Failure> {
        self.exchange(ctx, Some(party), profile, "GET", path, &[], &[])
    }

    /// GET with headers, by somebody entitled; anything but 200 fails the case and ends it.
    pub fn han_get_with(
        &self,
        ctx: &mut Ctx,
        party: &Party,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<HttpResponse, Stop> {
        match self.exchange(
            ctx,
            Some(party),
            &TlsProfile::han_client(),
            "GET",
            path,
            headers,
            &[],
        ) {
            Ok(response) if response.status == 200 => Ok(response),
            Ok(response) => {
                ctx.fail(format!(
                    "GET {path}: HTTP {}, expected 200",
                    response.status
                ));
                Err(Stop::Done)
            }
            Err(failure) => {
                self.trouble_or_fail(ctx, format!("GET {path}: {failure}"))?;
                Err(Stop::Done)
            }
        }
    }

    /// GET by somebody entitled.
    pub fn han_get(&self, ctx: &mut Ctx, party: &Party, path: &str) -> Result<HttpResponse, Stop> {
        self.han_get_with(ctx, party, path, &[])
    }

    /// The good case of every negative HAN case: a registered consumer is served.
    pub fn han_alive(&self, ctx: &mut Ctx) -> Result<(), Stop> {
        self.han_get(ctx, self.parties.consumer()?, "/smgw/")
            .map(|_| ())
    }

    /// Path of the first meter's values from the start of the run up to now.
    pub fn values_path_until_now(&self) -> Result<String, Stop> {
        let until = UtcNanos::from_seconds(self.now_utc().seconds() - 5);
        let meter = self.meters.first_id()?;
        Ok(format!(
            "/smgw/con/v1/exp/originalValueLists/{meter}?q.totime={until}"
        ))
    }

    /// What an evaluation derived since the start of the run.
    pub fn derived_lists(
        &self,
        ctx: &mut Ctx,
        meter: DeviceId,
        evaluation: &str,
    ) -> Result<DerivedLists, Stop> {
        let path = format!("/smgw/con/v1/exp/derivedValueLists/{evaluation}");
        self.han_json(ctx, self.parties.consumer_of(meter)?, &path)
    }

    /// One value list since the start of the run.
    pub fn value_list(
        &self,
        ctx: &mut Ctx,
        meter: DeviceId,
        register: Obis,
    ) -> Result<ValueList, Stop> {
        let since = UtcNanos::from_seconds(self.started.seconds());
        let path = format!("/smgw/con/v1/exp/originalValueLists/{meter}?q.fromtime={since}");
        let lists: ValueLists = self.han_json(ctx, self.parties.consumer_of(meter)?, &path)?;
        let wanted = register.to_string();
        lists
            .lists
            .into_iter()
            .find(|list| list.obis == wanted)
            .ok_or_else(|| {
                ctx.fail(format!("GET {path}: no list for {wanted}"));
                Stop::Done
            })
    }

    /// What the service technician sees of one meter's receptions.
    pub fn receptions(&self, ctx: &mut Ctx, meter: DeviceId) -> Result<Receptions, Stop> {
        let path = format!("/smgw/srv/v1/exp/receptions/{meter}");
        self.han_json(ctx, &self.parties.technician, &path)
    }

    fn han_json<T: DeserializeOwned>(
        &self,
        ctx: &mut Ctx,
        party: &Party,
        path: &str,
    ) -> Result<T, Stop> {
        let response = self.han_get(ctx, party, path)?;
        serde_json::from_slice(&response.body).map_err(|error| {
            ctx.fail(format!(
                "GET {path}: the body does not follow its layout: {error}"
            ));
            Stop::Done
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place where all parts of a request meet"
    )]
    fn exchange(
        &self,
        ctx: &Ctx,
        party: Option<&Party>,
        profile: &TlsProfile,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, Failure> {
        let tls = self.client_tls(party, profile)?;
        let client = HanClient::new(self.listening.han, tls, Arc::clone(&self.taps.han));
        client.request(method, path, headers, body, self.step_deadline(ctx))
    }

    /// A bare ClientHello of an old version to the HAN server.
    pub fn probe_version(&self, ctx: &Ctx, version: u16) -> Result<ProbeOutcome, Failure> {
        let hello = HelloSpec::old_version(version);
        let deadline = self.step_deadline(ctx);
        probe(
            self.listening.han,
            ProbeTransport::Tcp,
            &hello,
            Arc::clone(&self.taps.han),
            deadline,
        )
    }

    /// An unauthenticated look at a port: does TLS answer, does anything readable come back?
    pub fn probe_plain(&self, ctx: &Ctx, address: SocketAddr) -> PlainLook {
        let tap = || Arc::clone(&self.taps.han);
        let short = || within(ctx, Duration::from_secs(2));
        let hello = HelloSpec::tls12(&[0xc02b, 0xc02c], &[26]);
        PlainLook {
            tls: probe(address, ProbeTransport::Tcp, &hello, tap(), short()),
            plain: plain_http(address, tap(), short()),
        }
    }
}
