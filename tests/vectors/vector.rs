//! The captured messages of the file, and values in its format.

use std::net::{IpAddr, SocketAddr};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use cottar::wire::{Envelope, Key, Keyring, Label, NonceSource};
use serde_json::{Map, Value, json};

use crate::hex::unhex;

pub fn file() -> Value {
    serde_json::from_str(include_str!("../data/gossip-vectors.json")).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn bytes(bytes: &[u8]) -> Value {
    json!({ "$hex": hex(bytes) })
}

pub fn bytes_or_nil(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, bytes)
}

pub fn text(bytes: &[u8]) -> Value {
    String::from_utf8(bytes.to_vec()).unwrap().into()
}

pub fn ip(addr: SocketAddr) -> Value {
    match addr.ip() {
        IpAddr::V4(ip) => bytes(&ip.octets()),
        IpAddr::V6(ip) => bytes(&ip.octets()),
    }
}

/// Content as stated in the file, without the renderings for human readers.
pub fn stated(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$hex") {
            Some(hex) => json!({ "$hex": hex }),
            None => map
                .iter()
                .map(|(key, value)| (key.clone(), stated(value)))
                .collect::<Map<_, _>>()
                .into(),
        },
        Value::Array(elements) => elements.iter().map(stated).collect(),
        other => other.clone(),
    }
}

pub struct Vector<'a> {
    pub name: &'a str,
    pub json: &'a Value,
    pub bytes: Vec<u8>,
}

impl Vector<'_> {
    pub fn key(&self) -> Option<Vec<u8>> {
        self.json["key"].as_str().map(unhex)
    }

    pub fn label(&self) -> &[u8] {
        self.json["label"].as_str().unwrap_or_default().as_bytes()
    }

    pub fn message(&self) -> &Value {
        &self.json["decoded"]["message"]
    }

    /// Returns the envelope of the vector's sender.
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::plain(NonceSource::new([7; 32]));
        envelope.label = Label::new(self.label()).unwrap();
        envelope.keyring = self.key().map(|key| Keyring::new(Key::new(&key).unwrap()));
        envelope.compression = self.json["decoded"].to_string().contains("\"compress");
        envelope
    }

    /// Decrypts a message independently of the code under test.
    pub fn plaintext(&self) -> Vec<u8> {
        let mut rest = &self.bytes[..];
        if rest[0] == 0xf4 {
            rest = &rest[2 + usize::from(rest[1])..];
        }
        let Some(key) = self.key() else {
            return rest.to_vec();
        };
        let mut aad = Vec::new();
        if self.json["transport"] == "tcp" {
            aad.extend_from_slice(&rest[..5]);
            rest = &rest[5..];
        }
        aad.extend_from_slice(self.label());
        let payload = Payload {
            msg: &rest[13..],
            aad: &aad,
        };
        let nonce = aes_gcm::Nonce::from_slice(&rest[1..13]);
        let mut plain = match key.len() {
            16 => aes_gcm::Aes128Gcm::new_from_slice(&key)
                .unwrap()
                .decrypt(nonce, payload),
            _ => aes_gcm::Aes256Gcm::new_from_slice(&key)
                .unwrap()
                .decrypt(nonce, payload),
        }
        .unwrap();
        if rest[0] == 0 {
            plain.truncate(plain.len() - usize::from(*plain.last().unwrap()));
        }
        plain
    }

    /// Returns whether the sender encodes in the same way as cottar.
    pub fn comes_back(&self) -> bool {
        self.json["origin"]
            .as_str()
            .unwrap()
            .starts_with("captured")
            && !self.json["where"].as_str().unwrap().contains("codec v2")
    }
}

pub fn for_each(transport: &str, mut check: impl FnMut(&Vector<'_>)) -> usize {
    let file = file();
    let vectors: Vec<_> = file["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|json| json["transport"] == transport)
        .collect();
    for json in &vectors {
        check(&Vector {
            name: json["name"].as_str().unwrap(),
            json,
            bytes: unhex(json["hex"].as_str().unwrap()),
        });
    }
    vectors.len()
}

/// Returns the messages inside the wrappers, in order.
pub fn leaves(message: &Value) -> Vec<&Value> {
    match message["type"].as_u64().unwrap() {
        9 | 12 => leaves(&message["inner"]),
        7 => message["parts"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(leaves)
            .collect(),
        _ => vec![message],
    }
}
