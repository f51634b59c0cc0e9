// SPDX-License-Identifier: MIT OR Apache-2.0
//! Client and server talk to each other in virtual time, and each minds what the other gets wrong.

use std::time::Duration;

use smgw_sml::client::{AskError, Client, Event, Ignored, TimedOut};
use smgw_sml::server::{AnswerError, Config, Server};
use smgw_sml::{
    Attention, AttentionNumber, Body, CloseRequest, CrcKind, File, Int, List, ListEntry,
    ListRequest, ListResponse, Message, MessageCrc, OpenRequest, Parameter, ParameterRequest,
    ParameterResponse, PeriodEntry, ProfileListResponse, ProfilePackResponse, ProfileRequest,
    Quirks, SetParameterRequest, Time, Tree, Value,
};
use smgw_units::Nanos;

const SERVER: &[u8] = b"\x0a\x01SMB\x00\x00\x00\x00\x01";
const ENERGY: &[u8] = b"\x01\x00\x01\x08\x00\xff";
const SECOND: u64 = 1_000_000_000;

fn client() -> Client {
    Client::new(smgw_sml::client::Config {
        client_id: b"gateway".to_vec(),
        first_transaction: 0x100,
        timeout: Duration::from_secs(3),
        quirks: Quirks::ALL,
    })
}

fn server(credentials: Option<(&[u8], &[u8])>) -> Server {
    Server::new(Config {
        server_id: SERVER.to_vec(),
        credentials: credentials.map(|(user, password)| (user.to_vec(), password.to_vec())),
        quirks: Quirks::NONE.with(smgw_sml::Quirk::ShortTag),
    })
}

fn list_request() -> Body<'static> {
    Body::ListRequest(ListRequest {
        client_id: b"gateway",
        ..ListRequest::default()
    })
}

/// All five requests, each answered in kind; the server answers them in any order.
#[test]
fn every_request_finds_its_answer() {
    let path = [ENERGY];
    let profile = ProfileRequest {
        path: List::from(&path),
        ..ProfileRequest::default()
    };
    let parameter = ParameterRequest {
        path: List::from(&path),
        ..ParameterRequest::default()
    };
    let set = SetParameterRequest {
        path: List::from(&path),
        tree: Tree {
            name: ENERGY,
            value: Some(Parameter::Value(Value::Bool(true))),
            children: None,
        },
        ..SetParameterRequest::default()
    };
    let asked = [
        list_request(),
        Body::ProfileListRequest(profile),
        Body::ProfilePackRequest(profile),
        Body::ParameterRequest(parameter),
        Body::SetParameterRequest(set),
    ];
    let mut client = client();
    let mut server = server(None);
    client.ask(Nanos(0), Some(SERVER), &asked).unwrap();
    assert_eq!(client.ask(Nanos(0), None, &asked), Err(AskError::Busy));
    let file = client.poll_transmit().unwrap();
    assert_eq!(client.poll_transmit(), None);
    assert_eq!(client.poll_timeout(), Some(Nanos(3 * SECOND)));

    let requests = server
        .handle_payload(&file, Some(Time::sec_index(77)))
        .unwrap();
    let got: Vec<_> = requests.iter().map(|request| request.body).collect();
    assert_eq!(got, asked);

    let entries = [ListEntry {
        name: ENERGY,
        value: Some(Value::unsigned(5)),
        ..ListEntry::default()
    }];
    let list = Body::ListResponse(ListResponse {
        server_id: SERVER,
        entries: List::from(&entries),
        ..ListResponse::default()
    });
    let period_entries = [PeriodEntry {
        name: ENERGY,
        unit: 30,
        scaler: -1,
        value: Value::unsigned(7),
        signature: None,
    }];
    let period = |second| {
        Body::ProfileListResponse(ProfileListResponse {
            server_id: SERVER,
            period: Int::from(900u32),
            time: Time::timestamp(second),
            entries: List::from(&period_entries),
            ..ProfileListResponse::default()
        })
    };
    let pack = Body::ProfilePackResponse(ProfilePackResponse {
        server_id: SERVER,
        ..ProfilePackResponse::default()
    });
    let tree = Body::ParameterResponse(ParameterResponse {
        server_id: SERVER,
        path: List::from(&path),
        tree: Tree::default(),
    });
    assert_eq!(
        server.answer(requests[0].id, tree),
        Err(AnswerError::WrongKind)
    );
    assert_eq!(
        server.answer(requests[4].id, tree),
        Err(AnswerError::WrongKind)
    );
    server.attend(requests[4].id, AttentionNumber::OK).unwrap();
    server.answer(requests[3].id, tree).unwrap();
    server.answer(requests[2].id, pack).unwrap();
    server.answer(requests[1].id, period(900)).unwrap();
    server.answer(requests[1].id, period(1800)).unwrap();
    assert_eq!(server.poll_transmit(), None);
    server.answer(requests[0].id, list).unwrap();
    let answers = server.poll_transmit().unwrap();
    assert_eq!(
        server.answer(requests[0].id, list),
        Err(AnswerError::NoSuchRequest)
    );

    let events = client.handle_payload(&answers).unwrap();
    let Event::Opened(open) = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(open.server_id, SERVER);
    assert_eq!(open.client_id, Some(&b"gateway"[..]));
    assert_eq!(open.reference_time, Some(Time::sec_index(77)));
    let Event::Acknowledged {
        request: 4,
        attention,
    } = &events[1]
    else {
        panic!("{events:?}");
    };
    assert_eq!(attention.meaning(), Some(AttentionNumber::OK));
    let answer = |request, body| Event::Answer { request, body };
    assert_eq!(
        events[2..],
        [
            answer(3, tree),
            answer(2, pack),
            answer(1, period(900)),
            answer(1, period(1800)),
            answer(0, list),
            Event::Closed { unanswered: vec![] },
        ]
    );
    assert_eq!(client.poll_timeout(), None);
    // What comes now answers nothing.
    let late = client.handle_payload(&answers).unwrap();
    assert!(late.iter().all(|event| matches!(
        event,
        Event::Ignored {
            reason: Ignored::Stray,
            ..
        }
    )));
    // Transaction ids are not used again.
    client.ask(Nanos(SECOND), None, &asked[..1]).unwrap();
    let next = client.poll_transmit().unwrap();
    let next = File::parse(&next, Quirks::ALL).unwrap();
    assert_eq!(next.transaction_id(), Some(&[0, 0, 1, 7][..]));
}

