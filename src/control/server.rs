//! The router's end of the control socket.
//!
//! An event loop drives it: it owns descriptors and no thread, and says when it wants to be called. Nothing a
//! client does holds it up: descriptors don't block, what a client may send and has not read is bounded, each turn
//! serves a client only so much, and one that neither asks nor reads is shown out.
//!
//! # The socket file
//!
//! Its mode is 0600, or 0660 where a group may talk to the router too, from the moment anyone can see it: it is bound in a
//! directory of ours with mode 0700 and moved into place. Two routers of a user that start at once take turns by a lock that
//! no other user can take who may not write to the directory.
//! A socket that nobody answers at was left by a process that was killed, and is replaced; one that answers is another
//! router's. Only the same user, root and members of the group are listened to. Dropping the server removes the file, if it is
//! still ours and that is allowed: who gave up root may have to leave it behind, for the next one to replace.
//!
//! It is put in its place ([`Server::reserve`]) as long as that is allowed, and listened at ([`Reserved::listen`]) when there
//! is somebody to answer.

mod client;
mod place;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use serde::Serialize;
use serde_json::Value;

use crate::base::Instant;
use crate::config::Refusal;
use crate::io::sys::{Peer, effective_user, in_group, peer_of};

use super::protocol::{LENGTH, MAX_REQUEST, Response, Verb, encode};
use client::{Client, Standing};
pub use place::{BindError, MAX_PATH};

/// Clients at once; one more is told so and sent away.
pub const MAX_CLIENTS: usize = 32;

/// How many of them may be members of the group: they can't keep the router's own user and root out.
pub const MAX_GUESTS: usize = 24;

/// What may wait of requests that have not come whole, of all clients together, in bytes.
pub const MAX_HELD: usize = 2 * (LENGTH + MAX_REQUEST);

/// Connections taken in one after the other before those that are there have their turn.
const AT_ONCE: usize = 64;

/// A client that neither asks anything nor takes its answers for this long is sent away.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How soon to try again to accept when the process has run out of descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// The handler's answer to a request.
pub enum Answer {
    /// All of it.
    Done(Value),
    /// A list in parts, each fetched when the client has read those before it.
    Parts(Box<dyn Iterator<Item = Value> + Send>),
    /// The same, and then why it comes to nothing.
    PartsBut(Box<dyn Iterator<Item = Value> + Send>, Refusal),
    /// There is none, and why.
    Refused(Refusal),
    /// Somebody else is making it, and wakes the event loop when it is there. Gone without one: it never will be.
    Later(Receiver<Answer>),
    /// What happens from now on, until the client hangs up.
    Feed(Box<dyn Feed>),
}

/// Something that is followed live. Dropping it ends whatever it costs.
pub trait Feed: Send {
    /// What there is to say now. Asked when the client has taken what was said before: what happens meanwhile it keeps,
    /// within a bound, and says what it lost.
    fn poll(&mut self, now: Instant) -> Fed;

    /// Nobody wants more of it: what is left to be said is to be said now, and then [`Fed::End`]. `false`: there is nothing.
    fn close(&mut self) -> bool {
        false
    }
}

/// What a [`Feed`] has to say.
pub enum Fed {
    /// A list of what has happened.
    Part(Value),
    /// Nothing yet.
    Nothing,
    /// Nothing more will: the answer ends with this.
    End(Value),
}

/// Elements in one part of a list.
const PART: usize = 1024;

/// How often feeds are asked.
pub const FEED_PAUSE: Duration = Duration::from_millis(40);

impl Answer {
    /// No, and why: one sentence that says what to do.
    pub fn no(why: impl Into<Refusal>) -> Self {
        Answer::Refused(why.into())
    }

