//! One client of the control socket: what it has asked, and what it has yet to read.

use std::io::{ErrorKind, Read, Write};

use crossbeam_channel::{Receiver, TryRecvError};
use mio::net::UnixStream;
use serde_json::Value;

use crate::base::Instant;
use crate::config::Refusal;
use crate::control::protocol::{Decoder, MAX_REQUEST, Request, Response, empty, encode};
use crate::io::sys::Peer;

use super::{Answer, FEED_PAUSE, Fed, Feed, Handler, PATIENCE};

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

/// What of the answer to the last request is still to come.
enum Rest {
    Nothing,
    /// With how it ends.
    Parts(Box<dyn Iterator<Item = Value> + Send>, Option<Refusal>),
    Later(Receiver<Answer>),
    /// With the time it is asked next.
    Feed(Box<dyn Feed>, Instant),
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
    rest: Rest,
    /// It is hung up on when it has taken its output.
    last_words: bool,
    /// What it follows ends because the router does.
    winds_up: bool,
    /// What it follows is about to end.
    closing: bool,
    /// It is listened to as a member of the group only.
    pub(super) guest: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream, peer: Peer, guest: bool, now: Instant) -> Self {
        Client {
            stream,
            heard: now,
            has_more: false,
            peer,
            input: Decoder::new(MAX_REQUEST),
            ended: false,
            output: Vec::new(),
            taken: 0,
            rest: Rest::Nothing,
            last_words: false,
            winds_up: false,
            closing: false,
            guest,
        }
    }

    /// How much of what it has said is kept here until all of it has come.
    pub(super) fn held(&self) -> usize {
        self.input.len()
    }

    /// Does what can be done: sends, answers, reads, in this order, so that what waits for a slow reader is
    /// never more than one response. `room` is how much may be kept of a request that has not come whole.
    pub(super) fn serve(&mut self, now: Instant, room: usize, handler: &mut Handler<'_>) -> Standing {
        for _ in 0..STEPS {
            match self.flush(now) {
                Ok(true) => {}
                Ok(false) => return Standing::Waits,
                Err(_) => return Standing::Over,
            }
            if self.last_words {
                return Standing::Over;
            }
            let said = match self.rest {
                Rest::Nothing => self.answer_next(now, handler),
                // A part may take long to make: one, and the others have their turn.
                Rest::Parts(..) => {
                    self.go_on(now);
                    return Standing::HasMore;
                }
                _ => self.go_on(now),
            };
            if !said {
                // While it waits for an answer, what it sends is left in the socket, but for a piece that tells whether
                // it is still there.
                let waits = !matches!(self.rest, Rest::Nothing);
                if self.input.len() > room.max(CHUNK) {
                    self.last_words = true;
                    let error =
                        "too much is being asked at once: try again when the others have been answered";
                    self.say(&Response::Error { error: error.to_owned(), errno: None });
                    continue;
                }
                match self.read() {
                    Ok(true) if waits && !self.input.is_empty() => return Standing::Waits,
                    Ok(true) => {}
                    // Who will ask nothing more may want to hear how it ends.
                    Ok(false) if self.ended && self.closing => return Standing::Waits,
                    Ok(false) if self.ended && self.close_feed() => {}
                    Ok(false) if self.ended => return Standing::Over,
                    Ok(false) => return Standing::Waits,
                    Err(_) => return Standing::Over,
                }
            }
        }
        Standing::HasMore
    }

    /// Has what it follows say what is left; whether there is anything.
    fn close_feed(&mut self) -> bool {
        if let Rest::Feed(feed, at) = &mut self.rest {
            self.closing = feed.close();
            *at = Instant::ZERO;
        }
        self.closing
    }

    /// Has what it follows end, because the router does.
    pub(super) fn wind_up(&mut self) {
        self.winds_up = self.closing || self.close_feed();
    }

    /// Whether it is yet to be told something of that.
    pub(super) fn winds_up(&self) -> bool {
        self.winds_up
    }

    /// Whether it waits for nothing: then its time runs.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.rest, Rest::Later(_) | Rest::Feed(..)) || self.taken < self.output.len()
    }

    /// Whether there may be something for it that no descriptor tells of.
    pub(super) fn is_served(&self, now: Instant) -> bool {
        match &self.rest {
            Rest::Later(answer) => !answer.is_empty(),
            Rest::Feed(_, at) => self.output.is_empty() && *at <= now,
            _ => false,
        }
    }

    /// When to look for that again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        match &self.rest {
            Rest::Feed(_, at) if self.output.is_empty() => Some(*at),
            _ => None,
        }
    }

    /// Tells it why it is sent away, if it has read what was said before.
    pub(super) fn told_off(&mut self) {
        if self.taken == self.output.len() && !self.last_words {
            let error = format!(
                "nothing was asked for {} s: the router hangs up; connect again to ask more",
                PATIENCE.as_secs()
            );
            self.say(&Response::Error { error, errno: None });
            // As far as the socket takes it at once.
            let _ = self.stream.write(&self.output);
        }
    }

    /// The answer's next piece, if it is there.
    fn go_on(&mut self, now: Instant) -> bool {
        match &mut self.rest {
            Rest::Nothing => false,
            Rest::Parts(parts, no) => {
                match (parts.next(), no.take()) {
                    (Some(value), end) => {
                        *no = end;
                        self.say(&Response::Part { value });
                    }
                    (None, None) => self.finish(Value::Null),
                    (None, Some(no)) => self.begin(Answer::Refused(no), now),
                }
                true
            }
            Rest::Later(answer) => match answer.try_recv() {
                Ok(answer) => {
                    self.begin(answer, now);
                    true
                }
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => {
                    self.begin(Answer::no("the router stops, and did not come to this any more"), now);
                    true
                }
            },
            Rest::Feed(_, at) if *at > now => false,
            Rest::Feed(feed, at) => match feed.poll(now) {
                Fed::Part(value) => {
                    self.say(&Response::Part { value });
                    true
                }
                Fed::Nothing => {
                    *at = now + FEED_PAUSE;
                    false
                }
                // It has not had all that it asked for.
                Fed::End(value) if self.winds_up => {
                    self.rest = Rest::Nothing;
                    self.last_words = true;
                    self.say(&Response::Part { value });
                    true
                }
                Fed::End(value) => {
                    self.finish(value);
                    true
                }
            },
        }
    }

    fn begin(&mut self, answer: Answer, now: Instant) {
        self.rest = Rest::Nothing;
        match answer {
            Answer::Done(value) => self.finish(value),
            Answer::Refused(no) => {
                let no = no.plain();
                let errno = no.errno.map(str::to_owned);
                self.say(&Response::Error { error: no.text, errno });
            }
            Answer::Parts(parts) => self.rest = Rest::Parts(parts, None),
            Answer::PartsBut(parts, no) => self.rest = Rest::Parts(parts, Some(no)),
            Answer::Later(answer) => self.rest = Rest::Later(answer),
            Answer::Feed(feed) => self.rest = Rest::Feed(feed, now),
        }
    }

    fn finish(&mut self, value: Value) {
        self.rest = Rest::Nothing;
        self.closing = false;
        self.say(&Response::Done { value });
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
        empty(&mut self.output);
        Ok(true)
    }

    /// Answers the next request, if one has come whole.
    fn answer_next(&mut self, now: Instant, handler: &mut Handler<'_>) -> bool {
        let request = match self.input.message() {
            Ok(None) => return false,
            Ok(Some(text)) => Request::parse(text),
            Err(e) => {
                self.last_words = true;
                self.say(&Response::Error { error: e.to_string(), errno: None });
                return true;
            }
        };
        self.input.shrink();
        self.heard = now;
        let answer = request.map_or_else(Answer::no, |r| handler(r.verb, self.peer));
        self.begin(answer, now);
        true
    }

    fn say(&mut self, response: &Response) {
        match encode(response) {
            Some(bytes) => self.output.extend_from_slice(&bytes),
            None => {
                self.rest = Rest::Nothing;
                let error = "the answer is too long to be sent at once: ask for less of it".to_owned();
                self.output.extend(encode(&Response::Error { error, errno: None }).unwrap_or_default());
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
