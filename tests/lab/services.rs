//! The router as a host: the echo and discard services, closed ports, many connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use sekisho::lab::isolate;

use crate::gateway::{Choice, FAR_SIDE, Gateway, ROUTER, ip};

const PATIENCE: Duration = Duration::from_secs(30);
const ECHO: u16 = 7;
const DISCARD: u16 = 9;

fn connect(gw: &Gateway, to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = gw.client().run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[test]
fn tcp_echo_and_discard_on_every_address() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { services: true, ..Choice::default() });
        let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i ^ i >> 8) as u8).collect();
        for to in [ROUTER, FAR_SIDE].concat() {
            let mut echo = connect(&gw, SocketAddr::new(ip(to), ECHO)).unwrap();
            let mut writer = echo.try_clone().unwrap();
            let mut back = Vec::new();
            std::thread::scope(|s| {
                s.spawn(|| {
                    writer.write_all(&data).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                echo.read_to_end(&mut back).unwrap();
            });
            assert!(back == data, "{to}: {} of {} bytes came back", back.len(), data.len());
            let mut discard = connect(&gw, SocketAddr::new(ip(to), DISCARD)).unwrap();
            discard.write_all(&data).unwrap();
            discard.shutdown(Shutdown::Write).unwrap();
            assert_eq!(discard.read_to_end(&mut Vec::new()).unwrap(), 0, "{to}");
        }
        gw.stop();
    });
}

#[test]
fn udp_echo_of_any_size() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { services: true, ..Choice::default() });
        for to in [ROUTER, FAR_SIDE].concat() {
            let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = gw.client().run(|| UdpSocket::bind(any)).unwrap();
            socket.connect(SocketAddr::new(ip(to), ECHO)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            for size in [0, 1, 1000, 8000, 60_000] {
                let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
                socket.send(&data).unwrap();
                let mut back = vec![0; 65_536];
                // Connected: only what comes from the address that was asked is taken.
                let n = socket.recv(&mut back).unwrap_or_else(|e| panic!("{to}, {size} bytes: {e}"));
                assert!(back[..n] == data, "{to}, {size} bytes");
            }
        }
        gw.stop();
    });
}

#[test]
fn closed_ports_say_so_at_once() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for to in ROUTER {
            for port in [ECHO, DISCARD, 80] {
                let e = connect(&gw, SocketAddr::new(ip(to), port)).unwrap_err();
                assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused, "{to} {port}");
            }
            let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = gw.client().run(|| UdpSocket::bind(any)).unwrap();
            socket.connect(SocketAddr::new(ip(to), ECHO)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"anyone?").unwrap();
            let e = socket.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
        }
        gw.stop();
    });
}

#[test]
fn many_connections_one_after_the_other() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { services: true, ..Choice::default() });
        for i in 0..300u32 {
            let mut echo = connect(&gw, SocketAddr::new(ip(ROUTER[(i % 2) as usize]), ECHO)).unwrap();
            echo.write_all(&i.to_be_bytes()).unwrap();
            let mut back = [0; 4];
            echo.read_exact(&mut back).unwrap();
            assert_eq!(back, i.to_be_bytes());
        }
        gw.stop();
    });
}
