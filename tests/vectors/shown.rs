//! Decoded messages in the format of the file of vectors.

use cottar::wire::serf::{SerfMessage, SerfPushPull, Tags};
use cottar::wire::{Message, PushPullNode};
use serde_json::{Map, Value, json};

use crate::vector::{bytes, bytes_or_nil, ip, text};

/// Converts a decoded message to the format of the file.
pub fn shown(message: &Message) -> (u64, Value) {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.into(), value);
    let mut source = Vec::new();
    let kind = match message {
        Message::Ping(ping) => {
            put("SeqNo", ping.seq_no.into());
            put(
                "Node",
                ping.node.as_ref().map_or("".into(), |n| text(n.as_bytes())),
            );
            source.push((ping.source, &ping.source_node));
            0
        }
        Message::IndirectPing(ping) => {
            put("SeqNo", ping.seq_no.into());
            put("Node", text(ping.node.as_bytes()));
            put("Nack", ping.nack.into());
            put("Target", ip(ping.target));
            put("Port", ping.target.port().into());
            source.push((ping.source, &ping.source_node));
            1
        }
        Message::Ack(ack) => {
            put("SeqNo", ack.seq_no.into());
            put("Payload", bytes_or_nil(ack.payload.as_deref()));
            2
        }
        Message::Nack(nack) => {
            put("SeqNo", nack.seq_no.into());
            11
        }
        Message::Suspect(suspect) => {
            put("Incarnation", suspect.incarnation.into());
            put("Node", text(suspect.node.as_bytes()));
            put("From", text(suspect.from.as_ref().unwrap().as_bytes()));
            3
        }
        Message::Dead(dead) => {
            put("Incarnation", dead.incarnation.into());
            put("Node", text(dead.node.as_bytes()));
            put("From", text(dead.from.as_ref().unwrap().as_bytes()));
            5
        }
        Message::Alive(alive) => {
            put("Incarnation", alive.incarnation.into());
            put("Node", text(alive.node.as_bytes()));
            put("Addr", ip(alive.addr));
            put("Port", alive.addr.port().into());
            put("Meta", bytes_or_nil(alive.meta.as_deref()));
            put("Vsn", bytes(&alive.versions.encode()));
            4
        }
        Message::User(_) => 8,
    };
    for (addr, node) in source {
        if let Some(addr) = addr {
            put("SourceAddr", ip(addr));
            put("SourcePort", addr.port().into());
        }
        if let Some(node) = node {
            put("SourceNode", text(node.as_bytes()));
        }
    }
    (kind, body.into())
}

pub fn shown_serf(message: &SerfMessage) -> (u64, Value) {
    match message {
        SerfMessage::Leave(leave) => (
            0,
            json!({ "LTime": leave.ltime.0, "Node": text(leave.node.as_bytes()), "Prune": leave.prune }),
        ),
        SerfMessage::Join(join) => (
            1,
            json!({ "LTime": join.ltime.0, "Node": text(join.node.as_bytes()) }),
        ),
        SerfMessage::UserEvent(event) => (
            3,
            json!({
                "LTime": event.ltime.0,
                "Name": text(&event.name),
                "Payload": bytes_or_nil(event.payload.as_deref()),
                "CC": event.coalesce,
            }),
        ),
        SerfMessage::Query(query) => (
            4,
            json!({
                "LTime": query.ltime.0,
                "ID": query.id,
                "Addr": ip(query.addr),
                "Port": query.addr.port(),
                "SourceNode": text(query.source_node.as_ref().unwrap().as_bytes()),
                "Filters": query.filters.as_ref().map(|filters| {
                    filters.iter().map(|filter| bytes(filter)).collect::<Vec<_>>()
                }),
                "Flags": query.flags,
                "RelayFactor": query.relay_factor,
                "Timeout": query.timeout_nanos,
                "Name": text(&query.name),
                "Payload": bytes_or_nil(query.payload.as_deref()),
            }),
        ),
        SerfMessage::QueryResponse(response) => (
            5,
            json!({
                "LTime": response.ltime.0,
                "ID": response.id,
                "From": text(response.from.as_bytes()),
                "Flags": response.flags,
                "Payload": bytes_or_nil(response.payload.as_deref()),
            }),
        ),
        SerfMessage::Relay(relay) => (
            9,
            json!({
                "DestAddr": {
                    "IP": ip(relay.destination),
                    "Port": relay.destination.port(),
                    "Zone": "",
                },
                "DestName": text(relay.destination_name.as_ref().unwrap().as_bytes()),
            }),
        ),
    }
}

pub fn shown_tags(tags: &Tags) -> Value {
    tags.iter()
        .map(|(key, value)| (String::from_utf8(key.to_vec()).unwrap(), text(value)))
        .collect::<Map<_, _>>()
        .into()
}

/// Converts a node of a push/pull message.
pub fn shown_node(node: &PushPullNode) -> Value {
    json!({
        "Name": text(node.name.as_bytes()),
        "Addr": ip(node.addr),
        "Port": node.addr.port(),
        "Meta": bytes_or_nil(node.meta.as_deref()),
        "Incarnation": node.incarnation,
        "State": node.state as u8,
        "Vsn": bytes(&node.versions.encode()),
    })
}

/// Converts the Serf layer's part of a push/pull message.
pub fn shown_state(state: &SerfPushPull) -> Value {
    let event = |(name, payload): &(Vec<u8>, Option<Vec<u8>>)| json!({ "Name": text(name), "Payload": bytes_or_nil(payload.as_deref()) });
    let events = state.events.iter().flatten().map(|recent| {
        let events: Vec<_> = recent.events.iter().map(event).collect();
        json!({ "LTime": recent.ltime.0, "Events": events })
    });
    let left = state.left_members.iter();
    let statuses = state.status_ltimes.iter().map(|(name, ltime)| {
        let name = String::from_utf8(name.as_bytes().to_vec()).unwrap();
        (name, ltime.0.into())
    });
    json!({
        "EventLTime": state.event_ltime.0,
        "Events": events.collect::<Vec<_>>(),
        "LTime": state.ltime.0,
        "LeftMembers": left.map(|name| text(name.as_bytes())).collect::<Vec<_>>(),
        "QueryLTime": state.query_ltime.0,
        "StatusLTimes": statuses.collect::<Map<_, _>>(),
    })
}
