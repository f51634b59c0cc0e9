// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP ports for programs that cannot choose one themselves.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port of the loopback interface that was free a moment ago. Somebody else may take it before its user does: the user
/// then fails and has to be started again with another one.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
