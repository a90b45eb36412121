//! Queries between nodes.

use std::collections::BTreeMap;

use super::by_hand::query_by_hand;
use super::harness::{Net, addr, config};
use crate::serf::*;
use crate::swim;
use crate::time::Duration;
use crate::wire::serf::{
    QueryMessage, QueryResponseMessage, RelayMessage, SerfMessage, query_flag,
};

const SECOND: Duration = Duration::from_secs(1);

fn ask(name: &str) -> QueryParams {
    QueryParams {
        name: name.into(),
        request_ack: true,
        ..QueryParams::default()
    }
}

/// Sends a query and runs to its end; returns the names that acked, and the answers by name.
fn collect(net: &mut Net, n: u16, params: QueryParams) -> (Vec<String>, BTreeMap<String, String>) {
    let id = net.command(n, Command::Query(params));
    let result = net.host(n).results.remove(&id).unwrap();
    let CommandResult::Queried { deadline, .. } = result else {
        panic!("{result:?}");
    };
    net.run_for(deadline.since(net.now) + SECOND);
    let records = std::mem::take(&mut net.host(n).records);
    let (mut acks, mut replies) = (Vec::new(), BTreeMap::new());
    let done = records
        .iter()
        .filter(|(_, r)| *r == QueryRecord::Done)
        .count();
    assert_eq!(done, 1);
    assert_eq!(records.last().unwrap().1, QueryRecord::Done);
    for (of, record) in records {
        assert_eq!(of, id);
        match record {
            QueryRecord::Ack { from } => acks.push(from.to_string()),
            QueryRecord::Response { from, payload } => {
                let payload = String::from_utf8(payload.unwrap()).unwrap();
                let before = replies.insert(from.to_string(), payload);
                assert_eq!(before, None, "two replies of {from}");
            }
            QueryRecord::Done => {}
        }
    }
    acks.sort();
    (acks, replies)
}

fn answering(count: u16) -> Net {
    let mut net = Net::joined(count);
    for n in 1..=count {
        net.host(n).answer = Some(format!("load of n{n}").into_bytes());
    }
    net
}

#[test]
fn everybody_acks_and_answers_once() {
    for relay_factor in [0, 1, 2, 5] {
        let mut net = answering(4);
        let params = QueryParams {
            relay_factor,
            ..ask("load")
        };
        let (acks, replies) = collect(&mut net, 2, params);
        assert_eq!(acks, ["n1", "n2", "n3", "n4"], "{relay_factor}");
        assert_eq!(replies.len(), 4);
        assert_eq!(replies["n3"], "load of n3");
        let duplicates = net.serf(2).counters().duplicate_responses;
        assert_eq!(
            duplicates > 0,
            (1..4).contains(&relay_factor),
            "{relay_factor}"
        );
        for n in 1..=4 {
            assert_eq!(net.serf(n).counters().dropped_refused, 0);
        }
    }
}

#[test]
fn without_acks_wanted_there_are_none() {
    let mut net = answering(2);
    let params = QueryParams {
        request_ack: false,
        ..ask("load")
    };
    let (acks, replies) = collect(&mut net, 1, params);
    assert_eq!((acks.len(), replies.len()), (0, 2));
}

