// SPDX-License-Identifier: MIT OR Apache-2.0
//! The routing table, request by request.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use rustls::pki_types::CertificateDer;
use smgw_core::profile::{MeterProfile, ProfileSet, Validity};
use smgw_core::{CombinedStatus, GapReason, Grid, Tolerance};
use smgw_units::{Decimal, Obis, Unit, UtcNanos};
use tempfile::TempDir;

use super::*;
use crate::active::{Active, Current};
use crate::board::{Board, Reception};
use crate::store::{Batch, Kept, Options, Store};

const METER: &str = "1smb0000000001";
const FOREIGN: &str = "1smb0000000002";

/// One register of each meter counts.
fn current(meters: [DeviceId; 2]) -> Current {
    let meters = meters.map(|meter| MeterProfile {
        meter,
        registers: vec![Obis::IMPORT_TOTAL],
        period: None,
        validity: Validity::default(),
    });
    let set = ProfileSet {
        meters: meters.into(),
        ..ProfileSet::default()
    };
    let active = Active {
        version: 0,
        set: Arc::new(set),
        users: Vec::new(),
        han: None,
        proxy: None,
    };
    tokio::sync::watch::channel(Arc::new(active)).1
}

struct Gateway {
    view: View,
    consumer: User,
    technician: User,
    _folder: TempDir,
}

impl Gateway {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.sqlite");
        let grid = Grid::new(Duration::from_secs(900), Tolerance::ONE_PERCENT).unwrap();
        let [meter, foreign]: [DeviceId; 2] = [METER, FOREIGN].map(|id| id.parse().unwrap());
        let start = "2026-11-21T20:00:00Z"
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_second();
        let entry = |index: i64, content| Entry {
            obis: Obis::IMPORT_TOTAL,
            target: UtcNanos::from_seconds(start + index * 900),
            status: match content {
                Content::Value { .. } => CombinedStatus::of_value(1 << 2),
                Content::Gap(_) => CombinedStatus::of_gap(),
            },
            content,
        };
        let value = Content::Value {
            capture: UtcNanos::from_seconds(start + 1),
            value: Decimal::new(123_456, -4),
            unit: Unit::WATT_HOUR,
        };
        let entries = [
            entry(0, value),
            entry(1, Content::Gap(GapReason::NoTelegram)),
        ];
        let kept = entries.map(|entry| Kept {
            meter,
            period: 900,
            entry,
            signature: Vec::new(),
        });
        let batch = Batch {
            entries: kept.into(),
            ..Batch::default()
        };
        let mut store = Store::open(&path, Options::default()).unwrap();
        store.commit(&batch).unwrap();
        let board = Board::new([meter, foreign], grid, UtcNanos::from_seconds(start));
        board.received(
            0,
            Reception {
                telegram: "f12cad07".into(),
                received_at: UtcNanos(start * 1_000_000_000 + 1_003_912_345),
                fault: None,
            },
        );
        let user = |id: &str, role| User {
            id: id.into(),
            role,
            certificate: CertificateDer::from(vec![]),
        };
        Self {
            view: View {
                device_id: "esmb0012345678".parse().unwrap(),
                period_seconds: 900,
                current: current([meter, foreign]),
                board: Arc::new(board),
                clock: crate::clock::Clock::system(),
                store: path,
            },
            consumer: user(
                "consumer-a",
                Role::Consumer {
                    meters: vec![meter],
                },
            ),
            technician: user("technician", Role::Technician),
            _folder: folder,
        }
    }

    fn ask(&self, user: &User, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        answer(&head, user, &self.view, Defects::default())
    }

    fn get(&self, user: &User, uri: &str) -> (u16, String) {
        let answer = self.ask(user, "GET", uri, &[]);
        assert_eq!(answer.content_type, "application/json");
        (answer.status.as_u16(), answer.body)
    }
}

