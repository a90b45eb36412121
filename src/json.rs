//! JSON as the reference prints it (agent spec 3.1): indented by two spaces per level, `<`, `>` and `&`
//! escaped for HTML, and U+FFFD in place of invalid UTF-8.

#![forbid(unsafe_code)]

use std::fmt::Write;

/// A JSON value to print.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    Number(i64),
    /// A number with a fraction, as formatted text.
    Decimal(String),
    Text(Vec<u8>),
    List(Vec<Json>),
    /// Entries in output order.
    Object(Vec<(Vec<u8>, Json)>),
}

impl Json {
    /// Makes a text value.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Json::Text(text.as_ref().to_vec())
    }

    /// Makes an object with known keys, in output order.
    pub fn object(entries: Vec<(&str, Json)>) -> Self {
        Json::Object(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// Makes a list of texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a Vec<u8>>) -> Self {
        Json::List(texts.into_iter().map(Json::text).collect())
    }

    /// Makes an object with arbitrary keys, which the caller must pass sorted.
    pub fn map<'a, T: 'a>(
        entries: impl IntoIterator<Item = (&'a Vec<u8>, &'a T)>,
        value: impl Fn(&T) -> Json,
    ) -> Self {
        Json::Object(
            entries
                .into_iter()
                .map(|(key, entry)| (key.clone(), value(entry)))
                .collect(),
        )
    }

    /// Formats the value over several lines, without a trailing newline.
    pub fn indented(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, Some(0));
        text
    }

    /// Formats the value on one line, without a trailing newline.
    pub fn line(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, None);
        text
    }

    /// Appends the value; on one line if `depth` is `None`.
    fn write(&self, text: &mut String, depth: Option<usize>) {
        match self {
            Json::Null => text.push_str("null"),
            Json::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
            Json::Decimal(number) => text.push_str(number),
            Json::Number(number) => {
                let _ = write!(text, "{number}");
            }
            Json::Text(bytes) => write_text(text, bytes),
            Json::List(items) => {
                let items = items.iter().map(|item| (None, item));
                write_items(text, depth, ['[', ']'], items);
            }
            Json::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (Some(&**key), value));
                write_items(text, depth, ['{', '}'], entries);
            }
        }
    }
}

fn write_items<'a>(
    text: &mut String,
    depth: Option<usize>,
    brackets: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<&'a [u8]>, &'a Json)>,
) {
    text.push(brackets[0]);
    let last = items.len();
    let inside = depth.map(|depth| depth + 1);
    let indent = |text: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            text.push('\n');
            text.extend(std::iter::repeat_n("  ", depth));
        }
    };
    for (number, (key, value)) in items.enumerate() {
        indent(text, inside);
        if let Some(key) = key {
            write_text(text, key);
            text.push_str(": ");
        }
        value.write(text, inside);
        if number + 1 < last {
            text.push_str(if depth.is_some() { "," } else { ", " });
        } else {
            indent(text, depth);
        }
    }
    text.push(brackets[1]);
}

fn write_text(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(text, "\\u{:04x}", u32::from(character));
                }
                _ => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().map(|_| "\\ufffd"));
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_indented() {
        let value = Json::object(vec![
            ("a", Json::Null),
            ("b", Json::List(vec![])),
            ("c", Json::Object(vec![])),
            ("d", Json::List(vec![Json::Number(-1), Json::text("x")])),
        ]);
        assert_eq!(
            value.line(),
            "{\"a\": null, \"b\": [], \"c\": {}, \"d\": [-1, \"x\"]}"
        );
        assert_eq!(
            value.indented(),
            "{\n  \"a\": null,\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    -1,\n    \"x\"\n  ]\n}"
        );
    }

    #[test]
    fn text_is_escaped_as_the_reference_does() {
        assert_eq!(
            Json::text(b"<a>&\"\\\n\r\t\x01\x7f\xff\xfe\xe2\x80\xa8k\xc3\xb6").indented(),
            "\"\\u003ca\\u003e\\u0026\\\"\\\\\\n\\r\\t\\u0001\x7f\\ufffd\\ufffd\\u2028k\u{f6}\""
        );
    }
}
