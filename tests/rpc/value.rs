//! MessagePack values as trees, for comparison.

use std::collections::BTreeMap;

/// Any value. Widths, signs and the order of keys do not matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i128),
    /// Bits of a float.
    Float(u64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<Value, Value>),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Value::Text(text.into())
    }
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(map) => map.get(&Value::text(key)),
            _ => None,
        }
    }
    /// The sequence number and error of a header.
    pub fn header(&self) -> Option<(i128, String)> {
        match (self.get("Seq"), self.get("Error")) {
            (Some(Value::Int(seq)), Some(Value::Text(error))) => {
                Some((*seq, String::from_utf8_lossy(error).into_owned()))
            }
            _ => None,
        }
    }
    /// The text of a field.
    pub fn field(&self, key: &str) -> String {
        match self.get(key) {
            Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{key} is {other:?}"),
        }
    }
}

/// Decodes one complete value.
pub fn decode(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = read(&mut rest);
    assert!(rest.is_empty(), "{} bytes behind a value", rest.len());
    value
}

/// Decodes consecutive values.
pub fn decode_all(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(read(&mut bytes));
    }
    values
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, back) = rest.split_at(count);
    *rest = back;
    front
}

fn number(rest: &mut &[u8], width: usize) -> u64 {
    take(rest, width)
        .iter()
        .fold(0, |n, &byte| n << 8 | u64::from(byte))
}

fn read(rest: &mut &[u8]) -> Value {
    let marker = take(rest, 1)[0];
    let low = |bits: u8| usize::from(marker & bits);
    match marker {
        0x00..=0x7f => Value::Int(marker.into()),
        0xe0..=0xff => Value::Int((marker as i8).into()),
        0x80..=0x8f => map(rest, low(0x0f)),
        0x90..=0x9f => list(rest, low(0x0f)),
        0xa0..=0xbf => Value::Text(take(rest, low(0x1f)).to_vec()),
        0xc0 => Value::Nil,
        0xc2 => Value::Bool(false),
        0xc3 => Value::Bool(true),
        0xc4..=0xc6 => {
            let length = number(rest, 1 << (marker - 0xc4)) as usize;
            Value::Bytes(take(rest, length).to_vec())
        }
        0xcb => Value::Float(number(rest, 8)),
        0xcc..=0xcf => Value::Int(number(rest, 1 << (marker - 0xcc)).into()),
        0xd0..=0xd3 => {
            let width = 1 << (marker - 0xd0);
            let shift = 64 - 8 * width as u32;
            let value = (number(rest, width) << shift) as i64 >> shift;
            Value::Int(value.into())
        }
        0xd9..=0xdb => {
            let length = number(rest, 1 << (marker - 0xd9)) as usize;
            Value::Text(take(rest, length).to_vec())
        }
        0xdc | 0xdd => {
            let count = number(rest, 2 << (marker - 0xdc)) as usize;
            list(rest, count)
        }
        0xde | 0xdf => {
            let count = number(rest, 2 << (marker - 0xde)) as usize;
            map(rest, count)
        }
        other => panic!("marker {other:#x}"),
    }
}

fn list(rest: &mut &[u8], count: usize) -> Value {
    Value::List((0..count).map(|_| read(rest)).collect())
}

fn map(rest: &mut &[u8], count: usize) -> Value {
    Value::Map((0..count).map(|_| (read(rest), read(rest))).collect())
}
