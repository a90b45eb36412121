//! The tags file: a JSON object of strings (agent spec 4.10).

use std::path::Path;

use serde_json::{Map, Value};

use super::{read_small, without_mark};
use crate::serf::Tags;
use crate::wire::name::Escaped;

/// Reads the tags file; `None` if it does not exist yet.
///
/// # Errors
/// If it cannot be read or is invalid; returns the text to print.
pub fn read(path: &Path) -> Result<Option<Tags>, String> {
    let text = read_small(path).map_err(|why| format!("Failed to read tags file: {why}"))?;
    text.map(|text| decode(&text)).transpose()
}

fn decode(text: &[u8]) -> Result<Tags, String> {
    let failed = |why: String| format!("Failed to decode tags file: {why}");
    let text = without_mark(text).map_err(failed)?;
    let decoded = serde_json::from_slice(text).map_err(|why| failed(why.to_string()))?;
    let entries = match decoded {
        Value::Object(entries) => entries,
        // Some programs write null for no tags.
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

/// Encodes tags as the file's content.
///
/// # Errors
/// If a tag is not UTF-8, which JSON cannot represent.
pub fn encode(tags: &Tags) -> Result<Vec<u8>, String> {
    let mut file = b"{".to_vec();
    for (tag, value) in tags.iter() {
        let json = |text: &[u8]| {
            let text = std::str::from_utf8(text).map_err(|_| {
                let (tag, value) = (Escaped(tag), Escaped(value));
                format!("the tag '{tag}={value}' is not UTF-8")
            })?;
            // Cannot fail for a string.
            Ok::<_, String>(serde_json::to_vec_pretty(text).unwrap_or_default())
        };
        file.extend_from_slice(if file.len() > 1 { b",\n  " } else { b"\n  " });
        file.extend(json(tag)?);
        file.extend_from_slice(b": ");
        file.extend(json(value)?);
    }
    file.extend_from_slice(if file.len() > 1 { b"\n}" } else { b"}" });
    Ok(file)
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
        let text = encode(&tags).unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\n  \"a\": \"\\\"\u{e9}\\n\",\n  \"role\": \"web\"\n}"
        );
        assert_eq!(read(&path), Ok(Some(tags.clone())));
        assert_eq!(encode(&Tags::new()).unwrap(), b"{}");
        tags.set(b"a", b"caf\xe9");
        let why = encode(&tags).unwrap_err();
        assert_eq!(why, "the tag 'a=caf\\xe9' is not UTF-8");
    }

    #[test]
    fn files_that_are_none_are_refused() {
        assert_eq!(decode(b"null"), Ok(Tags::new()));
        for text in ["", "[]", "{\"a\": 1}", "{\"a\": \"b\"", "{} x"] {
            let why = decode(text.as_bytes()).unwrap_err();
            assert!(why.starts_with("Failed to decode tags file: "), "{why}");
        }
        let marked = "\u{feff}{\"a\": \"b\"}\r\n";
        assert_eq!(decode(marked.as_bytes()).unwrap().len(), 1);
        assert_eq!(
            decode(b"\xff\xfe{\0"),
            Err("Failed to decode tags file: it is UTF-16 instead of UTF-8".into())
        );
        let why = read(Path::new("/")).unwrap_err();
        assert_eq!(why, "Failed to read tags file: read /: is a directory");
    }
}
