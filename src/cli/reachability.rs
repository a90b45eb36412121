//! `reachability`: tests which live members can be reached (agent spec 3.9).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::client::Error;
use super::command::flags::Flags;
use super::common::{connect, failed, is_json};
use super::failure::{Failure, Outcome};
use crate::json::Json;
use crate::ordered::OrderedSet;
use crate::os::clock::Clock;
use crate::rpc::Request;
use crate::rpc::request::Query;
use crate::wire::name::Escaped;

/// Query that every node acknowledges and none answers.
const PING: &[u8] = b"_serf_ping";

const MISSING_HINTS: &str = "\
These nodes are alive to the agent but did not confirm the test query in time.

Troubleshooting tips:
* Ensure that the gossip port is open between all nodes, over UDP as well as over TCP.
* Run the test again: a few datagrams may have been lost.
* Raise -relay-factor of your queries if only some ways between the nodes are broken.
";

const SURPLUS_HINTS: &str = "\
These nodes confirmed the test query but are not alive to the agent.

Troubleshooting tips:
* Run the test again: a node may have joined or come back meanwhile.
* Look for nodes that can reach others but are not reached themselves, as behind a one-way firewall.
";

pub(super) fn reachability(flags: &Flags, out: &mut dyn Write) -> Outcome {
    if !is_json(flags) {
        return test(flags, out).and_then(|found| judge(&found, flags, out));
    }
    let found = test(flags, &mut io::sink())?;
    writeln!(out, "{}", found.json().indented())?;
    judge(&found, flags, &mut io::sink())
}

/// Live members according to the agent, and nodes that acknowledged.
struct Found {
    members: usize,
    live: OrderedSet<Vec<u8>>,
    acks: OrderedSet<Vec<u8>>,
}

impl Found {
    fn json(&self) -> Json {
        Json::object(vec![
            (
                "members",
                Json::Number(i64::try_from(self.members).unwrap_or(i64::MAX)),
            ),
            ("live", Json::texts(&self.live)),
            ("acks", Json::texts(&self.acks)),
            ("missing", Json::texts(self.live.difference(&self.acks))),
            ("surplus", Json::texts(self.acks.difference(&self.live))),
        ])
    }
}

fn test(flags: &Flags, out: &mut dyn Write) -> Result<Found, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;
    let mut client = connect(flags)?;
    client.set_interrupt(interrupted);
    let members = client
        .members(&Request::Members)
        .map_err(stopped("Error getting members"))?;
    let live: OrderedSet<Vec<u8>> = members
        .iter()
        .filter(|member| member.status == b"alive")
        .map(|member| member.name.clone())
        .collect();
    let live_count = live.len();
    writeln!(
        out,
        "Total members: {}, live members: {live_count}",
        members.len()
    )?;
    writeln!(out, "Starting reachability test...")?;
    out.flush()?;
    let query = Query {
        name: PING.to_vec(),
        request_ack: true,
        ..Query::default()
    };
    let clock = Clock::new();
    let mut last = Duration::ZERO;
    let mut acks = OrderedSet::new();
    let mut records = client
        .query(query)
        .map_err(stopped("Error sending query"))?;
    while let Some(record) = records
        .receive()
        .map_err(stopped("Error receiving answers"))?
    {
        if record.kind != b"ack" {
            continue;
        }
        last = clock.elapsed();
        if flags.flag("verbose") {
            writeln!(out, "\tAck from '{}'", Escaped(&record.from))?;
            out.flush()?;
        }
        if acks.contains(&record.from) {
            let name = Escaped(&record.from).to_string();
            let words = format!("Duplicate response from '{name}'");
            return Err(Failure::Message(words));
        }
        acks.insert(record.from);
    }
    if flags.flag("verbose") {
        writeln!(
            out,
            "Query time: {:.2} sec, time to last response: {:.2} sec",
            clock.elapsed().as_secs_f64(),
            last.as_secs_f64()
        )?;
    }
    Ok(Found {
        members: members.len(),
        live,
        acks,
    })
}

fn judge(found: &Found, flags: &Flags, out: &mut dyn Write) -> Outcome {
    let missing: Vec<_> = found.live.difference(&found.acks).collect();
    let surplus: Vec<_> = found.acks.difference(&found.live).collect();
    if missing.is_empty() && surplus.is_empty() {
        writeln!(out, "Successfully contacted all live nodes")?;
        return Ok(());
    }
    if !missing.is_empty() {
        let words = "Received less acks than live nodes! Missing acks from:";
        explain(words, &missing, MISSING_HINTS, out)?;
    }
    if !surplus.is_empty() {
        let words = "Received more acks than live nodes! Acks from non-live nodes:";
        explain(words, &surplus, SURPLUS_HINTS, out)?;
    }
    if flags.flag("strict") {
        let words = "The nodes that acknowledged are not exactly the live nodes";
        return Err(Failure::Incomplete(words.to_owned()));
    }
    Err(Failure::Silent)
}

fn explain(words: &str, nodes: &[&Vec<u8>], hints: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{words}")?;
    for node in nodes {
        writeln!(out, "\t{}", Escaped(node))?;
    }
    out.write_all(hints.as_bytes())
}

/// Returns the reference's message for an interrupt, and the usual one for other errors.
fn stopped(what: &str) -> impl Fn(Error) -> Failure {
    move |why| match why {
        Error::Interrupted => Failure::Message("Test interrupted".to_owned()),
        why => failed(what)(why),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::table;

    fn names(list: &str) -> OrderedSet<Vec<u8>> {
        list.split_whitespace().map(Vec::from).collect()
    }

    fn judged(live: &str, acks: &str) -> (bool, String) {
        let mut out = Vec::new();
        let found = Found {
            members: 3,
            live: names(live),
            acks: names(acks),
        };
        let flags = Flags::none(table::command("reachability").unwrap());
        let outcome = judge(&found, &flags, &mut out);
        (outcome.is_ok(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_node_that_differs_is_named() {
        assert!(judged("a b", "a b").0);
        let (good, text) = judged("a b c", "a");
        assert!(!good);
        assert!(text.starts_with(
            "Received less acks than live nodes! Missing acks from:\n\tb\n\tc\nThese"
        ));
        let (good, text) = judged("a", "a b");
        assert!(!good);
        assert!(text.starts_with(
            "Received more acks than live nodes! Acks from non-live nodes:\n\tb\nThese"
        ));
        // As many acks as live nodes, but from other nodes.
        let (good, text) = judged("a b", "a c");
        assert!(!good);
        assert!(text.contains("Missing acks from:\n\tb\n") && text.contains("nodes:\n\tc\n"));
    }
}
