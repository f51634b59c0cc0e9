// SPDX-License-Identifier: MIT OR Apache-2.0
//! One module per verb.

pub mod card;
pub mod decode;
pub mod discover;
pub mod hsm;
pub mod list;
pub mod meter;
pub mod plan;
pub mod report;
pub mod rig;
pub mod run;
pub mod verify;
