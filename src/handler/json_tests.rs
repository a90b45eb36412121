//! Output parses back field by field for arbitrary events.

use serde_json::{Value, from_slice, json};

use super::*;
use crate::ordered::OrderedMap;
use crate::rng::Rng;
use crate::serf::{LamportTime, MemberEvent, MemberEventKind, MemberStatus, Query, UserEvent};
use crate::time::{Duration, Instant};
use crate::wire::{NodeName, VersionVector};

/// Text that JSON writers and line readers get wrong.
const PIECES: [&[u8]; 16] = [
    b"web",
    b"\"",
    b"\\",
    b"\\u0041",
    b"\n",
    b"\r\t",
    b"\0\x01\x1f\x7f",
    b"</script>&",
    "\u{2028}\u{2029}".as_bytes(),
    "\u{e9}\u{20ac}".as_bytes(),
    "\u{1f600}\u{feff}".as_bytes(),
    b"\xff",
    b"\xe2\x80",
    b"\xed\xa0\x80",
    b"{\"a\": [1]}",
    b" , : ",
];

fn text(rng: &mut Rng) -> Vec<u8> {
    let count = rng.below(5);
    let pieces: Vec<_> = (0..count)
        .map(|_| PIECES[rng.below(PIECES.len())])
        .collect();
    pieces.concat()
}

/// Names of nodes have no control characters except the tab.
fn name(rng: &mut Rng) -> NodeName {
    let mut text = [b"n", &text(rng)[..]].concat();
    text.retain(|byte| *byte == b'\t' || !byte.is_ascii_control());
    NodeName::new(&text).unwrap()
}

fn some_tags(rng: &mut Rng) -> Tags {
    let mut tags = Tags::new();
    for _ in 0..rng.below(4) {
        tags.set(&text(rng), &text(rng));
    }
    tags
}

fn some_member(rng: &mut Rng) -> Member {
    let ips = ["10.0.0.1", "::1", "::ffff:10.0.0.2", "fe80::1"];
    let statuses = [
        MemberStatus::Alive,
        MemberStatus::Leaving,
        MemberStatus::Left,
        MemberStatus::Failed,
    ];
    Member::new(
        name(rng),
        SocketAddr::new(ips[rng.below(4)].parse().unwrap(), rng.next_u32() as u16),
        &some_tags(rng),
        statuses[rng.below(4)],
        VersionVector::serf(2 + rng.below(4) as u8),
    )
}

fn some_event(rng: &mut Rng, at: Moment) -> Event {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    let ltime = LamportTime(rng.next_u64());
    match rng.below(3) {
        0 => Event::Member(MemberEvent {
            kind: [Join, Leave, Failed, Update, Reap][rng.below(5)],
            members: (0..=rng.below(3)).map(|_| some_member(rng)).collect(),
        }),
        1 => Event::User(UserEvent {
            ltime,
            name: text(rng),
            payload: text(rng),
            coalesce: true,
        }),
        _ => Event::Query(Query {
            ltime,
            id: rng.next_u32(),
            name: text(rng),
            payload: text(rng),
            source_node: rng.chance(0.5).then(|| name(rng)),
            deadline: at.now + rng.duration_below(Duration::from_secs(60)),
        }),
    }
}

/// Returns text as the reference shows it: one replacement character for each byte that is not valid UTF-8.
fn shown(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    let chunks = chunks.map(|c| c.valid().to_owned() + &"\u{fffd}".repeat(c.invalid().len()));
    chunks.collect()
}

/// Of two tags that look the same, the later one wins.
fn shown_tags(tags: &Tags) -> Value {
    let entries = tags
        .iter()
        .map(|(key, value)| (shown(key), json!(shown(value))));
    Value::Object(entries.collect())
}

