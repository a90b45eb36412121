//! Rights of clients over a Unix socket.

use cottar::agent::rpc::SessionId;
use cottar::handler::{HandlerQueue, HandlerSettings};
use cottar::rpc::request::{Query, Runs, SyntheticEvent};
use cottar::rpc::{Request, TextMap};

use crate::commands::{event, headers, stream};
use crate::harness::{Agent, local, remote};

fn key() -> Vec<u8> {
    b"YWJj".to_vec()
}

/// Every kind of request, and whether a read-only client may send it.
// Long: a table of all requests.
fn requests() -> Vec<(Request, bool)> {
    let text = || b"n1".to_vec();
    let filtered = Request::MembersFiltered {
        tags: TextMap::new(),
        status: Vec::new(),
        name: Vec::new(),
    };
    vec![
        (Request::Auth { key: text() }, true),
        (Request::Stop { seq: 99 }, true),
        (Request::Members, true),
        (filtered, true),
        (Request::Stats, true),
        (Request::Coordinate { node: text() }, true),
        (stream("member-join"), true),
        (
            stream("member-join,member-leave,member-failed,member-update,member-reap"),
            true,
        ),
        (stream("*"), false),
        (stream(""), false),
        (stream("user"), false),
        (stream("query:load"), false),
        (stream("member-join,user:deploy"), false),
        (event("e"), false),
        (
            Request::OwnEvent {
                name: text(),
                payload: None,
                coalesce: false,
            },
            false,
        ),
        (
            Request::ForceLeave {
                node: text(),
                prune: false,
            },
            false,
        ),
        (
            Request::Join {
                existing: vec![text()],
                replay: false,
            },
            false,
        ),
        (
            Request::Tags {
                set: TextMap::new(),
                delete: vec![text()],
            },
            false,
        ),
        (
            Request::Monitor {
                level: b"INFO".to_vec(),
            },
            false,
        ),
        (Request::Leave, false),
        (Request::Query(Query::default()), false),
        (
            Request::Respond {
                id: 1,
                payload: None,
            },
            false,
        ),
        (Request::InstallKey { key: key() }, false),
        (Request::UseKey { key: key() }, false),
        (Request::RemoveKey { key: key() }, false),
        (Request::ListKeys, false),
        (Request::Handlers, false),
        (Request::HandlerQueue, false),
        (Request::DropQueue { target: text() }, false),
        (
            Request::PauseHandler {
                name: text(),
                is_paused: true,
            },
            false,
        ),
        (
            Request::RunHandlers(Runs {
                name: text(),
                event: None,
                is_awaited: false,
            }),
            false,
        ),
        (
            Request::RunHandlers(Runs {
                name: text(),
                event: Some(SyntheticEvent::default()),
                is_awaited: false,
            }),
            false,
        ),
    ]
}

#[test]
fn read_only_clients_can_only_read() {
    for (request, allowed) in requests() {
        let mut agent = Agent::new(None);
        let session = agent.client_as(local(false));
        agent.send(session, &request.encode(2));
        let got = agent.take(session);
        let (seq, error) = headers(&got).remove(0);
        assert_eq!(seq, 2);
        assert_eq!(
            !error.starts_with("Permission denied: "),
            allowed,
            "{request:?}: {error}"
        );
        assert!(
            !agent.peers[&session].closed && !agent.shutdown,
            "{request:?}"
        );
        if allowed {
            continue;
        }
        // Only the header; the next request is read.
        assert_eq!(got.len(), 1, "{request:?}");
        let name = match request {
            Request::Stream { .. } => "stream of more than member events",
            ref other => other.command(),
        };
        let words = format!("Permission denied: {name} is for root and the agent's user only");
        assert_eq!(error, words);
        assert_eq!(agent.commands, [], "{request:?}");
        agent.send(session, &Request::Members.encode(3));
        assert_eq!(headers(&agent.take(session)), [(3, String::new())]);
    }
}

#[test]
fn read_only_clients_get_the_error_of_a_bad_filter() {
    let mut agent = Agent::new(None);
    let session = agent.client_as(local(false));
    agent.send(session, &stream("member-dance").encode(2));
    let refused = headers(&agent.take(session));
    assert_eq!(refused, [(2, "Invalid event filter".to_owned())]);
}

#[test]
fn clients_with_control_need_no_key_over_the_socket() {
    let mut agent = Agent::new(Some("secret"));
    for (caller, error) in [
        (local(true), ""),
        (
            local(false),
            "Permission denied: event is for root and the agent's user only",
        ),
        (remote(), "Authentication required"),
    ] {
        let session = agent.client_as(caller);
        agent.send(session, &event("e").encode(2));
        let answered = headers(&agent.take(session));
        assert_eq!(answered, [(2, error.to_owned())], "{caller}");
        // Any key is accepted if none is required.
        let key = b"other".to_vec();
        agent.send(session, &Request::Auth { key }.encode(3));
        let (_, error) = headers(&agent.take(session)).remove(0);
        assert_eq!(error.is_empty(), caller != remote(), "{caller}");
        // A key gives a read-only client no further rights.
        let key = b"secret".to_vec();
        agent.send(session, &Request::Auth { key }.encode(4));
        agent.send(session, &event("e").encode(5));
        let (_, error) = headers(&agent.take(session)).pop().unwrap();
        assert_eq!(error.is_empty(), caller != local(false), "{caller}");
    }
}

#[test]
fn scripts_are_shown_only_to_clients_with_control() {
    let mut agent = Agent::new(None);
    let settings = HandlerSettings::from_text(b"user:x=echo secret").unwrap();
    agent.handlers = HandlerQueue::new(vec![settings]);
    for may_control in [false, true] {
        let session = agent.client_as(local(may_control));
        agent.send(session, &Request::Stats.encode(2));
        let bytes = agent.take_bytes(session);
        let shown = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert_eq!(shown(b"echo secret"), may_control);
        assert!(shown(b"event_handlers") && shown(b"handlers") && shown(b"role"));
    }
}

#[test]
fn a_quarter_of_the_sessions_is_reserved_for_control() {
    let connect = |agent: &mut Agent, id: u64, caller| {
        let now = agent.now;
        agent.rpc.accept(SessionId(id), caller, now)
    };
    // TCP clients that have not authenticated count like read-only clients.
    let mut agent = Agent::new(Some("secret"));
    let callers = [local(false), remote()];
    for id in 0..384 {
        assert!(connect(&mut agent, 1000 + id, callers[id as usize % 2]));
    }
    for caller in callers {
        assert!(!connect(&mut agent, 999, caller));
    }
    for id in 384..512 {
        assert!(connect(&mut agent, 1000 + id, local(true)));
    }
    for caller in [local(false), local(true), remote()] {
        assert!(!connect(&mut agent, 999, caller));
    }
    agent.rpc.closed(SessionId(1000));
    assert!(connect(&mut agent, 998, local(true)));
    // Without a key, TCP clients may use all connections.
    let mut agent = Agent::new(None);
    for id in 0..512 {
        assert!(connect(&mut agent, 1000 + id, remote()));
    }
    assert!(!connect(&mut agent, 999, remote()));
}