#[test]
fn filters_choose_by_name_and_tag() {
    let mut net = Net::new(1);
    for n in 2..=4 {
        let mut tagged = config(n);
        tagged
            .tags
            .set(b"role", if n == 4 { b"db" } else { b"web" });
        net.add(tagged);
        net.join(n, 1);
    }
    net.run_for(SECOND * 2);
    let tag = |expr: &str| vec![(b"role".to_vec(), expr.as_bytes().to_vec())];
    let names = |names: &[&str]| names.iter().map(|n| n.as_bytes().to_vec()).collect();
    let with = |filter_nodes: Vec<Vec<u8>>, filter_tags| QueryParams {
        filter_nodes,
        filter_tags,
        ..ask("who")
    };
    for (params, expected) in [
        (with(names(&["n1", "n4"]), vec![]), vec!["n1", "n4"]),
        (with(vec![], tag("e")), vec!["n2", "n3"]),
        (with(names(&["n3", "n4"]), tag("^web$")), vec!["n3"]),
        (with(names(&["nobody"]), vec![]), vec![]),
    ] {
        let (acks, _) = collect(&mut net, 1, params.clone());
        assert_eq!(acks, expected, "{params:?}");
    }
    // Nodes that the query is not for have still rebroadcast it.
    assert_eq!(net.serf(4).stats().query_time, 5);
    // No node could compile this expression.
    let id = net.command(1, Command::Query(with(vec![], tag("("))));
    let result = net.host(1).results.remove(&id).unwrap();
    let CommandResult::Failed(why) = result else {
        panic!("{result:?}");
    };
    assert!(why.starts_with("filter 'role=(' cannot be used: "), "{why}");
}

#[test]
fn the_pings_of_the_layer_itself_are_only_acked() {
    let mut net = answering(2);
    let (acks, replies) = collect(&mut net, 1, ask("_serf_ping"));
    assert_eq!((acks.len(), replies.len()), (2, 0));
    assert!(net.host(2).take_queries().is_empty());
}

#[test]
fn reserved_oversized_and_unsupported_queries_are_refused() {
    let mut net = Net::new(1);
    let refused = |net: &mut Net, params| match net.command_now(1, Command::Query(params)) {
        CommandResult::Failed(text) => text,
        other => panic!("{other:?}"),
    };
    let reserved = "Queries cannot contain the '_serf_' prefix";
    assert_eq!(refused(&mut net, ask("_serf_conflict")), reserved);
    let with_payload = QueryParams {
        payload: Some(b"x".to_vec()),
        ..ask("_serf_ping")
    };
    assert_eq!(refused(&mut net, with_payload), reserved);
    let long = QueryParams {
        payload: Some(vec![0; 1024]),
        ..ask("big")
    };
    assert_eq!(refused(&mut net, long), "query exceeds limit of 1024 bytes");
    assert_eq!(net.serf(1).stats().query_time, 1);
    let mut old = config(2);
    old.protocol = 3;
    net.add(old);
    let result = net.command_now(2, Command::Query(ask("q")));
    let text = "Feature not supported".to_owned();
    assert_eq!(result, CommandResult::Failed(text));
}

#[test]
fn a_forgotten_query_is_silent() {
    let mut net = answering(2);
    let id = net.command(1, Command::Query(ask("load")));
    net.command(1, Command::ForgetQuery(id));
    net.host(1).records.clear();
    net.run_for(SECOND * 10);
    assert_eq!(net.host(1).records, []);
    assert!(net.serf(1).counters().late_responses > 0);
}

#[test]
fn the_default_timeout_and_an_own_one() {
    let mut net = Net::joined(2);
    let deadline_of = |net: &mut Net, timeout| {
        let params = QueryParams {
            timeout,
            ..ask("q")
        };
        match net.command_now(1, Command::Query(params)) {
            CommandResult::Queried { deadline, .. } => deadline.since(net.now),
            other => panic!("{other:?}"),
        }
    };
    let default = deadline_of(&mut net, None);
    assert_eq!(default, Duration::from_millis(3200));
    assert_eq!(deadline_of(&mut net, Some(SECOND * 9)), SECOND * 9);
    assert_eq!(deadline_of(&mut net, Some(Duration::ZERO)), Duration::ZERO);
    net.run_for(Duration::from_millis(1));
    let done = |net: &mut Net| {
        let records = &net.host(1).records;
        records
            .iter()
            .filter(|(_, r)| *r == QueryRecord::Done)
            .count()
    };
    assert_eq!(done(&mut net), 1);
    net.run_for(SECOND * 10);
    assert_eq!(done(&mut net), 3);
}

