// SPDX-License-Identifier: MIT OR Apache-2.0
//! Profiles: what the administrator tells the gateway to do, as validated types
//! (smart meter gateway profiles of TR-03109-1; catalogue rows ADM-02, ADM-03).

pub mod evaluation;
mod limits;
mod meter;
mod name;
mod partner;
mod refusal;
mod schedule;
mod set;
mod span;
mod validity;
pub(crate) mod written;

pub use evaluation::{EvaluationError, EvaluationProfile};
pub use meter::MeterProfile;
pub use name::{ProfileName, ProfileNameError};
pub use partner::{CommunicationProfile, ProxyProfile, UserProfile, UserRole};
pub use refusal::Refused;
pub use schedule::{Schedule, Version};
pub use set::ProfileSet;
pub use validity::Validity;
