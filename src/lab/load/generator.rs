//! The generator: frames at a given rate, or as fast as they can be made.
//!
//! A thread in the client's namespace sends until it is told otherwise; the rate can be changed while it does. Two
//! ways to send:
//!
//! | [`Method`] | what it takes | how it keeps the rate |
//! |---|---|---|
//! | `LiveFrames` | CAP_BPF and CAP_NET_ADMIN outside of any user namespace | spins: takes a whole CPU at any rate |
//! | `PacketSocket` | CAP_NET_RAW in its namespace | sleeps between bursts: takes little CPU at low rates |
//!
//! A veth with several queues receives by the one of the CPU that sends (modulo their number): whoever wants traffic on all of them
//! starts a generator on each CPU. Knows nothing of what the frames meet.

mod live;
mod socket;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Doing as _, LoadError, Traffic, netlink};
use crate::lab::netns::{self, Netns};
use live::Live;
use socket::Socket;

/// How frames are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// An XDP program run on recycled frames (BPF_PROG_RUN).
    LiveFrames,
    /// sendmmsg on a packet socket, past the qdisc.
    PacketSocket,
}

impl Method {
    /// Its name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Method::LiveFrames => "XDP live frames",
            Method::PacketSocket => "sendmmsg on a packet socket",
        }
    }
}

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Not at all, without taking CPU time.
    Off,
    /// Not at all, ready to go on at once.
    Hold,
    /// So many frames a second.
    PerSecond(u64),
    /// As many as can be made.
    Saturate,
}

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setup {
    /// How to send; otherwise the fastest that is allowed.
    pub method: Option<Method>,
    /// The CPU to send from; otherwise any.
    pub cpu: Option<usize>,
}

/// A sender of traffic. It stops when this is dropped.
#[derive(Debug)]
pub struct Generator {
    space: Netns,
    device: String,
    engine: Engine,
    method: Method,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
enum Engine {
    Live(Arc<Live>),
    Socket(Arc<Socket>),
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The thread is sending, perhaps in a call that only a nudge ends.
    busy: AtomicBool,
}

#[derive(Debug)]
struct State {
    rate: Rate,
    stop: bool,
    /// Why the thread ended by itself.
    failed: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the rate is off; `None` when it is time to stop.
    fn wait(&self) -> Option<Rate> {
        let idle = |s: &mut State| !s.stop && s.rate == Rate::Off;
        let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        (!state.stop).then_some(state.rate)
    }

    /// Whether there is nothing to be sent any more.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.stop || state.rate == Rate::Off
    }

    fn fail(&self, why: String) {
        self.lock().failed = Some(why);
    }
}

impl Generator {
    /// Makes a generator that sends out of a device of the client's; it is off until [`Generator::set_rate`].
    ///
    /// # Errors
    ///
    /// If the method is refused; without one in the setup, only if both are.
    pub fn start(client: &Netns, device: &str, traffic: &Traffic, setup: Setup) -> Result<Self, LoadError> {
        let index = netlink(client, |n| n.link_index(device))?;
        let live = || Live::new(traffic, index).map(|l| Engine::Live(Arc::new(l)));
        let socket = || Socket::new(client, traffic, index).map(|s| Engine::Socket(Arc::new(s)));
        let engine = match setup.method {
            Some(Method::LiveFrames) => live()?,
            Some(Method::PacketSocket) => socket()?,
            None => match live() {
                Err(LoadError::Bpf(_)) => socket()?,
                result => result?,
            },
        };
        let method = match engine {
            Engine::Live(_) => Method::LiveFrames,
            Engine::Socket(_) => Method::PacketSocket,
        };
        netns::allow_nudges().doing(|| "catching a signal".to_owned())?;
        let state = State { rate: Rate::Off, stop: false, failed: None };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            busy: AtomicBool::new(false),
        });
        let thread = {
            let (engine, shared) = (engine.clone(), Arc::clone(&shared));
            client.spawn(move || {
                // A machine with fewer CPUs than were thought of works too, only less evenly.
                let _ = setup.cpu.map(netns::pin);
                let _ = netns::sleep_exactly();
                match engine {
                    Engine::Live(live) => live.run(&shared),
                    Engine::Socket(socket) => socket.run(&shared),
                }
            })
        };
        let (space, device) = (client.clone(), device.to_owned());
        Ok(Generator { space, device, engine, method, shared, thread: Some(thread) })
    }

    /// How it sends.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Sends at another rate from now on. When this returns, the old one is over; the first frame of the new
    /// one may take some milliseconds after [`Rate::Off`].
    pub fn set_rate(&self, rate: Rate) -> Result<(), LoadError> {
        if let Engine::Live(live) = &self.engine {
            live.set_rate(rate)?;
        }
        let mut state = self.shared.lock();
        if let Some(why) = &state.failed {
            return Err(LoadError::Stopped(why.clone()));
        }
        state.rate = rate;
        drop(state);
        self.shared.changed.notify_all();
        match &self.engine {
            Engine::Live(_) if rate == Rate::Off => self.interrupt(),
            Engine::Live(_) => {}
            Engine::Socket(socket) => socket.rate_is_set(&self.shared, || self.is_running()),
        }
        Ok(())
    }

    /// How many frames were sent so far.
    pub fn sent(&self) -> Result<u64, LoadError> {
        match &self.engine {
            Engine::Live(live) => live.sent(),
            Engine::Socket(socket) => Ok(socket.sent()),
        }
    }

    /// Waits until frames are being sent, at most two seconds.
    pub fn wait_until_sending(&self) -> Result<(), LoadError> {
        let (start, before) = (Instant::now(), self.sent()?);
        while self.sent()? == before {
            if let Some(why) = &self.shared.lock().failed {
                return Err(LoadError::Stopped(why.clone()));
            }
            if start.elapsed() > START_DEADLINE {
                return Err(LoadError::Stopped("it sent nothing".into()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// How many frames the device got rid of since it was made, this generator's and others.
    pub(super) fn left(&self) -> Result<u64, LoadError> {
        netlink(&self.space, |n| n.link(&self.device).map(|d| d.tx_packets))
    }

    /// CPU time its thread has used, what the kernel did in its system calls included.
    pub(super) fn cpu_time(&self) -> Duration {
        self.thread.as_ref().and_then(|thread| netns::thread_cpu_time(thread).ok()).unwrap_or_default()
    }

    /// Where it sends, for messages.
    pub(super) fn place(&self) -> String {
        format!("{} of {}", self.device, self.space.name())
    }

    fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Gets the thread out of its call.
    fn interrupt(&self) {
        let Some(thread) = &self.thread else { return };
        // A nudge that comes before the call is lost, so it is given again until it worked.
        while self.shared.busy.load(SeqCst) && self.is_running() {
            netns::nudge(thread);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Engine::Live(live) = &self.engine {
            // Without this it would only take longer.
            let _ = live.set_rate(Rate::Hold);
        }
        self.interrupt();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by itself, and what it did is over.
            let _ = thread.join();
        }
    }
}

/// How long the first frame may take.
const START_DEADLINE: Duration = Duration::from_secs(5);