#[test]
fn answers_are_refused_in_the_reference_s_words() {
    let mut net = Net::joined(2);
    net.command(1, Command::Query(ask("q")));
    net.run_for(SECOND / 10);
    let query = net.host(2).take_queries().remove(0);
    assert_eq!(query.source_node, Some(NodeName::new(b"n1").unwrap()));
    let respond = |payload: Vec<u8>| Command::Respond {
        ltime: query.ltime,
        id: query.id,
        payload,
    };
    let failed =
        |why: &str| CommandResult::Failed(format!("failed to respond to key query: {why}"));
    let too_long = net.command_now(2, respond(vec![b'x'; 1024]));
    assert_eq!(too_long, failed("response exceeds limit of 1024 bytes"));
    // With a name of two letters and small clocks, 981 bytes fit.
    let too_long = net.command_now(2, respond(vec![b'x'; 990]));
    assert_eq!(too_long, failed("response exceeds limit of 1024 bytes"));
    assert_eq!(net.command_now(2, respond(Vec::new())), CommandResult::Done);
    let again = net.command_now(2, respond(b"x".to_vec()));
    assert_eq!(again, failed("response already sent"));
    net.command(1, Command::Query(ask("late")));
    net.run_for(SECOND / 10);
    let query = net.host(2).take_queries().remove(0);
    net.run_for(SECOND * 5);
    let late = Command::Respond {
        ltime: query.ltime,
        id: query.id,
        payload: Vec::new(),
    };
    let past = failed("response is past the deadline");
    assert_eq!(net.command_now(2, late), past);
    let unknown = Command::Respond {
        ltime: LamportTime(77),
        id: 1,
        payload: Vec::new(),
    };
    assert_eq!(net.command_now(2, unknown), past);
}

/// Makes a query from node n`from`.
fn query(from: u16, id: u32, ltime: u64) -> QueryMessage {
    QueryMessage {
        id,
        addr: addr(from),
        source_node: Some(NodeName::new(format!("n{from}").as_bytes()).unwrap()),
        flags: query_flag::ACK,
        ..query_by_hand("q", ltime)
    }
}

#[test]
fn a_query_is_delivered_once_and_spread_unless_forbidden() {
    let mut net = Net::joined(2);
    net.cut_all_but(1);
    let quiet = QueryMessage {
        flags: query_flag::NO_BROADCAST,
        ..query(2, 5, 10)
    };
    net.gossip_to(1, &SerfMessage::Query(quiet.clone()));
    assert_eq!(net.serf(1).stats().query_queue, 0);
    net.gossip_to(1, &SerfMessage::Query(quiet));
    net.gossip_to(1, &SerfMessage::Query(query(2, 6, 10)));
    net.run_for(SECOND / 4);
    assert_eq!(net.host(1).take_queries().len(), 2);
    assert_eq!(net.serf(1).stats().query_time, 11);
    let absurd = SerfMessage::Query(query(2, 7, u64::MAX));
    net.gossip_to(1, &absurd);
    net.run_for(SECOND / 4);
    assert!(net.host(1).take_queries().is_empty());
}

#[test]
fn deadlines_of_others_are_clamped() {
    let mut net = Net::new(1);
    for (id, timeout_nanos, expected) in [
        (1, -5, Duration::ZERO),
        (2, i64::MAX, SECOND * 600),
        (3, 1_000_000_000, SECOND),
    ] {
        let message = QueryMessage {
            timeout_nanos,
            ..query(2, id, 10)
        };
        let arrived = net.now;
        net.gossip_to(1, &SerfMessage::Query(message));
        net.run_for(SECOND / 4);
        let delivered = net.host(1).take_queries().remove(0);
        assert_eq!(delivered.deadline.since(arrived), expected);
    }
}

