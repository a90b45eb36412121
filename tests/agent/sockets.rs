//! RPC over a Unix socket: the socket file, and the rights of the host's users.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::live::process::{Finished, run};
use crate::live::skip::{lacks, lacks_namespaces, lacks_program};
use crate::live::{COTTAR, Kind, Spec, patience, refused};
use crate::start;

/// Runs one of our commands without variables that name an agent.
fn cottar(words: &[&str], args: &[&str]) -> Finished {
    let (program, rest) = words.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(rest).args(args);
    for name in ["COTTAR_RPC_ADDR", "SERF_RPC_ADDR", "SERF_RPC_AUTH"] {
        command.env_remove(name);
    }
    run(&mut command, patience(30.0)).unwrap()
}

fn flag(path: &Path) -> String {
    format!("-rpc-addr=unix:{}", path.display())
}

#[test]
fn a_socket_beside_tcp_serves_the_same_and_ends_with_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpc.sock");
    let socket = flag(&path);
    let agent = start("n", &[&socket]);
    let text = agent.text();
    assert!(
        text.contains(&format!("RPC addr: 'unix:{}'", path.display())),
        "{text}"
    );
    assert!(
        text.contains(&format!("RPC addr: '{}'", agent.rpc)),
        "{text}"
    );
    assert!(agent.sees("n", "alive"));
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o7777, 0o660);
    let members = cottar(&[COTTAR], &["members", &socket]);
    assert!(members.stdout.starts_with("n "), "{members:?}");
    // No key is required; a key that is given is ignored.
    let event = cottar(&[COTTAR], &["event", &socket, "-rpc-auth=any", "deploy"]);
    assert_eq!(event.code, 0, "{event:?}");
    agent.wait_for("user-event: deploy");
    let left = cottar(&[COTTAR], &["leave", &socket]);
    assert!(left.stdout.contains("Graceful leave complete"), "{left:?}");
    assert_eq!(agent.exit_code(), 0);
    assert!(!path.exists());
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpc.sock");
    let socket = flag(&path);
    let refusal = |socket: &str, why: &str| {
        let (code, text) = refused(&["-node=n", socket]);
        assert_eq!(code, 1, "{text}");
        let why = format!("==> Error starting RPC listener: listen unix {why}");
        assert!(text.contains(&why), "{why} in {text}");
    };
    let agent = start("n", &[&socket]);
    let shown = path.display();
    let (code, text) = refused(&["-node=n", &socket]);
    assert_eq!(code, 1);
    assert!(
        text.contains(&format!("is in use by process {}", agent.pid())),
        "{text}"
    );
    agent.crash();
    assert!(path.exists());
    let again = start("n", &[&socket]);
    let members = cottar(&[COTTAR], &["members", &socket]);
    assert_eq!(members.code, 0, "{members:?}");
    assert_eq!(again.end(libc::SIGTERM), 1);
    assert!(!path.exists());
    // A socket of another process, without a lock file.
    let other = UnixListener::bind(&path).unwrap();
    refusal(&socket, &format!("{shown}: another process listens there"));
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    refusal(
        &socket,
        &format!("{shown}: the file exists and is not a socket"),
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let long = dir.path().join("x".repeat(200));
    let bytes = long.as_os_str().len();
    refusal(
        &flag(&long),
        &format!(
            "{}: the path has {bytes} bytes; the maximum is 107",
            long.display()
        ),
    );
    let nowhere = dir.path().join("no/rpc.sock");
    refusal(
        &flag(&nowhere),
        &format!("{}: bind: no such file or directory", nowhere.display()),
    );
    refusal("-rpc-addr=unix:", ": no path after 'unix:'");
}

#[test]
fn bad_settings_of_sockets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf.json");
    for (text, why) in [
        (
            r#"{"rpc_socket_mode": "0999"}"#,
            "Invalid rpc_socket_mode '0999'",
        ),
        (
            r#"{"rpc_socket_group": "no-such-group"}"#,
            "Invalid rpc_socket_group 'no-such-group': there is no such group",
        ),
        (
            r#"{"rpc_control_group": "no-such-group"}"#,
            "Invalid rpc_control_group 'no-such-group': there is no such group",
        ),
        (
            r#"{"rpc_addr": {"unix": "/x"}}"#,
            "'rpc_addr' expected type 'string'",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let (code, shown) = refused(&["-node=n", "-config-file", file.to_str().unwrap()]);
        assert_eq!(code, 1, "{text}");
        assert!(shown.contains(why), "{text}: {shown}");
    }
}

