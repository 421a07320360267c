//! Proxies by the usual variables: a device that reaches its server through one, or past it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::{Device, server};

/// A forward proxy that takes whatever it is asked for to one server, and notes what that was. Ends
/// with the process.
pub struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&proxy.asked);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || forward(client, server, &asked));
            }
        });
        proxy
    }

    /// The first line of each connection.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The variables of a process that is to use this proxy, and no other setting of this machine.
    pub fn variables<'a>(&'a self, name: &'a str) -> [(&'a str, &'a str); 3] {
        [(name, self.url.as_str()), ("NO_PROXY", ""), ("no_proxy", "")]
    }
}

/// Reads a request's head, and then carries bytes both ways.
fn forward(mut client: TcpStream, server: SocketAddr, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap().to_owned();
    let tunnel = line.starts_with("CONNECT ");
    asked.lock().unwrap().push(line);
    let mut server = TcpStream::connect(server).unwrap();
    if tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    } else {
        server.write_all(&head).unwrap();
    }
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    back.join().unwrap();
}

/// A name that only the proxy can make anything of.
const ELSEWHERE: &str = "http://katagami.invalid";

fn pull(device: &Device, url: &str, variables: &[(&str, &str)]) -> crate::support::Answer {
    let arguments = ["--server", url, "--token", server::TOKEN, "--json"];
    device.edge_with("pull", &arguments, variables)
}

#[test]
fn a_device_reaches_its_server_through_a_proxy() {
    let device = Device::new();
    device.world().releases(1);
    let proxy = Proxy::to(device.server.address);
    let pulled = pull(&device, ELSEWHERE, &proxy.variables("HTTP_PROXY"));
    assert_eq!(pulled.good().json()["status"]["mask"], 1);
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|line| line.contains(ELSEWHERE)),
        "the whole address is asked for: {asked:?}"
    );
}

#[test]
fn what_needs_no_proxy_is_reached_past_it() {
    let device = Device::new();
    device.world().releases(1);
    let proxy = Proxy::to(device.server.address);
    let [with, ..] = proxy.variables("HTTP_PROXY");
    let past = [
        with,
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("no_proxy", "127.0.0.1"),
    ];
    pull(&device, &device.server.url(), &past).good();
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    // That of the other scheme is none of ours.
    let other = proxy.variables("HTTPS_PROXY");
    pull(&device, &device.server.url(), &other).good();
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
}
