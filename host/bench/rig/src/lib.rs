// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rig, ICS, assumption and plan files of the bench, read into models in which nothing dangles;
//! besides them the kernel locks on physical resources, the discovery of what is attached, and the filter expressions of `-E`.
//!
//! Files are TOML with a versioned schema. A wrong file is answered with all its problems at once, each with the
//! place, the nearest known word and what to write instead.

pub mod assumptions;
pub mod capability;
mod diagnostic;
pub mod discover;
mod document;
mod duration;
pub mod filter;
pub mod ics;
pub mod lock;
pub mod plan;
mod resolve;
pub mod resource;
mod rig;
pub mod role;
pub mod schema;
mod sections;

pub use assumptions::Assumptions;
pub use capability::Capability;
pub use diagnostic::{LoadError, Problem, Problems, nearest};
pub use duration::{Span, SpanError};
pub use filter::{Filter, FilterError, Subject};
pub use ics::{Answer, Ics};
pub use plan::Plan;
pub use resource::Resource;
pub use rig::{Clock, ClockReference, LockDirSetting, Metering, RIG_SCHEMA, Rig, Undrivable};
