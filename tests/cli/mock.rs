//! A simulated agent for RPC clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use cottar::rpc::{ByteQueue, REQUEST_BYTES_MAX};
use cottar::wire::msgpack::Boundary;

/// Serves connections with `serve`, one after the other, until the test ends.
pub fn listen(serve: impl Fn(Connection) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(Connection {
                stream: stream.unwrap(),
                input: ByteQueue::default(),
            });
        }
    });
    address
}

pub struct Connection {
    pub stream: TcpStream,
    input: ByteQueue,
}

impl Connection {
    /// Returns the next value from the client, as bytes; `None` when it disconnects.
    pub fn value(&mut self) -> Option<Vec<u8>> {
        loop {
            let found = Boundary::default().find(self.input.as_slice(), REQUEST_BYTES_MAX);
            if let Some(length) = found.unwrap() {
                let value = self.input.as_slice()[..length].to_vec();
                self.input.consume(length);
                return Some(value);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.input.push(&chunk[..count]),
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Handles the handshake.
    pub fn greet(&mut self) {
        self.value();
        self.value();
        self.send(&header(1));
    }
}

/// Returns the header of a successful reply.
pub fn header(seq: u8) -> Vec<u8> {
    [b"\x82\xa5Error\xa0\xa3Seq".as_slice(), &[seq]].concat()
}

/// A query's record.
pub fn record(kind: &str, from: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
    use cottar::wire::msgpack::{Dialect, Writer};
    let mut writer = Writer::appending(Dialect::Rpc, header(2));
    writer.map(3).key("From").text(from).key("Payload");
    writer.bytes_or_nil(payload).key("Type").text(kind);
    writer.into_bytes()
}
