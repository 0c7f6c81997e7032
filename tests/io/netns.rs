//! Network namespaces held by a descriptor: they are gone when the test is.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use sekisho::io::netlink::Netlink;
use sekisho::io::sys;

/// A network namespace of its own, its loopback up.
pub(crate) struct Netns(File);

impl Netns {
    /// A new one; `None`, with a line that says so, where that takes root and this is not root.
    pub(crate) fn new() -> Option<Netns> {
        let made = thread::spawn(|| {
            sys::unshare_network()?;
            let mut netlink = Netlink::open().unwrap();
            let lo = netlink.link_index("lo").unwrap();
            netlink.set_up(lo).unwrap();
            File::open("/proc/thread-self/ns/net")
        });
        match made.join().expect("the thread that makes a namespace") {
            Ok(file) => Some(Netns(file)),
            Err(e) => {
                println!("skipped: no network namespace here ({e}); run as root, or under unshare -Urn");
                None
            }
        }
    }

    /// Runs something on a thread inside.
    pub(crate) fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                sys::enter_network(self.0.as_fd()).expect("entering a namespace of our own");
                what()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[allow(dead_code)] // one of the test programs that share this file sends nothing there
    /// Its descriptor, to send an interface to.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