#[test]
fn failed_connections_to_a_socket_give_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpc.sock");
    for (address, why) in [
        (
            flag(&path),
            format!(
                "dial unix {}: connect: no such file or directory",
                path.display()
            ),
        ),
        (
            flag(&dir.path().join("x".repeat(200))),
            "file name too long".to_owned(),
        ),
        (
            "-rpc-addr=unix:".to_owned(),
            "no path after 'unix:'".to_owned(),
        ),
    ] {
        let failed = cottar(&[COTTAR], &["members", &address]);
        assert_eq!(failed.code, 1);
        assert!(
            failed.stdout.contains("Error connecting to Serf agent: "),
            "{failed:?}"
        );
        assert!(failed.stdout.contains(&why), "{why} in {failed:?}");
    }
    drop(UnixListener::bind(&path).unwrap());
    let failed = cottar(&[COTTAR], &["members", &flag(&path)]);
    assert!(
        failed.stdout.contains("connect: connection refused"),
        "{failed:?}"
    );
}

/// A group id without a name and without members.
const OPERATORS: &str = "424242";
const READERS: &str = "434343";

/// The command prefix that runs a program as a user without a name, in these groups.
fn somebody(groups: &str) -> Vec<String> {
    let mut words = vec!["setpriv", "--reuid=123456", "--regid=123456"];
    let groups = format!("--groups={groups}");
    words.push(if groups == "--groups=" {
        "--clear-groups"
    } else {
        &groups
    });
    words.into_iter().map(str::to_owned).collect()
}

/// A directory that all users may enter, with a copy of our program.
fn open_place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("cottar");
    fs::copy(COTTAR, &program).unwrap();
    (dir, program)
}

fn lacks_users(scenario: &str) -> bool {
    // SAFETY: takes no arguments and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    lacks(
        scenario,
        "other users for a test that is not root's",
        is_root,
    ) || lacks_program(scenario, "setpriv")
}

/// Runs a command as an unprivileged user in these groups.
fn asked_by(program: &Path, groups: &str, args: &[&str]) -> Finished {
    let mut words = somebody(groups);
    words.push(program.to_str().unwrap().to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    cottar(&words, args)
}

/// Commands that only clients with control may use.
const CONTROLS: &[&[&str]] = &[
    &["event", "deploy"],
    &["query", "load"],
    &["join", "127.0.0.1:1"],
    &["leave"],
    &["force-leave", "n"],
    &["tags", "-set=a=b"],
    &["keys", "-list"],
    &["monitor"],
    &["handler", "list"],
    &["handler", "queue"],
    &["handler", "drop"],
    &["handler", "pause", "echo"],
    &["reachability"],
];

/// Runs a command as a user without control.
fn control_is_denied(program: &Path, socket: &str, args: &[&str]) {
    // Flags come before arguments.
    let at = if args[0] == "handler" { 2 } else { 1 };
    let (name, rest) = args.split_at(at);
    let line = [name, &[socket], rest].concat();
    let denied = asked_by(program, "", &line);
    assert_eq!(denied.code, 1, "{args:?}: {denied:?}");
    // Commands that the reference does not have print errors to stderr.
    let text = denied.stdout.clone() + &denied.stderr;
    let words = format!(" is for root, the agent's user and the group '{OPERATORS}' only");
    assert!(
        text.contains("Permission denied: ") && text.contains(&words),
        "{args:?}: {denied:?}"
    );
}

#[test]
fn other_users_may_read_and_the_group_may_control() {
    if lacks_users("users of the socket") {
        return;
    }
    let (dir, program) = open_place();
    let path = dir.path().join("rpc.sock");
    let socket = flag(&path);
    let conf = dir.path().join("conf.json");
    let text = format!(
        r#"{{"rpc_socket_mode": "0666", "rpc_control_group": "{OPERATORS}", "rpc_auth": "key",
             "event_handlers": ["user:x=echo secret"]}}"#
    );
    fs::write(&conf, text).unwrap();
    let agent = start("n", &[&socket, "-config-file", conf.to_str().unwrap()]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    let other =
        |name: &str, rest: &[&str]| asked_by(&program, "", &[&[name, &socket[..]], rest].concat());
    let members = other("members", &["-status=alive", "-format=json"]);
    assert!(members.stdout.contains("\"name\": \"n\""), "{members:?}");
    let info = other("info", &[]);
    assert_eq!(info.code, 0);
    assert!(
        info.stdout.contains("health_score") && !info.stdout.contains("secret"),
        "{info:?}"
    );
    // Coordinates may be read.
    assert!(!other("rtt", &["n"]).stdout.contains("Permission"));
    // Member events may be streamed.
    assert_eq!(other("wait", &["n"]).code, 0);
    for args in CONTROLS {
        control_is_denied(&program, &socket, args);
    }
    let log = agent.wait_for("Permission denied: leave: uid 123456, pid ");
    assert!(
        log.contains("[WARN] agent.ipc: Permission denied: "),
        "{log}"
    );
    // The control group, as a supplementary or as the primary group.
    let fired = asked_by(&program, OPERATORS, &["event", &socket, "by-group"]);
    assert_eq!(fired.code, 0, "{fired:?}");
    agent.wait_for("user-event: by-group");
    let own = format!("--regid={OPERATORS}");
    let words = [
        "setpriv",
        "--reuid=123456",
        &own,
        "--clear-groups",
        program.to_str().unwrap(),
    ];
    let fired = cottar(&words, &["event", &socket, "by-own-group"]);
    assert_eq!(fired.code, 0, "{fired:?}");
    // Over TCP, only the key matters.
    let tcp = format!("-rpc-addr={}", agent.rpc);
    let without = asked_by(&program, OPERATORS, &["event", &tcp, "x"]);
    assert!(
        without.stdout.contains("Authentication required"),
        "{without:?}"
    );
    let with = asked_by(&program, "", &["event", &tcp, "-rpc-auth=key", "x"]);
    assert_eq!(with.code, 0, "{with:?}");
}

