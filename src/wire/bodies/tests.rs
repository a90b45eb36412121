use super::*;

/// Encodes a valid message and appends one more field; of duplicate keys the last one wins.
fn with_field(message: &Message, key: &str, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut bytes = message.encode();
    // A map of fewer than 16 pairs stores the count in its first byte.
    bytes[1] += 1;
    let mut writer = Writer::appending(Dialect::Gossip, bytes);
    writer.key(key);
    write(&mut writer);
    writer.into_bytes()
}

fn alive() -> Message {
    Message::Alive(Alive {
        incarnation: 1,
        node: NodeName::new(b"a").unwrap(),
        addr: "10.0.0.1:7946".parse().unwrap(),
        meta: Some(b"meta"[..].into()),
        versions: VersionVector::serf(5),
    })
}

#[test]
fn a_bad_alive_is_refused() {
    type Write = fn(&mut Writer);
    let cases: [(&str, Write); 10] = [
        ("Vsn", |w| {
            w.nil();
        }),
        ("Vsn", |w| {
            w.bytes(&[1, 5, 2]);
        }),
        ("Addr", |w| {
            w.bytes(&[1, 2, 3]);
        }),
        ("Addr", |w| {
            w.nil();
        }),
        ("Node", |w| {
            w.text(b"");
        }),
        ("Node", |w| {
            w.text([b'x'; 256]);
        }),
        ("Incarnation", |w| {
            w.uint(0);
        }),
        ("Incarnation", |w| {
            w.uint(1 << 32);
        }),
        ("Meta", |w| {
            w.bytes(&[0; 513]);
        }),
        ("Port", |w| {
            w.int(-1);
        }),
    ];
    for (field, write) in cases {
        let bytes = with_field(&alive(), field, write);
        assert!(Message::decode(&bytes).is_err(), "{field}");
    }
    let bytes = with_field(&alive(), "Unknown", |w| {
        w.array(1).map(1).nil().nil();
    });
    assert_eq!(Message::decode(&bytes), Ok(alive()));
}

#[test]
fn mapped_addresses_stay_in_an_alive_and_mean_ipv4_as_a_target() {
    let mapped = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02";
    let bytes = with_field(&alive(), "Addr", |w| {
        w.bytes(mapped);
    });
    let Ok(Message::Alive(decoded)) = Message::decode(&bytes) else {
        panic!("refused");
    };
    assert!(decoded.addr.is_ipv6());
    assert!(
        Message::Alive(decoded)
            .encode()
            .windows(16)
            .any(|ip| ip == mapped)
    );
    let ping = Message::Ping(Ping {
        seq_no: 1,
        node: None,
        source: "10.0.0.1:1".parse().ok(),
        source_node: None,
        extension: Vec::new(),
    });
    let bytes = with_field(&ping, "SourceAddr", |w| {
        w.bytes(mapped);
    });
    let Ok(Message::Ping(decoded)) = Message::decode(&bytes) else {
        panic!("refused");
    };
    assert_eq!(decoded.source, "10.0.0.2:1".parse().ok());
    let portless = with_field(&ping, "SourcePort", |w| {
        w.uint(0);
    });
    let Ok(Message::Ping(decoded)) = Message::decode(&portless) else {
        panic!("refused");
    };
    assert_eq!(decoded.source, None);
}

#[test]
fn what_follows_a_ping_s_body_is_kept_within_its_limit() {
    let mut ping = Ping {
        seq_no: 9,
        node: NodeName::new(b"a").ok(),
        source: None,
        source_node: None,
        extension: vec![0xc1; limits::PING_EXTENSION_BYTES_MAX],
    };
    let bytes = Message::Ping(ping.clone()).encode();
    assert_eq!(Message::decode(&bytes), Ok(Message::Ping(ping.clone())));
    ping.extension.push(0);
    let bytes = Message::Ping(ping.clone()).encode();
    ping.extension.clear();
    assert_eq!(Message::decode(&bytes), Ok(Message::Ping(ping)));
}
