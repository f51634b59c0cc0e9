// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results model, event log, traces, sealed bundles, and the reports rendered from them.

pub mod results;
