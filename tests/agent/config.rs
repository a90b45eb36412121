//! Configuration files and reloads of live agents (agent spec 4.1 to 4.3, 4.11).

use std::fs;
use std::path::Path;

use crate::live::{Agent, arg, content, refused, wait_until};

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn files_directories_and_flags_are_laid_over_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let parts = dir.path().join("conf.d");
    fs::create_dir(&parts).unwrap();
    write(
        &parts.join("10.json"),
        r#"{"Profile": "wan", "tags": {"a": "dir10", "b": "dir10"}, "leave_on_terminate": true,
            "event_handlers": ["user:one=:"], "enable_compression": false}"#,
    );
    write(&parts.join("9.json"), r#"{"tags": {"a": "dir9"}}"#);
    write(&parts.join("README"), "no configuration");
    let first = dir.path().join("first");
    write(
        &first,
        r#"{"node_name": "conf", "profile": "local", "tags": {"c": "file", "a": "file"},
            "event_handlers": ["user:zero=:"]} and more"#,
    );
    let last = dir.path().join("last");
    write(&last, r#"{"leave_on_terminate": false}"#);
    let agent = Agent::start(&[
        "-config-file",
        arg(&first),
        "-config-dir",
        arg(&parts),
        "-tag=d=flag",
        "-event-handler=user:two=:",
        "-config-file",
        arg(&last),
    ]);
    let text = agent.text();
    assert!(text.contains("Node name: 'conf'"), "{text}");
    assert!(text.contains("Profile: wan"), "{text}");
    assert!(
        text.contains("Message Compression Enabled: false"),
        "{text}"
    );
    let warned = format!("==> Warning: '{}' has trailing data", first.display());
    assert!(text.contains(&warned), "{text}");
    let own = agent.member("conf");
    assert!(own.ends_with("a=dir9,b=dir10,c=file,d=flag"), "{own}");
    let (_, info) = agent.call("info", &[]);
    let at = |name: &str| {
        info.find(name)
            .unwrap_or_else(|| panic!("{name} in {info}"))
    };
    for handler in ["user:zero", "user:one", "user:two"] {
        at(handler);
    }
    // The last file sets it to false again.
    assert_eq!(agent.end(libc::SIGTERM), 1);
    assert!(agent.text().contains("Shutdown without a Leave"));
}

#[test]
fn flags_override_switches_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    write(
        &file,
        r#"{"enable_compression": false, "replay_on_join": true}"#,
    );
    let agent = Agent::start(&["-config-file", arg(&file), "-disable-compression=false"]);
    let text = agent.text();
    assert!(text.contains("Message Compression Enabled: true"), "{text}");
}

#[test]
fn what_cannot_be_used_is_refused_with_file_key_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    let shown = file.display();
    let cases = [
        (
            r#"{"nope": 1, "zed": 2}"#,
            "1 error(s) decoding:\n\n* '' has invalid keys: nope, zed\n",
        ),
        (
            r#"{"protocol": "5"}"#,
            "1 error(s) decoding:\n\n* 'protocol' expected type 'int', got unconvertible type \
             'string', value: '5'\n",
        ),
        ("", "EOF\n"),
        ("{bad", "key must be a string at line 1 column 2\n"),
        (
            r#"{"retry_interval": "x"}"#,
            "time: invalid duration \"x\" (key 'retry_interval')\n",
        ),
    ];
    for (text, why) in cases {
        write(&file, text);
        let (code, output) = refused(&["-config-file", arg(&file)]);
        assert_eq!(output, format!("==> Error decoding '{shown}': {why}"));
        assert_eq!(code, 1, "{text}");
    }
    let (code, output) = refused(&["-config-dir", "/no/such"]);
    assert_eq!(
        output,
        "==> Error reading '/no/such': open /no/such: no such file or directory\n"
    );
    assert_eq!(code, 1);
    write(
        &file,
        r#"{"validate_node_names": true, "node_name": "bad_name!"}"#,
    );
    let (code, output) = refused(&["-config-file", arg(&file)]);
    assert!(output.starts_with("==> Invalid node name: 'bad_name!'"));
    assert_eq!(code, 1);
    write(&file, r#"{"user_event_size_limit": 9217}"#);
    let (code, output) = refused(&["-config-file", arg(&file)]);
    assert!(
        output.contains(
            "==> Failed to start the Serf agent: Error creating Serf: \
             user event size limit exceeds limit of 9216 bytes\n"
        ),
        "{output}"
    );
    assert_eq!(code, 1);
}

