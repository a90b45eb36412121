//! Filters that choose the events of a handler or an RPC stream (agent spec 1.2, 1.3).

use std::fmt;

use crate::serf::{Event, MemberEventKind};
use crate::wire::name::Escaped;

/// All valid filters, for error messages.
pub const FILTERS_ALLOWED: &str = "member-join, member-leave, member-failed, member-update, \
     member-reap, user, user:NAME, query, query:NAME, *";

/// One token of a filter list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventFilter {
    /// `*`: every event.
    All,
    /// `member-join` and so on.
    Member(MemberEventKind),
    /// `user` or `user:NAME`; an empty name matches every user event.
    User(Vec<u8>),
    /// `query` or `query:NAME`; an empty name matches every query.
    Query(Vec<u8>),
    /// `sync`: a local event with the current members, which `*` does not include.
    Sync,
}

/// A filter list has an unknown token. The error text is the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEventFilter;

impl fmt::Display for InvalidEventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalid event filter")
    }
}

impl std::error::Error for InvalidEventFilter {}

impl EventFilter {
    /// Parses one token. Case matters, blanks are not trimmed, and only `user:` and `query:` take a name.
    pub fn parse(token: &[u8]) -> Option<Self> {
        if let Some(name) = token.strip_prefix(b"user:") {
            return Some(EventFilter::User(name.to_vec()));
        }
        if let Some(name) = token.strip_prefix(b"query:") {
            return Some(EventFilter::Query(name.to_vec()));
        }
        Some(match token {
            b"*" => EventFilter::All,
            b"user" => EventFilter::User(Vec::new()),
            b"query" => EventFilter::Query(Vec::new()),
            b"sync" => return None,
            other => EventFilter::Member(MemberEventKind::named(other)?),
        })
    }

    /// Parses a comma-separated list; an empty one means `*`.
    ///
    /// # Errors
    /// The first error that `read` returns for a token.
    pub(super) fn read_list<E>(
        list: &[u8],
        read: impl FnMut(&[u8]) -> Result<Self, E>,
    ) -> Result<Vec<Self>, E> {
        let list = if list.is_empty() { b"*" } else { list };
        list.split(|&byte| byte == b',').map(read).collect()
    }

    /// Parses the comma-separated list of an RPC stream; an empty one means `*`.
    ///
    /// # Errors
    /// If a token is not a filter.
    pub fn parse_list(list: &[u8]) -> Result<Vec<Self>, InvalidEventFilter> {
        Self::read_list(list, |token| Self::parse(token).ok_or(InvalidEventFilter))
    }

    /// Parses a handler's setting `on`: a comma-separated list of `sync` and the tokens of [`Self::parse`].
    /// An empty list means `*`.
    ///
    /// # Errors
    /// If a token is not a filter; the text names it and lists the valid ones.
    pub fn parse_on(list: &[u8]) -> Result<Vec<Self>, String> {
        Self::read_list(list, |token| match token {
            b"sync" => Ok(EventFilter::Sync),
            token => EventFilter::parse(token).ok_or_else(|| {
                let token = Escaped(token);
                format!("'{token}' is not an event type; use {FILTERS_ALLOWED}, sync")
            }),
        })
    }

    /// Returns whether the filter matches the event. Names are compared as bytes.
    pub fn matches(&self, event: &Event) -> bool {
        match (self, event) {
            (EventFilter::Sync, Event::Member(event)) => event.kind == MemberEventKind::Sync,
            (EventFilter::All, Event::Member(event)) => event.kind != MemberEventKind::Sync,
            (EventFilter::All, _) => true,
            (EventFilter::Member(kind), Event::Member(event)) => *kind == event.kind,
            (EventFilter::User(name), Event::User(event)) => name.is_empty() || *name == event.name,
            (EventFilter::Query(name), Event::Query(query)) => {
                name.is_empty() || *name == query.name
            }
            _ => false,
        }
    }