#[test]
fn consumers_find_their_own_tree() {
    let gateway = Gateway::new();
    for (uri, body) in [
        ("/smgw/", r#"{"roles":["con/v1"]}"#),
        ("/smgw", r#"{"roles":["con/v1"]}"#),
        ("/smgw/con/v1/", r#"{"areas":["rts","exp"]}"#),
        (
            "/smgw/con/v1/rts/",
            r#"{"resources":["meters","evaluations"]}"#,
        ),
        (
            "/smgw/con/v1/exp/",
            r#"{"resources":["log","originalValueLists","derivedValueLists"]}"#,
        ),
        (
            "/smgw/con/v1/rts/meters/",
            r#"{"meters":[{"id":"1smb0000000001","registers":["1-0:1.8.0*255"]}]}"#,
        ),
    ] {
        assert_eq!(
            gateway.get(&gateway.consumer, uri),
            (200, body.into()),
            "{uri}"
        );
    }
}

#[test]
fn value_lists_read_as_the_interface_says() {
    let gateway = Gateway::new();
    let uri = format!("/smgw/con/v1/exp/originalValueLists/{METER}");
    let value = concat!(
        r#"{"targetTime":"2026-11-21T20:00:00Z","captureTime":"2026-11-21T20:00:01Z","#,
        r#""value":"123456","scaler":-4,"unit":30,"status":"a000000020000000"}"#,
    );
    let gap =
        r#"{"targetTime":"2026-11-21T20:15:00Z","status":"a004000000000000","gap":"no-telegram"}"#;
    let lists = |entries: &str| {
        format!(
            concat!(
                r#"{{"meterId":"1smb0000000001","registrationPeriod":900,"lists":[{{"#,
                r#""logicalName":"0100010800ff.1smb0000000001.sm","obis":"1-0:1.8.0*255","entries":[{}]}}]}}"#,
            ),
            entries
        )
    };
    let both = format!("{value},{gap}");
    for (query, entries) in [
        ("", both.as_str()),
        ("?q.obis=1-0:1.8.0", both.as_str()),
        ("?q.count=1", gap),
        (
            "?q.fromtime=2026-11-21T20:00:00Z&q.totime=2026-11-21T20:15:00Z",
            value,
        ),
        ("?q.fromtime=2026-11-21T20:00:01Z", gap),
    ] {
        let got = gateway.get(&gateway.consumer, &format!("{uri}{query}"));
        assert_eq!(got, (200, lists(entries)), "{query}");
    }
    let none = gateway.get(&gateway.consumer, &format!("{uri}?q.obis=1-0:2.8.0"));
    assert_eq!(
        none.1,
        r#"{"meterId":"1smb0000000001","registrationPeriod":900,"lists":[]}"#
    );
    assert_eq!(
        gateway.get(&gateway.consumer, &format!("{uri}?q.obis=x")).0,
        400
    );
}

#[test]
fn technicians_see_links_and_receptions_but_no_values() {
    let gateway = Gateway::new();
    let (code, body) = gateway.get(&gateway.technician, "/smgw/srv/v1/rts/status");
    assert_eq!(code, 200);
    assert!(body.starts_with(r#"{"deviceId":"esmb0012345678","state":"measuring","startedAt":"2026-11-21T20:00:00Z","meters":[{"id":"1smb0000000001","link":""#), "{body}");
    let receptions = format!("/smgw/srv/v1/exp/receptions/{METER}?q.count=5");
    let expected = concat!(
        r#"{"meterId":"1smb0000000001","receptions":[{"telegram":"f12cad07","#,
        r#""receivedAt":"2026-11-21T20:00:01.003912345Z","outcome":"ok"}]}"#,
    );
    assert_eq!(
        gateway.get(&gateway.technician, &receptions),
        (200, expected.into())
    );
    assert_eq!(
        gateway.get(&gateway.technician, "/smgw/").1,
        r#"{"roles":["srv/v1"]}"#
    );
    assert_eq!(
        gateway.get(&gateway.technician, "/smgw/srv/v1/").1,
        r#"{"areas":["rts","exp"]}"#
    );
}

#[test]
fn absent_and_forbidden_are_the_same() {
    let gateway = Gateway::new();
    let not_found = (404, r#"{"error":"not found"}"#.to_owned());
    for uri in [
        "/",
        "/index.html",
        "/smgw/con/v2/",
        "/smgw/con/v1/rts/meters/1",
        "/smgw/srv/v1/",
        "/smgw/srv/v1/rts/status",
        "/smgw/con/v1/exp/originalValueLists/",
        "/smgw/con/v1/exp/originalValueLists/1smb0000000002",
        "/smgw/con/v1/exp/originalValueLists/1smb0000000003",
        "/smgw/con/v1/exp/originalValueLists/1SMB0000000001",
        "/smgw/con/v1/exp/originalValueLists/1smb0000000002?q.obis=x",
        "/smgw/con/v1/exp/receptions/1smb0000000001",
    ] {
        assert_eq!(gateway.get(&gateway.consumer, uri), not_found, "{uri}");
    }
    for uri in [
        "/smgw/con/v1/",
        "/smgw/con/v1/exp/originalValueLists/1smb0000000001",
        "/smgw/srv/v1/exp/receptions/x",
    ] {
        assert_eq!(gateway.get(&gateway.technician, uri), not_found, "{uri}");
    }
}

#[test]
fn nothing_but_get_is_served() {
    let gateway = Gateway::new();
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"] {
        for uri in ["/smgw/con/v1/rts/meters/", "/nowhere"] {
            let status = gateway.ask(&gateway.consumer, method, uri, &[]).status;
            assert_eq!(status.as_u16(), 405, "{method} {uri}");
        }
    }
}

#[test]
fn json_is_the_default_and_the_only_type() {
    let gateway = Gateway::new();
    for (accept, code) in [
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, application/*;q=0.5", 200),
        ("APPLICATION/JSON", 200),
        ("application/xml", 406),
        ("application/json;q=0, */*", 406),
        ("", 406),
        ("text/*", 406),
    ] {
        let status = gateway
            .ask(&gateway.consumer, "GET", "/smgw/", &[("accept", accept)])
            .status;
        assert_eq!(status.as_u16(), code, "{accept}");
    }
}

#[test]
fn header_limits_are_exact() {
    let gateway = Gateway::new();
    let ask = |headers: &[(&str, &str)]| {
        gateway
            .ask(&gateway.consumer, "GET", "/smgw/", headers)
            .status
            .as_u16()
    };
    // `x-a: ` takes five bytes.
    assert_eq!(ask(&[("x-a", &"v".repeat(245))]), 200);
    assert_eq!(ask(&[("x-a", &"v".repeat(246))]), 431);
    // 34 fields of 250 bytes with line ends are 8568 bytes; 33 and one of 182 are 8500.
    let long = "v".repeat(245);
    let mut block = vec![("x-a", long.as_str()); 33];
    let filler = "v".repeat(8_500 - 33 * 252 - 7);
    block.push(("x-b", &filler));
    assert_eq!(ask(&block), 200);
    let over = format!("{filler}v");
    block.pop();
    block.push(("x-b", &over));
    assert_eq!(ask(&block), 431);
}
