// SPDX-License-Identifier: MIT OR Apache-2.0
//! End-to-end tests: the commands a user types, on the virtual rig.

mod command_line;
mod corpora;
mod defects;
mod endings;
mod rehearsal;
