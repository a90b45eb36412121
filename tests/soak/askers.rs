//! Threads that fire events and send queries, so that a stopped agent does not block the driver.

use crate::history::{Event, PAYLOAD, Query};
use crate::rpc::Client;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a query collects answers.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(1);

/// An event to fire on a node in one of its lives.
struct Order {
    life: usize,
    index: usize,
    name: String,
    coalesced: bool,
}

/// The events and queries so far.
#[derive(Clone, Default)]
pub struct Fired {
    pub events: Arc<Mutex<Vec<Event>>>,
    pub queries: Arc<Mutex<Vec<Query>>>,
}

/// A thread that fires events on one node.
pub struct Firer {
    node: usize,
    rpc: SocketAddr,
    orders: Sender<Order>,
    fired: Fired,
    origin: Instant,
}

impl Firer {
    /// Creates the thread for the node with this RPC address.
    pub fn new(node: usize, rpc: SocketAddr, fired: &Fired, origin: Instant) -> Firer {
        let (orders, received) = channel();
        let events = Arc::clone(&fired.events);
        std::thread::spawn(move || serve(rpc, &received, &events, origin));
        Firer {
            node,
            rpc,
            orders,
            fired: fired.clone(),
            origin,
        }
    }

    /// Fires an event on the agent of this life.
    pub fn fire(&self, life: usize, name: String, coalesced: bool) {
        let mut events = self.fired.events.lock().expect("never poisoned");
        let index = events.len();
        events.push(Event {
            name: name.clone(),
            firer: self.node,
            coalesced,
            asked: self.origin.elapsed().as_secs_f64(),
            accepted: None,
        });
        let order = Order {
            life,
            index,
            name,
            coalesced,
        };
        self.orders.send(order).expect("a thread that fires");
    }

    /// Sends a query to all nodes; it counts when its timeout is over.
    pub fn ask(&self) {
        let (asker, rpc, origin) = (self.node, self.rpc, self.origin);
        let queries = Arc::clone(&self.fired.queries);
        std::thread::spawn(move || {
            let Ok(mut client) = Client::connect(rpc) else {
                return;
            };
            let asked = origin.elapsed().as_secs_f64();
            // If the agent ends meanwhile, no promise holds.
            if let Ok(records) = client.ask("probe", QUERY_TIMEOUT) {
                let of = |kind: &str| {
                    let some = records.iter().filter(|(each, _)| each == kind);
                    some.map(|(_, from)| from.clone()).collect()
                };
                let (acks, answers) = (of("ack"), of("response"));
                queries.lock().expect("never poisoned").push(Query {
                    asker,
                    asked,
                    acks,
                    answers,
                });
            }
        });
    }
}

fn serve(
    rpc: SocketAddr,
    orders: &Receiver<Order>,
    events: &Arc<Mutex<Vec<Event>>>,
    origin: Instant,
) {
    let mut connection: Option<(usize, Client)> = None;
    while let Ok(order) = orders.recv() {
        if connection
            .as_ref()
            .is_none_or(|(life, _)| *life != order.life)
        {
            let client = Client::connect(rpc).ok();
            connection = client.map(|client| (order.life, client));
        }
        let Some((_, client)) = &mut connection else {
            continue;
        };
        let sent = client.send_user_event(&order.name, PAYLOAD, order.coalesced);
        if sent.and_then(|()| client.accepted()).is_ok() {
            let at = origin.elapsed().as_secs_f64();
            events.lock().expect("never poisoned")[order.index].accepted = Some(at);
        } else {
            connection = None;
        }
    }
}
