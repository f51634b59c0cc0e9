// SPDX-License-Identifier: MIT OR Apache-2.0
//! Profiles: what the administrator tells the gateway to do, as validated types
//! (smart meter gateway profiles of TR-03109-1; catalogue rows ADM-02, ADM-03).

mod name;

pub use name::{ProfileName, ProfileNameError};
