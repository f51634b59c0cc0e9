// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP/1.1 responses of the gateway's HAN server, read with bounds (RFC 9112 §6).

use thiserror::Error;

/// The longest status line with header fields, in octets.
pub const MAX_HEAD: usize = 64 * 1024;
/// The longest body, in octets.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// A complete response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header fields in order; names as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body, with chunking undone.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first value of a header field, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// A response that cannot be read; the server is at fault.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HttpError {
    /// Status line or header fields are malformed.
    #[error("the head is malformed: {0}")]
    Head(String),
    /// Status line and header fields exceed [`MAX_HEAD`].
    #[error("the head exceeds {MAX_HEAD} octets")]
    HeadTooLong,
    /// The body exceeds [`MAX_BODY`].
    #[error("the body exceeds {MAX_BODY} octets")]
    BodyTooLong,
    /// Content-Length is not a number, or given twice with different values, or next to chunking.
    #[error("the body's length is told wrongly")]
    Length,
    /// A chunk is malformed.
    #[error("a chunk is malformed")]
    Chunk,
}

/// Reads a response from the front of `input`; returns it and the octets it took, or `None` while octets are missing.
///
/// `head_only` is the answer to HEAD; `ended` tells that no more octets will come.
pub(crate) fn parse_response(
    input: &[u8],
    head_only: bool,
    ended: bool,
) -> Result<Option<(HttpResponse, usize)>, HttpError> {
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some((mut response, head_len)) = parse_head(rest)? else {
            return Ok(None);
        };
        let rest = rest.get(head_len..).unwrap_or_default();
        at += head_len;
        // Interim responses precede the final one (RFC 9110 §15.2).
        if (100..200).contains(&response.status) && response.status != 101 {
            continue;
        }
        let bodiless = head_only || matches!(response.status, 101 | 204 | 304);
        let body = match body_length(&response)? {
            _ if bodiless => Some((Vec::new(), 0)),
            BodyLength::Chunked => parse_chunks(rest)?,
            BodyLength::Exactly(len) if len > MAX_BODY => return Err(HttpError::BodyTooLong),
            BodyLength::Exactly(len) => rest.get(..len).map(|body| (body.to_vec(), len)),
            BodyLength::UntilEnd if rest.len() > MAX_BODY => return Err(HttpError::BodyTooLong),
            BodyLength::UntilEnd => ended.then(|| (rest.to_vec(), rest.len())),
        };
        return Ok(body.map(|(body, len)| {
            response.body = body;
            (response, at + len)
        }));
    }
}

fn parse_head(input: &[u8]) -> Result<Option<(HttpResponse, usize)>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut fields);
    match head.parse(input) {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => {
            let headers = head
                .headers
                .iter()
                .map(|field| (field.name.to_owned(), field.value.to_vec()))
                .collect();
            Ok(head.code.map(|status| {
                (
                    HttpResponse {
                        status,
                        headers,
                        body: Vec::new(),
                    },
                    len,
                )
            }))
        }
        Ok(httparse::Status::Partial) if input.len() <= MAX_HEAD => Ok(None),
        Ok(_) => Err(HttpError::HeadTooLong),
        Err(error) => Err(HttpError::Head(error.to_string().to_lowercase())),
    }
}

enum BodyLength {
    Chunked,
    Exactly(usize),
    UntilEnd,
}

fn body_length(response: &HttpResponse) -> Result<BodyLength, HttpError> {
    let values = |name: &'static str| {
        response
            .headers
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let mut length = None;
    for value in values("content-length") {
        let digits = std::str::from_utf8(value).map_err(|_| HttpError::Length)?;
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(HttpError::Length);
        }
        let told: usize = digits.parse().map_err(|_| HttpError::BodyTooLong)?;
        if length.replace(told).is_some_and(|before| before != told) {
            return Err(HttpError::Length);
        }
    }
    let mut codings = values("transfer-encoding").peekable();
    if codings.peek().is_some() {
        let chunked = codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return if chunked && length.is_none() {
            Ok(BodyLength::Chunked)
        } else {
            Err(HttpError::Length)
        };
    }
    Ok(length.map_or(BodyLength::UntilEnd, BodyLength::Exactly))
}

