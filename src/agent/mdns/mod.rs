//! Discovery by multicast DNS: answers questions about this node and finds other nodes to join (agent spec
//! 4.13).
//!
//! Two sockets listen for questions as long as the agent runs. To ask, others are opened for one second per
//! minute; the answers arrive at their ports.

pub mod dns;
mod found;
mod service;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::ordered::OrderedSet;
use crate::os::error::os_error;
use crate::os::sys;
use crate::time::{Duration, Instant};
use dns::{Message, Name, Question, number};
use found::Found;
use service::Service;

/// Multicast groups and port of mDNS (RFC 6762, 3).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// Interval between questions, time to wait for answers, and debounce time after the last new node before the
/// nodes found are joined (agent spec 4.13).
const ASK_INTERVAL: Duration = Duration::from_secs(60);
const ANSWER_TIME: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(100);
/// Longest message in bytes (RFC 6762, 17).
const MESSAGE_BYTES_MAX: usize = 9000;
/// Limit for the datagrams read from a socket in one turn of the loop.
const DATAGRAMS_A_TURN: usize = 64;
/// Limit for replies per second, because source addresses of questions may be forged.
const REPLIES_A_SECOND: u32 = 100;
/// Limit for questions about single nodes per minute.
const FOLLOW_UPS_MAX: u32 = 64;
/// Limit for the addresses remembered as tried. When it is exceeded, all are forgotten.
const TRIED_MAX: usize = 4096;

/// Settings of discovery.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Network interface; `None`: that of the node's addresses, or the system's choice.
    pub interface: Option<String>,
    /// Whether to use IPv4.
    pub ipv4: bool,
    /// Whether to use IPv6.
    pub ipv6: bool,
    /// Name of the node.
    pub node: Vec<u8>,
    /// Host name.
    pub host: Vec<u8>,
    /// Address that the node advertises.
    pub addr: SocketAddr,
    /// Address that the node is bound to; may belong to another interface or be a wildcard.
    pub bind: IpAddr,
}

/// Returns the index of an interface.
///
/// # Errors
/// If it does not exist; the text is the reference's.
pub fn interface_index(name: &str) -> Result<u32, String> {
    sys::interface_index(name).ok_or_else(|| {
        "Invalid mDNS network interface: route ip+net: no such network interface".to_owned()
    })
}

/// A socket, with a flag that tells whether it may be readable.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    ready: bool,
    group: SocketAddr,
}

/// Sockets by address family, where available.
type Ports = [Option<Port>; 2];

/// State of discovery.
#[derive(Debug)]
pub struct Mdns {
    service: Service,
    first_token: usize,
    /// Interface index by address family; 0 is the system's choice.
    interfaces: [u32; 2],
    families: [bool; 2],
    listeners: Ports,
    askers: Ports,
    buffer: Box<[u8]>,
    next_question: Instant,
    /// End of the time in which answers are accepted.
    asking_until: Option<Instant>,
    found: Found,
    follow_ups: u32,
    /// Addresses found and not joined yet.
    fresh: Vec<SocketAddr>,
    quiet_at: Option<Instant>,
    /// Addresses already returned for joining.
    tried: OrderedSet<SocketAddr>,
    /// Start of the current second, and the replies in it.
    replies: (Instant, u32),
    questions_sent: u16,
}

impl Mdns {
    /// Number of poll tokens that discovery uses.
    pub const TOKENS: usize = 4;

    /// Opens the listening sockets; one address family is enough.
    ///
    /// # Errors
    /// If no socket can be opened; returns the reason.
    pub fn start(
        config: &Config,
        registry: &Registry,
        first_token: usize,
        now: Instant,
    ) -> Result<Self, String> {
        let interface = match &config.interface {
            Some(name) => {
                log::info!(target: "agent", "Starting mDNS listener on interface {name}");
                interface_index(name)?
            }
            None => interface_of([config.bind, config.addr.ip()]),
        };
        let service = Service::new(
            config.cluster.as_bytes(),
            &config.node,
            &config.host,
            config.addr,
        );
        let mut mdns = Mdns {
            interfaces: [interface, link_local_interface(interface, config.addr.ip())],
            families: [config.ipv4, config.ipv6],
            buffer: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
            ..Mdns::deaf(service, first_token, now)
        };
        let (listeners, failures) = mdns
            .open(registry, 0, sys::multicast_listener)
            .map_err(|why| format!("No multicast listeners could be started: {why}"))?;
        mdns.listeners = listeners;
        for why in failures {
            log::warn!(target: "agent.mdns", "Listening with one address family only: {why}");
        }
        Ok(mdns)
    }

    /// Creates a state without sockets; its first question is due at once.
    fn deaf(service: Service, first_token: usize, now: Instant) -> Self {
        Mdns {
            service,
            first_token,
            interfaces: [0; 2],
            families: [false; 2],
            listeners: [None, None],
            askers: [None, None],
            buffer: Box::default(),
            next_question: now,
            asking_until: None,
            found: Found::default(),
            follow_ups: 0,
            fresh: Vec::new(),
            quiet_at: None,
            tried: OrderedSet::new(),
            replies: (now, 0),
            questions_sent: 0,
        }
    }

