// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end in software, for peers of the gateway and for verification.
