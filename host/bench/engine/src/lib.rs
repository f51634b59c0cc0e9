// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine: cases as data, phases with deadlines, findings folded into verdicts that only worsen.
//!
//! A case is one row of a table ([`Case`]). The [`Runner`] gives each selected case a [`Ctx`] and the
//! environment (the live rig), watches its deadline and the health of the rig from outside, and turns
//! whatever happens (findings, refusals, panics, a device that dies, an operator who stops) into one
//! [`CaseResult`](bench_evidence::results::CaseResult). Infrastructure trouble never becomes a failure of the device under test.

mod case;
mod ctx;
mod deadline;
mod environment;
mod exit;
mod ledger;
mod runner;
mod stop;

pub use case::{Case, Interface, Level};
pub use ctx::Ctx;
pub use deadline::Deadline;
pub use environment::{Environment, Health, Interrupt, Observer, Trouble};
pub use exit::{ExitCode, exit_code};
pub use ledger::Ledger;
pub use runner::{RunOutcome, Runner, Selected, case_seed};
pub use stop::{Stop, StopExt};