    /// Opens a socket for each enabled family. Returns the sockets and the errors of failed families.
    ///
    /// # Errors
    /// If no socket can be opened.
    fn open(
        &self,
        registry: &Registry,
        offset: usize,
        make: fn(SocketAddr, u32) -> io::Result<std::net::UdpSocket>,
    ) -> Result<(Ports, Vec<String>), String> {
        let groups = [
            SocketAddr::from((GROUP_V4, PORT)),
            SocketAddrV6::new(GROUP_V6, PORT, 0, self.interfaces[1]).into(),
        ];
        let mut ports: Ports = [None, None];
        let mut why = Vec::new();
        let places = groups.into_iter().zip(self.interfaces);
        for (index, (group, interface)) in places.enumerate() {
            if !self.families.get(index).copied().unwrap_or(false) {
                continue;
            }
            let token = Token(self.first_token + offset + index);
            let opened = make(group, interface).and_then(|socket| {
                let mut socket = UdpSocket::from_std(socket);
                registry.register(&mut socket, token, Interest::READABLE)?;
                Ok(socket)
            });
            match (opened, ports.get_mut(index)) {
                (Ok(socket), Some(place)) => {
                    let ready = true;
                    *place = Some(Port {
                        socket,
                        ready,
                        group,
                    });
                }
                (Ok(_), None) => {}
                (Err(error), _) => why.push(format!("{}: {}", group.ip(), os_error(&error))),
            }
        }
        if ports.iter().all(Option::is_none) {
            return Err(why.join(", "));
        }
        Ok((ports, why))
    }