    /// Returns the type without the name: `*`, `member-join`, `user` and so on.
    pub const fn type_str(&self) -> &'static str {
        match self {
            EventFilter::All => "*",
            EventFilter::Member(kind) => kind.as_str(),
            EventFilter::User(_) => "user",
            EventFilter::Query(_) => "query",
            EventFilter::Sync => "sync",
        }
    }

    /// Returns the filter as it is written in front of a script: the type, and `:NAME` if there is a name.
    pub fn as_given(&self) -> Vec<u8> {
        let mut text = self.type_str().as_bytes().to_vec();
        if !self.name().is_empty() {
            text.push(b':');
            text.extend_from_slice(self.name());
        }
        text
    }

    /// Returns the name that the filter asks for; empty if it matches all names.
    pub fn name(&self) -> &[u8] {
        match self {
            EventFilter::User(name) | EventFilter::Query(name) => name,
            EventFilter::All | EventFilter::Member(_) | EventFilter::Sync => b"",
        }
    }
}

/// Displays `<type>:<name>`, with a possibly empty name: the key in `stats` (agent spec 2.4).
impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.type_str(), Escaped(self.name()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::serf::{LamportTime, MemberEvent, Query, UserEvent};
    use crate::time::Instant;

    /// One event of each type, user events and queries with two names each.
    fn events() -> Vec<Event> {
        let mut events: Vec<Event> = MemberEventKind::ALL
            .iter()
            .map(|&kind| {
                Event::Member(MemberEvent {
                    kind,
                    members: Vec::new(),
                })
            })
            .collect();
        for name in ["deploy", "a:b"] {
            events.push(Event::User(UserEvent {
                ltime: LamportTime(1),
                name: name.into(),
                payload: Vec::new(),
                coalesce: true,
            }));
            events.push(Event::Query(Query {
                ltime: LamportTime(1),
                id: 1,
                name: name.into(),
                payload: Vec::new(),
                source_node: None,
                deadline: Instant::ORIGIN,
            }));
        }
        events
    }

    fn matching(filter: &str) -> String {
        let filter = EventFilter::parse(filter.as_bytes()).unwrap();
        let events = events();
        let found = events.iter().filter(|event| filter.matches(event));
        let names: Vec<_> = found
            .map(|e| crate::handler::Described(e).to_string())
            .collect();
        names.join(" ")
    }

    #[test]
    fn each_filter_matches_its_events() {
        for kind in MemberEventKind::ALL {
            assert_eq!(matching(kind.as_str()), kind.as_str());
        }
        assert_eq!(matching("user"), "user-event: deploy user-event: a:b");
        assert_eq!(matching("user:"), matching("user"));
        assert_eq!(matching("user:deploy"), "user-event: deploy");
        assert_eq!(matching("user:a:b"), "user-event: a:b");
        assert_eq!(matching("user:Deploy"), "");
        assert_eq!(matching("user:dep"), "");
        assert_eq!(matching("query"), "query: deploy query: a:b");
        assert_eq!(matching("query:a:b"), "query: a:b");
        assert_eq!(matching("*").split(' ').count(), 5 + 8);
    }

    #[test]
    fn filters_are_shown_as_they_are_written() {
        for text in ["*", "member-reap", "user", "user:a:b", "query:load"] {
            let filter = EventFilter::parse(text.as_bytes()).unwrap();
            assert_eq!(filter.as_given(), text.as_bytes());
        }
        let nameless = EventFilter::parse(b"user:").unwrap();
        assert_eq!(nameless.as_given(), b"user");
    }

    #[test]
    fn unknown_tokens_are_refused() {
        for bad in [
            "",
            "USER",
            " user",
            "user ",
            "member",
            "member-foo",
            "*:foo",
            "member-join:x",
            "**",
        ] {
            assert_eq!(EventFilter::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn stream_lists() {
        let list = |text: &str| {
            EventFilter::parse_list(text.as_bytes()).map(|filters| {
                filters
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        assert_eq!(list(""), Ok("*:".into()));
        assert_eq!(
            list("user:deploy,query,*"),
            Ok("user:deploy query: *:".into())
        );
        assert_eq!(
            list("member-join,member-reap"),
            Ok("member-join: member-reap:".into())
        );
        for bad in ["user, query", ",", "user,", "foo"] {
            assert_eq!(list(bad).unwrap_err().to_string(), "Invalid event filter");
        }
    }
}
