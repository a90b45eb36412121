//! Exchanges between real clients and real agents, as recorded in the JSON file beside this one.

#[path = "hex.rs"]
pub mod hex;

use hex::unhex;
use serde_json::Value;

/// Returns all exchanges recorded with this client, which must be this many.
pub fn recorded(client: &str, count: usize) -> Vec<Value> {
    let file = include_str!("rpc-vectors.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let list = file[client].as_array().unwrap();
    assert_eq!(list.len(), count);
    list.clone()
}

/// Whether the client sends, and what it or the agent sends.
pub fn frames(conversation: &Value) -> Vec<(bool, Vec<u8>)> {
    let frames = conversation["frames"].as_array().unwrap();
    let frame = |frame: &Value| {
        let hex = frame["hex"].as_str().unwrap();
        (frame["from"] == "client", unhex(hex))
    };
    frames.iter().map(frame).collect()
}
