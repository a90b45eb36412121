//! Filters of queries (gossip spec 5.8.2). Expressions come from the network, so their size and execution
//! time are bounded (8.8), and a filter that fails for any reason does not match.

use std::fmt;

use super::expression::rewrite_expression;
use crate::serf::{Member, Tags};
use crate::wire::limits::QUERY_FILTERS_MAX;
use crate::wire::name::Escaped;
use crate::wire::serf::Filter;

/// Longest expression (gossip spec 8.8).
const EXPRESSION_BYTES_MAX: usize = 512;
/// Limit for the bytes of all expressions of one query: no query within the reference's limit of 1024 bytes
/// has more.
const EXPRESSIONS_BYTES_MAX: usize = 1024;
/// Largest compiled expression; the execution time is proportional to it.
const COMPILED_BYTES_MAX: usize = 64 << 10;

/// Whether a node with this name and these tags matches all filters. If an expression cannot be used, a
/// warning names `asker`: otherwise nobody would notice that the query reaches fewer nodes than it should.
pub(super) fn all_match(
    filters: &[Vec<u8>],
    name: &[u8],
    tags: &Tags,
    asker: &dyn fmt::Display,
) -> bool {
    compiled(filters).all(|filter| match filter {
        Ok(filter) => filter.matches(name, tags),
        Err(Unusable::Filter(why)) => {
            log::debug!(target: "serf", "Ignoring query with {why}");
            false
        }
        Err(Unusable::Expression(expression, why)) => {
            let shown = Escaped(&expression);
            log::warn!(target: "serf",
                "Not answering a query from {asker}: invalid expression '{shown}': {why}");
            false
        }
    })
}

/// The filters of a query by this node, decoded and compiled once to be matched with many members; `None` if
/// one of them cannot be used.
pub(super) struct CompiledFilters(Option<Vec<Compiled>>);

impl CompiledFilters {
    pub(in crate::serf) fn new(filters: Option<&[Vec<u8>]>) -> Self {
        let filters = compiled(filters.unwrap_or_default());
        CompiledFilters(filters.collect::<Result<_, _>>().ok())
    }

    pub(super) fn match_member(&self, member: &Member) -> bool {
        let tags = member.tags();
        let matches = |filter: &Compiled| filter.matches(member.name.as_bytes(), &tags);
        self.0.as_ref().is_some_and(|all| all.iter().all(matches))
    }
}

enum Compiled {
    Nodes(Vec<Vec<u8>>),
    Tag(Vec<u8>, regex_lite::Regex),
}

/// Why a filter cannot be used.
enum Unusable {
    /// Description of a filter that is invalid as a whole.
    Filter(String),
    /// An expression, and the error in it.
    Expression(Vec<u8>, String),
}

impl Compiled {
    fn matches(&self, name: &[u8], tags: &Tags) -> bool {
        match self {
            Compiled::Nodes(names) => names.iter().any(|candidate| candidate == name),
            Compiled::Tag(tag, regex) => is_match(regex, tags.get(tag).unwrap_or_default()),
        }
    }
}

/// Decodes and compiles filters lazily, so that a query for other nodes costs little.
fn compiled(filters: &[Vec<u8>]) -> impl Iterator<Item = Result<Compiled, Unusable>> {
    let mut expression_bytes = 0usize;
    filters.iter().map(move |bytes| {
        if filters.len() > QUERY_FILTERS_MAX {
            return Err(Unusable::Filter(format!("{} filters", filters.len())));
        }
        match Filter::decode(bytes) {
            Ok(Filter::Nodes(names)) => Ok(Compiled::Nodes(names)),
            Ok(Filter::Tag { tag, expression }) => {
                expression_bytes = expression_bytes.saturating_add(expression.len());
                let compiled = match expression_bytes <= EXPRESSIONS_BYTES_MAX {
                    true => compile(&expression),
                    false => Err("the expressions are too long".to_owned()),
                };
                match compiled {
                    Ok(regex) => Ok(Compiled::Tag(tag, regex)),
                    Err(why) => Err(Unusable::Expression(expression, why)),
                }
            }
            Err(error) => Err(Unusable::Filter(format!("a bad filter: {error}"))),
        }
    })
}

/// Whether an expression matches anywhere in a tag's value. Classes such as `\w` are limited to ASCII, as in
/// the reference.
pub fn tag_matches(expression: &[u8], value: &[u8]) -> bool {
    compile(expression).is_ok_and(|regex| is_match(&regex, value))
}

