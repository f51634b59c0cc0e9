// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gateways of our own beside the one under test: how they are started, and asked through the HAN.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bench_engine::{Ctx, Deadline, Stop, StopExt};
use hsm_tls::TlsProfile;
use serde::de::DeserializeOwned;
use smgw_peers::net::{HanClient, Party};

use super::Bench;
use crate::gateway::{Gateway, GatewayConfig, Listening, write_private};

impl Bench {
    /// Starts a gateway beside the one under test, by a configuration that goes by `name`.
    pub(super) fn start_beside(
        &self,
        config: &GatewayConfig,
        name: &str,
    ) -> Result<(Gateway, Listening), Stop> {
        let mut launch = self.gateway.launch.clone();
        launch.config = self.beside(name);
        write_private(&launch.config, config.to_toml().as_bytes())
            .or_rig("writing the second gateway's configuration")?;
        let what = "starting a second gateway";
        let start = self.gateway.host.process(config, &launch).or_rig(what)?;
        let process = Gateway::default();
        let deadline = Deadline::after(self.start_budget());
        let listening = process.start(start, &launch.log, deadline).or_rig(what)?;
        Ok((process, listening))
    }

    /// The configuration of a gateway that goes by `name`.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.runtime.path().join(format!("{name}.toml"))
    }

    /// What such a gateway answers to a GET at its HAN interface; anything but JSON of this layout fails the case.
    pub(super) fn read_beside<T: DeserializeOwned>(
        &self,
        ctx: &mut Ctx,
        han: SocketAddr,
        party: &Party,
        path: &str,
    ) -> Result<T, Stop> {
        let response = (self.client_tls(Some(party), &TlsProfile::han_client()))
            .map(|tls| HanClient::new(han, tls, Arc::clone(&self.taps.han)))
            .and_then(|client| client.request("GET", path, &[], &[], self.step_deadline(ctx)));
        let observed = match response {
            Ok(response) if response.status == 200 => {
                match serde_json::from_slice(&response.body) {
                    Ok(read) => return Ok(read),
                    Err(error) => format!("the body does not follow its layout: {error}"),
                }
            }
            Ok(response) => format!("HTTP {}, expected 200", response.status),
            Err(failure) => failure.to_string(),
        };
        self.trouble_or_fail(ctx, format!("GET {path}: {observed}"))?;
        Err(Stop::Done)
    }
}
