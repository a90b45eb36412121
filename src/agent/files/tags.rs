//! The tags file: a JSON object of strings (agent spec 4.10).

use std::collections::BTreeMap;
use std::path::Path;

use super::read_small;
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
    // Some write `null` for no tags.
    let decoded: Option<BTreeMap<String, Option<String>>> =
        serde_json::from_slice(text).map_err(|why| format!("Failed to decode tags file: {why}"))?;
    let mut tags = Tags::new();
    for (tag, value) in decoded.unwrap_or_default() {
        tags.set(tag.as_bytes(), value.unwrap_or_default().as_bytes());
    }
    Ok(tags)
}

/// The file's content. JSON holds text: what is no UTF-8 is replaced.
pub fn encode(tags: &Tags) -> Vec<u8> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let tags: BTreeMap<String, String> = tags.iter().map(|(k, v)| (text(k), text(v))).collect();
    // Strings by strings: that cannot fail.
    serde_json::to_vec_pretty(&tags).unwrap_or_default()
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
