// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asking side, as a gateway on its wired LMN (BSI TR-03109-1 detail specifications v2.0 §9): a file of
//! requests goes out, answers come back in one file or several, matched by transaction id.
//!
//! The machine speaks payloads; whether they travel in transport version 1 or in TLS is up to the caller.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use smgw_units::Nanos;

use crate::{
    Attention, Body, CloseRequest, Message, OpenRequest, OpenResponse, ParseError, Quirks, messages,
};

/// What a client is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Its id.
    pub client_id: Vec<u8>,
    /// Transaction id of the first message; each further message has the next one. Give every client
    /// another one, so that nobody takes an old answer for a new one.
    pub first_transaction: u32,
    /// How long after a request the last answer may come.
    pub timeout: Duration,
    /// Deviations of the server to tolerate.
    pub quirks: Quirks,
}

/// Why a client does not ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AskError {
    /// It still waits for answers.
    Busy,
    /// One of the bodies, counted from 0, is no request.
    NoRequest(usize),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("answers to earlier requests are still awaited"),
            Self::NoRequest(at) => write!(f, "body {at} is no request"),
        }
    }
}

impl core::error::Error for AskError {}

/// What came back. Requests are counted from 0 in the order they were given to [`Client::ask`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// The server opened its file.
    Opened(OpenResponse<'a>),
    /// An answer; a request for a profile list gets one for each period.
    Answer {
        /// Which request.
        request: usize,
        /// The answer.
        body: Body<'a>,
    },
    /// The request is, or will be, done, see [`Attention::meaning`].
    Acknowledged {
        /// Which request.
        request: usize,
        /// The server's words.
        attention: Attention<'a>,
    },
    /// The server refuses, see [`Attention::meaning`].
    Refused {
        /// Which request; the whole file if none.
        request: Option<usize>,
        /// The server's words.
        attention: Attention<'a>,
    },
    /// A message that answers nothing that was asked; the server is at fault, or late.
    Ignored {
        /// The message.
        message: Message<'a>,
        /// What is wrong with it.
        reason: Ignored,
    },
    /// The server closed its file: no more answers will come.
    Closed {
        /// Requests without an answer.
        unanswered: Vec<usize>,
    },
}

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ignored {
    /// Its checksum is wrong.
    BadCrc,
    /// Its transaction id, or the file id it opens with, is none of those awaited.
    Stray,
    /// It is of a kind that does not answer the request with its transaction id.
    WrongKind,
}

/// Answers are late.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimedOut {
    /// Requests without an answer; none if only the end of the file is missing.
    pub unanswered: Vec<usize>,
}

/// The machine of a client.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
    next_transaction: u32,
    outgoing: Option<Vec<u8>>,
    session: Option<Session>,
}

#[derive(Clone, Debug)]
struct Session {
    open: [u8; 4],
    close: [u8; 4],
    requests: Vec<Pending>,
    deadline: Nanos,
}

#[derive(Clone, Debug)]
struct Pending {
    transaction: [u8; 4],
    tag: u32,
    answered: bool,
}

impl Client {
    /// A client that has asked nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            next_transaction: config.first_transaction,
            config,
            outgoing: None,
            session: None,
        }
    }

    /// Asks `server` (any, if none is named) all of `requests` in one file.
    ///
    /// # Errors
    /// While answers are awaited, and when a body is no request; the caller is at fault.
    pub fn ask(
        &mut self,
        now: Nanos,
        server: Option<&[u8]>,
        requests: &[Body<'_>],
    ) -> Result<(), AskError> {
        if self.session.is_some() {
            return Err(AskError::Busy);
        }
        if let Some(at) = requests.iter().position(|body| !body.is_request()) {
            return Err(AskError::NoRequest(at));
        }
        let mut payload = Vec::new();
        let open = self.transaction();
        let body = OpenRequest {
            client_id: &self.config.client_id,
            request_file_id: &open,
            server_id: server,
            ..OpenRequest::default()
        };
        Message::new(&open, Body::OpenRequest(body)).encode(&mut payload);
        let requests = requests
            .iter()
            .map(|body| {
                let transaction = self.transaction();
                Message::new(&transaction, *body).encode(&mut payload);
                Pending {
                    transaction,
                    tag: body.tag(),
                    answered: false,
                }
            })
            .collect();
        let close = self.transaction();
        let body = Body::CloseRequest(CloseRequest::default());
        Message::new(&close, body).encode(&mut payload);
        self.outgoing = Some(payload);
        self.session = Some(Session {
            open,
            close,
            requests,
            deadline: now + self.config.timeout,
        });
        Ok(())
    }

    /// The payload to send, once.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.take()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.session.as_ref().map(|session| session.deadline)
    }

    /// Gives up once the deadline has passed.
    pub fn handle_timeout(&mut self, now: Nanos) -> Option<TimedOut> {
        let session = self.session.take_if(|session| now >= session.deadline)?;
        self.outgoing = None;
        Some(TimedOut {
            unanswered: session.unanswered(),
        })
    }

    /// Takes a payload of the server.
    ///
    /// # Errors
    /// The first place where the payload does not follow SML. Nothing of it has been taken then, and
    /// answers are still awaited.
    pub fn handle_payload<'a>(&mut self, payload: &'a [u8]) -> Result<Vec<Event<'a>>, ParseError> {
        let messages: Vec<_> = messages(payload, self.config.quirks).collect::<Result<_, _>>()?;
        Ok(messages
            .into_iter()
            .map(|message| self.handle_message(message))
            .collect())
    }

    fn handle_message<'a>(&mut self, message: Message<'a>) -> Event<'a> {
        let ignored = |reason| Event::Ignored { message, reason };
        if !message.is_intact() {
            return ignored(Ignored::BadCrc);
        }
        let Some(session) = &mut self.session else {
            return ignored(Ignored::Stray);
        };
        let id = message.transaction_id;
        let framing = id == session.open || id == session.close;
        let asked = session
            .requests
            .iter_mut()
            .enumerate()
            .find(|(_, request)| id == request.transaction);
        match (message.body, asked) {
            (Body::OpenResponse(open), _) if id == session.open => {
                if open.request_file_id == session.open {
                    Event::Opened(open)
                } else {
                    ignored(Ignored::Stray)
                }
            }
            (Body::CloseResponse(_), _) if id == session.close => {
                let unanswered = session.unanswered();
                self.session = None;
                Event::Closed { unanswered }
            }
            (Body::Attention(attention), _) if framing => Event::Refused {
                request: None,
                attention,
            },
            (Body::Attention(attention), Some((request, pending))) => {
                pending.answered = true;
                match attention.meaning() {
                    Some(number) if number.is_acknowledgement() => {
                        Event::Acknowledged { request, attention }
                    }
                    _ => Event::Refused {
                        request: Some(request),
                        attention,
                    },
                }
            }
            (body, Some((request, pending))) if body.answers(pending.tag) => {
                pending.answered = true;
                Event::Answer { request, body }
            }
            (_, Some(_)) => ignored(Ignored::WrongKind),
            _ if framing => ignored(Ignored::WrongKind),
            _ => ignored(Ignored::Stray),
        }
    }

    fn transaction(&mut self) -> [u8; 4] {
        let transaction = self.next_transaction;
        self.next_transaction = transaction.wrapping_add(1);
        transaction.to_be_bytes()
    }
}

impl Session {
    fn unanswered(&self) -> Vec<usize> {
        let requests = self.requests.iter().enumerate();
        requests
            .filter(|(_, request)| !request.answered)
            .map(|(at, _)| at)
            .collect()
    }
}