    /// A list, in parts.
    pub fn list<T: Serialize + Send + 'static>(values: Vec<T>) -> Self {
        let mut values = values.into_iter();
        let parts = std::iter::from_fn(move || {
            let part: Vec<_> =
                values.by_ref().take(PART).map(|v| serde_json::to_value(v).unwrap_or_default()).collect();
            (!part.is_empty()).then_some(Value::Array(part))
        });
        Answer::Parts(Box::new(parts))
    }

    /// A text, as a list of its lines, in parts.
    pub fn lines(text: String) -> Self {
        let mut at = 0;
        let parts = std::iter::from_fn(move || {
            let mut lines = Vec::new();
            while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty() && lines.len() < PART) {
                let end = rest.find('\n').unwrap_or(rest.len());
                lines.push(Value::from(&rest[..end]));
                at += end + 1;
            }
            (!lines.is_empty()).then_some(Value::Array(lines))
        });
        Answer::Parts(Box::new(parts))
    }

    /// All of it.
    pub fn done(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => Answer::Done(value),
            Err(e) => Answer::no(format!("the answer can't be written as JSON: {e}")),
        }
    }
}

/// What answers requests.
pub type Handler<'a> = dyn FnMut(Verb, Peer) -> Answer + 'a;

/// Who may talk to the router besides root and its own user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// The user that the router will be, if it is another than now.
    pub user: Option<u32>,
    /// Members of this group.
    pub group: Option<u32>,
}

/// A control socket that is in its place and not yet listened at: whoever connects is refused.
pub struct Reserved {
    placed: place::Placed,
    path: PathBuf,
    group: Option<u32>,
}

impl Reserved {
    /// Listens. The router should forward already: whoever can connect takes it for running.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(self) -> Result<Server, BindError> {
        let (listener, identity) = self.placed.listen()?;
        Ok(Server {
            listener,
            path: self.path,
            identity,
            group: self.group,
            clients: (0..MAX_CLIENTS).map(|_| None).collect(),
            registered: None,
            accept_again: None,
            census: Arc::default(),
        })
    }
}

/// Who has talked to a router, for its counters.
#[derive(Debug, Default)]
pub struct Census {
    /// Clients that are connected now.
    pub clients: AtomicU64,
    /// Clients that were sent away.
    pub refused: AtomicU64,
    /// Requests that were made.
    pub requests: AtomicU64,
}

/// The control socket and who is talking over it.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket file: what tells ours from another's of the same name.
    identity: (u64, u64),
    /// Whose members are listened to, too.
    group: Option<u32>,
    clients: Vec<Option<Client>>,
    registered: Option<(Registry, usize)>,
    accept_again: Option<Instant>,
    census: Arc<Census>,
}

impl Server {
    /// Binds the socket of the router called `name`, making its directory if there is none, and listens at once.
    ///
    /// # Errors
    /// Another router answers there, or the path can't be used.
    pub fn bind(path: &Path, name: &str) -> Result<Self, BindError> {
        Self::reserve(path, name, Access::default())?.listen()
    }

    /// Binds the socket, making its directory if there is none, and does not listen yet. Until it does, other routers that
    /// want to put a socket into the same directory wait.
    ///
    /// # Errors
    /// Another router answers there, or the path can't be used.
    pub fn reserve(path: &Path, name: &str, access: Access) -> Result<Reserved, BindError> {
        let placed = place::bind(path, name, access)?;
        Ok(Reserved { placed, path: path.to_owned(), group: access.group })
    }

    /// Looks whether the socket could be bound, and binds nothing: for a word about a router that runs
    /// already, or a directory that can't be written to, before anything else is touched.
    ///
    /// # Errors
    /// As of [`Server::bind`].
    pub fn look(path: &Path, name: &str) -> Result<(), BindError> {
        place::try_out(path, name)
    }

    /// Has its clients counted here.
    #[must_use]
    pub fn counted_in(mut self, census: Arc<Census>) -> Self {
        self.census = census;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers with a poll. Tokens from `first` on belong to the server: see [`Server::owns`].
    ///
    /// # Errors
    /// As of [`Registry::register`].
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        let registry = registry.try_clone()?;
        registry.register(&mut self.listener, first, Interest::READABLE)?;
        self.registered = Some((registry, first.0));
        Ok(())
    }

    /// Whether an event with this token is the server's.
    pub fn owns(&self, token: Token) -> bool {
        self.slot(token).is_some()
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// Deals with an event of the poll.
    pub fn event(&mut self, token: Token, now: Instant, handler: &mut Handler<'_>) {
        match self.slot(token) {
            Some(0) => self.accept(now),
            Some(n) => self.serve(n - 1, now, handler),
            None => {}
        }
    }

    /// Does what is due: call it once in every turn of the event loop.
    pub fn turn(&mut self, now: Instant, handler: &mut Handler<'_>) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        for slot in 0..self.clients.len() {
            match &self.clients[slot] {
                Some(c) if c.is_idle() && c.heard + PATIENCE <= now => {
                    self.clients[slot].as_mut().map(Client::told_off);
                    self.dismiss(slot);
                }
                Some(c) if c.has_more || c.is_served(now) => self.serve(slot, now, handler),
                _ => {}
            }
        }
    }

