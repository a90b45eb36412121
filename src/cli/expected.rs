//! `-expect`: the number of nodes, or the nodes, that a query waits for.

use super::client::Client;
use super::command::flags::{Flags, parse_integer};
use super::common::failed;
use super::failure::Failure;
use crate::count::Count;
use crate::ordered::OrderedSet;
use crate::rpc::Request;
use crate::rpc::reply::{Member, Record};
use crate::rpc::request::Query;
use crate::serf::tag_matches;
use crate::wire::name::Escaped;

#[derive(Debug)]
enum Goal {
    /// Any number of nodes until the query ends.
    Anybody,
    /// At least this number of nodes.
    Count(usize),
    /// All nodes that the query addresses; those that have not answered yet.
    All(OrderedSet<Vec<u8>>),
}

/// Expected and received answers of a query.
#[derive(Debug)]
pub(super) struct Expected {
    goal: Goal,
    /// Type of record that is counted: `ack` or `response`.
    kind: &'static str,
    from: OrderedSet<Vec<u8>>,
}

impl Expected {
    /// Parses `-expect`; counts acks if `acks` is true, else responses.
    ///
    /// # Errors
    /// If the value is neither a positive number nor `all`.
    pub fn parse(flags: &Flags, acks: bool) -> Result<Self, Failure> {
        let goal = match flags.value("expect") {
            None => Goal::Anybody,
            Some("all") => Goal::All(OrderedSet::new()),
            Some(text) => match parse_integer(text).map(usize::try_from) {
                Some(Ok(count @ 1..)) => Goal::Count(count),
                _ => {
                    let words = format!("-expect takes 'all' or a number above 0, not '{text}'");
                    return Err(Failure::Message(words));
                }
            },
        };
        Ok(Expected {
            goal,
            kind: if acks { "ack" } else { "response" },
            from: OrderedSet::new(),
        })
    }

    /// For `all`, asks the agent for the live members that the query addresses.
    pub fn look_up(&mut self, query: &Query, client: &mut Client) -> Result<(), Failure> {
        if let Goal::All(nodes) = &mut self.goal {
            let members = client
                .members(&Request::Members)
                .map_err(failed("Error retrieving members"))?;
            let asked = members.into_iter().filter(|member| is_asked(member, query));
            nodes.extend(asked.map(|member| member.name));
        }
        Ok(())
    }

    /// Counts a record.
    pub fn take(&mut self, record: &Record) {
        if record.kind == self.kind.as_bytes() {
            if let Goal::All(nodes) = &mut self.goal {
                nodes.remove(&record.from);
            }
            self.from.insert(record.from.clone());
        }
    }

    /// Returns whether all expected answers have arrived.
    pub fn is_over(&self) -> bool {
        match &self.goal {
            Goal::Anybody => false,
            Goal::Count(count) => self.from.len() >= *count,
            Goal::All(nodes) => nodes.is_empty(),
        }
    }

    /// Returns a message about missing answers, if any. For `all`, an empty set of nodes counts as missing.
    pub fn shortfall(&self) -> Option<String> {
        let kind = self.kind;
        match &self.goal {
            Goal::Count(count) if self.from.len() < *count => {
                let came = self.from.len();
                let count = Count(*count as u64, "node");
                Some(format!("Incomplete: a {kind} from {came} of {count}"))
            }
            Goal::All(nodes) if !nodes.is_empty() => {
                let names: Vec<_> = nodes.iter().map(|n| format!("'{}'", Escaped(n))).collect();
                Some(format!("Incomplete: no {kind} from {}", names.join(", ")))
            }
            _ if self.from.is_empty() => Some(format!("Incomplete: no {kind} from any node")),
            _ => None,
        }
    }
}

/// Returns whether the query addresses the member, by the rules that members apply.
fn is_asked(member: &Member, query: &Query) -> bool {
    let no_tag = Vec::new();
    let tag = |key| member.tags.get(key).unwrap_or(&no_tag);
    member.status == b"alive"
        && (query.filter_nodes.is_empty() || query.filter_nodes.contains(&member.name))
        && query
            .filter_tags
            .iter()
            .all(|(key, regexp)| tag_matches(regexp, tag(key)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::table;

    fn expected(line: &[&str], acks: bool) -> Result<Expected, Failure> {
        let command = table::command("query").unwrap();
        let flags = Flags::parse(command, line.iter().map(|word| (*word).into())).unwrap();
        Expected::parse(&flags, acks)
    }

    fn came(expected: &mut Expected, kind: &str, from: &str) {
        expected.take(&Record {
            kind: kind.into(),
            from: from.into(),
            payload: None,
        });
    }

    fn member(name: &str, role: &str, status: &str) -> Member {
        Member {
            name: name.into(),
            tags: [(b"role".to_vec(), role.into())].into(),
            status: status.into(),
            ..Member::default()
        }
    }

    #[test]
    fn a_number_of_answers_is_waited_for() {
        let mut two = expected(&["-expect=2"], false).unwrap();
        came(&mut two, "ack", "a");
        came(&mut two, "response", "a");
        came(&mut two, "response", "a");
        assert!(!two.is_over());
        assert_eq!(
            two.shortfall().unwrap(),
            "Incomplete: a response from 1 of 2 nodes"
        );
        came(&mut two, "response", "b");
        assert!(two.is_over() && two.shortfall().is_none());
    }

    #[test]
    fn all_are_those_alive_that_the_query_is_for() {
        let query = |nodes: &[&str], role: &str| Query {
            filter_nodes: nodes.iter().map(|node| node.as_bytes().to_vec()).collect(),
            filter_tags: [(b"role".to_vec(), role.into())].into(),
            ..Query::default()
        };
        let asked = |query: &Query| {
            let all = [
                member("a", "web", "alive"),
                member("b", "db", "alive"),
                member("c", "web", "failed"),
                member("d", "", "alive"),
            ];
            let asked = all.iter().filter(|member| is_asked(member, query));
            asked.map(|m| m.name[0] as char).collect::<String>()
        };
        assert_eq!(asked(&Query::default()), "abd");
        // Expressions match any part of the value, and a missing tag is empty.
        assert_eq!(asked(&query(&[], "e")), "a");
        assert_eq!(asked(&query(&[], "^(db)?$")), "bd");
        assert_eq!(asked(&query(&["b", "c", "x"], "")), "b");
        assert_eq!(asked(&query(&[], "(")), "");
    }

    #[test]
    fn all_are_named_until_they_have_answered() {
        let mut all = expected(&["-expect", "all"], true).unwrap();
        all.goal = Goal::All([b"a".to_vec(), b"b".to_vec()].into());
        came(&mut all, "response", "a");
        came(&mut all, "ack", "b");
        came(&mut all, "ack", "stranger");
        assert!(!all.is_over());
        assert_eq!(all.shortfall().unwrap(), "Incomplete: no ack from 'a'");
        came(&mut all, "ack", "a");
        assert!(all.is_over() && all.shortfall().is_none());
    }

    #[test]
    fn no_response_is_always_incomplete() {
        let anybody = expected(&[], false).unwrap();
        let nobody = expected(&["-expect=all"], false).unwrap();
        assert!(!anybody.is_over() && nobody.is_over());
        for expected in [anybody, nobody] {
            assert_eq!(
                expected.shortfall().unwrap(),
                "Incomplete: no response from any node"
            );
        }
        for wrong in ["-expect=0", "-expect=-1", "-expect=ALL", "-expect="] {
            assert!(expected(&[wrong], false).is_err(), "{wrong}");
        }
    }
}
