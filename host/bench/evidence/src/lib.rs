// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results model, event log, traces, sealed bundles, and the reports rendered from them.
//!
//! [`results::Results`] is the truth of a run; every report is rendered from it. A [`Bundle`] collects
//! what happened while it happens and is sealed by a signature at the end; [`verify`] finds one flipped byte
//! anywhere in it.

mod bundle;
mod csv;
mod digest;
mod error;
pub mod events;
mod html;
mod junit;
mod limit;
mod manifest;
mod markdown;
mod packet;
mod pcapng;
mod render;
pub mod results;
mod seal;
pub mod trace;
mod verify;

pub use bundle::{Bundle, BundleMeta, SealedBundle, new_run_id};
pub use csv::csv;
pub use error::EvidenceError;
pub use events::EventLog;
pub use html::{NamedDistribution, html};
pub use junit::junit;
pub use limit::Limit;
pub use markdown::markdown;
pub use render::{Format, load_results, render};
pub use seal::BundleSigner;
pub use trace::{Direction, SerialEvent, SerialTap, Side, SmlTap, TcpTap, Trace};
pub use verify::{Problem, ProblemKind, VerifyError, VerifyReport, verify};
