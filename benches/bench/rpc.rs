//! A small RPC client for measurements: pipelined events, and streams with arrival times.

use cottar::wire::msgpack::{Boundary, Dialect, Error, Reader, Writer};
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a query collects answers.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection after its handshake.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    arrived: Vec<u8>,
    consumed: usize,
    seq: u64,
}

impl Client {
    /// Connects and performs the handshake.
    pub fn connect(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut client = Client {
            stream,
            arrived: Vec::new(),
            consumed: 0,
            seq: 0,
        };
        client.send("handshake", |body| {
            body.map(1).key("Version").int(1);
        })?;
        client.accepted()?;
        Ok(client)
    }

    /// Returns the writing half, for a separate thread.
    pub fn split(&self) -> io::Result<Client> {
        let stream = self.stream.try_clone()?;
        Ok(Client {
            stream,
            arrived: Vec::new(),
            consumed: 0,
            seq: self.seq,
        })
    }

    /// Sets the timeout of reads.
    pub fn read_timeout(&self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))
    }

    fn send(&mut self, command: &str, body: impl FnOnce(&mut Writer)) -> io::Result<()> {
        self.seq += 1;
        let mut request = Writer::new(Dialect::Rpc);
        request
            .map(2)
            .key("Command")
            .text(command)
            .key("Seq")
            .uint(self.seq);
        body(&mut request);
        self.stream.write_all(&request.into_bytes())
    }

    /// Requests the member list and returns its length.
    pub fn members(&mut self) -> io::Result<usize> {
        self.send("members", |_| {})?;
        self.accepted()?;
        let body = self.value()?;
        let mut count = 0;
        Reader::new(&body)
            .fields::<Error>(&["Members"], |_, reader| {
                count = reader.array()?;
                (0..count).try_for_each(|_| reader.skip())
            })
            .map_err(broken)?;
        Ok(count)
    }

    /// Returns the number of members, from the reply to `stats`, which is short.
    pub fn known(&mut self) -> io::Result<usize> {
        self.counts().map(|(members, _)| members)
    }

    /// Returns the numbers of members and of failed members, from the reply to `stats`.
    pub fn counts(&mut self) -> io::Result<(usize, usize)> {
        self.send("stats", |_| {})?;
        self.accepted()?;
        let body = self.value()?;
        let mut counts = [0; 2];
        Reader::new(&body)
            .fields::<Error>(&["serf"], |_, reader| {
                reader.fields::<Error>(&["members", "failed"], |index, reader| {
                    let text = String::from_utf8_lossy(reader.text()?).into_owned();
                    counts[index] = text.parse().unwrap_or(0);
                    Ok(())
                })
            })
            .map_err(broken)?;
        Ok((counts[0], counts[1]))
    }

    /// Requests a join; [`Client::joined`] reads the reply.
    pub fn send_join(&mut self, other: SocketAddr) -> io::Result<()> {
        self.send("join", |body| {
            body.map(2).key("Existing").array(1);
            body.text(other.to_string()).key("Replay").bool(false);
        })
    }

    /// Waits for the end of a join.
    pub fn joined(&mut self) -> io::Result<()> {
        self.accepted()?;
        self.value().map(|_| ())
    }

    /// Sends a query to all nodes and waits until `wanted` of them have sent a record of this kind (`ack`,
    /// `response`).
    pub fn query(&mut self, name: &str, kind: &str, wanted: usize) -> io::Result<()> {
        self.send("query", |body| {
            body.map(4)
                .key("Name")
                .text(name)
                .key("RequestAck")
                .bool(kind == "ack");
            body.key("Timeout").int(QUERY_TIMEOUT.as_nanos() as i64);
            body.key("Payload").bytes(b"");
        })?;
        self.accepted()?;
        let mut seen = 0;
        while seen < wanted {
            match self.next_record()?.0.as_str() {
                "done" => return Err(io::Error::other(format!("{seen} of {wanted}"))),
                record => seen += usize::from(record == kind),
            }
        }
        Ok(())
    }

    /// Sends a query to all nodes and collects acks and answers until its end: pairs of a record's kind
    /// (`ack`, `response`) and its node.
    pub fn ask(&mut self, name: &str, timeout: Duration) -> io::Result<Vec<(String, String)>> {
        self.send("query", |body| {
            body.map(4).key("Name").text(name);
            body.key("RequestAck").bool(true);
            body.key("Timeout").int(timeout.as_nanos() as i64);
            body.key("Payload").bytes(b"");
        })?;
        self.accepted()?;
        let mut records = Vec::new();
        loop {
            let (kind, from) = self.next_record()?;
            if kind == "done" {
                return Ok(records);
            }
            records.push((kind, from));
        }
    }

    /// Returns the kind and the node of the next record of a query.
    fn next_record(&mut self) -> io::Result<(String, String)> {
        self.accepted()?;
        let body = self.value()?;
        let mut fields = [String::new(), String::new()];
        Reader::new(&body)
            .fields::<Error>(&["Type", "From"], |index, reader| {
                fields[index] = String::from_utf8_lossy(reader.text()?).into_owned();
                Ok(())
            })
            .map_err(broken)?;
        let [kind, from] = fields;
        Ok((kind, from))
    }

    /// Sends a user event that is not coalesced; [`Client::accepted`] reads the reply.
    pub fn send_event(&mut self, name: &str, payload: &[u8]) -> io::Result<()> {
        self.send_user_event(name, payload, false)
    }

    /// Sends a user event; [`Client::accepted`] reads the reply.
    pub fn send_user_event(
        &mut self,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> io::Result<()> {
        self.send("event", |body| {
            body.map(3)
                .key("Coalesce")
                .bool(coalesce)
                .key("Name")
                .text(name);
            body.key("Payload").bytes(payload);
        })
    }

    /// Subscribes to user events.
    pub fn subscribe(&mut self) -> io::Result<()> {
        self.send("stream", |body| {
            body.map(1).key("Type").text("user");
        })?;
        self.accepted()
    }

    /// Waits for the next user event of a subscription and returns its name.
    pub fn next_event(&mut self) -> io::Result<String> {
        self.accepted()?;
        let body = self.value()?;
        let mut name = String::new();
        Reader::new(&body)
            .fields::<Error>(&["Name"], |_, reader| {
                name = String::from_utf8_lossy(reader.text()?).into_owned();
                Ok(())
            })
            .map_err(broken)?;
        Ok(name)
    }

    /// Reads a header; fails if it reports an error.
    pub fn accepted(&mut self) -> io::Result<()> {
        let header = self.value()?;
        let mut error = Vec::new();
        Reader::new(&header)
            .fields::<Error>(&["Error"], |_, reader| {
                error = reader.text()?.to_vec();
                Ok(())
            })
            .map_err(broken)?;
        if error.is_empty() {
            Ok(())
        } else {
            Err(io::Error::other(
                String::from_utf8_lossy(&error).into_owned(),
            ))
        }
    }

    /// Returns the next complete value.
    fn value(&mut self) -> io::Result<Vec<u8>> {
        let mut boundary = Boundary::default();
        loop {
            let arrived = &self.arrived[self.consumed..];
            if let Some(length) = boundary.find(arrived, usize::MAX).map_err(broken)? {
                let value = arrived[..length].to_vec();
                self.consumed += length;
                return Ok(value);
            }
            self.arrived.drain(..self.consumed);
            self.consumed = 0;
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.arrived.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn broken(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}
