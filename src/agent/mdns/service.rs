//! Answers questions about this node's cluster (agent spec 4.13).

use std::net::SocketAddr;

use super::dns::{Data, FLAGS_ANSWER, LABEL_BYTES_MAX, Message, Name, Question, Record, number};

/// Time to live of an answer, in seconds.
const TTL: u32 = 120;
/// Limit for the questions of one message that are answered.
const QUESTIONS_MAX: usize = 16;
/// Name for enumerating service types (RFC 6763, 9).
const ENUMERATION: &[u8] = b"_services._dns-sd._udp.local.";
const DOMAIN: &[u8] = b"local.";

/// This node's service as others discover it.
#[derive(Clone, Debug)]
pub struct Service {
    enumeration: Name,
    kind: Name,
    instance: Name,
    host: Name,
    addr: SocketAddr,
    text: Vec<u8>,
}

impl Service {
    /// Creates the service for the node `node` of the cluster `cluster` at `addr`, on the machine `host`.
    pub fn new(cluster: &[u8], node: &[u8], host: &[u8], addr: SocketAddr) -> Self {
        let label = [b"_serf_", cluster].concat();
        let kind = Name::dotted(DOMAIN).child(b"_tcp").child(&label);
        let host = if host.is_empty() { b"localhost" } else { host };
        Service {
            enumeration: Name::dotted(ENUMERATION),
            instance: kind.child(&instance_label(node)),
            kind,
            host: Name::dotted(host),
            addr,
            text: [b"Serf '", cluster, b"' cluster"].concat(),
        }
    }

    /// Returns the service name of the cluster, under which all nodes are found.
    pub const fn kind(&self) -> &Name {
        &self.kind
    }

    /// Returns the instance name of this node.
    pub const fn instance(&self) -> &Name {
        &self.instance
    }

    /// Returns the address of this node.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the answers to a message, if any. Questions that allow a unicast answer share one answer with
    /// the message's id; the others share one with id 0.
    pub fn replies(&self, message: &Message) -> Vec<Message> {
        if message.is_answer() || !message.is_plain() {
            return Vec::new();
        }
        let reply = |unicast: bool| {
            let questions = message.questions.iter().take(QUESTIONS_MAX);
            let asked = questions.filter(|question| question.unicast == unicast);
            let mut records: Vec<Record> = Vec::new();
            for record in asked.flat_map(|question| self.records(question)) {
                if !records.contains(&record) {
                    records.push(record);
                }
            }
            Message {
                id: if unicast { message.id } else { 0 },
                flags: FLAGS_ANSWER,
                questions: Vec::new(),
                records,
            }
        };
        let replies = [reply(false), reply(true)];
        replies
            .into_iter()
            .filter(|reply| !reply.records.is_empty())
            .collect()
    }

    fn records(&self, question: &Question) -> Vec<Record> {
        if ![number::CLASS_IN, number::ANY].contains(&question.class) {
            return Vec::new();
        }
        let (name, kind) = (&question.name, question.kind);
        let any = kind == number::ANY;
        let address = Data::Address(self.addr.ip());
        let address_kind = address.kind();
        if *name == self.kind && (any || kind == number::PTR) {
            let pointer = record(&self.kind, Data::Ptr(self.instance.clone()));
            [vec![pointer], self.whole_instance()].concat()
        } else if *name == self.enumeration && (any || kind == number::PTR) {
            vec![record(&self.enumeration, Data::Ptr(self.kind.clone()))]
        } else if *name == self.instance {
            match kind {
                number::ANY => self.whole_instance(),
                number::SRV => {
                    let mut records = self.whole_instance();
                    records.pop();
                    records
                }
                number::TXT => vec![record(&self.instance, Data::Txt(self.text.clone()))],
                _ if kind == address_kind => vec![record(&self.host, address)],
                _ => Vec::new(),
            }
        } else if *name == self.host && kind == address_kind {
            vec![record(&self.host, address)]
        } else {
            Vec::new()
        }
    }

    /// Returns the SRV, address and TXT records of this node, in this order.
    fn whole_instance(&self) -> Vec<Record> {
        let place = Data::Srv {
            priority: 10,
            weight: 1,
            port: self.addr.port(),
            target: self.host.clone(),
        };
        vec![
            record(&self.instance, place),
            record(&self.host, Data::Address(self.addr.ip())),
            record(&self.instance, Data::Txt(self.text.clone())),
        ]
    }
}

fn record(name: &Name, data: Data) -> Record {
    Record {
        name: name.clone(),
        ttl: TTL,
        data,
    }
}

