use super::*;

/// Returns a state without sockets.
fn deaf() -> Mdns {
    let addr = "10.0.0.1:7946".parse().unwrap();
    let service = Service::new(b"c", b"n1", b"h", addr);
    Mdns {
        next_question: Instant::from_millis(60_000),
        ..Mdns::deaf(service, 0, Instant::ORIGIN)
    }
}

fn answer(node: &str, addr: &str) -> Message {
    let service = Service::new(b"c", node.as_bytes(), b"h", addr.parse().unwrap());
    let question = Question {
        name: service.kind().clone(),
        kind: number::PTR,
        class: number::CLASS_IN,
        unicast: false,
    };
    let message = Message {
        questions: vec![question],
        ..Message::default()
    };
    service.replies(&message).remove(0)
}

#[test]
fn what_comes_together_is_joined_together() {
    let mut mdns = deaf();
    let at = Instant::from_millis;
    let from = "10.0.0.9:5353".parse().unwrap();
    mdns.take_answer(&answer("n2", "10.0.0.2:1"), from, at(0));
    mdns.take_answer(&answer("n3", "10.0.0.3:1"), from, at(90));
    assert_eq!(mdns.poll_timeout(), Some(at(190)));
    assert_eq!(mdns.poll_found(at(189)), None);
    let found = mdns.poll_found(at(190)).unwrap();
    let both: Vec<SocketAddr> = ["10.0.0.2:1", "10.0.0.3:1"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert_eq!(found, both);
    assert_eq!(mdns.poll_timeout(), Some(at(60_000)));

    // The next question brings the same answers: only addresses that failed are tried again.
    mdns.found = Found::default();
    mdns.forget([both[1]]);
    mdns.take_answer(&answer("n2", "10.0.0.2:1"), from, at(60_000));
    mdns.take_answer(&answer("n3", "10.0.0.3:1"), from, at(60_000));
    assert_eq!(mdns.poll_found(at(60_100)).unwrap(), both[1..]);
}

#[test]
fn neither_the_node_itself_nor_nonsense_is_joined() {
    let mut mdns = deaf();
    let (now, from) = (Instant::ORIGIN, "10.0.0.9:5353".parse().unwrap());
    for (node, addr) in [
        ("n1", "10.0.0.1:7946"),
        ("other", "10.0.0.1:7946"),
        ("n1", "10.0.0.7:7946"),
        ("a", "0.0.0.0:1"),
        ("b", "224.0.0.1:1"),
        ("c", "255.255.255.255:1"),
        ("d", "10.0.0.2:0"),
    ] {
        mdns.take_answer(&answer(node, addr), from, now);
    }
    // mDNS answers come only from port 5353.
    let elsewhere = "10.0.0.9:9999".parse().unwrap();
    mdns.take_answer(&answer("e", "10.0.0.3:1"), elsewhere, now);
    assert_eq!(mdns.quiet_at, None);
}

#[test]
fn replies_are_limited() {
    let mut mdns = deaf();
    let question = Message {
        questions: vec![Question {
            name: mdns.service.kind().clone(),
            kind: number::PTR,
            class: number::CLASS_IN,
            unicast: false,
        }],
        ..Message::default()
    };
    let from = "10.0.0.9:5353".parse().unwrap();
    for _ in 0..1000 {
        mdns.answer(0, &question, from, Instant::from_millis(500));
    }
    assert_eq!(mdns.replies.1, REPLIES_A_SECOND);
    mdns.answer(0, &question, from, Instant::from_millis(1500));
    assert_eq!(mdns.replies.1, 1);
}