    /// Returns whether a token belongs to discovery.
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + Self::TOKENS).contains(&token.0)
    }

    /// Notes that a socket may be readable.
    pub fn handle_readiness(&mut self, token: Token) {
        let index = token.0.wrapping_sub(self.first_token);
        let mut ports = self.listeners.iter_mut().chain(&mut self.askers);
        if let Some(Some(port)) = ports.nth(index) {
            port.ready = true;
        }
    }

    /// Returns whether a socket may still be readable although no event will announce it.
    pub fn has_more(&self) -> bool {
        let mut ports = self.listeners.iter().chain(&self.askers).flatten();
        ports.any(|port| port.ready)
    }

    /// Returns when [`Self::handle_timeout`] must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.asking_until.unwrap_or(self.next_question);
        Some(self.quiet_at.map_or(next, |quiet| quiet.min(next)))
    }

    /// Asks a question or stops waiting for answers, when due.
    pub fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        if self.asking_until.is_some_and(|end| end <= now) {
            self.asking_until = None;
            self.askers = [None, None];
            self.found = Found::default();
        }
        if self.asking_until.is_none() && self.next_question <= now {
            self.next_question = now + ASK_INTERVAL;
            match self.ask(registry) {
                Ok(()) => self.asking_until = Some(now + ANSWER_TIME),
                Err(why) => {
                    self.askers = [None, None];
                    log::error!(target: "agent.mdns", "Failed to poll for new hosts: {why}");
                }
            }
        }
    }

    fn ask(&mut self, registry: &Registry) -> Result<(), String> {
        let (askers, failures) = self.open(registry, 2, sys::multicast_sender)?;
        self.askers = askers;
        for why in failures {
            log::debug!(target: "agent.mdns", "Sending questions over one address family only: {why}");
        }
        self.follow_ups = 0;
        let kind = self.service.kind().clone();
        self.send_question(&kind)
    }

    /// Multicasts a question; one address family that accepts it is enough.
    fn send_question(&mut self, name: &Name) -> Result<(), String> {
        let question = Question {
            name: name.clone(),
            kind: number::PTR,
            class: number::CLASS_IN,
            unicast: false,
        };
        let mut id = [0; 2];
        if getrandom::getrandom(&mut id).is_err() {
            // The id may be predictable: answers do not contain it.
            self.questions_sent = self.questions_sent.wrapping_add(1);
            id = self.questions_sent.to_be_bytes();
        }
        let bytes = Message {
            id: u16::from_be_bytes(id),
            questions: vec![question],
            ..Message::default()
        }
        .encode();
        let mut why = Vec::new();
        let mut sent = false;
        for port in self.askers.iter().flatten() {
            match port.socket.send_to(&bytes, port.group) {
                Ok(_) => sent = true,
                Err(error) => why.push(format!("{}: {}", port.group.ip(), os_error(&error))),
            }
        }
        if sent { Ok(()) } else { Err(why.join(", ")) }
    }

    /// Reads from all sockets, within the budget of a turn.
    pub fn receive(&mut self, now: Instant) {
        for index in 0..2 {
            self.read(index, now, false);
            self.read(index, now, true);
        }
    }

    fn read(&mut self, index: usize, now: Instant, answers: bool) {
        for _ in 0..DATAGRAMS_A_TURN {
            let ports = if answers {
                &mut self.askers
            } else {
                &mut self.listeners
            };
            let Some(Some(port)) = ports.get_mut(index) else {
                return;
            };
            if !port.ready {
                return;
            }
            let (len, from) = match port.socket.recv_from(&mut self.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    port.ready = false;
                    return;
                }
                // An error of an earlier datagram (ICMP); the next read continues.
                Err(_) => continue,
            };
            let Some(message) = Message::decode(self.buffer.get(..len).unwrap_or_default()) else {
                continue;
            };
            if answers {
                self.take_answer(&message, from, now);
            } else {
                self.answer(index, &message, from, now);
            }
        }
    }

    fn answer(&mut self, index: usize, message: &Message, from: SocketAddr, now: Instant) {
        for reply in self.service.replies(message) {
            if now.since(self.replies.0) >= Duration::from_secs(1) {
                self.replies = (now, 0);
            }
            if self.replies.1 >= REPLIES_A_SECOND {
                log::debug!(target: "agent.mdns", "Too many mDNS questions: not answering {from}");
                return;
            }
            self.replies.1 += 1;
            if let Some(Some(port)) = self.listeners.get(index) {
                if let Err(error) = port.socket.send_to(&reply.encode(), from) {
                    log::debug!(target: "agent.mdns", "Cannot answer {from}: {}", os_error(&error));
                }
            }
        }
    }

    fn take_answer(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        // mDNS answers come from port 5353 (RFC 6762, 6).
        if !message.is_answer() || from.port() != PORT {
            return;
        }
        let new_nodes = self.found.take(message, self.service.kind());
        for (name, addr) in new_nodes.complete {
            self.offer(&name, addr, now);
        }
        for name in new_nodes.incomplete {
            if self.follow_ups < FOLLOW_UPS_MAX {
                self.follow_ups += 1;
                if let Err(why) = self.send_question(&name) {
                    log::debug!(target: "agent.mdns", "Cannot ask for {name}: {why}");
                }
            }
        }
    }

    fn offer(&mut self, name: &Name, addr: SocketAddr, now: Instant) {
        let own = addr == self.service.addr() || name == self.service.instance();
        if own || is_nowhere(addr) || self.tried.contains(&addr) {
            return;
        }
        log::debug!(target: "agent.mdns", "Found {name} at {addr}");
        if self.tried.len() >= TRIED_MAX {
            self.tried.clear();
        }
        self.tried.insert(addr);
        self.fresh.push(addr);
        self.quiet_at = Some(now + QUIET);
    }

    /// Returns the addresses found, to be joined together, once no new one has come for the debounce time.
    pub fn poll_found(&mut self, now: Instant) -> Option<Vec<SocketAddr>> {
        self.quiet_at.filter(|quiet| *quiet <= now)?;
        self.quiet_at = None;
        Some(std::mem::take(&mut self.fresh))
    }

    /// Makes addresses that could not be joined eligible again when they answer the next question.
    pub fn forget(&mut self, failed: impl IntoIterator<Item = SocketAddr>) {
        for addr in failed {
            self.tried.remove(&addr);
        }
    }
}

/// Returns the first interface with one of the node's addresses. Returns 0, the system's choice, if there is
/// none or it is the loopback interface, provided that the system can choose.
fn interface_of(own: [IpAddr; 2]) -> u32 {
    let all = sys::interface_addresses().unwrap_or_default();
    let index_of = |ip: IpAddr| {
        let entry = all.iter().find(|entry| entry.addr == ip)?;
        sys::interface_index(&entry.name)
    };
    let found = own.into_iter().find_map(|ip| Some((ip, index_of(ip)?)));
    match found {
        Some((ip, index)) if !ip.is_loopback() => index,
        Some((_, index)) => {
            let group = SocketAddr::from((GROUP_V4, PORT));
            match sys::multicast_listener(group, 0) {
                Ok(_) => 0,
                Err(_) => index,
            }
        }
        None => 0,
    }
}

/// Returns the interface for IPv6, where the system makes no choice: that of the node's own address if it is
/// usable, else the first usable one.
fn link_local_interface(interface: u32, own: IpAddr) -> u32 {
    if interface != 0 {
        return interface;
    }
    let all = sys::interface_addresses().unwrap_or_default();
    let of_own = all.iter().find(|entry| entry.addr == own);
    let usable = all.iter().filter(|entry| {
        let link_local = |v6: Ipv6Addr| v6.segments()[0] & 0xffc0 == 0xfe80;
        entry.up && matches!(entry.addr, IpAddr::V6(v6) if link_local(v6))
    });
    usable
        .min_by_key(|entry| of_own.is_none_or(|own| own.name != entry.name))
        .and_then(|entry| sys::interface_index(&entry.name))
        .unwrap_or(0)
}

/// Returns whether an address cannot be that of a single node.
fn is_nowhere(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
