//! The tags file: a JSON object of strings (agent spec 4.10).

use std::path::Path;

use serde_json::{Map, Value};

use super::read_small;
use crate::ordered::OrderedMap;
use crate::serf::Tags;

/// The tags in the file; `None` if there is no file yet.
///
/// # Errors
/// What to print.
pub fn read(path: &Path) -> Result<Option<Tags>, String> {
    let text = read_small(path).map_err(|why| format!("Failed to read tags file: {why}"))?;
    text.map(|text| decode(&text)).transpose()
}

fn decode(text: &[u8]) -> Result<Tags, String> {
    let failed = |why: String| format!("Failed to decode tags file: {why}");
    let decoded = serde_json::from_slice(text).map_err(|why| failed(why.to_string()))?;
    let entries = match decoded {
        Value::Object(entries) => entries,
        // Some write it for no tags.
        Value::Null => Map::new(),
        _ => return Err(failed("it must hold an object of strings".to_owned())),
    };
    let mut tags = Tags::new();
    for (tag, value) in entries {
        match value {
            Value::String(value) => tags.set(tag.as_bytes(), value.as_bytes()),
            Value::Null => tags.set(tag.as_bytes(), b""),
            _ => return Err(failed(format!("the value of '{tag}' must be a string"))),
        }
    }
    Ok(tags)
}

/// The file's content. JSON holds text: what is no UTF-8 is replaced.
pub fn encode(tags: &Tags) -> Vec<u8> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let tags: OrderedMap<String, String> = tags.iter().map(|(k, v)| (text(k), text(v))).collect();
    // Text can always be written.
    let json = |text: &str| serde_json::to_vec_pretty(text).unwrap_or_default();
    let mut file = b"{".to_vec();
    for (tag, value) in &tags {
        file.extend_from_slice(if file.len() > 1 { b",\n  " } else { b"\n  " });
        file.extend(json(tag));
        file.extend_from_slice(b": ");
        file.extend(json(value));
    }
    file.extend_from_slice(if tags.is_empty() { b"}" } else { b"\n}" });
    file
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tags");
        assert_eq!(read(&path), Ok(None));
        let mut tags = Tags::new();
        tags.set(b"role", b"web");
        tags.set(b"a", "\"\u{e9}\n".as_bytes());
        let text = encode(&tags);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\n  \"a\": \"\\\"\u{e9}\\n\",\n  \"role\": \"web\"\n}"
        );
        assert_eq!(read(&path), Ok(Some(tags)));
        assert_eq!(encode(&Tags::new()), b"{}");
    }

    #[test]
    fn files_that_are_none_are_refused() {
        assert_eq!(decode(b"null"), Ok(Tags::new()));
        for text in ["", "[]", "{\"a\": 1}", "{\"a\": \"b\"", "{} x"] {
            let why = decode(text.as_bytes()).unwrap_err();
            assert!(why.starts_with("Failed to decode tags file: "), "{why}");
        }
        let why = read(Path::new("/")).unwrap_err();
        assert_eq!(why, "Failed to read tags file: read /: is a directory");
    }
}
