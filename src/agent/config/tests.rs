use super::*;

fn refused(settings: Settings) -> String {
    AgentConfig::check(settings).unwrap_err().error
}

fn named() -> Settings {
    Settings {
        node_name: "n1".into(),
        ..Settings::default()
    }
}

#[test]
fn defaults_are_the_references() {
    let config = AgentConfig::check(named()).unwrap();
    assert_eq!(config.bind.to_string(), "0.0.0.0:7946");
    assert_eq!(config.rpc_addrs, ["127.0.0.1:7373"]);
    assert_eq!(config.protocol, 5);
    assert_eq!(config.profile, Profile::Lan);
    assert_eq!(config.log_level, LevelFilter::Info);
    assert_eq!(config.retry_interval, Duration::from_secs(30));
    assert_eq!(config.broadcast_timeout, Duration::from_secs(5));
    assert_eq!(config.handler_grace, Duration::from_secs(1));
    assert_eq!(config.handler_timeout, None);
    assert!(config.compression && config.notices.is_empty());
}

#[test]
fn what_is_wrong_is_said_in_the_references_words() {
    let mut level = named();
    level.log_level = "foo".into();
    assert_eq!(
        refused(level),
        "Invalid log level: FOO. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"
    );
    let mut profile = named();
    profile.profile = "LAN".into();
    assert_eq!(refused(profile), "Unknown profile: LAN");
    let mut key = named();
    key.encrypt_key = "!abc".into();
    assert_eq!(
        refused(key),
        "Invalid encryption key: illegal base64 data at input byte 0"
    );
    let mut bind = named();
    bind.bind = "127.0.0.1:99999".into();
    assert_eq!(
        refused(bind),
        "Invalid bind address: address 99999: invalid port"
    );
    let mut advertise = named();
    advertise.advertise = "foo:bar:1".into();
    assert_eq!(
        refused(advertise),
        "Invalid advertise address: address foo:bar:1: too many colons in address"
    );
    for text in [
        "224.0.0.1",
        "255.255.255.255:7946",
        "[::ffff:0.0.0.0]:7946",
        "ff02::1",
    ] {
        let mut advertise = named();
        advertise.advertise = text.into();
        let words =
            format!("Invalid advertise address: {text} is not an address that others can reach");
        assert_eq!(refused(advertise), words);
    }
    let mut bind = named();
    bind.bind = "fe80::1".into();
    assert_eq!(
        refused(bind),
        "Invalid bind address: fe80::1 is link-local and needs a zone, as in [fe80::1%eth0], or -iface"
    );
    for text in ["224.0.0.1", "255.255.255.255:7946", "[ff02::1]:7946"] {
        let mut bind = named();
        bind.bind = text.into();
        let words = format!("Invalid bind address: {text} is not an address of this host");
        assert_eq!(refused(bind), words);
    }
    let mut name = named();
    name.node_name = "a\nb".into();
    assert!(refused(name).starts_with("Invalid node name"));
}

#[test]
fn an_advertised_port_needs_no_host() {
    for (text, addr) in [(":9999", "0.0.0.0:9999"), ("[fe80::1%lo]:9", "[fe80::1]:9")] {
        let mut settings = named();
        settings.advertise = text.into();
        let advertise = AgentConfig::check(settings).unwrap().advertise;
        assert_eq!(advertise, Some(addr.parse().unwrap()));
    }
}

#[test]
fn short_times_are_raised_with_a_warning() {
    let mut settings = named();
    settings.retry_interval = Some(Duration::from_millis(100));
    settings.broadcast_timeout = Some(Duration::ZERO);
    let config = AgentConfig::check(settings).unwrap();
    assert_eq!(config.retry_interval, Duration::from_secs(1));
    assert_eq!(
        config.notices,
        [
            "Warning: 'RetryInterval' is too low. Setting to 1s",
            "Warning: 'BroadcastTimeout' is too low. Setting to 1s"
        ]
    );
}

