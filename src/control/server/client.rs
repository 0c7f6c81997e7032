//! One client of the control socket: what it has asked, and what it has yet to read.

use std::io::{ErrorKind, Read, Write};

use mio::net::UnixStream;
use serde_json::Value;

use crate::base::Instant;
use crate::control::protocol::{Decoder, MAX_REQUEST, Request, Response, encode};
use crate::io::sys::Peer;

use super::{Answer, Handler};

/// Steps (a request answered, a part sent, a read) a client is given before the others have their turn.
const STEPS: usize = 64;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How a client stands after it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// For its descriptor: it will be heard of.
    Waits,
    /// There is more to do for it at once.
    HasMore,
    /// It is gone, or not worth keeping.
    Over,
}

/// One client.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    /// When it last asked something or took something.
    pub(super) heard: Instant,
    /// Whether it is to be served again without an event.
    pub(super) has_more: bool,
    peer: Peer,
    input: Decoder,
    /// It has said all it will.
    ended: bool,
    output: Vec<u8>,
    /// How much of the output it has taken.
    taken: usize,
    parts: Option<Box<dyn Iterator<Item = Value> + Send>>,
    /// It is hung up on when it has taken its output.
    last_words: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream, peer: Peer, now: Instant) -> Self {
        Client {
            stream,
            heard: now,
            has_more: false,
            peer,
            input: Decoder::new(MAX_REQUEST),
            ended: false,
            output: Vec::new(),
            taken: 0,
            parts: None,
            last_words: false,
        }
    }

    /// Does what can be done: sends, answers, reads, in this order, so that what waits for a slow reader is
    /// never more than one response.
    pub(super) fn serve(&mut self, now: Instant, handler: &mut Handler<'_>) -> Standing {
        for _ in 0..STEPS {
            match self.flush(now) {
                Ok(true) => {}
                Ok(false) => return Standing::Waits,
                Err(_) => return Standing::Over,
            }
            if self.last_words {
                return Standing::Over;
            }
            if self.parts.is_some() {
                self.next_part();
            } else if !self.answer_next(now, handler) {
                match self.read() {
                    Ok(true) => {}
                    Ok(false) if self.ended => return Standing::Over,
                    Ok(false) => return Standing::Waits,
                    Err(_) => return Standing::Over,
                }
            }
        }
        Standing::HasMore
    }

    /// Sends what waits; whether all of it went.
    fn flush(&mut self, now: Instant) -> std::io::Result<bool> {
        while self.taken < self.output.len() {
            match self.stream.write(&self.output[self.taken..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.taken += n;
                    self.heard = now;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.taken = 0;
        self.output.clear();
        Ok(true)
    }

    /// Answers the next request, if one has come whole.
    fn answer_next(&mut self, now: Instant, handler: &mut Handler<'_>) -> bool {
        let request = match self.input.message() {
            Ok(None) => return false,
            Ok(Some(text)) => Request::parse(text),
            Err(e) => {
                self.last_words = true;
                self.say(&Response::Error { error: e.to_string() });
                return true;
            }
        };
        self.heard = now;
        let answer = request.map_or_else(Answer::Refused, |r| handler(r.verb, self.peer));
        match answer {
            Answer::Done(value) => self.say(&Response::Done { value }),
            Answer::Refused(error) => self.say(&Response::Error { error }),
            Answer::Parts(parts) => self.parts = Some(parts),
        }
        true
    }

    fn next_part(&mut self) {
        match self.parts.as_mut().and_then(Iterator::next) {
            Some(value) => self.say(&Response::Part { value }),
            None => {
                self.parts = None;
                self.say(&Response::Done { value: Value::Null });
            }
        }
    }

    fn say(&mut self, response: &Response) {
        match encode(response) {
            Some(bytes) => self.output.extend_from_slice(&bytes),
            None => {
                self.parts = None;
                let error = "the answer is too long to be sent at once: ask for less of it".to_owned();
                self.output.extend(encode(&Response::Error { error }).unwrap_or_default());
            }
        }
    }

    /// Reads once; whether anything came.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(n) => {
                    self.input.push(&chunk[..n]);
                    return Ok(true);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
