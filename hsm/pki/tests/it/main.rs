// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PKI as its users and foreign tools see it.

mod certificates;
mod chains;
mod documentation;
mod linting;
mod lists;
mod openssl;
mod packages;