#[test]
fn times_and_numbers_out_of_range_are_refused_or_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    let negative = "time: negative duration \"-5s\"";
    for (flag, key) in [
        ("handler-timeout", "handler_timeout"),
        ("handler-grace", "handler_grace"),
        ("handler-leave-wait", "handler_leave_wait"),
        ("", "reconnect_interval"),
        ("", "reconnect_timeout"),
        ("", "tombstone_timeout"),
    ] {
        if !flag.is_empty() {
            for (value, why) in [
                ("-5s", negative),
                ("5", "time: missing unit in duration \"5\""),
                ("9999999h", "time: invalid duration \"9999999h\""),
            ] {
                let (code, output) = refused(&[&format!("-{flag}={value}")]);
                assert_eq!(output, format!("==> Error: {why} (-{flag})\n"));
                assert_eq!(code, 1);
            }
        }
        write(&file, &format!("{{\"{key}\": \"-5s\"}}"));
        let (code, output) = refused(&["-config-file", arg(&file)]);
        let shown = file.display();
        assert_eq!(
            output,
            format!("==> Error decoding '{shown}': {negative} (key '{key}')\n")
        );
        assert_eq!(code, 1);
    }
    // The same message as the reference's.
    let (code, output) = refused(&["-retry-interval=5"]);
    let why = "==> Error: time: missing unit in duration \"5\"\n";
    assert_eq!((code, output.as_str()), (1, why));
    for flag in ["-journal-size-limit=-1", "-journal-size-limit=100"] {
        let (code, output) = refused(&[flag]);
        assert!(output.starts_with("==> "), "{output}");
        assert!(output.contains("journal") && code == 1, "{output}");
    }
    write(&file, r#"{"journal_size_limit": -1}"#);
    let (code, output) = refused(&["-config-file", arg(&file)]);
    assert!(output.ends_with("* journal_size_limit must not be negative\n") && code == 1);
}

/// The longest durations, empty ones, and those that are raised to the minimum.
#[test]
fn extreme_times_are_accepted() {
    let longest = "2562047h47m16.854775807s";
    let agent = Agent::start(&[
        &format!("-handler-timeout={longest}"),
        &format!("-handler-grace={longest}"),
        &format!("-retry-interval={longest}"),
        "-handler-leave-wait=",
        "-broadcast-timeout=-5s",
        "-retry-max=-1",
        "-retry-join=127.0.0.1:1",
        "-event-handler=user=echo $SERF_USER_EVENT",
        "-log-level=debug",
    ]);
    agent.wait_for("'BroadcastTimeout' is too low. Setting to 1s");
    agent.wait_for("retrying in 2562047h47m16.854775807s");
    assert!(agent.call("event", &["-coalesce=false", "ran"]).0);
    agent.wait_for("Event 'user' script output: ran");
    let timeout = format!("-timeout={longest}");
    let line = [
        timeout.as_str(),
        "-expect=all",
        "-fields=ack",
        "-strict",
        "x",
    ];
    let (worked, text) = agent.call("query", &line);
    assert!(worked && text.lines().count() == 1, "{text}");
    let (worked, text) = agent.call("query", &["-timeout=-1s", "x"]);
    assert_eq!(
        (worked, text.as_str()),
        (false, "-timeout must not be negative\n")
    );
    assert_eq!(agent.end(libc::SIGTERM), 1);
}

#[test]
fn size_limits_and_the_rpc_key_of_a_file_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    write(
        &file,
        r#"{"user_event_size_limit": 100, "query_size_limit": 200, "rpc_auth": "secret",
            "disable_coordinates": true}"#,
    );
    let agent = Agent::start(&["-node=limits", "-config-file", arg(&file)]);
    let (worked, text) = agent.call("members", &[]);
    assert!(
        !worked && text.contains("Authentication required"),
        "{text}"
    );
    let auth = "-rpc-auth=secret";
    let (worked, text) = agent.call("event", &[auth, "short", "x"]);
    assert!(worked, "{text}");
    let (worked, text) = agent.call("event", &[auth, "long", &"x".repeat(100)]);
    assert!(!worked && text.contains("exceeds"), "{text}");
    let (worked, text) = agent.call("query", &[auth, "long", &"x".repeat(200)]);
    assert!(!worked && text.contains("exceeds"), "{text}");
    let (_, info) = agent.call("info", &[auth]);
    assert!(!info.contains("coordinate_resets"), "{info}");
}

#[test]
fn options_for_signals_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    write(
        &file,
        r#"{"leave_on_terminate": true, "skip_leave_on_interrupt": true, "profile": "local"}"#,
    );
    let leaves = Agent::start(&["-config-file", arg(&file)]);
    assert_eq!(leaves.end(libc::SIGTERM), 0);
    let text = leaves.text();
    assert!(
        text.contains("==> Caught signal: terminated\n==> Gracefully shutting down agent...\n"),
        "{text}"
    );
    let stays = Agent::start(&["-config-file", arg(&file)]);
    assert_eq!(stays.end(libc::SIGINT), 1);
    assert!(stays.text().contains("Shutdown without a Leave"));
}

