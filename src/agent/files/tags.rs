//! The tags file: a JSON object of strings (agent spec 4.10).

use std::collections::BTreeMap;
use std::path::Path;

use super::{atomic, read_small};
use crate::agent::words::os_error;
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

/// Writes the tags. JSON holds text: what is no UTF-8 is replaced.
///
/// # Errors
/// Completes `Failed to write tags file: `.
pub fn write(path: &Path, tags: &Tags) -> Result<(), String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let tags: BTreeMap<String, String> = tags.iter().map(|(k, v)| (text(k), text(v))).collect();
    let encoded = serde_json::to_vec_pretty(&tags).map_err(|why| why.to_string())?;
    atomic::replace(path, &encoded)
        .map_err(|why| format!("open {}: {}", path.display(), os_error(&why)))
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
        write(&path, &tags).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\n  \"a\": \"\\\"\u{e9}\\n\",\n  \"role\": \"web\"\n}"
        );
        assert_eq!(read(&path), Ok(Some(tags)));
        write(&path, &Tags::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
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
