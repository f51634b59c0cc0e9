// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS with module keys: between our own two ends, and against OpenSSL.

mod apdu_trace;
mod forged;
mod handshake;
mod lifetime;
mod matrix;
mod party;
mod peer;
mod refusal;
mod sm_pki;
mod strangers;
mod trace;
