//! Multicast DNS messages.

use cottar::agent::mdns::dns::{Data, FLAGS_ANSWER, Message, Name, Question, Record, number};

use crate::supply::peak_bytes;

/// The input is a message.
pub fn check(bytes: &[u8]) {
    let (peak, message) = peak_bytes(|| Message::decode(bytes));
    let entries = message
        .as_ref()
        .map_or(0, |message| message.questions.len() + message.records.len());
    // A two-byte pointer can expand to a name of 255 bytes with labels of one byte.
    let budget = 4096 + (entries + 2) * (1 << 14);
    assert!(peak < budget, "{peak} of {budget} bytes held");
    let Some(message) = message else { return };
    let _ = (message.is_answer(), message.is_plain());
    for question in &message.questions {
        assert!(!question.name.to_string().contains('\n'));
    }
    let again = Message::decode(&message.encode());
    assert_eq!(again.as_ref(), Some(&message));
}

/// Returns a question and an answer as this node sends them.
pub fn corpus() -> Vec<Vec<u8>> {
    let service = Name::dotted(b"_cottar._tcp.local");
    let (instance, host) = (service.child(b"n1"), Name::dotted(b"host.local"));
    let question = |kind, unicast| Question {
        name: service.clone(),
        kind,
        class: number::CLASS_IN,
        unicast,
    };
    let record = |name: &Name, data| Record {
        name: name.clone(),
        ttl: 120,
        data,
    };
    let srv = Data::Srv {
        priority: 10,
        weight: 1,
        port: 7946,
        target: host.clone(),
    };
    let asking = Message {
        questions: vec![question(number::PTR, true), question(number::ANY, false)],
        ..Message::default()
    };
    let answer = Message {
        id: 7,
        flags: FLAGS_ANSWER,
        questions: Vec::new(),
        records: vec![
            record(&service, Data::Ptr(instance.clone())),
            record(&instance, srv),
            record(&host, Data::Address([127, 0, 0, 1].into())),
            record(&host, Data::Address([1; 16].into())),
            record(&instance, Data::Txt(b"text".to_vec())),
        ],
    };
    vec![asking.encode(), answer.encode()]
}
