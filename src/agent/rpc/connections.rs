//! The RPC listeners and connections: moves bytes between sockets and the sessions in [`crate::agent::rpc`].
//!
//! Unread output stays in the session, within the session's limit; this module buffers nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use mio::event::Event as Readiness;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::peer::Peer;
use super::socket::{self, Rights, SocketFile};
use super::{RpcServer, SessionId};
use crate::agent::net;
use crate::agent::net::acceptor::{Acceptor, Listener};
use crate::agent::net::addr::{self, UNIX_PREFIX};
use crate::agent::net::readable::Readable;
use crate::ordered::OrderedMap;
use crate::os::error::{os_error, shown};
use crate::time::{Duration, Instant};

/// Limit for listening addresses; it also is the number of tokens reserved for them.
pub const LISTENERS_MAX: usize = 16;
/// Limit for connections, including those being closed; it also is the number of tokens reserved for them.
const CONNECTIONS_MAX: usize = 1024;
/// Limit for connections accepted in one turn of the loop.
const ACCEPTS_A_TURN: usize = 32;
/// File descriptors that RPC clients must leave for gossip, handlers and lookups, if possible.
const SPARED_DESCRIPTORS: u64 = 24;
/// Limit for the bytes read from one client in one turn of the loop.
const BYTES_A_TURN: usize = 128 << 10;
const CHUNK_BYTES: usize = 16 << 10;
/// How long a closed connection waits for the client to close its end, so that a reset does not discard the
/// last reply.
const LINGER_LIMIT: Duration = Duration::from_secs(1);

/// An RPC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// All RPC listeners and connections.
#[derive(Debug)]
pub struct Clients {
    listeners: Vec<(Acceptor, RpcAddr)>,
    sockets: Vec<SocketFile>,
    /// Group whose members may use all commands on a Unix socket.
    control_group: Option<u32>,
    first_token: usize,
    buffer: Box<[u8]>,
    connections: Vec<Option<Connection>>,
    index_of: OrderedMap<SessionId, usize>,
    accepted_count: u64,
}

#[derive(Debug)]
struct Connection {
    session: SessionId,
    socket: TcpStream,
    readable: Readable,
    blocked: bool,
    /// Whether the client has closed its sending direction.
    ended: bool,
    /// Set when the server has closed the session: until then, waits for the client to close its end.
    lingers: Option<Instant>,
}

impl Clients {
    /// Number of poll tokens that the listeners and connections use.
    pub const TOKENS: usize = LISTENERS_MAX + CONNECTIONS_MAX;

