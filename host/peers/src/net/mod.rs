// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network peers of a gateway: EMT, CLS, HAN client and bare probes (TR-03109-1 detail specifications §6, §11).
//!
//! Everything blocks, and every wait has a [`Deadline`]. One machine with one wait at a time plays each connection,
//! so no peer needs a thread to send while it reads. Taps see the octets of the TCP connection, below TLS and framing,
//! stamped with `CLOCK_MONOTONIC`. A peer can be told to misbehave at each step; it then tells what came of it.

mod acceptor;
mod active_emt;
mod alert;
mod blackhole;
mod cls;
mod cls_proxy;
mod deadline;
mod emt;
mod failure;
mod han;
mod http;
mod link;
mod ntp;
mod ntp_client;
mod party;
mod probe;
mod tap;
mod transfer;
mod wait;

#[cfg(test)]
mod active_emt_tests;
#[cfg(test)]
mod cls_proxy_tests;
#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod tests;

pub use active_emt::{ActiveEmt, Session};
pub use alert::Alert;
pub use blackhole::{BlackholePort, RefusingPort};
pub use cls::{ClsChannel, ClsClient, ClsReply, ClsTls, GreetingOutcome, RawAnswer};
pub use cls_proxy::{Asked, ClsProxy};
pub use deadline::{Deadline, now};
pub use emt::{Emt, EmtConnection, EmtEnd, EmtMode, EmtPhase};
pub use failure::Failure;
pub use han::{HanClient, HanSession};
pub use http::{HttpError, HttpResponse, MAX_BODY, MAX_HEAD};
pub use link::{Ended, TlsFacts};
pub use ntp::{TimeFault, TimeMode, TimeQuestion, TimeServer};
pub use ntp_client::{TimeAnswer, ask_time, ask_time_with};
pub use party::{ClientTls, Party, PartyError, ServerTls};
pub use probe::{HelloSpec, PlainOutcome, ProbeOutcome, ProbeTransport, plain_http, probe};
pub use tap::{CloseKind, ConnId, Direction, NoTap, Tap, TappedStream};
pub use transfer::{Pattern, TransferPlan, TransferReport};
