// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's life on this rig: starts, stops, and starts with something wrong with its security module.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bench_engine::{Ctx, Deadline, Stop, StopExt};
use hsm_pkcs11::spy::Trace;

use super::Bench;
use crate::gateway::{Gateway, GatewayConfig, Launch, Listening, StartError, write_private};

/// What is wrong with the security module at a start of the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ModuleFault {
    /// The token is not there.
    Missing,
    /// A token of the same name holds another key.
    Replaced,
}

impl fmt::Display for ModuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "its token missing",
            Self::Replaced => "another token of the same name",
        })
    }
}

/// How the gateway and its module are run; everything a restart needs.
pub struct GatewayRig {
    /// The reference gateway's process.
    pub process: Arc<Gateway>,
    /// How it is started.
    pub launch: Launch,
    /// What it is told.
    pub config: GatewayConfig,
    /// Environment that reaches the token under another name, for [`ModuleFault::Replaced`].
    pub replaced_environment: Vec<(String, PathBuf)>,
    /// Environment that reaches no token.
    pub missing_environment: Vec<(String, PathBuf)>,
    /// The call tracer's library, if it is installed.
    pub tracer: Option<PathBuf>,
}

impl GatewayRig {
    /// Writes the configuration and starts the gateway.
    pub(crate) fn start(&self, deadline: Deadline) -> Result<Listening, StartError> {
        self.start_with(&self.config, &self.launch, deadline)
    }

    fn start_with(
        &self,
        config: &GatewayConfig,
        launch: &Launch,
        deadline: Deadline,
    ) -> Result<Listening, StartError> {
        write_private(&launch.config, config.to_toml().as_bytes())?;
        self.process.start(launch, deadline)
    }
}

impl Bench {
    /// Stops the gateway and starts it again as it was.
    pub fn restart_gateway(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        ctx.check()?;
        self.gateway.process.stop();
        self.restart_own()
    }

    /// Restarts the gateway with the call tracer between it and its PKCS#11 library; gives the trace's file.
    pub fn restart_gateway_traced(&mut self, ctx: &Ctx) -> Result<PathBuf, Stop> {
        let tracer = self.gateway.tracer.clone().ok_or_else(|| {
            Stop::Rig(
                "the PKCS#11 call tracer is not installed; apt-get install opensc-pkcs11".into(),
            )
        })?;
        ctx.check()?;
        self.gateway.process.stop();
        let log = self.runtime.path().join("pkcs11-calls.log");
        let mut config = self.gateway.config.clone();
        let library = std::mem::replace(&mut config.security_module.module, tracer);
        let mut launch = self.gateway.launch.clone();
        launch.environment.push(("PKCS11SPY".to_owned(), library));
        launch
            .environment
            .push(("PKCS11SPY_OUTPUT".to_owned(), log.clone()));
        let deadline = Deadline::after(self.start_budget());
        self.listening = self
            .gateway
            .start_with(&config, &launch, deadline)
            .or_rig("starting the gateway with the call tracer")?;
        Ok(log)
    }

    /// Restarts the gateway with something wrong with its module; that it refuses is the wanted outcome.
    pub fn restart_gateway_with(
        &mut self,
        ctx: &Ctx,
        fault: ModuleFault,
    ) -> Result<Result<Listening, StartError>, Stop> {
        ctx.check()?;
        self.gateway.process.stop();
        let mut launch = self.gateway.launch.clone();
        launch.environment = match fault {
            ModuleFault::Missing => self.gateway.missing_environment.clone(),
            ModuleFault::Replaced => self.gateway.replaced_environment.clone(),
        };
        let deadline = Deadline::after(self.start_budget());
        Ok(self
            .gateway
            .start_with(&self.gateway.config, &launch, deadline))
    }

    /// Where the gateway listened when it was last well.
    pub fn last_listening(&self) -> [(&'static str, SocketAddr); 2] {
        [("HAN", self.listening.han), ("CLS", self.listening.cls)]
    }

    /// Counts and judgements of a call trace; the trace itself holds secrets and is removed.
    pub fn read_module_trace(&self, log: &Path) -> io::Result<Trace> {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        fs::remove_file(log)?;
        Ok(Trace::parse(&text))
    }

    /// Ends all roles in good order; what they leave is gone when this returns.
    pub fn stop_roles(self) {
        self.gateway.process.stop();
    }

    pub(super) fn restart_own(&mut self) -> Result<(), Stop> {
        let deadline = Deadline::after(self.start_budget());
        self.listening = self
            .gateway
            .start(deadline)
            .or_rig("restarting the gateway")?;
        Ok(())
    }
}
