//! A handler as configured: `[FILTER=]SCRIPT` (agent spec 1.2).

use std::fmt;
use std::sync::Arc;

use super::filter::{EventFilter, FILTERS_ALLOWED};
use crate::wire::name::Escaped;

/// A handler that cannot be registered. The text has two lines: the reference's message, then the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventScript {
    token: Vec<u8>,
    script: Vec<u8>,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// The token is not a filter.
    Filter,
    /// The script has a NUL byte, which no argument of a process can hold.
    Nul,
}

/// Splits a handler into its filters and its script.
///
/// The text before the first `=` is taken as a filter if it looks like one (see `looks_like_filter`), and
/// must then be valid. Otherwise the whole string is a script for every event, so that `curl -d a=b …` needs
/// no `*=` in front.
///
/// # Errors
/// If text that looks like a filter is not valid, or the script has a NUL byte.
pub(super) fn split(handler: &[u8]) -> Result<(Vec<EventFilter>, Arc<[u8]>), InvalidEventScript> {
    let equals = handler.iter().position(|&byte| byte == b'=');
    let (filter, script) = match equals.map(|at| handler.split_at(at)) {
        Some((filter, rest)) if looks_like_filter(filter) => {
            (filter, rest.strip_prefix(b"=").unwrap_or(rest))
        }
        _ => (&b"*"[..], handler),
    };
    let refuse = |token: &[u8], problem| InvalidEventScript {
        token: token.to_vec(),
        script: script.to_vec(),
        problem,
    };
    if script.contains(&0) {
        return Err(refuse(filter, Problem::Nul));
    }
    let filters = EventFilter::read_list(filter, |token| {
        EventFilter::parse(token).ok_or_else(|| refuse(token, Problem::Filter))
    })?;
    Ok((filters, script.into()))
}

/// Returns whether the text before the first `=` was meant as a filter: each comma-separated part, without
/// leading and trailing blanks, is empty, `*`, or one word; the latter two may have `:NAME` behind them.
///
/// This covers everything that the reference accepts, and likely typing errors (`member-foo`, `member-join,
/// member-leave`, `FOO`), which it refuses and which must not silently become scripts.
fn looks_like_filter(text: &[u8]) -> bool {
    text.split(|&byte| byte == b',').all(|part| {
        let part = trim_blanks(part);
        let (head, named) = match part.iter().position(|&byte| byte == b':') {
            Some(colon) => (part.get(..colon).unwrap_or(part), true),
            None => (part, false),
        };
        if head.is_empty() {
            // `: ${X:=1}` is the shell's null command, not a filter without a type.
            return !named;
        }
        head == b"*" || head.iter().all(|&byte| is_word_byte(byte))
    })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

impl fmt::Display for InvalidEventScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Invalid event script: Event '{}' invoking '{}'",
            Escaped(&self.token),
            Escaped(&self.script)
        )?;
        match self.problem {
            Problem::Filter => write!(
                f,
                "Allowed before the first '=', separated by commas without blanks: \
                 {FILTERS_ALLOWED}. To run a script that contains '=' for all events, put '*=' in \
                 front of it."
            ),
            Problem::Nul => f.write_str("A script cannot contain a NUL byte."),
        }
    }
}

impl std::error::Error for InvalidEventScript {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `filter|filter -> script`, or the first line of the error.
    fn parsed(handler: &str) -> String {
        let (filters, script) = match split(handler.as_bytes()) {
            Ok(parts) => parts,
            Err(error) => {
                let text = error.to_string();
                return text.lines().next().unwrap_or_default().to_owned();
            }
        };
        let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
        format!("{} -> {}", filters.join("|"), Escaped(&script))
    }