#[test]
fn only_requests_can_be_asked() {
    let close = Body::CloseRequest(CloseRequest::default());
    let refused = client().ask(Nanos(0), None, &[list_request(), close]);
    assert_eq!(refused, Err(AskError::NoRequest(1)));
}

#[test]
fn silence_ends_with_the_deadline() {
    let mut client = client();
    client
        .ask(Nanos(SECOND), None, &[list_request(), list_request()])
        .unwrap();
    let deadline = client.poll_timeout().unwrap();
    assert_eq!(deadline, Nanos(4 * SECOND));
    assert_eq!(
        client.handle_timeout(deadline - Duration::from_nanos(1)),
        None
    );
    let unanswered = vec![0, 1];
    assert_eq!(
        client.handle_timeout(deadline),
        Some(TimedOut { unanswered })
    );
    assert_eq!(client.poll_timeout(), None);
    assert_eq!(client.poll_transmit(), None);
    assert!(client.ask(deadline, None, &[list_request()]).is_ok());
}

/// An answer of another kind, one with a wrong checksum, and a file closed early.
#[test]
fn the_client_minds_what_it_asked() {
    let mut client = client();
    client
        .ask(Nanos(0), None, &[list_request(), list_request()])
        .unwrap();
    client.poll_transmit();
    let list = Body::ListResponse(ListResponse {
        server_id: SERVER,
        ..ListResponse::default()
    });
    let pack = Body::ProfilePackResponse(ProfilePackResponse::default());
    let attention = Attention {
        server_id: SERVER,
        number: b"\x81\x81\xc7\xc7\xfe\x15",
        ..Attention::default()
    };
    let first = [0, 0, 1, 1];
    let file = File {
        messages: vec![
            Message::new(&first, pack),
            Message {
                crc: MessageCrc::Wrong([1, 2]),
                ..Message::new(&first, list)
            },
            Message::new(b"other", list),
            Message::new(&[0, 0, 1, 2], Body::Attention(attention)),
            Message::new(&[0, 0, 1, 0], Body::Attention(attention)),
            Message::new(&[0, 0, 1, 3], Body::CloseResponse(Default::default())),
        ],
    };
    let payload = file.encode();
    let events = client.handle_payload(&payload).unwrap();
    let ignored = |at: usize, reason| Event::Ignored {
        message: file.messages[at],
        reason,
    };
    assert_eq!(
        events,
        [
            ignored(0, Ignored::WrongKind),
            ignored(1, Ignored::BadCrc),
            ignored(2, Ignored::Stray),
            Event::Refused {
                request: Some(1),
                attention
            },
            Event::Refused {
                request: None,
                attention
            },
            Event::Closed {
                unanswered: vec![0]
            },
        ]
    );
    assert_eq!(attention.meaning(), Some(AttentionNumber::BUSY));
}

