// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS with module keys: between our own two ends, and against OpenSSL.

mod handshake;
mod openssl;
mod party;
mod pyopenssl;
mod refusal;
mod trace;
