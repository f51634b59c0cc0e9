// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's life on this rig: starts, stops, and starts with something wrong with its security module.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bench_engine::{Ctx, Deadline, Stop, StopExt};
use hsm_pkcs11::spy::Trace;

use super::{Bench, TimeSettings};
use crate::gateway::{
    Gateway, GatewayConfig, Launch, LinkConfig, Listening, ModulePlace, StartError, write_private,
};
use crate::host::Host;
use crate::module_link::ModuleLink;

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
    /// Where it runs.
    pub host: Arc<dyn Host>,
    /// How it is started.
    pub launch: Launch,
    /// What it is told, as the bench sees the world.
    pub config: GatewayConfig,
    /// Its module, when it cannot reach the token itself.
    pub(crate) link: Mutex<Option<ModuleLink>>,
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
        let failed = |error: bench_machine::MachineError| StartError::Host(error.to_string());
        let (mut config, mut launch) = (config.clone(), launch.clone());
        self.link_module(&mut config, &mut launch)?;
        let placed = self.host.placed(&config).map_err(failed)?;
        write_private(&launch.config, placed.to_toml().as_bytes())?;
        loop {
            let process = self.host.process(&config, &launch).map_err(failed)?;
            match self.process.start(process, &launch.log, deadline) {
                Ok(listening) => {
                    let reached = self.host.reached(listening);
                    self.process.reach(reached);
                    return Ok(reached);
                }
                Err(StartError::Ended(_, said))
                    if self.host.may_succeed_later(&said) && !deadline.expired() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves the module to a gateway that cannot reach the token itself. What the environment says of the token it then
    /// says to the module's end of the link.
    fn link_module(
        &self,
        config: &mut GatewayConfig,
        launch: &mut Launch,
    ) -> Result<(), StartError> {
        let ModulePlace::Token(token) = &config.security_module.place else {
            return Ok(());
        };
        if self.host.has_tokens() {
            return Ok(());
        }
        let mut held = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        // One module at a time: a token may take no second user.
        drop(held.take());
        let folder = launch.config.parent().unwrap_or(Path::new("."));
        let link = ModuleLink::start(token, &launch.environment, folder, &launch.log)?;
        let secret = PathBuf::from(link.secret.file_name().unwrap_or_default());
        config.security_module.place = ModulePlace::Link(LinkConfig {
            kind: "link",
            address: link.address(),
            secret_file: secret.clone(),
        });
        launch.files.push(secret);
        *held = Some(link);
        Ok(())
    }
}

impl Bench {
    /// Stops the gateway and starts it again as it was.
    pub fn restart_gateway(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        ctx.check()?;
        self.gateway.process.stop();
        self.restart_own()
    }

    /// Kills the gateway without warning and starts it again as it was.
    pub fn kill_gateway(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        ctx.check()?;
        self.gateway.process.crash();
        self.restart_own()
    }

    /// Restarts the gateway with its time from the time server and a store of its own.
    pub fn restart_gateway_timed(&mut self, ctx: &Ctx, settings: TimeSettings) -> Result<(), Stop> {
        ctx.check()?;
        let mut config = self.gateway.config.clone();
        config.time = Some(self.time_config(settings)?);
        config.store.path = format!("{}.sqlite", ctx.case()).into();
        self.gateway.process.stop();
        let deadline = Deadline::after(self.start_budget());
        self.listening = self
            .gateway
            .start_with(&config, &self.gateway.launch, deadline)
            .or_rig("starting the gateway with a time server")?;
        Ok(())
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
        let ModulePlace::Token(token) = &mut config.security_module.place else {
            return Err(Stop::Rig("the gateway's module is no token".into()));
        };
        let library = std::mem::replace(&mut token.module, tracer);
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

    /// What the gateway is called.
    pub fn gateway_id(&self) -> &str {
        &self.gateway.config.device_id
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
