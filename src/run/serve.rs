//! The main thread's loop: signals and the control socket, until asked to end.

use std::io;
use std::time::Duration;

use crossbeam_channel::TryRecvError;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::base::Instant;
use crate::control::protocol::Reload;
use crate::control::server::Handler;
use crate::control::{Answer, Server, Verb};

use super::systemd::Watchdog;
use super::{Running, Signals};

/// The control server's tokens begin here; below are the signals'.
const SERVER: Token = Token(16);
/// How late a thread that ended by itself is noticed.
const LOOK: Duration = Duration::from_millis(250);

/// How long the router waits at its end for those who follow something live to take what is left of it.
const FAREWELL: Duration = Duration::from_millis(500);

/// The waker's token, for answers that are there.
const ANSWERS: Token = Token(15);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread of the router ended by itself.
    #[error("the thread '{0}' ended by itself: the router no longer works whole and stops")]
    Thread(String),
    /// The poll failed.
    #[error("the main thread's poll failed: {0}")]
    Poll(#[from] io::Error),
}

/// Answers requests until SIGTERM or SIGINT.
pub fn serve(
    running: &Running,
    server: &mut Server,
    signals: &mut Signals,
    handler: &mut Handler<'_>,
) -> Result<(), ServeError> {
    let mut poll = Poll::new()?;
    for (i, fd) in signals.fds().into_iter().enumerate() {
        poll.registry().register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
    }
    server.register(poll.registry(), SERVER)?;
    running.wake_for_answers(Waker::new(poll.registry(), ANSWERS)?);
    let mut reloading = None;
    let mut events = Events::with_capacity(64);
    let mut watchdog = Watchdog::from_environment(running.now());
    let mut pulses = running.pulses.clone();
    loop {
        let asked = signals.take();
        if asked.end {
            // One that is over by now is told of.
            reloading.take().map(still_reloading);
            server.wind_up();
            let deadline = running.now() + FAREWELL;
            while server.winds_up() && running.now() < deadline {
                turn(running, server, &mut poll, &mut events, handler, None)?;
            }
            return Ok(());
        }
        if asked.reload {
            reloading = Some(running.answer(Verb::Reload(Reload::default())));
        }
        if let Some(answer) = reloading.take() {
            reloading = still_reloading(answer);
        }
        if let Some(name) = running.failed() {
            return Err(ServeError::Thread(name.to_owned()));
        }
        let well = pulses.look(running.now());
        if well {
            watchdog.turn(running.now());
        }
        let next = watchdog.next().filter(|_| well);
        turn(running, server, &mut poll, &mut events, handler, next)?;
    }
}

/// Does what is due, and waits for more: until `next`, if there is nothing before.
fn turn(
    running: &Running,
    server: &mut Server,
    poll: &mut Poll,
    events: &mut Events,
    handler: &mut Handler<'_>,
    next: Option<Instant>,
) -> io::Result<()> {
    let now = running.now();
    server.turn(now, handler);
    let next = server.poll_timeout(now).into_iter().chain(next).min();
    let wait = next.map_or(LOOK, |at| at.since(running.now()).min(LOOK));
    match poll.poll(events, Some(wait)) {
        Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
        // Interrupted: there are none.
        _ => {}
    }
    for event in &*events {
        if server.owns(event.token()) {
            server.event(event.token(), running.now(), handler);
        }
    }
    Ok(())
}

/// Says how a reload that a signal asked for has ended, if it has.
fn still_reloading(answer: Answer) -> Option<Answer> {
    match answer {
        Answer::Later(later) => match later.try_recv() {
            Ok(answer) => still_reloading(answer),
            Err(TryRecvError::Empty) => Some(Answer::Later(later)),
            Err(TryRecvError::Disconnected) => None,
        },
        Answer::Refused(no) => {
            tracing::error!("SIGHUP: the configuration stays as it was: {no}");
            None
        }
        _ => {
            tracing::info!("SIGHUP: the configuration was read again and is in force");
            None
        }
    }
}
