// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layers in front of a module that works, fails, lies or hangs.

mod checked;
mod guarded;
mod lying;
mod traced;