    #[test]
    fn filters_in_front_of_a_script() {
        for (handler, expected) in [
            ("foo.sh", "*: -> foo.sh"),
            ("", "*: -> "),
            ("=foo.sh", "*: -> foo.sh"),
            ("=", "*: -> "),
            ("*=foo.sh", "*: -> foo.sh"),
            ("*=FOO=1 env", "*: -> FOO=1 env"),
            ("member-join=x", "member-join: -> x"),
            ("member-leave=x", "member-leave: -> x"),
            ("member-failed=x", "member-failed: -> x"),
            ("member-update=x", "member-update: -> x"),
            ("member-reap=x", "member-reap: -> x"),
            ("user=x", "user: -> x"),
            ("user:=", "user: -> "),
            ("user:x=y=z", "user:x -> y=z"),
            ("user:a:b=x", "user:a:b -> x"),
            ("user:a b.c/d=x", "user:a b.c/d -> x"),
            ("user: x =y", "user: x  -> y"),
            ("query=x", "query: -> x"),
            (
                "query:load=uptime | awk '{print $1}'",
                "query:load -> uptime | awk '{print $1}'",
            ),
            ("query:load,user:deploy=S", "query:load|user:deploy -> S"),
            ("user,user:o=S", "user:|user:o -> S"),
            (
                "member-join,member-leave,*=S",
                "member-join:|member-leave:|*: -> S",
            ),
        ] {
            assert_eq!(parsed(handler), expected);
        }
    }

    #[test]
    fn scripts_that_hold_an_equals_sign() {
        for script in [
            "notify.sh --to=ops",
            "sh -c 'x=1; echo $x'",
            "curl -d a=b http://localhost/",
            "/bin/x=y",
            "./a,b=c",
            "a.sh=1",
            "a b,c d=1",
            "user:a,x y=1",
            "[ \"$SERF_EVENT\" = user ]",
            ": ${X:=1}",
            ":=x",
            "$x=1",
            "{ x=1; }",
            "\nX=1\nenv",
            "echo\nX=1",
            "gr\u{f6}\u{df}e=1",
            "* x=1",
        ] {
            let shown = Escaped(script.as_bytes()).to_string();
            assert_eq!(parsed(script), format!("*: -> {shown}"));
        }
    }

    #[test]
    fn what_looks_like_a_filter_must_be_one() {
        for (handler, token, script) in [
            ("member-foo=x", "member-foo", "x"),
            ("FOO=1 env", "FOO", "1 env"),
            ("USER=x", "USER", "x"),
            ("*:foo=x", "*:foo", "x"),
            ("member-join:foo=x", "member-join:foo", "x"),
            ("member-join, member-leave=x", " member-leave", "x"),
            ("user:a,b=x", "b", "x"),
            ("member-join,=x", "", "x"),
            (",=x", "", "x"),
            (",user=x", "", "x"),
            (" =x", " ", "x"),
            (" user=x", " user", "x"),
            ("user =x", "user ", "x"),
            ("\tuser=x", "\\t", "x"),
            ("http://host/?a=b", "http://host/?a", "b"),
            ("-=x=y", "-", "x=y"),
            ("a,b,c=", "a", ""),
            ("user,FOO,BAR=1", "FOO", "1"),
        ] {
            let token = if token == "\\t" { "\\tuser" } else { token };
            let expected = format!("Invalid event script: Event '{token}' invoking '{script}'");
            assert_eq!(parsed(handler), expected);
        }
    }

    #[test]
    fn the_error_says_what_to_do() {
        let text = split(b"FOO=1 env").map_or_else(|e| e.to_string(), |_| String::new());
        let hint = text.lines().nth(1).unwrap_or_default();
        for word in [
            "member-join",
            "member-reap",
            "user:NAME",
            "query:NAME",
            "'*='",
        ] {
            assert!(hint.contains(word), "{text}");
        }
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_script_with_a_nul_is_refused() {
        let text = split(b"user=a\0b").map_or_else(|e| e.to_string(), |_| String::new());
        assert!(text.contains("NUL"), "{text}");
    }
}
