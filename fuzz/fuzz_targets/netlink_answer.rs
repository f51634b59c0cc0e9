// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes what the kernel answers to a gateway that sets up its network; the function itself also runs as an ordinary
//! test of its crate.
#![no_main]

#[path = "../../host/gateway/smgw/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::netlink(data);
});
