use super::settings::Slot;
use super::*;
use crate::agent::config::handlers::HandlerEntry;

fn check(settings: Settings) -> Result<AgentConfig, Refused> {
    AgentConfig::check(&settings, b"host")
}

fn addresses(settings: Settings) -> Result<Addresses, String> {
    let config = check(settings).map_err(|refused| refused.error)?;
    Addresses::resolve(&config.fixed, &mut Vec::new())
}

fn refused(settings: Settings) -> String {
    addresses(settings).unwrap_err()
}

fn named() -> Settings {
    Settings {
        node_name: "n1".into(),
        ..Settings::default()
    }
}

#[test]
fn defaults_are_the_references() {
    let bind = addresses(named()).unwrap().bind;
    assert_eq!(bind.to_string(), "0.0.0.0:7946");
    let AgentConfig {
        live,
        fixed,
        notices,
    } = check(named()).unwrap();
    assert_eq!(fixed.rpc_addrs, ["127.0.0.1:7373"]);
    assert_eq!(fixed.protocol, 5);
    assert_eq!(fixed.profile, Profile::Lan);
    assert_eq!(live.log_level, LevelFilter::Info);
    assert_eq!(fixed.retry_interval, Duration::from_secs(30));
    assert_eq!(fixed.broadcast_timeout, Duration::from_secs(5));
    assert_eq!(live.handler_grace, Duration::from_secs(1));
    assert_eq!(live.handler_timeout, None);
    assert!(fixed.compression && notices.is_empty());
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
        let advertise = addresses(settings).unwrap().advertise;
        assert_eq!(advertise, Some(addr.parse().unwrap()));
    }
}

#[test]
fn short_times_are_raised_with_a_warning() {
    let mut settings = named();
    settings.retry_interval = Some(Duration::from_millis(100));
    settings.broadcast_timeout = Some(Duration::ZERO);
    let config = check(settings).unwrap();
    assert_eq!(config.fixed.retry_interval, Duration::from_secs(1));
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
            // Numbers with leading zeros are octal and stay text.
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
        let config = &config.fixed;
        let addr = addresses(named()).unwrap().bind;
        let mut core = crate::serf::Config::new(config.node.clone(), addr, config.profile.swim());
        config.apply_limits(&mut core);
        format!("{core:?}")
    };
    let unsaid = check(named()).unwrap();
    for key in super::settings::KEYS {
        // No default, or one that depends on another key.
        if key.default.is_empty() || key.name == "syslog_facility" {
            continue;
        }
        let said = check(settings(key.name, key.default)).unwrap();
        assert_eq!(core(&said), core(&unsaid), "{}", key.name);
        let resolved = |config: &AgentConfig| Addresses::resolve(&config.fixed, &mut Vec::new());
        assert_eq!(resolved(&said), resolved(&unsaid), "{}", key.name);
        let without = |config: &AgentConfig| {
            let mut config = config.clone();
            config.fixed.bind.clear();
            // Checked above: if these are not set, the core's own values apply.
            config.fixed.reconnect_interval = None;
            config.fixed.reconnect_timeout = None;
            config.fixed.tombstone_timeout = None;
            config.fixed.query_size_limit_bytes = None;
            config.fixed.query_response_size_limit_bytes = None;
            config.fixed.user_event_size_limit_bytes = None;
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
        check(settings)
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
        check(settings).unwrap().notices
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
        check(settings).map(|config| config.fixed.rpc_socket_mode)
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

#[test]
fn a_node_without_a_name_has_the_hosts() {
    let node = |settings| check(settings).unwrap().fixed.node;
    assert_eq!(node(Settings::default()).as_bytes(), b"host");
    assert_eq!(node(named()).as_bytes(), b"n1");
}

/// Returns a value that is valid for a key and differs from its default.
fn other_text(key: &str) -> &'static str {
    match key {
        "bind" => "127.0.0.1:1",
        "encrypt_key" => "AAAAAAAAAAAAAAAAAAAAAA==",
        "log_level" => "WARN",
        "profile" => "wan",
        "rpc_socket_mode" => "600",
        _ => "x",
    }
}

#[test]
fn a_reload_changes_what_the_table_says() {
    let given = |is_present: bool, text: &str| match is_present {
        true => text.to_owned(),
        false => String::new(),
    };
    // Settings that other keys require.
    let plain = || Settings {
        snapshot_path: b"s".into(),
        enable_syslog: Some(cfg!(feature = "syslog")),
        discover: given(cfg!(feature = "mdns"), "y"),
        ..named()
    };
    let unchanged = check(plain()).unwrap();
    for key in super::settings::KEYS {
        let mut settings = plain();
        match key.slot(&mut settings) {
            Slot::Text(text) => *text = other_text(key.name).to_owned(),
            Slot::Bytes(bytes) => *bytes = b"x".to_vec(),
            Slot::Addresses(list) => list.push("unix:/x".to_owned()),
            Slot::List(list) => list.push("192.0.2.0/24".to_owned()),
            Slot::Paths(list) => list.push(b"x".to_vec()),
            Slot::Handlers(list) => list.push(HandlerEntry::text(b"x")),
            Slot::Map(map) => drop(map.insert(b"x".to_vec(), b"x".to_vec())),
            Slot::Switch(switch) => *switch = Some(key.default != "true"),
            Slot::Number(number) => *number = 100_000,
            Slot::Duration(time) | Slot::Limit(time) => *time = Some(Duration::from_secs(77)),
            Slot::Ignored => continue,
        }
        let feature = features::FEATURES.iter().find(|f| f.name == key.feature);
        let Ok(changed) = check(settings) else {
            let is_missing = feature.is_some_and(|feature| !feature.present);
            assert!(is_missing, "{} is refused", key.name);
            continue;
        };
        let shown = |config: &AgentConfig| format!("{:?}", config.fixed);
        let is_live = changed.live != unchanged.live;
        let is_fixed = shown(&changed) != shown(&unchanged);
        assert_eq!(is_live, key.reload, "{}", key.name);
        // Syslog is already on, or this build lacks it.
        assert!(
            is_fixed != key.reload || key.feature == "syslog",
            "{}",
            key.name
        );
    }
}