fn parse_chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let (line_len, len) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((line_len, len))) => (line_len, len),
            Ok(httparse::Status::Partial) if rest.len() <= MAX_CHUNK_LINE => return Ok(None),
            _ => return Err(HttpError::Chunk),
        };
        let len = usize::try_from(len)
            .ok()
            .filter(|len| body.len().saturating_add(*len) <= MAX_BODY);
        let Some(len) = len else {
            return Err(HttpError::BodyTooLong);
        };
        at += line_len;
        if len == 0 {
            return Ok(parse_trailer(input.get(at..).unwrap_or_default())?
                .map(|trailer| (body, at + trailer)));
        }
        let Some(chunk) = input.get(at..at + len) else {
            return Ok(None);
        };
        match input.get(at + len..at + len + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(HttpError::Chunk),
            None => return Ok(None),
        }
        body.extend_from_slice(chunk);
        at += len + 2;
    }
}

/// Length of the trailer fields and the empty line behind the last chunk.
fn parse_trailer(input: &[u8]) -> Result<Option<usize>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((len, _))) => Ok(Some(len)),
        Ok(httparse::Status::Partial) if input.len() <= MAX_HEAD => Ok(None),
        Ok(httparse::Status::Partial) => Err(HttpError::HeadTooLong),
        Err(_) => Err(HttpError::Chunk),
    }
}

/// Size in hex, extensions, line end.
const MAX_CHUNK_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &str, ended: bool) -> Result<Option<(HttpResponse, usize)>, HttpError> {
        parse_response(input.as_bytes(), false, ended)
    }

    #[test]
    fn content_length_and_every_prefix_waits() {
        let wire = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\n{\"a\"}rest";
        let (response, taken) = parse(wire, false).unwrap().unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (404, &b"{\"a\"}"[..])
        );
        assert_eq!(&wire[taken..], "rest");
        assert_eq!(response.header("CONTENT-TYPE"), Some("application/json"));
        for end in 0..taken {
            assert_eq!(parse(&wire[..end], false), Ok(None), "prefix of {end}");
        }
        assert_eq!(
            parse_response(wire.as_bytes(), true, false)
                .unwrap()
                .unwrap()
                .1,
            taken - 5
        );
    }

    #[test]
    fn chunks_with_extensions_and_trailers_and_every_prefix_waits() {
        let wire = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
        let (response, taken) = parse(wire, false).unwrap().unwrap();
        assert_eq!(
            (response.body.as_slice(), taken),
            (&b"abc0123456789"[..], wire.len())
        );
        for end in 0..taken {
            assert_eq!(parse(&wire[..end], false), Ok(None), "prefix of {end}");
        }
    }

    #[test]
    fn until_end_and_interim_and_bodiless() {
        let wire = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nall";
        assert_eq!(parse(wire, false), Ok(None));
        assert_eq!(parse(wire, true).unwrap().unwrap().0.body, b"all");
        let wire = "HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(wire, false).unwrap().unwrap().1, wire.len());
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let head = |fields: &str| {
            parse(
                &format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n0\r\n\r\n"),
                true,
            )
        };
        assert_eq!(head("Content-Length: -1"), Err(HttpError::Length));
        assert_eq!(head("Content-Length: +1"), Err(HttpError::Length));
        assert_eq!(
            head("Content-Length: 1\r\nContent-Length: 2"),
            Err(HttpError::Length)
        );
        assert_eq!(
            head("Content-Length: 1\r\nTransfer-Encoding: chunked"),
            Err(HttpError::Length)
        );
        assert_eq!(
            head("Content-Length: 99999999999"),
            Err(HttpError::BodyTooLong)
        );
        assert_eq!(head("Transfer-Encoding: gzip"), Err(HttpError::Length));
        let chunk = |chunk: &str| {
            parse(
                &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
                true,
            )
        };
        assert_eq!(chunk("zz\r\n"), Err(HttpError::Chunk));
        assert_eq!(chunk("1\r\nabc"), Err(HttpError::Chunk));
        assert_eq!(chunk("ffffffffffff\r\n"), Err(HttpError::BodyTooLong));
        assert!(matches!(
            parse("nonsense\r\n\r\n", false),
            Err(HttpError::Head(_))
        ));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
        assert_eq!(parse(&endless, false), Err(HttpError::HeadTooLong));
    }
}
