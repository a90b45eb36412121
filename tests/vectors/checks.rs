//! Compares decoded messages with their stated content.

use cottar::wire::serf::{
    ConflictMember, Filter, KeyRequest, KeyResponse, SerfMessage, SerfPushPull, Tags,
};
use cottar::wire::{Message, PushPull};
use serde_json::{Value, json};

use crate::shown::{shown, shown_node, shown_serf, shown_state, shown_tags};
use crate::vector::{Vector, bytes, bytes_or_nil, hex, ip, stated, text};

pub fn check_meta(name: &str, meta: Option<&[u8]>, expected: &Value) {
    if let (Some(meta), Some(tags)) = (meta, expected.get("tags")) {
        let (decoded, complete) = Tags::decode_meta(meta);
        assert!(complete, "{name}");
        assert_eq!(shown_tags(&decoded), *tags, "{name}");
    }
}

pub fn check_leaf(name: &str, message: &Message, expected: &Value, comes_back: bool) {
    let (kind, body) = shown(message);
    assert_eq!(expected["type"], kind, "{name}");
    match message {
        Message::User(user) => {
            check_user(name, user, expected, comes_back);
            return;
        }
        Message::Alive(alive) => {
            check_meta(name, alive.meta.as_deref(), &expected["body"]["Meta"]);
        }
        _ => {}
    }
    assert_eq!(body, stated(&expected["body"]), "{name}");
}

/// Checks the bytes of the Serf layer. Those of a node without Serf (a library node) have no meaning.
pub fn check_user(name: &str, user: &[u8], expected: &Value, comes_back: bool) {
    if let Some(payload) = expected.get("payload") {
        assert_eq!(bytes(user), *payload, "{name}");
    }
    match expected.get("inner") {
        Some(inner) => check_serf(name, user, inner, comes_back),
        None => assert!(expected.get("payload").is_some(), "{name}: nothing stated"),
    }
}

pub fn check_serf(name: &str, user: &[u8], expected: &Value, comes_back: bool) {
    assert_eq!(expected["layer"], "serf", "{name}");
    let message = SerfMessage::decode(user).expect(name);
    let (kind, body) = shown_serf(&message);
    assert_eq!(expected["type"], kind, "{name}");
    if comes_back {
        assert_eq!(hex(&message.encode()), hex(user), "{name}");
    }
    let payload = match &message {
        SerfMessage::Relay(relay) => {
            assert_eq!(body, stated(&expected["header"]), "{name}");
            check_serf(name, &relay.message, &expected["inner"], comes_back);
            return;
        }
        SerfMessage::Query(query) => {
            check_filters(name, query.filters.as_deref(), &expected["filtersDecoded"]);
            query.payload.as_deref()
        }
        SerfMessage::QueryResponse(response) => response.payload.as_deref(),
        _ => None,
    };
    assert_eq!(body, stated(&expected["body"]), "{name}");
    if let Some(decoded) = expected.get("payloadDecoded") {
        check_internal_payload(name, payload.unwrap(), decoded);
    }
}

pub fn check_filters(name: &str, filters: Option<&[Vec<u8>]>, expected: &Value) {
    let Some(expected) = expected.as_array() else {
        return;
    };
    let filters = filters.unwrap();
    assert_eq!(filters.len(), expected.len(), "{name}");
    for (encoded, expected) in filters.iter().zip(expected) {
        let filter = Filter::decode(encoded).unwrap();
        let shown = match &filter {
            Filter::Nodes(names) => {
                let names: Vec<_> = names.iter().map(|name| text(name)).collect();
                json!({ "filterType": 0, "value": names })
            }
            Filter::Tag { tag, expression } => json!({
                "filterType": 1,
                "value": { "Expr": text(expression), "Tag": text(tag) },
            }),
        };
        assert_eq!(shown, *expected, "{name}");
        assert_eq!(filter.encode(), *encoded, "{name}");
    }
}

pub fn check_internal_payload(name: &str, payload: &[u8], expected: &Value) {
    let (shown, encoded) = match expected["type"].as_u64().unwrap() {
        6 => {
            let member = ConflictMember::decode(payload).unwrap();
            let shown = member.as_ref().map(|member| {
                let versions = member.versions;
                json!({
                    "Addr": ip(member.addr),
                    "Port": member.addr.port(),
                    "Name": text(member.name.as_bytes()),
                    "Status": member.status,
                    "Tags": shown_tags(&member.tags),
                    "ProtocolMin": versions.protocol_min,
                    "ProtocolMax": versions.protocol_max,
                    "ProtocolCur": versions.protocol_current,
                    "DelegateMin": versions.delegate_min,
                    "DelegateMax": versions.delegate_max,
                    "DelegateCur": versions.delegate_current,
                })
            });
            (shown, ConflictMember::encode(member.as_ref()))
        }
        7 => {
            let request = KeyRequest::decode(payload).unwrap();
            let shown = json!({ "Key": bytes_or_nil(request.key.as_deref()) });
            (Some(shown), request.encode())
        }
        8 => {
            let response = KeyResponse::decode(payload).unwrap();
            let keys = response
                .keys
                .as_ref()
                .map(|keys| keys.iter().map(|key| text(key)).collect::<Vec<_>>());
            let shown = json!({
                "Keys": keys,
                "Message": text(&response.message),
                "PrimaryKey": text(&response.primary_key),
                "Result": response.result,
            });
            (Some(shown), response.encode())
        }
        other => panic!("{name}: unknown payload type {other}"),
    };
    assert_eq!(
        shown.unwrap_or(Value::Null),
        stated(&expected["value"]),
        "{name}"
    );
    assert_eq!(hex(&encoded), hex(payload), "{name}");
}

pub fn check_push_pull(vector: &Vector<'_>, push_pull: &PushPull) {
    let (name, expected) = (vector.name, vector.message());
    assert_eq!(push_pull.refused, [], "{name}");
    let header = json!({
        "Join": push_pull.join,
        "Nodes": push_pull.nodes.len(),
        "UserStateLen": push_pull.user_state.len(),
    });
    assert_eq!(header, expected["header"], "{name}");
    for (node, expected) in push_pull
        .nodes
        .iter()
        .zip(expected["nodes"].as_array().unwrap())
    {
        assert_eq!(shown_node(node), stated(expected), "{name}");
        check_meta(name, node.meta.as_deref(), &expected["Meta"]);
    }
    let Some(expected) = expected.get("userState") else {
        assert!(push_pull.user_state.is_empty(), "{name}");
        return;
    };
    let state = SerfPushPull::decode(&push_pull.user_state).expect(name);
    assert_eq!(shown_state(&state), stated(&expected["body"]), "{name}");
    if let Some(slots) = expected.get("eventsArrayLength") {
        assert_eq!(
            state.events.len(),
            slots.as_u64().unwrap() as usize,
            "{name}"
        );
    }
    if vector.comes_back() {
        assert_eq!(hex(&state.encode()), hex(&push_pull.user_state), "{name}");
    }
}
