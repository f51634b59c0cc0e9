// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions end in virtual time: 48 hours, 31 days, and no resumption beyond (TR-03116-3 §4.1.5, §6.1.5).

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hsm_tls::{Limited, ResumptionWindow, SessionClock, SessionOver, TlsProfile};
use rustls::HandshakeKind;

use crate::party::{Ends, Party};

const HOUR: u64 = 3_600;

/// A clock that only tests move.
#[derive(Clone)]
struct Virtual {
    start: Instant,
    seconds: Arc<AtomicU64>,
}

impl Virtual {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            seconds: Arc::default(),
        }
    }

    fn set(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

#[test]
fn data_stops_at_the_limit() {
    for (profile, limit) in [
        (TlsProfile::smgw_wan_client(), 48 * HOUR),
        (TlsProfile::smgw_cls_server(), 48 * HOUR),
        (TlsProfile::smgw_lmn_client(), 31 * 24 * HOUR),
        (
            TlsProfile::smgw_wan_client().with_session_limit(Duration::from_secs(HOUR)),
            HOUR,
        ),
    ] {
        let time = Virtual::new();
        let clock = SessionClock::full(&profile, time.now());
        let source = time.clone();
        let mut stream = Limited::with_time(std::io::Cursor::new(vec![7; 8]), clock, move || {
            source.now()
        });
        time.set(limit - 1);
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
        assert_eq!(clock.remaining(time.now()), Duration::from_secs(1));
        assert!(!clock.is_over(time.now()));

        time.set(limit);
        assert!(clock.is_over(time.now()));
        for error in [
            stream.read(&mut byte).unwrap_err(),
            stream.write(&byte).unwrap_err(),
            stream.flush().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(
                error
                    .get_ref()
                    .is_some_and(|inside| inside.is::<SessionOver>())
            );
        }
        assert_eq!(
            stream.into_inner().position(),
            2,
            "nothing went through after the limit"
        );
    }
}

/// Handshakes between two ends that both resume within windows; what kind came about, and when it has to end.
struct Resuming {
    time: Virtual,
    windows: [Arc<ResumptionWindow>; 2],
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
    profile: TlsProfile,
}

impl Resuming {
    fn new(profile: TlsProfile) -> Self {
        let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
        let time = Virtual::new();
        let windows = [(), ()].map(|()| {
            let time = time.clone();
            ResumptionWindow::with_time(&profile, move || time.now())
        });
        let client = windows[0].on_client(&consumer.client(&profile, &gateway));
        let server =
            windows[1].on_server(&gateway.server(&TlsProfile::smgw_han_server(), &consumer));
        Self {
            time,
            windows,
            client,
            server,
            profile,
        }
    }

    /// Seconds that each end gives the connection.
    fn connect(&self) -> (HandshakeKind, [u64; 2]) {
        let ends = Ends::connect(Arc::clone(&self.client), Arc::clone(&self.server));
        ends.assert_connected();
        let kind = ends.client.handshake_kind().unwrap();
        assert_eq!(ends.server.handshake_kind(), Some(kind));
        let remaining = |connection: &rustls::CommonState, window: &ResumptionWindow| {
            let clock = SessionClock::of(connection, &self.profile, Some(window), self.time.now());
            clock.remaining(self.time.now()).as_secs()
        };
        let ends = [
            remaining(&ends.client, &self.windows[0]),
            remaining(&ends.server, &self.windows[1]),
        ];
        (kind, ends)
    }
}

#[test]
fn resumption_stays_within_the_limit() {
    for profile in [
        TlsProfile::han_client().only_tls12(),
        TlsProfile::han_client().only_tls13(),
    ] {
        let ends = Resuming::new(profile.clone());
        assert_eq!(ends.connect(), (HandshakeKind::Full, [48 * HOUR; 2]));
        for hour in [1, 20, 47] {
            ends.time.set(hour * HOUR);
            let left = 48 * HOUR - hour * HOUR;
            assert_eq!(
                ends.connect(),
                (HandshakeKind::Resumed, [left; 2]),
                "hour {hour}"
            );
        }
        // Each resumption gave new tickets; they end with the first handshake all the same.
        ends.time.set(48 * HOUR);
        assert_eq!(ends.connect(), (HandshakeKind::Full, [48 * HOUR; 2]));
        ends.time.set(49 * HOUR);
        assert_eq!(ends.connect(), (HandshakeKind::Resumed, [47 * HOUR; 2]));
    }
}

#[test]
fn a_resumed_session_without_window_has_no_time_left() {
    let ends = Resuming::new(TlsProfile::han_client().only_tls13());
    ends.connect();
    let resumed = Ends::connect(Arc::clone(&ends.client), Arc::clone(&ends.server));
    assert_eq!(
        resumed.client.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    let now = ends.time.now();
    assert!(SessionClock::of(&resumed.client, &ends.profile, None, now).is_over(now));
}
