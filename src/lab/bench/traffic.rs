//! From a work to figures: which traffic is sent through a testbed, and what is read off it.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::Trouble;
use super::metric::{Traffic, Work};
use super::rival::Running;
use super::testbed::{SERVER, Testbed};
use crate::lab::probes::{Amount, Stream};

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A trial.
    pub trial: Duration,
    /// Whether it need only work.
    pub quick: bool,
}

/// How traffic is made and counted here.
pub fn description() -> String {
    "sockets".into()
}

/// Sends a work's traffic and gives the values of its metrics, in their order.
pub fn measure(bed: &Testbed, _running: &Running, work: &Work, pace: Pace) -> Result<Vec<f64>, Trouble> {
    match work.traffic {
        Traffic::Bulk { streams: 1, down } => {
            let (from, to, at) = match down {
                false => (bed.client(), bed.server(), SERVER),
                true => return Err(Trouble("not yet".into())),
            };
            let report =
                Stream::new(at.into(), Amount::For(pace.trial)).run(from, to).map_err(Trouble::of)?;
            Ok(vec![report.rate()])
        }
        Traffic::RoundTrip { loaded: false } => round_trip(bed, pace),
        _ => Err(Trouble("not yet".into())),
    }
}

fn round_trip(bed: &Testbed, pace: Pace) -> Result<Vec<f64>, Trouble> {
    let server = bed.server().run(|| UdpSocket::bind((SERVER, 7))).map_err(Trouble::of)?;
    server.set_read_timeout(Some(Duration::from_millis(20))).map_err(Trouble::of)?;
    let done = AtomicBool::new(false);
    let mut times = thread::scope(|s| {
        s.spawn(|| {
            let mut buffer = [0; 64];
            while !done.load(Relaxed) {
                if let Ok((n, from)) = server.recv_from(&mut buffer) {
                    let _ = server.send_to(&buffer[..n], from);
                }
            }
        });
        let times = bed.client().run(|| -> std::io::Result<Vec<f64>> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((SERVER, 7))?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            let (start, mut times, mut buffer) = (Instant::now(), Vec::new(), [0; 64]);
            while start.elapsed() < pace.trial {
                let sent = Instant::now();
                socket.send(b"0123456789012345")?;
                if socket.recv(&mut buffer).is_ok() {
                    times.push(sent.elapsed().as_secs_f64());
                }
            }
            Ok(times)
        });
        done.store(true, Relaxed);
        times
    })
    .map_err(Trouble::of)?;
    times.sort_by(f64::total_cmp);
    let at = |q: f64| {
        times.get((q * times.len() as f64) as usize).copied().ok_or(Trouble("none came back".into()))
    };
    [0.5, 0.99, 0.999].map(at).into_iter().collect()
}