fn expected(event: &Event, local: Local<'_>, run: &Run<'_>, at: Moment) -> Value {
    let mut object = json!({
        "event": event_type(event),
        "id": run.id,
        "replay": run.is_replay,
        "attempt": run.attempt,
        "time": Rfc3339(run.taken_micros).to_string(),
        "self": {"name": shown(local.name.as_bytes()), "tags": shown_tags(local.tags)},
    });
    let mut set =
        |key: &str, value: Value| drop(object.as_object_mut().unwrap().insert(key.into(), value));
    let mut named = |name: &[u8], ltime: LamportTime, payload: &[u8]| {
        set("name", json!(shown(name)));
        set("ltime", json!(ltime.0));
        match std::str::from_utf8(payload) {
            Ok("") => {}
            Ok(text) => set("payload", json!(text)),
            Err(_) => set("payload_base64", json!(STANDARD.encode(payload))),
        }
    };
    match event {
        Event::User(event) => named(&event.name, event.ltime, &event.payload),
        Event::Query(query) => {
            named(&query.name, query.ltime, &query.payload);
            if let Some(node) = &query.source_node {
                set("from", json!(shown(node.as_bytes())));
            }
            let left = query.deadline.since(at.now).as_micros() as u64;
            set(
                "deadline",
                json!(Rfc3339(at.unix_micros + left).to_string()),
            );
        }
        Event::Member(event) => {
            let members = event.members.iter().map(|member| {
                let ip = member.addr.ip().to_canonical();
                let port = member.addr.port();
                json!({
                    "name": shown(member.name.as_bytes()),
                    "addr": SocketAddr::new(ip, port).to_string(),
                    "port": port,
                    "tags": shown_tags(&member.tags()),
                    "status": member.status.as_str(),
                    "protocol": {
                        "max": member.versions.delegate_max,
                        "min": member.versions.delegate_min,
                        "version": member.versions.delegate_current,
                    },
                })
            });
            set("members", members.collect());
        }
    }
    object
}

#[test]
fn what_is_written_parses_field_by_field() {
    let mut seen = [0; 3];
    for seed in 0..3000 {
        let rng = &mut Rng::new(seed);
        let at = Moment {
            now: Instant::from_millis(rng.next_u32().into()),
            unix_micros: u64::from(rng.next_u32()) * 1_000_001,
        };
        let event = some_event(rng, at);
        let (own_name, own_tags) = (name(rng), some_tags(rng));
        let local = Local::alone(&own_name, &own_tags);
        let run = Run {
            id: "user:7:00",
            taken_micros: at.unix_micros,
            attempt: 1 + rng.next_u32() % 3,
            is_replay: rng.chance(0.5),
            environment: &OrderedMap::new(),
        };
        let line = stdin(&event, local, &run, at);
        let (last, body) = line.split_last().unwrap();
        assert_eq!(*last, b'\n', "{seed}");
        let text = std::str::from_utf8(body).unwrap();
        let splits =
            |c: char| c.is_control() && c != '\x7f' || matches!(c, '\u{2028}' | '\u{2029}');
        assert!(!text.contains(splits), "{seed}: {text}");
        let value: Value = from_slice(body).unwrap_or_else(|why| panic!("{seed}: {why}: {text}"));
        assert_eq!(value, expected(&event, local, &run, at), "{seed}");
        seen[match event {
            Event::Member(_) => 0,
            Event::User(_) => 1,
            Event::Query(_) => 2,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count > 900), "{seen:?}");
}

#[test]
fn an_object_has_its_fields_in_one_order() {
    let tags = Tags::new();
    let name = NodeName::new(b"n1").unwrap();
    let local = Local::alone(&name, &tags);
    let at = Moment {
        now: Instant::from_millis(5_000),
        unix_micros: 1_700_000_000_000_000,
    };
    let mut query = Query {
        ltime: LamportTime(3),
        id: 4,
        name: b"load".to_vec(),
        payload: b"\xff".to_vec(),
        source_node: NodeName::new(b"n2").ok(),
        deadline: Instant::from_millis(6_500),
    };
    let run = Run {
        id: "query:3:4",
        taken_micros: at.unix_micros,
        attempt: 2,
        is_replay: true,
        environment: &OrderedMap::new(),
    };
    let line = |query: &Query| {
        let stdin = stdin(&Event::Query(query.clone()), local, &run, at);
        String::from_utf8(stdin.to_vec()).unwrap()
    };
    assert_eq!(
        line(&query),
        "{\"event\": \"query\", \"id\": \"query:3:4\", \"replay\": true, \"attempt\": 2, \
         \"time\": \"2023-11-14T22:13:20.000Z\", \"self\": {\"name\": \"n1\", \"tags\": {}}, \
         \"name\": \"load\", \"ltime\": 3, \"payload_base64\": \"/w==\", \"from\": \"n2\", \
         \"deadline\": \"2023-11-14T22:13:21.500Z\"}\n"
    );
    // A deadline in the past is shown as it was, and an infinite one does not wrap.
    query.deadline = Instant::from_millis(4_000);
    assert!(line(&query).contains("\"deadline\": \"2023-11-14T22:13:19.000Z\""));
    query.deadline = Instant::FAR_FUTURE;
    assert!(line(&query).contains("\"deadline\": \"26"));
}