#[test]
fn answers_count_once_and_only_for_their_query() {
    let mut net = Net::new(1);
    let result = net.command_now(1, Command::Query(ask("q")));
    let CommandResult::Queried { ltime, id, .. } = result else {
        panic!("{result:?}");
    };
    net.host(1).records.clear();
    let response = |ltime, id, flags| {
        SerfMessage::QueryResponse(QueryResponseMessage {
            ltime,
            id,
            from: NodeName::new(b"n7").unwrap(),
            flags,
            payload: None,
        })
    };
    for _ in 0..2 {
        net.gossip_to(1, &response(ltime, id, 0));
        net.gossip_to(1, &response(ltime, id, 1));
    }
    net.gossip_to(1, &response(ltime, id ^ 1, 0));
    net.gossip_to(1, &response(LamportTime(99), id, 0));
    assert_eq!(net.host(1).records.len(), 2);
    let counters = *net.serf(1).counters();
    assert_eq!(counters.duplicate_responses, 2);
    assert_eq!(counters.late_responses, 2);
    net.run_for(SECOND * 4);
    net.gossip_to(1, &response(ltime, id, 0));
    assert_eq!(net.serf(1).counters().late_responses, 3);
    assert_eq!(net.host(1).records.len(), 3);
}

#[test]
fn relays_serve_members_only() {
    let mut net = Net::joined(3);
    let response = |payload: &[u8]| {
        SerfMessage::QueryResponse(QueryResponseMessage {
            ltime: LamportTime(1),
            id: 1,
            from: NodeName::new(b"n9").unwrap(),
            flags: 0,
            payload: Some(payload.to_vec()),
        })
        .encode()
    };
    let relay = |to: u16, message: Vec<u8>| {
        SerfMessage::Relay(RelayMessage {
            destination: addr(to),
            destination_name: None,
            message,
        })
    };
    net.gossip_to(1, &relay(2, response(b"x")));
    net.run_for(SECOND / 100);
    assert_eq!(net.serf(2).counters().late_responses, 1);
    // A relayed reply to the relay itself is processed directly.
    net.gossip_to(1, &relay(1, response(b"x")));
    assert_eq!(net.serf(1).counters().late_responses, 1);
    assert_eq!(net.serf(1).counters().dropped_refused, 0);
    net.gossip_to(1, &relay(77, response(b"x")));
    net.gossip_to(1, &relay(2, SerfMessage::Query(query(3, 1, 1)).encode()));
    assert_eq!(net.serf(1).counters().dropped_refused, 2);
    for _ in 0..3000 {
        net.gossip_to(1, &relay(2, response(b"x")));
    }
    assert!(net.serf(1).counters().dropped_refused > 1500);
}

#[test]
fn foreign_addresses_get_no_answers_neither_directly_nor_through_relays() {
    let mut net = Net::joined(3);
    let mut bounded = config(4);
    bounded.allowed_networks = vec![swim::Network::of_one(addr(4).ip())];
    net.add(bounded);
    net.join(4, 1);
    net.run_for(SECOND);
    net.host(4).answer = Some(b"yes".to_vec());
    for ip in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        let from = SocketAddr::from((ip, 1));
        let message = QueryMessage {
            addr: from,
            relay_factor: 2,
            flags: query_flag::ACK | query_flag::NO_BROADCAST,
            ..query(50, 1, 1000 + u64::from(ip[3]))
        };
        net.host(4).sent.clear();
        net.gossip_to(4, &SerfMessage::Query(message));
        net.run_for(SECOND / 2);
        let sent = &net.host(4).sent;
        let has_answered = sent.windows(3).any(|bytes| bytes == b"yes");
        assert_eq!(has_answered, ip[3] == 1, "{from}");
    }
    // The handlers of both have run; one ack and one answer were not sent.
    assert_eq!(net.host(4).take_queries().len(), 2);
    assert_eq!(net.serf(4).swim().counters().foreign_out, 2);
}

#[test]
fn strangers_are_answered_at_a_limited_rate() {
    let mut net = Net::new(1);
    for id in 0..1000 {
        net.gossip_to(1, &SerfMessage::Query(query(50, id, 10)));
    }
    let refused = net.serf(1).counters().dropped_refused;
    assert!((900..1000).contains(&refused), "{refused}");
    net.run_for(SECOND / 4);
    assert_eq!(net.host(1).take_queries().len(), 1000);
}
