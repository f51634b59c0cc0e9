// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use core::time::Duration;

use smgw_sml::client::{self, Client};
use smgw_sml::server::{self, Server};
use smgw_sml::transport::{Event, Framer, encode};
use smgw_sml::{
    AttentionNumber, Body, File, List, ListRequest, ListValue, ParameterRequest, Quirk, Quirks,
    elements, readings,
};
use smgw_units::Nanos;

/// Every byte of a line is accounted for in order, bytes one by one and in pieces tell the same, and
/// every payload survives another transmission.
pub fn transport(line: &[u8]) {
    let (mut single, mut bulk) = (
        Framer::with(Quirks::ALL, 512),
        Framer::with(Quirks::ALL, 512),
    );
    let mut events = Vec::new();
    let mut told = Vec::new();
    let mut counted = 0;
    let mut payloads = Vec::new();
    let mut note = |event: Event<'_>, events: &mut Vec<String>| {
        events.push(format!("{event:?}"));
        let (Event::File { offset, bytes, .. } | Event::Discarded { offset, bytes, .. }) = event;
        assert_eq!(offset, counted);
        counted += bytes as u64;
        if let Event::File { payload, fill, .. } = event {
            assert!(fill < 4);
            payloads.push(payload.to_vec());
        }
    };
    // Pieces of growing length, each with one stamp.
    let mut rest = line;
    for (index, length) in (1..).zip((0..).map(|step: usize| step * 7 % 31 + 1)) {
        if rest.is_empty() {
            break;
        }
        let (mut piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        for byte in piece {
            if let Some(event) = single.push(*byte, Nanos(index)) {
                note(event, &mut events);
            }
        }
        while let Some(event) = bulk.feed(&mut piece, Nanos(index)) {
            told.push(format!("{event:?}"));
        }
        assert!(piece.is_empty());
        assert_eq!(single.pending_since(), bulk.pending_since());
    }
    while let Some(event) = single.flush() {
        note(event, &mut events);
    }
    while let Some(event) = bulk.flush() {
        told.push(format!("{event:?}"));
    }
    assert_eq!(counted, line.len() as u64);
    assert_eq!(events, told);
    for payload in payloads {
        let mut framer = Framer::new();
        let again = encode(&payload);
        let found = framer.feed(&mut &again[..], Nanos(0));
        assert!(matches!(found, Some(Event::File { payload: found, .. }) if found == payload));
    }
}

/// Whatever can be read can be walked, written and read again.
pub fn file(payload: &[u8]) {
    let mut end = 0;
    let mut walked = true;
    for element in elements(payload) {
        match element {
            Ok(element) => {
                assert_eq!(element.offset, end);
                end += element.header + element.value.len();
            }
            Err(error) => {
                assert!(error.offset <= payload.len());
                walked = false;
            }
        }
    }
    let file = match File::parse(payload, Quirks::ALL) {
        Ok(file) => file,
        Err(error) => return assert!(error.offset <= payload.len()),
    };
    assert!(
        walked && end == payload.len(),
        "what is typed is well-formed"
    );
    let _ = readings(&file).count();
    for list in file.lists() {
        assert_eq!(list.entries.iter().count(), list.entries.len());
        let quirks = Quirks::ALL.with(Quirk::WrappedPower);
        assert_eq!(
            list.readings(quirks).count(),
            list.readings(Quirks::ALL).count()
        );
        for value in list.entries.iter().filter_map(|entry| entry.value) {
            let _ = ListValue::of(&value).is_some_and(|list| list.encode() == value.encode());
        }
    }
    let encoded = file.encode();
    let again = File::parse(&encoded, Quirks::ALL).expect("the encoder follows SML");
    // A checksum that was wrong may happen to fit the bytes as the encoder writes them.
    assert!(again == file || !file.is_intact());
}

/// The requests the client of these properties makes.
pub fn requests(client: &mut Client) -> Vec<u8> {
    let path: [&[u8]; 1] = [b"\x01\x00\x01\x08\x00\xff"];
    let parameter = ParameterRequest {
        path: List::from(&path),
        ..ParameterRequest::default()
    };
    let bodies = [
        Body::ListRequest(ListRequest::default()),
        Body::ParameterRequest(parameter),
    ];
    client
        .ask(Nanos(0), None, &bodies)
        .expect("the client is new");
    client.poll_transmit().expect("a request was made")
}

/// A client with a fixed name.
pub fn new_client() -> Client {
    Client::new(client::Config {
        client_id: b"client".to_vec(),
        first_transaction: 1,
        timeout: Duration::from_secs(1),
        quirks: Quirks::ALL,
    })
}

/// A server anybody may ask.
pub fn new_server() -> Server {
    Server::new(server::Config {
        server_id: b"\x0a\x01SMB\x00\x00\x00\x00\x01".to_vec(),
        credentials: None,
        quirks: Quirks::ALL,
    })
}

/// Whatever a server sends, the client says which request it is about, and ends with the deadline.
pub fn client(payload: &[u8]) {
    let mut client = new_client();
    requests(&mut client);
    if let Ok(events) = client.handle_payload(payload) {
        for event in &events {
            let request = match event {
                client::Event::Answer { request, .. }
                | client::Event::Acknowledged { request, .. } => Some(*request),
                client::Event::Refused { request, .. } => *request,
                client::Event::Opened(_)
                | client::Event::Ignored { .. }
                | client::Event::Closed { .. } => None,
            };
            assert!(request.is_none_or(|request| request < 2));
        }
        let closed = events
            .iter()
            .any(|event| matches!(event, client::Event::Closed { .. }));
        assert_eq!(client.poll_timeout().is_none(), closed);
    }
    let _ = client.handle_timeout(Nanos(1_000_000_000));
    assert_eq!(client.poll_timeout(), None);
}

/// Whatever a client sends, the server's file is good SML, with one answer at least per request.
pub fn server(payload: &[u8]) {
    let mut server = new_server();
    let Ok(requests) = server.handle_payload(payload, None) else {
        assert_eq!(server.poll_transmit(), None);
        return;
    };
    for request in &requests {
        assert_eq!(server.poll_transmit(), None);
        assert!(request.body.is_request());
        server
            .attend(request.id, AttentionNumber::BUSY)
            .expect("the request is known");
    }
    if payload.is_empty() {
        return assert_eq!(server.poll_transmit(), None);
    }
    let answer = server.poll_transmit().expect("every request is answered");
    let file =
        File::parse(&answer, Quirks::NONE.with(Quirk::ShortTag)).expect("the answer follows SML");
    assert!(file.is_intact());
    assert!(file.messages.len() >= 2 + requests.len());
}