#[test]
fn the_mode_and_the_group_say_who_may_connect() {
    if lacks_users("groups of the socket") {
        return;
    }
    let (dir, program) = open_place();
    let path = dir.path().join("rpc.sock");
    let socket = flag(&path);
    let conf = dir.path().join("conf.json");
    fs::write(&conf, format!(r#"{{"rpc_socket_group": "{READERS}"}}"#)).unwrap();
    let _agent = start("n", &[&socket, "-config-file", conf.to_str().unwrap()]);
    let found = fs::metadata(&path).unwrap();
    assert_eq!(
        (found.mode() & 0o777, found.gid().to_string()),
        (0o660, READERS.to_owned())
    );
    let refused = asked_by(&program, "", &["members", &socket]);
    let words = format!(
        "dial unix {}: connect: permission denied: only root",
        path.display()
    );
    assert!(refused.stdout.contains(&words), "{refused:?}");
    let looked = asked_by(&program, READERS, &["members", &socket]);
    assert_eq!(looked.code, 0, "{looked:?}");
    let denied = asked_by(&program, READERS, &["leave", &socket]);
    let words = "Permission denied: leave is for root and the agent's user only";
    assert!(denied.stdout.contains(words), "{denied:?}");
}

#[test]
fn the_user_of_an_agent_controls_it() {
    if lacks_users("an agent of another user") {
        return;
    }
    let (dir, program) = open_place();
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = flag(&own.join("rpc.sock"));
    let words = somebody("");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let conf = own.join("conf.json");
    fs::write(&conf, r#"{"rpc_socket_mode": "0666"}"#).unwrap();
    let agent = Spec::bare(Kind::Cottar)
        .program(&program)
        .launcher(&words)
        .args(["-node=n", &socket, "-config-file", conf.to_str().unwrap()])
        .start();
    assert_eq!(asked_by(&program, "", &["event", &socket, "mine"]).code, 0);
    assert_eq!(cottar(&[COTTAR], &["event", &socket, "root-s"]).code, 0);
    let words = ["setpriv", "--reuid=7777", "--regid=7777", "--clear-groups"];
    let words = [&words[..], &[program.to_str().unwrap()]].concat();
    let denied = cottar(&words, &["event", &socket, "foreign"]);
    assert!(denied.stdout.contains("Permission denied: "), "{denied:?}");
    // Only root can give a socket to a group to which it does not belong.
    fs::write(&conf, format!(r#"{{"rpc_socket_group": "{READERS}"}}"#)).unwrap();
    let words = somebody("");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let second = flag(&own.join("second.sock"));
    let refused = Spec::bare(Kind::Cottar)
        .program(&program)
        .launcher(&words)
        .args(["-node=n", &second, "-config-file", conf.to_str().unwrap()])
        .launch();
    assert_eq!(refused.exit_code(), 1);
    let text = refused.text();
    assert!(text.contains("chown: operation not permitted"), "{text}");
    assert!(!own.join("second.sock").exists());
    assert!(agent.text().contains("uid 7777"));
}

#[test]
fn the_command_line_finds_the_socket_of_the_packages() {
    if lacks_users("the default socket")
        || lacks_namespaces("the default socket", &["--mount", "--net"])
    {
        return;
    }
    let (dir, program) = open_place();
    let program = program.to_str().unwrap();
    let out = dir.path().join("out");
    let script = format!(
        r#"
        set -u
        ip link set lo up
        mount -t tmpfs none /run && mkdir -p /run/cottar
        unset COTTAR_RPC_ADDR SERF_RPC_ADDR SERF_RPC_AUTH
        as() {{ setpriv --reuid=123456 --regid=123456 --clear-groups "$@"; }}
        try() {{ echo "== $1"; shift; "$@" 2>&1 | head -n 1; }}
        agent() {{
            name=$1; shift
            {program} agent -node "$name" -bind 127.0.0.1:0 "$@" >"{out}.$name" 2>&1 &
            until grep -q "Log data" "{out}.$name"; do kill -0 $! || exit 9; done
        }}
        try none {program} members
        agent socket -rpc-addr unix:/run/cottar/rpc.sock; socket=$!
        try socket {program} members
        try denied as {program} members
        agent tcp; tcp=$!
        try still {program} members
        SERF_RPC_ADDR=127.0.0.1:7373 try serf {program} members
        SERF_RPC_ADDR=127.0.0.1:1 COTTAR_RPC_ADDR=unix:/run/cottar/rpc.sock try cottar {program} members
        COTTAR_RPC_ADDR=127.0.0.1:1 try flag {program} members -rpc-addr 127.0.0.1:7373
        SERF_RPC_ADDR= COTTAR_RPC_ADDR= try empty {program} members
        kill -9 $socket; wait $socket
        test -S /run/cottar/rpc.sock && try stale {program} members
        kill $tcp; wait $tcp
        rm -r /run/cottar; : >/run/cottar
        try file {program} members
        "#,
        out = out.display(),
    );
    let words = ["unshare", "--mount", "--net", "sh", "-c", &script];
    let done = cottar(&words, &[]);
    let lines: Vec<&str> = done.stdout.lines().collect();
    let refused =
        "Error connecting to Serf agent: dial tcp 127.0.0.1:7373: connect: connection refused";
    let denied = "Error connecting to Serf agent: dial unix /run/cottar/rpc.sock: connect: permission denied: only root";
    let expected = [
        ("none", refused),
        ("socket", "socket "),
        ("denied", denied),
        ("still", "socket "),
        ("serf", "tcp "),
        ("cottar", "socket "),
        ("flag", "tcp "),
        ("empty", "socket "),
        ("stale", "tcp "),
        ("file", refused),
    ];
    assert_eq!(lines.len(), 2 * expected.len(), "{done:?}");
    for (pair, (name, start)) in lines.chunks(2).zip(expected) {
        assert_eq!(pair[0], format!("== {name}"));
        assert!(pair[1].starts_with(start), "{name}: {}", pair[1]);
    }
}

#[test]
fn many_addresses_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let flags: Vec<String> = (0..15)
        .map(|n| flag(&dir.path().join(n.to_string())))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = start("n", &flags);
    for socket in &flags {
        assert_eq!(cottar(&[COTTAR], &["members", socket]).code, 0);
    }
    let more = [&flags[..], &["-node=m", "-rpc-addr=127.0.0.1:0"]].concat();
    drop(agent);
    let (code, text) = refused(&more);
    assert_eq!(code, 1);
    assert!(
        text.contains("Error starting RPC listener: more than 16 addresses"),
        "{text}"
    );
    // Sockets that were created before the error are removed.
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        name.ends_with(".lock")
    }));
}