    /// Has what is followed live end, because the router does: clients are told what is left of it, and then hung up on.
    pub fn wind_up(&mut self) {
        self.clients.iter_mut().flatten().for_each(Client::wind_up);
    }

    /// Whether there are clients that are yet to be told something of what they followed.
    pub fn winds_up(&self) -> bool {
        self.clients.iter().flatten().any(Client::winds_up)
    }

    /// When [`Server::turn`] has something to do if no event comes.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let clients = self.clients.iter().flatten();
        let due = clients.filter_map(|c| match () {
            () if c.has_more => Some(now),
            () if c.is_idle() => Some(c.heard + PATIENCE),
            () => c.next_look(),
        });
        due.chain(self.accept_again).min()
    }

    /// 0 for the listener, a client's slot and 1 for a client.
    fn slot(&self, token: Token) -> Option<usize> {
        let (_, first) = self.registered.as_ref()?;
        token.0.checked_sub(*first).filter(|n| *n <= MAX_CLIENTS)
    }

    /// Takes in whoever waits: events are edges, so until nobody does, or again in the next turn.
    fn accept(&mut self, now: Instant) {
        self.accept_again = Some(now);
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_again = None;
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_again = Some(now + RETRY);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: mio::net::UnixStream, now: Instant) {
        let Ok(peer) = peer_of(&stream) else { return };
        let member = || self.group.is_some_and(|group| in_group(&stream, group).unwrap_or(false));
        let guest = peer.uid != effective_user() && peer.uid != 0;
        if guest && !member() {
            self.census.refused.fetch_add(1, Relaxed);
            return turn_away(
                stream,
                "only the user that runs the router, its group and root may talk to it",
            );
        }
        let guests = self.clients.iter().flatten().filter(|c| c.guest).count();
        let free = self.clients.iter().position(Option::is_none);
        let Some(slot) = free.filter(|_| !guest || guests < MAX_GUESTS) else {
            self.census.refused.fetch_add(1, Relaxed);
            return turn_away(stream, "the router has as many control connections as it takes: close some");
        };
        let Some((registry, first)) = &self.registered else { return };
        let mut client = Client::new(stream, peer, guest, now);
        let token = Token(first + 1 + slot);
        if registry.register(&mut client.stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
            self.clients[slot] = Some(client);
            self.census.clients.fetch_add(1, Relaxed);
        }
    }

    fn serve(&mut self, slot: usize, now: Instant, handler: &mut Handler<'_>) {
        let others = self.clients.iter().enumerate().filter(|(n, _)| *n != slot);
        let held: usize = others.filter_map(|(_, c)| Some(c.as_ref()?.held())).sum();
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        let census = &self.census;
        let mut counting = |verb, peer| {
            census.requests.fetch_add(1, Relaxed);
            handler(verb, peer)
        };
        match client.serve(now, MAX_HELD.saturating_sub(held), &mut counting) {
            Standing::Waits => client.has_more = false,
            Standing::HasMore => client.has_more = true,
            Standing::Over => self.dismiss(slot),
        }
    }

    fn dismiss(&mut self, slot: usize) {
        if let (Some(mut client), Some((registry, _))) = (self.clients[slot].take(), &self.registered) {
            // Closing the descriptor would do: it is nobody else's.
            let _ = registry.deregister(&mut client.stream);
            self.census.clients.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if place::identity(&self.path).is_ok_and(|id| id == self.identity) {
            // Whoever finds it left behind takes it for that of a killed process, which is right.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Says why not, as far as the socket takes it at once, and hangs up.
fn turn_away(mut stream: mio::net::UnixStream, why: &str) {
    if let Some(bytes) = encode(&Response::Error { error: why.to_owned(), errno: None }) {
        let _ = io::Write::write(&mut stream, &bytes);
    }
}

#[cfg(test)]
mod tests;