#[test]
fn the_table_names_the_defaults_that_hold() {
    let settings = |name: &str, default: &str| {
        let (key, last) = name.rsplit_once('.').map_or(("", name), |pair| pair);
        let value = match default {
            "true" | "false" => default.to_owned(),
            // Octal digits are text.
            number if number.parse::<i64>().is_ok_and(|n| n.to_string() == number) => {
                number.to_owned()
            }
            text => format!("\"{text}\""),
        };
        let entry = format!("{{\"{last}\": {value}}}");
        let text = match key {
            "" => entry,
            object => format!("{{\"{object}\": {entry}}}"),
        };
        let (mut settings, _) = super::decode(text.as_bytes()).expect(&text);
        if settings.node_name.is_empty() {
            settings.node_name = "n1".into();
        }
        settings
    };
    let core = |config: &AgentConfig| {
        let swim = config.profile.swim();
        let mut core = crate::serf::Config::new(config.node.clone(), config.bind, swim);
        config.apply_limits(&mut core);
        format!("{core:?}")
    };
    let unsaid = AgentConfig::check(named()).unwrap();
    for key in super::settings::KEYS {
        // Nothing, or what depends on another key.
        if key.default.is_empty() || key.name == "syslog_facility" {
            continue;
        }
        let said = AgentConfig::check(settings(key.name, key.default)).unwrap();
        assert_eq!(core(&said), core(&unsaid), "{}", key.name);
        let without = |config: &AgentConfig| {
            let mut config = config.clone();
            // Checked above: there the core's own values stand in for what is not said.
            config.reconnect_interval = None;
            config.reconnect_timeout = None;
            config.tombstone_timeout = None;
            config.query_size_limit_bytes = None;
            config.query_response_size_limit_bytes = None;
            config.user_event_size_limit_bytes = None;
            format!("{config:?}")
        };
        assert_eq!(without(&said), without(&unsaid), "{}", key.name);
    }
}

#[test]
fn names_can_be_validated() {
    let check = |name: &str| {
        let mut settings = named();
        settings.node_name = name.into();
        settings.validate_node_names = Some(true);
        AgentConfig::check(settings)
    };
    assert!(check("web-1.example").is_ok());
    for bad in ["bad_name!", "a b", "\u{e9}", &"x".repeat(129)] {
        let why = check(bad).unwrap_err().error;
        assert!(why.starts_with("Invalid node name: "), "{why}");
    }
}

#[test]
fn addresses_of_rpc_add_up_within_a_source() {
    let read = |text: &str| crate::agent::config::decode(text.as_bytes()).unwrap().0;
    let one = read(r#"{"rpc_addr": "127.0.0.1:1"}"#);
    let two = read(r#"{"rpc_addr": ["unix:/a", "", null, "unix:/b"]}"#);
    let files = one.merged(read(r#"{"rpc_addr": ""}"#)).merged(two);
    let both = ["127.0.0.1:1", "unix:/a", "unix:/b"];
    assert_eq!(files.rpc_addr, both);
    let silent = files.clone().overruled_by(Settings::default());
    assert_eq!(silent.rpc_addr, both);
    let mut flags = Settings::default();
    flags.rpc_addr.push("unix:/c".to_owned());
    assert_eq!(files.overruled_by(flags).rpc_addr, ["unix:/c"]);
    let wrong = crate::agent::config::decode(br#"{"rpc_addr": 7373}"#);
    let wrong = wrong.unwrap_err().to_string();
    assert!(wrong.contains("'rpc_addr'"), "{wrong}");
}

#[test]
fn an_open_port_beside_a_socket_is_a_warning() {
    let notices = |text: &str| {
        let (mut settings, _) = crate::agent::config::decode(text.as_bytes()).unwrap();
        settings.node_name = "n1".into();
        AgentConfig::check(settings).unwrap().notices
    };
    for (text, count) in [
        (r#"{"rpc_addr": ["unix:/a", "127.0.0.1:1"]}"#, 1),
        (
            r#"{"rpc_addr": ["unix:/a", "127.0.0.1:1"], "rpc_auth": "x"}"#,
            0,
        ),
        (r#"{"rpc_addr": ["unix:/a", "unix:/b"]}"#, 0),
        (r#"{"rpc_addr": ["127.0.0.2:1", "127.0.0.1:1"]}"#, 0),
        ("{}", 0),
    ] {
        let notices = notices(text);
        assert_eq!(notices.len(), count, "{text}: {notices:?}");
        assert!(
            notices
                .iter()
                .all(|notice| notice.contains("127.0.0.1:1 controls the agent"))
        );
    }
}

#[test]
fn modes_of_sockets_are_octal() {
    let check = |text: &str| {
        let mut settings = named();
        settings.rpc_socket_mode = text.to_owned();
        AgentConfig::check(settings).map(|config| config.rpc_socket_mode)
    };
    for (text, mode) in [("", 0o660), ("0660", 0o660), ("777", 0o777), ("0", 0)] {
        assert_eq!(check(text).unwrap(), mode, "{text}");
    }
    for text in [
        "0888",
        "+660",
        "1777",
        "rw",
        "0o660",
        " 660",
        "77777777777777",
    ] {
        let why = check(text).unwrap_err().error;
        assert!(why.starts_with("Invalid rpc_socket_mode"), "{why}");
    }
}
