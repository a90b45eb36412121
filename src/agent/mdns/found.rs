//! Collects the nodes that answer a question from the records of their answers (agent spec 4.13).

use crate::ordered::OrderedMap;
use std::net::{IpAddr, SocketAddr};

use super::dns::{Data, Message, Name};

/// Limit for the nodes found by one question; more can only be an attack.
const NODES_MAX: usize = 1024;

#[derive(Clone, Debug, Default)]
struct Node {
    place: Option<(u16, Name)>,
    ip: Option<IpAddr>,
    text: bool,
    is_returned: bool,
    is_queried: bool,
}

/// Nodes that have answered.
#[derive(Clone, Debug, Default)]
pub struct Found {
    nodes: OrderedMap<Name, Node>,
}

/// New information from an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNodes {
    /// Nodes whose address is now known, each returned once.
    pub complete: Vec<(Name, SocketAddr)>,
    /// Nodes that need a further question, each returned once.
    pub incomplete: Vec<Name>,
}

impl Found {
    /// Processes an answer about nodes below `kind`.
    ///
    /// Address records apply only to host names in the same answer, because two machines may have the same
    /// name.
    pub fn take(&mut self, message: &Message, kind: &Name) -> NewNodes {
        let mut touched: Vec<Name> = Vec::new();
        for record in &message.records {
            let instance = match &record.data {
                Data::Ptr(instance) => instance,
                Data::Srv { .. } | Data::Txt(_) => &record.name,
                Data::Address(_) => continue,
            };
            let room = self.nodes.len() < NODES_MAX || self.nodes.contains_key(instance);
            if !instance.is_below(kind) || !room {
                continue;
            }
            let node = self
                .nodes
                .get_or_insert_with(instance.clone(), Node::default);
            match &record.data {
                Data::Srv { port, target, .. } => node.place = Some((*port, target.clone())),
                Data::Txt(_) => node.text = true,
                Data::Ptr(_) | Data::Address(_) => {}
            }
            if !touched.contains(instance) {
                touched.push(instance.clone());
            }
        }
        let mut new_nodes = NewNodes::default();
        for name in touched {
            if let Some(node) = self.nodes.get_mut(&name) {
                node.locate(message);
                node.report(name, &mut new_nodes);
            }
        }
        new_nodes
    }
}

impl Node {
    fn locate(&mut self, message: &Message) {
        let Some((_, target)) = &self.place else {
            return;
        };
        let mut records = message.records.iter();
        let ip = records.find_map(|record| match record.data {
            Data::Address(ip) if record.name == *target => Some(ip),
            _ => None,
        });
        self.ip = ip.or(self.ip);
    }

    fn report(&mut self, name: Name, new_nodes: &mut NewNodes) {
        if self.is_returned {
            return;
        }
        match (&self.place, self.ip) {
            (Some((port, _)), Some(ip)) if self.text => {
                self.is_returned = true;
                new_nodes.complete.push((name, SocketAddr::new(ip, *port)));
            }
            _ if !self.is_queried => {
                self.is_queried = true;
                new_nodes.incomplete.push(name);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::dns::{Question, Record, number};
    use super::super::service::Service;
    use super::*;

    fn answer(node: &str, addr: &str) -> (Message, Name) {
        let service = Service::new(b"c", node.as_bytes(), b"vm", addr.parse().unwrap());
        let question = Message {
            questions: vec![Question {
                name: service.kind().clone(),
                kind: number::PTR,
                class: number::CLASS_IN,
                unicast: false,
            }],
            ..Message::default()
        };
        let reply = service.replies(&question).remove(0);
        (reply, service.kind().clone())
    }

    #[test]
    fn complete_nodes_are_returned_once() {
        let mut found = Found::default();
        let (first, kind) = answer("n1", "10.0.0.1:1");
        let (second, _) = answer("n2", "10.0.0.2:2");
        let addr = |new_nodes: NewNodes| {
            assert_eq!(new_nodes.incomplete, []);
            new_nodes
                .complete
                .iter()
                .map(|(_, addr)| addr.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(addr(found.take(&first, &kind)), ["10.0.0.1:1"]);
        assert_eq!(addr(found.take(&first, &kind)), [""; 0]);
        // The same host name on another machine.
        assert_eq!(addr(found.take(&second, &kind)), ["10.0.0.2:2"]);
    }

    #[test]
    fn pieces_are_asked_for_and_put_together() {
        let mut found = Found::default();
        let (mut pieces, kind) = answer("n1", "10.0.0.1:1");
        let mut whole = pieces.clone();
        pieces.records.truncate(1);
        let new_nodes = found.take(&pieces, &kind);
        assert_eq!(
            (new_nodes.complete.len(), new_nodes.incomplete.len()),
            (0, 1)
        );
        assert_eq!(found.take(&pieces, &kind), NewNodes::default());
        whole.records.remove(0);
        assert_eq!(found.take(&whole, &kind).complete.len(), 1);
    }

    #[test]
    fn answers_for_other_services_are_ignored() {
        let (message, _) = answer("n1", "10.0.0.1:1");
        let other = Name::dotted(b"_serf_d._tcp.local");
        assert_eq!(Found::default().take(&message, &other), NewNodes::default());
    }

    #[test]
    fn the_number_of_found_nodes_is_limited() {
        let mut found = Found::default();
        let (_, kind) = answer("n1", "10.0.0.1:1");
        for number in 0..NODES_MAX + 10 {
            let name = kind.child(format!("n{number}").as_bytes());
            let data = Data::Txt(Vec::new());
            let records = vec![Record { name, ttl: 1, data }];
            let message = Message {
                records,
                ..Message::default()
            };
            found.take(&message, &kind);
        }
        assert_eq!(found.nodes.len(), NODES_MAX);
    }
}