/// What the server's own file says to `messages`: one number, or none, for each that is not framing.
fn refusals(server: &mut Server, messages: Vec<Message<'_>>) -> Vec<(Vec<u8>, u16)> {
    let payload = File { messages }.encode();
    for request in server.handle_payload(&payload, None).unwrap() {
        server.attend(request.id, AttentionNumber::OK).unwrap();
    }
    let answer = server.poll_transmit().unwrap();
    let file = File::parse(&answer, Quirks::ALL).unwrap();
    assert!(file.is_intact());
    let (first, last) = (file.messages.first(), file.messages.last());
    assert!(matches!(first.unwrap().body, Body::OpenResponse(_)));
    assert!(matches!(last.unwrap().body, Body::CloseResponse(_)));
    file.messages
        .iter()
        .filter_map(|message| match &message.body {
            Body::Attention(attention) => Some((
                message.transaction_id.to_vec(),
                attention.meaning().unwrap().0,
            )),
            _ => None,
        })
        .collect()
}

#[test]
fn the_server_minds_the_rules_of_a_file() {
    let open = |server_id, username, password| {
        let body = OpenRequest {
            client_id: b"gateway",
            request_file_id: b"file",
            server_id,
            username,
            password,
            ..OpenRequest::default()
        };
        Message::new(b"o", Body::OpenRequest(body))
    };
    let plain = open(None, None, None);
    let ask = Message::new(b"a", list_request());
    let close = Message::new(b"c", Body::CloseRequest(CloseRequest::default()));
    let broken = Message {
        crc: MessageCrc::Wrong([1, 2]),
        ..ask
    };
    let kermit = Message {
        crc: MessageCrc::Good(CrcKind::Kermit),
        ..ask
    };
    let response = Message::new(b"r", Body::CloseResponse(Default::default()));
    let secret = Some((&b"user"[..], &b"secret"[..]));
    let good = open(Some(SERVER), Some(b"user"), Some(b"secret"));
    let wrong = open(Some(SERVER), Some(b"user"), Some(b"guess"));
    let elsewhere = open(Some(b"else"), None, None);
    type Case<'a> = (
        Option<(&'a [u8], &'a [u8])>,
        Vec<Message<'a>>,
        &'a [(&'a [u8], u16)],
    );
    let cases: &[Case<'_>] = &[
        (None, vec![plain, ask, close], &[(b"a", 0xfd00)]),
        (None, vec![plain, broken, close], &[(b"a", 0xfe0b)]),
        (None, vec![plain, kermit, close], &[(b"a", 0xfe0b)]),
        (
            None,
            vec![plain, ask, ask],
            &[(b"a", 0xfe14), (b"a", 0xfd00)],
        ),
        (
            None,
            vec![plain, response, ask, close],
            &[(b"r", 0xfe0d), (b"a", 0xfd00)],
        ),
        (
            None,
            vec![ask, ask, close],
            &[(b"a", 0xfe0d), (b"a", 0xfe0d), (b"c", 0xfe0d)],
        ),
        (
            None,
            vec![elsewhere, ask, close],
            &[(b"o", 0xfe03), (b"a", 0xfe03), (b"c", 0xfe03)],
        ),
        (secret, vec![good, ask, close], &[(b"a", 0xfd00)]),
        (secret, vec![wrong, ask, close], &[(b"a", 0xfe02)]),
        (secret, vec![plain, ask, close], &[(b"a", 0xfe02)]),
    ];
    for (credentials, messages, expected) in cases {
        let got = refusals(&mut server(*credentials), messages.clone());
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, number)| (id.to_vec(), *number))
            .collect();
        assert_eq!(got, expected, "{messages:?}");
    }
}

#[test]
fn nonsense_is_not_answered() {
    let mut server = server(None);
    assert!(server.handle_payload(b"\x76\x01", None).is_err());
    assert_eq!(server.poll_transmit(), None);
    assert!(server.handle_payload(b"", None).unwrap().is_empty());
    assert_eq!(server.poll_transmit(), None);
    let mut client = client();
    client.ask(Nanos(0), None, &[list_request()]).unwrap();
    assert!(client.handle_payload(b"\x76\x01").is_err());
    assert!(client.poll_timeout().is_some());
}
