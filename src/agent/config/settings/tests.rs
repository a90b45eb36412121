use super::*;

#[test]
fn the_table_is_sorted_and_its_places_differ() {
    assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
    for key in KEYS {
        let mut marked = Settings::default();
        match key.slot(&mut marked) {
            Slot::Text(text) => *text = "x".into(),
            Slot::Bytes(bytes) => *bytes = b"x".to_vec(),
            Slot::Addresses(list) | Slot::List(list) => list.push("x".into()),
            Slot::Paths(list) => list.push(b"x".to_vec()),
            Slot::Handlers(list) => list.push(HandlerEntry::text(b"x")),
            Slot::Map(map) => drop(map.insert("x".into(), "x".into())),
            Slot::Switch(switch) => *switch = Some(true),
            Slot::Number(number) => *number = 1,
            Slot::Duration(time) | Slot::Limit(time) => *time = Some(Duration::from_secs(1)),
            Slot::Ignored => continue,
        }
        let changed = marked.changed_keys(&Settings::default());
        let names: Vec<_> = changed.iter().map(|key| key.name).collect();
        assert_eq!(names, [key.name], "two keys share a place");
        let merged = Settings::default().merged(marked.clone());
        assert_eq!(merged, marked);
        let kept = marked.clone().merged(Settings::default());
        assert_eq!(kept, marked, "{}: saying nothing changes nothing", key.name);
    }
}

#[test]
fn layers_merge() {
    let mut first = Settings {
        node_name: "n1".into(),
        event_handlers: vec![HandlerEntry::text(b"x")],
        protocol: 4,
        replay_on_join: Some(true),
        leave_on_terminate: Some(true),
        retry_interval: Some(Duration::from_secs(9)),
        handler_timeout: Some(Duration::from_secs(9)),
        ..Settings::default()
    };
    first.tags.insert("a".into(), "1".into());
    first.tags.insert("b".into(), "1".into());
    let mut second = Settings {
        event_handlers: vec![HandlerEntry::text(b"y")],
        replay_on_join: Some(false),
        retry_interval: Some(Duration::ZERO),
        handler_timeout: Some(Duration::ZERO),
        ..Settings::default()
    };
    second.tags.insert("a".into(), "2".into());
    let both = first.merged(second).merged(Settings::default());
    assert_eq!(both.node_name, b"n1");
    assert_eq!(both.tags.get(&b"a"[..]).unwrap(), b"2");
    assert_eq!(both.tags.get(&b"b"[..]).unwrap(), b"1");
    let handlers = [b"x", b"y"].map(|text| HandlerEntry::text(text));
    assert_eq!(both.event_handlers, handlers);
    assert_eq!(both.protocol, 4);
    assert_eq!(both.replay_on_join, Some(false));
    assert_eq!(both.leave_on_terminate, Some(true));
    assert_eq!(both.retry_interval, Some(Duration::from_secs(9)));
    assert_eq!(both.handler_timeout, Some(Duration::ZERO));
}

#[test]
fn tags_need_a_name() {
    assert_eq!(
        parse_tags(&["a=b".into(), "foo".into()]),
        Err("Error: Invalid tag: 'foo'".into())
    );
    assert!(parse_tags(&["=b".into()]).is_err());
}