    /// Parses `unix:PATH` or `host:port` and resolves the host name. May block.
    ///
    /// # Errors
    /// If the address is invalid or cannot be resolved; the text is the reference's if it has one.
    pub fn resolve(text: &str) -> Result<RpcAddr, String> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            let path = Path::new(path);
            socket::check_place(path)
                .map_err(|why| format!("listen unix {}: {why}", shown(path)))?;
            return Ok(RpcAddr::Unix(path.to_owned()));
        }
        let (_, port) = addr::split_host_port(text).map_err(|why| format!("listen tcp: {why}"))?;
        if port.is_none() {
            return Err(format!(
                "listen tcp: address {text}: missing port in address"
            ));
        }
        let addr = addr::resolve(text, 0).map_err(|why| format!("listen tcp: {why}"))?;
        Ok(RpcAddr::Tcp(addr))
    }

    /// Creates the state without listeners. It owns `first_token` and the [`Self::TOKENS`] - 1 tokens after
    /// it.
    pub fn new(first_token: usize, control_group: Option<u32>) -> Self {
        Clients {
            listeners: Vec::new(),
            sockets: Vec::new(),
            control_group,
            first_token,
            buffer: vec![0; CHUNK_BYTES].into_boxed_slice(),
            connections: Vec::new(),
            index_of: OrderedMap::new(),
            accepted_count: 0,
        }
    }

    /// Listens on another address; a wildcard of either family means both families.
    ///
    /// # Errors
    /// If the socket cannot be opened; the text is the reference's if it has one.
    pub fn listen(
        &mut self,
        wanted: &RpcAddr,
        rights: Rights,
        registry: &Registry,
    ) -> Result<(), String> {
        let (mut listener, local) = match wanted {
            RpcAddr::Tcp(wanted) => {
                let failed =
                    |error: io::Error| format!("listen tcp {wanted}: bind: {}", os_error(&error));
                let listener = net::listen(*wanted).map_err(failed)?;
                let port = listener.local_addr().map_err(failed)?.port();
                let mut local = *wanted;
                local.set_port(port);
                (Listener::Tcp(listener), RpcAddr::Tcp(local))
            }
            RpcAddr::Unix(path) => {
                let (listener, file) = socket::listen(path, rights)
                    .map_err(|why| format!("listen unix {}: {why}", shown(path)))?;
                self.sockets.push(file);
                (Listener::Unix(listener), wanted.clone())
            }
        };
        let index = self.listeners.len();
        if index >= LISTENERS_MAX {
            return Err(format!("more than {LISTENERS_MAX} addresses"));
        }
        listener
            .register(registry, Token(self.first_token + index))
            .map_err(|error| format!("listen {local}: {}", os_error(&error)))?;
        let acceptor = Acceptor::new(listener, SPARED_DESCRIPTORS);
        self.listeners.push((acceptor, local));
        Ok(())
    }

    /// Returns the number of connections accepted since the start.
    #[cfg_attr(not(feature = "telemetry"), allow(dead_code))]
    pub const fn accepted_count(&self) -> u64 {
        self.accepted_count
    }

    /// Returns the listening addresses.
    pub fn local_addrs(&self) -> impl Iterator<Item = &RpcAddr> {
        self.listeners.iter().map(|(_, local)| local)
    }

    /// Handles readiness of a socket. Returns whether the token belongs to this object.
    pub fn handle_readiness(&mut self, event: &Readiness) -> bool {
        let Some(index) = event.token().0.checked_sub(self.first_token) else {
            return false;
        };
        let Some(index_of_connection) = index.checked_sub(LISTENERS_MAX) else {
            if let Some((acceptor, _)) = self.listeners.get_mut(index) {
                acceptor.set_ready();
            }
            return true;
        };
        if let Some(Some(connection)) = self.connections.get_mut(index_of_connection) {
            connection.readable.note(event);
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                connection.blocked = false;
            }
        }
        index < Self::TOKENS
    }

    /// Marks the session's connection as readable again.
    pub fn read_again(&mut self, session: SessionId) {
        if let Some(connection) = self.by_id(session) {
            connection.readable.set();
        }
    }

    /// Returns whether a socket is still ready although no event will announce it.
    pub fn has_more(&self, server: &RpcServer) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|(acceptor, _)| acceptor.has_more())
            || self.connections.iter().flatten().any(|connection| {
                connection.readable.is_ready()
                    && (connection.lingers.is_some() || server.wants_input(connection.session))
            })
    }

    /// Returns when [`Self::receive`] or [`Self::flush`] must be called even without an event.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lingering = self.connections.iter().flatten();
        let listeners = self.listeners.iter();
        lingering
            .filter_map(|connection| connection.lingers)
            .chain(listeners.filter_map(|(acceptor, _)| acceptor.poll_timeout()))
            .min()
    }

    /// Accepts connections and reads input, within the budget of a turn.
    pub fn receive(&mut self, server: &mut RpcServer, registry: &Registry, now: Instant) {
        for index in 0..self.listeners.len() {
            self.accept(index, server, registry, now);
        }
        for index in 0..self.connections.len() {
            if let Err(error) = self.read(index, server) {
                log::debug!(target: "agent.ipc", "client: {}", os_error(&error));
                self.drop_broken(index, server);
            }
        }
    }

    fn accept(
        &mut self,
        listener: usize,
        server: &mut RpcServer,
        registry: &Registry,
        now: Instant,
    ) {
        for _ in 0..ACCEPTS_A_TURN {
            let accepted = self.listeners.get_mut(listener);
            let accepted = accepted.and_then(|(acceptor, _)| acceptor.accept(now));
            let Some((socket, addr)) = accepted else {
                return;
            };
            let peer = match addr {
                Some(addr) => Ok(Peer::Remote(addr)),
                None => Peer::local(socket.as_fd(), self.control_group),
            };
            let added = peer.and_then(|peer| {
                self.add(socket, peer, server, registry, now)
                    .map_err(|why| io::Error::other(format!("{peer}: {}", os_error(&why))))
            });
            if let Err(why) = added {
                log::warn!(target: "agent.ipc", "client {}", os_error(&why));
            }
        }
    }

    fn add(
        &mut self,
        mut socket: TcpStream,
        peer: Peer,
        server: &mut RpcServer,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<()> {
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or(self.connections.len());
        if index >= CONNECTIONS_MAX {
            return Err(io::Error::other("too many connections"));
        }
        // Fails for Unix sockets, which need no such option.
        let _ = socket.set_nodelay(true);
        let token = Token(self.first_token + LISTENERS_MAX + index);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let session = SessionId(self.accepted_count);
        self.accepted_count += 1;
        if !server.accept(session, peer, now) {
            return Ok(());
        }
        let connection = Connection {
            session,
            socket,
            readable: Readable::new(true),
            blocked: false,
            ended: false,
            lingers: None,
        };
        match self.connections.get_mut(index) {
            Some(slot) => *slot = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        self.index_of.insert(session, index);
        Ok(())
    }

    fn by_id(&mut self, session: SessionId) -> Option<&mut Connection> {
        let index = *self.index_of.get(&session)?;
        self.connections.get_mut(index)?.as_mut()
    }

    fn read(&mut self, index: usize, server: &mut RpcServer) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let mut budget = BYTES_A_TURN;
        while connection.readable.is_ready() && budget > 0 {
            let forgotten = connection.lingers.is_some();
            if !forgotten && !server.wants_input(connection.session) {
                return Ok(());
            }
            match connection.socket.read(&mut self.buffer) {
                Ok(0) => {
                    connection.readable.exhausted();
                    connection.ended = true;
                }
                Ok(count) => {
                    connection.readable.took(count, self.buffer.len());
                    budget = budget.saturating_sub(count);
                    if !forgotten {
                        let bytes = self.buffer.get(..count).unwrap_or_default();
                        server.received(connection.session, bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readable.exhausted();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn drop_broken(&mut self, index: usize, server: &mut RpcServer) {
        if let Some(connection) = self.remove(index) {
            server.closed(connection.session);
        }
    }

    fn remove(&mut self, index: usize) -> Option<Connection> {
        let connection = self.connections.get_mut(index)?.take()?;
        self.index_of.remove(&connection.session);
        while matches!(self.connections.last(), Some(None)) {
            self.connections.pop();
        }
        Some(connection)
    }

    /// Closes the connection of a session whose output was written; waits for the client to close its end.
    pub fn close(&mut self, session: SessionId, now: Instant) {
        let Some(&index) = self.index_of.get(&session) else {
            return;
        };
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            if !connection.ended && connection.socket.shutdown(Shutdown::Write).is_ok() {
                connection.lingers = Some(now + LINGER_LIMIT);
                connection.readable.set();
                return;
            }
        }
        self.remove(index);
    }

    /// Writes as much output as the kernel takes, and removes connections that are over. The server may have
    /// new actions afterwards.
    pub fn flush(&mut self, server: &mut RpcServer, now: Instant) {
        for index in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(index) else {
                continue;
            };
            if let Some(end) = connection.lingers {
                if connection.ended || end <= now {
                    self.remove(index);
                }
                continue;
            }
            let broken = connection.write_out(server).is_err();
            // The last request may still need its reply.
            let over = connection.ended && server.output(connection.session).is_empty();
            if broken || over {
                self.drop_broken(index, server);
            }
        }
    }

    /// Returns whether all output has been written to the clients.
    pub fn is_flushed(&self, server: &RpcServer) -> bool {
        let connections = self.connections.iter().flatten();
        connections
            .filter(|connection| connection.lingers.is_none())
            .all(|connection| server.output(connection.session).is_empty())
    }
}

impl fmt::Display for RpcAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcAddr::Tcp(addr) => write!(f, "{addr}"),
            RpcAddr::Unix(path) => write!(f, "{UNIX_PREFIX}{}", shown(path)),
        }
    }
}

impl Connection {
    fn write_out(&mut self, server: &mut RpcServer) -> io::Result<()> {
        while !self.blocked {
            let output = server.output(self.session);
            if output.is_empty() {
                return Ok(());
            }
            match self.socket.write(output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => server.sent(self.session, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
