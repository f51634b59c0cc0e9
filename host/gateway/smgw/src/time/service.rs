// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells systems in the home area network the time, by NTP over UDP
//! (detail specifications §9: REQ.TA.NTP.ProcessRequest.10, BuildResponse.10–41; where it listens is assumption
//! `time-service-address`).

use std::time::Duration;

use smgw_ntp::LEN;
use tokio::net::UdpSocket;
use tracing::debug;

use super::Shared;

/// Answers, one question at a time.
pub(super) async fn run(shared: &Shared, socket: &UdpSocket) {
    let keeper = &shared.keeper;
    // One octet more than a question, so that longer ones are seen to be longer.
    let mut question = [0; LEN + 1];
    loop {
        let (len, from) = match socket.recv_from(&mut question).await {
            Ok(received) => received,
            Err(error) => {
                // An answer to somebody who is gone comes back as an error of the socket.
                debug!(%error, "time service");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let received = keeper.clock.now();
        let state = keeper
            .defects
            .time_state(shared.state(keeper.server.server));
        let question = question.get(..len).unwrap_or_default();
        let question = keeper.defects.any_question(question);
        match smgw_ntp::answer(&question, received, keeper.clock.now(), &state) {
            // A lost answer is asked for again.
            Ok(answer) => drop(socket.send_to(&answer, from).await),
            Err(reason) => debug!(%from, %reason, "question about the time ignored"),
        }
    }
}

const PAUSE: Duration = Duration::from_millis(10);