/// Checks the expressions of a query by this node.
///
/// # Errors
/// Returns which expression cannot be used, and why.
pub(in crate::serf) fn check(expressions: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
    for (tag, expression) in expressions {
        let (tag, shown) = (Escaped(tag), Escaped(expression));
        compile(expression)
            .map_err(|why| format!("filter '{tag}={shown}' cannot be used: {why}"))?;
    }
    Ok(())
}

fn is_match(regex: &regex_lite::Regex, value: &[u8]) -> bool {
    regex.is_match(&String::from_utf8_lossy(value))
}

/// Compiles an expression.
///
/// # Errors
/// Fails if the expression is invalid or exceeds a limit.
fn compile(expression: &[u8]) -> Result<regex_lite::Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("more than {EXPRESSION_BYTES_MAX} bytes"));
    }
    let source = std::str::from_utf8(expression).map_err(|_| "no UTF-8".to_owned())?;
    regex_lite::RegexBuilder::new(&rewrite_expression(source))
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(tag: &str, expression: &str) -> Vec<u8> {
        Filter::Tag {
            tag: tag.into(),
            expression: expression.into(),
        }
        .encode()
    }

    fn nodes(names: &[&str]) -> Vec<u8> {
        Filter::Nodes(names.iter().map(|name| name.as_bytes().to_vec()).collect()).encode()
    }

    fn tags() -> Tags {
        let mut tags = Tags::new();
        tags.set(b"role", b"web-7");
        tags.set(b"odd", b"\xff\xe9x");
        tags
    }

    #[test]
    fn expressions_are_unanchored_and_bounded() {
        // Expression, value, and whether it matches.
        for (expression, value, expected) in [
            ("e", "web", true),
            ("^e", "web", false),
            ("^web-[0-9]+$", "web-12", true),
            ("^$", "", true),
            ("", "anything", true),
            ("(", "(", false),
            (r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "web-12", true),
            (r"^\d$", "\u{663}", false),
            (r"^\w$", "\u{e9}", false),
            (r"(?i)WEB", "web", true),
            (r"(((a{1,200}){1,200}){1,200})", "a", false),
        ] {
            let got = tag_matches(expression.as_bytes(), value.as_bytes());
            assert_eq!(got, expected, "{expression} on {value}");
        }
        let fits = vec![b'x'; EXPRESSION_BYTES_MAX];
        assert!(tag_matches(&fits, &fits));
        let too_long = vec![b'x'; EXPRESSION_BYTES_MAX + 1];
        assert!(!tag_matches(&too_long, &too_long));
        assert!(!tag_matches(b"\xff", b"\xff"));
        assert!(tag_matches(b"x$", b"\xff\xe9x"));
    }

    #[test]
    fn all_filters_must_match() {
        let tags = tags();
        let matches = |filters: &[Vec<u8>]| all_match(filters, b"n1", &tags, &"n2");
        assert!(matches(&[]));
        assert!(matches(&[nodes(&["n2", "n1"])]));
        assert!(!matches(&[nodes(&["n2"])]));
        assert!(!matches(&[nodes(&[])]));
        assert!(matches(&[tag("role", "web")]));
        assert!(matches(&[tag("missing", "^$")]));
        assert!(!matches(&[tag("missing", ".")]));
        assert!(matches(&[nodes(&["n1"]), tag("role", "7$")]));
        assert!(!matches(&[nodes(&["n1"]), tag("role", "8$")]));
        assert!(!matches(&[nodes(&["n3"]), tag("role", "7$")]));
    }

    #[test]
    fn what_cannot_be_understood_matches_nobody() {
        let tags = tags();
        for bad in [&b""[..], b"\x02\xc0", b"\x01", b"\x00\x81", b"\x07"] {
            assert!(!all_match(&[bad.to_vec()], b"n1", &tags, &"n2"), "{bad:?}");
        }
        let many = vec![nodes(&["n1"]); QUERY_FILTERS_MAX];
        assert!(all_match(&many, b"n1", &tags, &"n2"));
        let too_many = vec![nodes(&["n1"]); QUERY_FILTERS_MAX + 1];
        assert!(!all_match(&too_many, b"n1", &tags, &"n2"));
        let long = "w".repeat(EXPRESSION_BYTES_MAX) + "|";
        assert!(!all_match(&[tag("role", &long)], b"n1", &tags, &"n2"));
    }
}
