// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asked side, as a meter: takes a file of requests, refuses what breaks the rules of a file by itself,
//! hands the rest over as typed requests, and builds the file of answers.
//!
//! The machine speaks payloads; whether they travel in transport version 1 or in TLS is up to the caller.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    Attention, AttentionNumber, Body, CloseResponse, Message, OpenResponse, ParseError, Quirks,
    Time, messages,
};

/// What a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Its id. Requests may leave out whom they ask.
    pub server_id: Vec<u8>,
    /// User name and password to be told by the opening message or by each request; none for anybody.
    pub credentials: Option<(Vec<u8>, Vec<u8>)>,
    /// Deviations of the client to tolerate.
    pub quirks: Quirks,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// Names the request to [`Server::answer`].
    pub id: RequestId,
    /// What is asked for.
    pub body: Body<'a>,
}

/// Names a request of the present file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(usize);

/// An answer that does not fit; the caller is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AnswerError {
    /// No request of the present file has this id.
    NoSuchRequest,
    /// The message is of a kind that does not answer the request.
    WrongKind,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchRequest => "no request of this id waits for an answer",
            Self::WrongKind => "a message of this kind does not answer the request",
        })
    }
}

impl core::error::Error for AnswerError {}

/// The machine of a server. A new file of requests replaces one that was not answered completely.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    session: Option<Session>,
}

#[derive(Clone, Debug)]
struct Session {
    /// The answers so far.
    payload: Vec<u8>,
    close: Vec<u8>,
    requests: Vec<Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    transaction: Vec<u8>,
    group: u8,
    tag: u32,
    answered: bool,
}

impl Server {
    /// A server nobody has asked yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            session: None,
        }
    }

    /// Takes a payload with requests at time `now` of the server, and gives those that are to be answered.
    ///
    /// # Errors
    /// The first place where the payload does not follow SML; it is not answered at all then.
    pub fn handle_payload<'a>(
        &mut self,
        payload: &'a [u8],
        now: Option<Time>,
    ) -> Result<Vec<Request<'a>>, ParseError> {
        self.session = None;
        let file: Vec<Message<'a>> =
            messages(payload, self.config.quirks).collect::<Result<_, _>>()?;
        let (Some(first), Some(last)) = (file.first(), file.last()) else {
            return Ok(Vec::new());
        };
        let mut session = Session {
            payload: Vec::new(),
            close: last.transaction_id.to_vec(),
            requests: Vec::new(),
        };
        let open = match first.body {
            Body::OpenRequest(open) => open,
            _ => crate::OpenRequest::default(),
        };
        let response = OpenResponse {
            codepage: open.codepage,
            client_id: Some(open.client_id).filter(|id| !id.is_empty()),
            request_file_id: open.request_file_id,
            server_id: &self.config.server_id,
            reference_time: now,
            version: open.version,
        };
        Message::new(first.transaction_id, Body::OpenResponse(response))
            .encode(&mut session.payload);
        let mut requests = Vec::new();
        for (at, message) in file.iter().enumerate() {
            let is_first = at == 0;
            let is_last = at + 1 == file.len();
            match self.objection(message, first, is_first, is_last) {
                Some(number) => self.refuse(&mut session, message, number),
                None if message.body.is_request() => {
                    requests.push(Request {
                        id: RequestId(session.requests.len()),
                        body: message.body,
                    });
                    session.requests.push(Pending {
                        transaction: message.transaction_id.to_vec(),
                        group: message.group,
                        tag: message.body.tag(),
                        answered: false,
                    });
                }
                None => {}
            }
        }
        self.session = Some(session);
        Ok(requests)
    }

    /// Answers a request, more than once if it asked for a list of periods. Refusals and acknowledgements
    /// are answers too, see [`Self::attend`].
    ///
    /// # Errors
    /// When the request is unknown or the message does not answer it; the caller is at fault.
    pub fn answer(&mut self, request: RequestId, body: Body<'_>) -> Result<(), AnswerError> {
        let Session {
            payload, requests, ..
        } = self.session.as_mut().ok_or(AnswerError::NoSuchRequest)?;
        let request = requests
            .get_mut(request.0)
            .ok_or(AnswerError::NoSuchRequest)?;
        if !body.answers(request.tag) {
            return Err(AnswerError::WrongKind);
        }
        request.answered = true;
        Message {
            group: request.group,
            ..Message::new(&request.transaction, body)
        }
        .encode(payload);
        Ok(())
    }

    /// Answers a request with an acknowledgement or a refusal.
    ///
    /// # Errors
    /// When the request is unknown; the caller is at fault.
    pub fn attend(
        &mut self,
        request: RequestId,
        number: AttentionNumber,
    ) -> Result<(), AnswerError> {
        let server_id = self.config.server_id.clone();
        let obis = number.obis();
        self.answer(request, attention(&server_id, &obis))
    }

    /// The payload to send, once every request has its answer.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let session = self
            .session
            .take_if(|session| session.requests.iter().all(|request| request.answered))?;
        let mut payload = session.payload;
        let body = Body::CloseResponse(CloseResponse::default());
        Message::new(&session.close, body).encode(&mut payload);
        Some(payload)
    }

    /// What speaks against executing `message`.
    fn objection(
        &self,
        message: &Message<'_>,
        first: &Message<'_>,
        is_first: bool,
        is_last: bool,
    ) -> Option<AttentionNumber> {
        let opens = matches!(message.body, Body::OpenRequest(_));
        let closes = matches!(message.body, Body::CloseRequest(_));
        let access = message.body.access();
        let opened = first.body.access();
        let open_is_good = first.is_intact() && matches!(first.body, Body::OpenRequest(_));
        let other = |id: Option<&[u8]>| id.is_some_and(|id| id != self.config.server_id);
        let allowed = match &self.config.credentials {
            Some((username, password)) => [access, opened].iter().any(|access| {
                access.username == Some(username) && access.password == Some(password)
            }),
            None => true,
        };
        if !message.is_intact() {
            Some(AttentionNumber::CHECKSUM)
        } else if opens != is_first || closes && !is_last || !open_is_good {
            Some(AttentionNumber::UNEXPECTED_MESSAGE)
        } else if is_last && !closes {
            Some(AttentionNumber::NOT_CLOSED)
        } else if other(access.server_id) || other(opened.server_id) {
            Some(AttentionNumber::NO_SUCH_SERVER)
        } else if !(opens || closes || message.body.is_request()) {
            Some(AttentionNumber::UNEXPECTED_MESSAGE)
        } else if message.body.is_request() && !allowed {
            Some(AttentionNumber::ACCESS_DENIED)
        } else {
            None
        }
    }

    fn refuse(&self, session: &mut Session, message: &Message<'_>, number: AttentionNumber) {
        Message {
            group: message.group,
            ..Message::new(
                message.transaction_id,
                attention(&self.config.server_id, &number.obis()),
            )
        }
        .encode(&mut session.payload);
    }
}

fn attention<'a>(server_id: &'a [u8], number: &'a [u8]) -> Body<'a> {
    Body::Attention(Attention {
        server_id,
        number,
        message: None,
        details: None,
    })
}