/// Files that a reload cannot use, and the reason that is logged.
const UNUSABLE: &[(&str, &str)] = &[
    ("{", "unexpected EOF\n"),
    (r#"{"nope": 1}"#, "'' has invalid keys: nope\n"),
    (
        r#"{"event_handlers": ["member-foo=x"], "tags": {"a": "3"}}"#,
        "Invalid event script: Event 'member-foo' invoking 'x'",
    ),
    (
        r#"{"profile": "LAN", "tags": {"a": "3"}}"#,
        "Unknown profile: LAN\n",
    ),
    (
        r#"{"encrypt_key": "%", "tags": {"a": "3"}}"#,
        "Invalid encryption key: illegal base64 data at input byte 0\n",
    ),
    (
        r#"{"rpc_control_group": "no-such-group", "tags": {"a": "3"}}"#,
        "Invalid rpc_control_group 'no-such-group': there is no such group\n",
    ),
];

/// Reloads unusable files, and without the file.
fn unusable_files_change_nothing(agent: &Agent, file: &Path) {
    for (bad, why) in UNUSABLE {
        write(file, bad);
        let text = agent.reload("==> Failed to reload configs\n");
        assert!(text.contains(why), "{text}");
    }
    fs::remove_file(file).unwrap();
    let text = agent.reload("==> Failed to reload configs\n");
    assert!(text.contains("no such file or directory\n"), "{text}");
    assert!(agent.member("old").ends_with("a=2,f=flag"));
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf");
    let ran = dir.path().join("ran");
    write(
        &file,
        r#"{"node_name": "old", "tags": {"a": "1", "b": "1"}, "profile": "local"}"#,
    );
    let agent = Agent::start(&["-config-file", arg(&file), "-tag=f=flag"]);
    assert!(agent.member("old").ends_with("a=1,b=1,f=flag"));

    let handler = format!("user:go=echo ran >> {}", ran.display());
    let settings = serde_json::json!({
        "node_name": "new", "tags": {"a": "2"}, "profile": "local", "rpc_auth": "secret",
        "log_level": "debug", "event_handlers": [handler], "leave_on_terminate": true,
    });
    write(&file, &settings.to_string());
    let text = agent.reload("'rpc_auth' takes effect at the next start");
    assert!(
        text.contains("[WARN] agent: Change of 'node_name' takes effect at the next start"),
        "{text}"
    );
    assert_eq!(text.matches("takes effect at").count(), 2, "{text}");
    wait_until("the tags", || agent.member("old").ends_with("a=2,f=flag"));
    assert!(agent.call("event", &["go"]).0);
    wait_until("the handler", || content(&ran) == "ran\n");
    agent.wait_for("[DEBUG] agent: Requesting user event send: go");
    // A change that takes effect at the next start is named at each reload.
    agent.reload("'node_name' takes effect at the next start");

    unusable_files_change_nothing(&agent, &file);
    assert!(agent.call("event", &["go"]).0);
    wait_until("the old handler", || content(&ran) == "ran\nran\n");

    // An unknown log level is reported, and the other changes are applied.
    write(&file, r#"{"log_level": "loud", "tags": {"a": "4"}}"#);
    agent.reload("==> Invalid log level: LOUD.");
    wait_until("the new tags", || {
        agent.member("old").ends_with("a=4,f=flag")
    });
    // The file has no handlers any more, so none runs. The handlers of the next reload would run after it.
    assert!(agent.call("event", &["-coalesce=false", "go"]).0);
    let other = dir.path().join("other");
    let handler = format!("user:go=echo ran >> {}", other.display());
    let settings = serde_json::json!({
        "event_handlers": [handler], "tags": {"a": "x".repeat(600)},
    });
    write(&file, &settings.to_string());
    agent.reload("==> Failed to update tags: Encoded length of tags exceeds limit of 512 bytes\n");
    assert!(agent.member("old").ends_with("a=4,f=flag"));
    assert!(agent.call("event", &["-coalesce=false", "go"]).0);
    wait_until("the other handler", || content(&other) == "ran\n");
    assert_eq!(content(&ran), "ran\nran\n");
    write(
        &file,
        r#"{"leave_on_terminate": true, "tags": {"a": "5"}, "profile": "local"}"#,
    );
    agent.signal(libc::SIGHUP);
    wait_until("the last tags", || {
        agent.member("old").ends_with("a=5,f=flag")
    });
    assert_eq!(
        agent.end(libc::SIGTERM),
        0,
        "leave_on_terminate was reloaded"
    );
}