/// Turns a node name into a single label, including its dots. The end of a name that is too long for a label
/// is replaced by a hash, so that such names stay distinct.
fn instance_label(node: &[u8]) -> Vec<u8> {
    const HASH_DIGITS: usize = 16;
    if node.len() <= LABEL_BYTES_MAX {
        return node.to_vec();
    }
    // FNV-1a.
    let hash = node.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let start = node.get(..LABEL_BYTES_MAX - HASH_DIGITS).unwrap_or(node);
    [start, format!("{hash:016x}").as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn service() -> Service {
        let addr = "10.99.0.1:7946".parse().unwrap();
        Service::new(b"cl1", b"n1", b"vm", addr)
    }

    fn ask(name: &str, kind: u16) -> Message {
        asking(&[(name, kind, false)])
    }

    fn asking(questions: &[(&str, u16, bool)]) -> Message {
        let questions = questions.iter().map(|&(name, kind, unicast)| Question {
            name: Name::dotted(name.as_bytes()),
            kind,
            class: number::CLASS_IN,
            unicast,
        });
        Message {
            id: 0x1234,
            questions: questions.collect(),
            ..Message::default()
        }
    }

    fn answer(name: &str, kind: u16) -> Option<String> {
        let replies = service().replies(&ask(name, kind));
        assert!(replies.len() < 2);
        let reply = replies.first()?;
        Some(
            reply
                .encode()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }

    const KIND: &str = "_serf_cl1._tcp.local.";
    const INSTANCE: &str = "n1._serf_cl1._tcp.local.";

    /// Captured from the reference for node n1 on host vm at that address.
    #[test]
    fn answers_are_those_of_the_reference() {
        let whole = concat!(
            "000084000000000400000000095f736572665f636c31045f746370056c6f63616c00000c000100000078",
            "0005026e31c00cc02c0021000100000078000a000a00011f0a02766d00c0430001000100000078000",
            "40a630001c02c0010000100000078001312536572662027636c312720636c7573746572"
        );
        let place = concat!(
            "000084000000000200000000026e31095f736572665f636c31045f746370056c6f63616c00002100010000",
            "0078000a000a00011f0a02766d00c035000100010000007800040a630001"
        );
        let text = concat!(
            "000084000000000100000000026e31095f736572665f636c31045f746370056c6f63616c00001000010000",
            "0078001312536572662027636c312720636c7573746572"
        );
        let address = "00008400000000010000000002766d00000100010000007800040a630001";
        let kinds = concat!(
            "000084000000000100000000095f7365727669636573075f646e732d7364045f756470056c6f63616c0000",
            "0c0001000000780011095f736572665f636c31045f746370c023"
        );
        let enumeration = "_services._dns-sd._udp.local.";
        for (name, kind, expected) in [
            (KIND, number::PTR, whole),
            (KIND, number::ANY, whole),
            (INSTANCE, number::SRV, place),
            (INSTANCE, number::TXT, text),
            (INSTANCE, number::A, address),
            ("vm.", number::A, address),
            (enumeration, number::PTR, kinds),
            (enumeration, number::ANY, kinds),
        ] {
            assert_eq!(
                answer(name, kind).as_deref(),
                Some(expected),
                "{name} {kind}"
            );
        }
        let instance = service().replies(&ask(INSTANCE, number::ANY));
        assert_eq!(instance[0].records.len(), 3);
    }

    #[test]
    fn other_questions_get_no_answer() {
        for (name, kind) in [
            (KIND, number::SRV),
            (KIND, number::A),
            (INSTANCE, number::PTR),
            (INSTANCE, number::AAAA),
            ("vm.", number::AAAA),
            ("vm.", number::ANY),
            ("_SERF_cl1._tcp.local.", number::PTR),
            ("_serf_cl2._tcp.local.", number::PTR),
            ("x._serf_cl1._tcp.local.", number::SRV),
        ] {
            assert_eq!(answer(name, kind), None, "{name} {kind}");
        }
        for flags in [FLAGS_ANSWER, 0x0800, 0x0001] {
            let message = Message {
                flags,
                ..ask(KIND, number::PTR)
            };
            assert_eq!(service().replies(&message), [], "{flags:x}");
        }
    }

    #[test]
    fn the_unicast_bit_brings_the_number_back() {
        let both = [(INSTANCE, number::TXT, true), (KIND, number::PTR, false)];
        let replies = service().replies(&asking(&both));
        let shape: Vec<_> = replies.iter().map(|m| (m.id, m.records.len())).collect();
        assert_eq!(shape, [(0, 4), (0x1234, 1)]);
        // Records for one question are not repeated for the next.
        let twice = [(KIND, number::PTR, false), (INSTANCE, number::TXT, false)];
        assert_eq!(service().replies(&asking(&twice))[0].records.len(), 4);
    }

    #[test]
    fn an_ipv6_node_has_an_ipv6_address() {
        let service = Service::new(b"c", b"n", b"", "[fd00::1]:5".parse().unwrap());
        let records = service.whole_instance();
        assert_eq!(records[1].data, Data::Address("fd00::1".parse().unwrap()));
        assert_eq!(records[1].name, Name::dotted(b"localhost"));
    }

    #[test]
    fn node_names_are_one_label_and_stay_apart() {
        assert_eq!(instance_label(b"a.b"), b"a.b");
        let long = |end: u8| instance_label(&[vec![b'x'; 100], vec![end]].concat());
        assert_eq!(long(b'1').len(), LABEL_BYTES_MAX);
        assert_ne!(long(b'1'), long(b'2'));
    }
}
