//! `handler test` beside a live agent, and `handler list`.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::live::{
    Agent, COTTAR, Hold, Kind, Spec, arg, content, free, lacks_reference, wait_until,
};
use cottar::cli::client::Client;
use cottar::rpc::Request;
use serde_json::Value;

/// `handler test` with these arguments; stale variables are in its environment.
fn tool(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(COTTAR);
    command.current_dir(dir).envs(STALE);
    command.args(["handler", "test"]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Variables of the agent and the tool that handlers must not inherit.
const STALE: [(&str, &str); 4] = [
    ("SERF_USER_EVENT", "stale"),
    ("SERF_QUERY_LTIME", "stale"),
    ("SERF_TAG_OLD", "stale"),
    ("SERF_OTHER", "kept"),
];

fn run(arguments: &[&str]) -> Output {
    tool(Path::new("/"), arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns its stdout and stderr.
fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["-format=json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

/// A handler that records its environment and input, in one file for each type of event.
const WITNESS: &str =
    "{ env | LC_ALL=C sort; echo -; cat; } >seen && mv seen $SERF_EVENT; echo done";

/// Waits for the record of an event about `about`, and removes it.
fn witnessed(dir: &Path, event: &str, about: &str) -> String {
    let path = dir.join(event);
    wait_until(&format!("{event} about {about}"), || {
        content(&path).contains(about)
    });
    let text = content(&path);
    fs::remove_file(&path).unwrap();
    text
}

/// Variable with the address of the agent that runs a handler; the tool runs handlers without an agent.
const AGENT_ADDR: &str = "SERF_RPC_ADDR=";

/// Removes the id and the time of the event, which differ each time, and the agent's address.
fn without_own(seen: &str) -> String {
    let own = ["COTTAR_EVENT_ID=", "COTTAR_EVENT_TIME=", AGENT_ADDR];
    let lines = seen
        .lines()
        .filter(|line| own.iter().all(|name| !line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_event_is_given_as_an_agent_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let own = ["-node=n1", "-tag=role=web", "-tag=data-center=a\tb"];
    let handler = format!("-event-handler={WITNESS}");
    let mut spec = Spec::bare(Kind::Cottar).args(own);
    for (name, value) in STALE {
        spec = spec.env(name, value);
    }
    let spec = spec.args(["-profile=local", &handler]).current_dir(dir);
    let agent = spec.start();
    let check = |event: &str, about: &str, made_up: &[&str]| {
        let live = witnessed(dir, event, about);
        // Flags come first.
        let (flags, words): (Vec<&str>, Vec<&str>) = made_up
            .iter()
            .partition(|argument| argument.starts_with('-'));
        let with = |flag: &str| {
            let line = [&own[..], &flags, &[flag, WITNESS, event], &words].concat();
            tool(dir, &line).output().unwrap()
        };
        let output = with("-quiet");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stdout), "done\n");
        let given = witnessed(dir, event, "");
        assert_eq!(without_own(&given), without_own(&live), "{event}");
        // The environment and input that it prints are those that the handler gets.
        let output = with("-format=json");
        fs::remove_file(dir.join(event)).unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let shown = &report["runs"][0];
        let (env, stdin) = live.split_once("\n-\n").unwrap();
        assert_eq!(shown["stdin"], stdin, "{event}");
        let mut variables: Vec<String> = shown["env"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| !name.starts_with("COTTAR_"))
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        variables.push("SERF_OTHER=kept".to_owned());
        variables.sort();
        let given: Vec<&str> = env
            .lines()
            .filter(|line| line.starts_with("SERF_") && !line.starts_with(AGENT_ADDR))
            .collect();
        assert_eq!(variables, given, "{event}");
    };

    let me = "n1,127.0.0.1,role=web,data-center=a\tb";
    check("member-join", "n1\t", &[me]);
    let join = format!("-join={}", agent.gossip);
    let peer = ["-node=n2", "-tag=k=a,b=c\nd", "-profile=local", &join];
    let peer = Agent::start(&peer);
    check("member-join", "n2\t", &["n2,127.0.0.1,k=a\\,b=c\nd"]);
    peer.call("tags", &["-set=role=db", "-delete=k"]);
    check("member-update", "n2\t", &["n2,127.0.0.1,role=db"]);
    peer.end(libc::SIGKILL);
    check("member-failed", "n2\t", &["n2,127.0.0.1,role=db"]);
    assert!(agent.call("force-leave", &["n2"]).0);
    check("member-leave", "n2\t", &["n2,127.0.0.1,role=db"]);
    assert!(agent.call("force-leave", &["-prune", "n2"]).0);
    check("member-reap", "n2\t", &["n2,127.0.0.1,role=db"]);

    assert!(
        agent
            .call("event", &["-coalesce=false", "deploy it", "v=1\nv=2"])
            .0
    );
    check("user", "v=2", &["deploy it", "v=1\nv=2"]);
    assert!(agent.call("event", &["-coalesce=false", "empty"]).0);
    check("user", "=empty", &["-ltime=2", "-coalesce=false", "empty"]);
    assert!(agent.call("query", &["-timeout=1s", "load", "x\n"]).0);
    check("query", "=load", &["load", "x\n"]);
}

#[test]
fn the_exit_status_is_that_of_the_handler() {
    for (script, status) in [
        ("exit 0", 0),
        ("echo no; exit 3", 3),
        ("exit 255", 255),
        ("/nonexistent/program", 127),
        ("kill -9 $$", 128 + 9),
        ("kill $$", 128 + 15),
    ] {
        let output = run(&["-quiet", script, "user", "x"]);
        assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
    }
    // A filter with two matching words causes one run.
    let script = "user,user:x=n=$(cat n 2>/dev/null); echo run$n; echo 2 >n; exit 4$n";
    let dir = tempfile::tempdir().unwrap();
    let output = tool(dir.path(), &["-quiet", script, "user", "x"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "run\n");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr), "");
    let killed = run(&["-quiet", "kill -9 $$", "user", "x"]);
    assert!(
        text(&killed.stderr).starts_with("signal: killed after "),
        "{killed:?}"
    );
}

#[test]
fn a_time_limit_ends_the_handler_as_the_agent_would() {
    let report = json(&[
        "-handler-timeout=200ms",
        "echo a; sleep 60; echo b",
        "query",
        "x",
    ]);
    let shown = &report["runs"][0];
    assert_eq!(shown["end"], "time limit of 200ms exceeded");
    assert_eq!(
        (&shown["output"], &shown["exit_status"]),
        (&"a\n".into(), &124.into())
    );
    assert_eq!(shown["answer"], Value::Null);
    assert_eq!(report["limits"]["handler_timeout_nanos"], 200_000_000);
    // The handler and its child ignore SIGTERM.
    let script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done";
    let output = run(&["-quiet", "-handler-timeout", "200ms", script, "user", "x"]);
    assert_eq!(output.status.code(), Some(124));
    let started = text(&output.stdout);
    wait_until("the end of what it has started", || is_gone(started.trim()));
    // Open output delays the end by the grace time.
    let report = json(&["-handler-grace=300ms", "sleep 20 & echo $!", "user", "x"]);
    let took = report["runs"][0]["duration_nanos"].as_u64().unwrap();
    assert!(took >= 300_000_000, "{report}");
    let pid = report["runs"][0]["output"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
}

fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with('Z')
}

#[test]
fn an_interrupt_ends_the_handler_too() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let child = tool(
        dir.path(),
        &["echo $$ >p && mv p pid; exec sleep 60", "user", "x"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    wait_until("the handler runs", || pid.exists());
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let shown = text(&ended.stdout);
    assert!(
        shown.contains("\nEnd: stopped by signal: interrupt after "),
        "{shown}"
    );
    assert!(is_gone(content(&pid).trim()));
}

#[test]
fn a_handler_that_cannot_be_started_has_a_status_of_its_own() {
    let mut statuses = Vec::new();
    for descriptors in 5..64 {
        let limited =
            format!("ulimit -n {descriptors}; exec {COTTAR} handler test -quiet : user x");
        let mut command = Command::new("/bin/sh");
        let ended = command.args(["-c", &limited]).output().unwrap();
        let status = ended.status.code().unwrap();
        if status == 126 {
            // The report has a reason and no duration.
            let why = "cannot start /bin/sh: too many open files\n";
            assert_eq!(said(&ended), why);
        }
        statuses.push(status);
        if status == 0 {
            break;
        }
    }
    assert_eq!(statuses.pop(), Some(0));
    assert!(statuses.contains(&126), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [1, 126].contains(status)),
        "{statuses:?}"
    );
}

#[test]
fn cut_and_refused_output_is_reported() {
    let big = "query:big=head -c 10000 /dev/zero | tr '\\0' a; printf END";
    let shown = text(&run(&[big, "query", "big"]).stdout);
    assert!(
        shown.contains("\nOutput: 10003 bytes, the last 8192 kept, no newline"),
        "{shown}"
    );
    assert!(
        shown.contains("\nAnswer: not sent: response exceeds limit of 1024 bytes\n"),
        "{shown}"
    );
    let quiet = run(&["-quiet", big, "query", "big"]);
    assert_eq!((quiet.stdout.len(), quiet.status.code()), (8192, Some(0)));
    assert!(quiet.stdout.ends_with(b"aEND"));
    let notes = "The last 8192 of 10003 bytes\nNo answer: response exceeds limit of 1024 bytes\n";
    assert_eq!(text(&quiet.stderr), notes);
    // Truncated output is not sent as an answer, whatever the limit.
    let more = text(&run(&["-query-response-size-limit=9000", big, "query", "big"]).stdout);
    assert!(more.contains(", the last 9000 kept"), "{more}");
    assert!(
        more.contains("\nAnswer: not sent: response exceeds limit of 9000 bytes\n"),
        "{more}"
    );
    let all = text(&run(&["-query-response-size-limit=11000", big, "query", "big"]).stdout);
    assert!(
        all.contains("\nAnswer: the output, in a message of 100"),
        "{all}"
    );
    for (script, answer) in [
        ("exit 1", "none, because the handler failed"),
        (":", "none, because there is no output"),
    ] {
        let shown = text(&run(&[script, "query", "x"]).stdout);
        assert!(shown.ends_with(&format!("\nAnswer: {answer}\n")), "{shown}");
    }
    let once = json(&["query,*=echo x", "query", "x"]);
    assert_eq!(once["runs"].as_array().unwrap().len(), 1);
    assert_eq!(once["runs"][0]["answer"]["refused"], Value::Null);
}

#[test]
fn the_largest_answer_is_that_of_an_agent() {
    let fits = |bytes: usize| {
        let script = format!("head -c {bytes} /dev/zero");
        let report = json(&["-node=n1", &script, "query", "x"]);
        report["runs"][0]["answer"]["refused"].is_null()
    };
    let (mut least, mut most) = (900, 1024);
    assert!(fits(least) && !fits(most));
    while most - least > 1 {
        let middle = (least + most) / 2;
        if fits(middle) {
            least = middle
        } else {
            most = middle
        }
    }
    // An id may be up to four bytes shorter than the tool assumes.
    let agent = Agent::start(&[
        "-node=n1",
        &format!("-event-handler=query:fits=head -c {least} /dev/zero | tr '\\0' a"),
        &format!("-event-handler=query:over=head -c {} /dev/zero", most + 4),
    ]);
    let (_, answers) = agent.call("query", &["-timeout=2s", "fits"]);
    assert!(answers.contains(&"a".repeat(least)), "{answers}");
    agent.call("query", &["-timeout=100ms", "over"]);
    agent.wait_for("Failed to respond to query 'query: over'");
    agent.wait_for("response exceeds limit of 1024 bytes");
}

#[test]
fn a_payload_comes_from_the_line_a_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"a\0b").unwrap();
    let bytes = |arguments: &[&str], input: &[u8]| {
        let mut command = tool(dir.path(), arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The tool may have ended without reading stdin.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), said(&output))
    };
    let dump = "od -An -c | tr -s ' '";
    let shown = |text: &str| (Some(0), text.to_owned());
    assert_eq!(
        bytes(&["-quiet", dump, "user", "x", "-"], b"no"),
        shown(" - \\n\n")
    );
    let file = ["-quiet", "-payload=file", dump, "user", "x"];
    assert_eq!(bytes(&file, b"no"), shown(" a \\0 b \\n\n"));
    let stdin = ["-quiet", "-payload=-", dump, "query", "x"];
    assert_eq!(bytes(&stdin, b"c\n"), shown(" c \\n\n"));
    let count = ["-quiet", "-payload=-", "wc -c", "query", "x"];
    assert_eq!(bytes(&count, &[b'x'; 1 << 20]).1.trim(), "1048577");
    for (arguments, why) in [
        (
            &["-payload=-", "cat", "user", "x"][..],
            "larger than 1048576 bytes",
        ),
        (&["-payload=none", "cat", "user", "x"], "no such file"),
        (
            &["-payload=file", "cat", "user", "x", "y"],
            "With -payload, only a name must be specified.",
        ),
        (
            &["-payload=file", "cat", "member-join", "x"],
            "cannot have a payload",
        ),
    ] {
        let (status, said) = bytes(arguments, &[b'x'; (1 << 20) + 1]);
        assert!(status == Some(1) && said.contains(why), "{said}");
    }
}

#[test]
fn invalid_invocations_are_explained() {
    let other = run(&["user:deploy=echo ran", "user", "other"]);
    assert_eq!(
        (other.status.code(), text(&other.stdout)),
        (Some(125), String::new())
    );
    assert!(text(&other.stderr).starts_with("Not run for 'user-event: other': the filter"));
    let internal = run(&["echo ran", "query", "_serf_ping"]);
    assert_eq!(internal.status.code(), Some(125));
    for (arguments, why) in [
        (&[][..], "A handler and an event must be specified."),
        (&["cat"], "A handler and an event must be specified."),
        (
            &["cat", "join", "x"],
            "'join' is not an event type. Use one of: member-join,",
        ),
        (
            &["cat", "user"],
            "An event name must be specified for this type.",
        ),
        (
            &["cat", "member-join"],
            "At least one member must be specified for this event.",
        ),
        (
            &["cat", "member-join", "a", "-quiet"],
            "'-quiet' follows a name: put flags first",
        ),
        (
            &["cat", "member-join", "a,b"],
            "Invalid member 'a,b': its name must be followed",
        ),
        (
            &["FOO=1 env", "user", "x"],
            "Invalid event script: Event 'FOO' invoking '1 env'",
        ),
        (
            &["-ltime=-1", "cat", "user", "x"],
            "-ltime must not be negative",
        ),
        (
            &["-handler-timeout=-1s", "cat", "user", "x"],
            "-handler-timeout must not be negative",
        ),
        (
            &["-handler-grace=-1ns", "cat", "user", "x"],
            "-handler-grace must not be negative",
        ),
        (
            &["-query-response-size-limit=-1", "cat", "query", "x"],
            "-query-response-size-limit must not be negative",
        ),
        (&["-tag=x", "cat", "user", "x"], "Error: Invalid tag: 'x'"),
        (&["-node=a\nb", "cat", "user", "x"], "Invalid node name"),
        (
            &["-format=xml", "cat", "user", "x"],
            "Invalid output format",
        ),
    ] {
        let output = run(arguments);
        assert!(
            output.status.code() == Some(1) && said(&output).contains(why),
            "{arguments:?}: {output:?}"
        );
    }
    let long = format!("-tag=x={}", "y".repeat(512));
    assert!(said(&run(&[&long, "cat", "user", "x"])).contains("limit of 512 bytes"));
    for (line, status) in [
        (&["handler"][..], 127),
        (&["handler", "tset"], 127),
        (&["handler", "-h"], 0),
    ] {
        let output = Command::new(COTTAR).args(line).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        assert!(
            text(&output.stderr).contains("\n    handler test "),
            "{output:?}"
        );
    }
}

#[test]
fn output_is_shown_as_it_arrives() {
    let arguments = [
        "-node=n1",
        "-tag=z=1",
        "cat; exit 2",
        "member-leave",
        "b",
        "a,::1,role=x",
    ];
    let shown = text(&run(&arguments).stdout);
    let (given, came) = shown.split_once("Output: ").unwrap();
    let own = given.lines().filter(|line| line.starts_with("    COTTAR_"));
    let names = own.map(|line| line.split_once('=').unwrap().0.trim());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "COTTAR_ATTEMPT",
            "COTTAR_EVENT_ID",
            "COTTAR_EVENT_TIME",
            "COTTAR_IN_HANDLER"
        ]
    );
    let lines = given
        .lines()
        .filter(|line| !line.starts_with("    COTTAR_"));
    let given: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(
        given,
        "Event: member-leave\nScript: cat; exit 2\nEnvironment:\n    SERF_EVENT=member-leave\n    \
         SERF_SELF_NAME=n1\n    SERF_SELF_ROLE=\n    SERF_TAG_Z=1\nInput: 29 bytes\n    \
         a\t::1\tx\trole=x\n    b\t127.0.0.1\t\t\nLimits: no time limit, 1s more for open output, \
         8192 bytes of output\n"
    );
    let rest = "29 bytes\n    a\t::1\tx\trole=x\n    b\t127.0.0.1\t\t\nEnd: exit status 2 after ";
    assert!(came.starts_with(rest), "{came}");
}

/// The error of a failing `handler list`.
fn no_list(rpc: SocketAddr) -> String {
    let rpc = format!("-rpc-addr={rpc}");
    let line = ["handler", "list", &rpc];
    let output = Command::new(COTTAR).args(line).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    said(&output)
}

/// The entry of a handler in `handler list`, by its script.
fn listed(agent: &Agent, script: &str) -> Value {
    let (worked, text) = agent.call("handler list", &["-format=json"]);
    assert!(worked, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let list = report["handlers"].as_array().unwrap();
    list.iter()
        .find(|h| h["script"] == script)
        .cloned()
        .unwrap_or_default()
}

fn counts(agent: &Agent, script: &str) -> [u64; 4] {
    let handler = listed(agent, script);
    ["runs", "failures", "timeouts", "drops"].map(|name| handler[name].as_u64().unwrap_or(99))
}

#[test]
fn the_list_has_the_outcomes_of_each_handler() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    let write = |handlers: &str| {
        fs::write(&config, format!("{{\"event_handlers\": [{handlers}]}}")).unwrap();
    };
    write("\"user:ok=:\", \"user:bad=exit 3\", \"user:hang,query=exec sleep 60\"");
    let file = format!("-config-file={}", arg(&config));
    let agent = Agent::start(&["-node=n1", "-handler-timeout=200ms", &file]);
    assert_eq!(listed(&agent, ":")["last_nanos"], Value::Null);
    for name in ["ok", "bad", "ok", "hang"] {
        assert!(agent.call("event", &["-coalesce=false", name]).0);
    }
    agent.wait_for("Script ':' ran for 'user-event: ok': exit status 0, ");
    agent.wait_for("[INFO] agent: Script 'exit 3' ran for 'user-event: bad': exit status 3, ");
    let hung = "Script 'exec sleep 60' ran for 'user-event: hang': time limit of 200ms exceeded, ";
    agent.wait_for(hung);
    assert_eq!(counts(&agent, ":"), [2, 0, 0, 0]);
    assert_eq!(counts(&agent, "exit 3"), [1, 1, 0, 0]);
    assert_eq!(counts(&agent, "exec sleep 60"), [1, 1, 1, 0]);
    let hung = listed(&agent, "exec sleep 60");
    assert!(
        hung["last_nanos"].as_u64().unwrap() >= 200_000_000,
        "{hung}"
    );
    assert_eq!(hung["last_nanos"], hung["longest_nanos"]);
    // The text lists them in order; a handler with two filters is one entry.
    let (_, table) = agent.call("handler list", &[]);
    let filters: Vec<&str> = table
        .lines()
        .map(|l| l.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(
        filters,
        ["FILTER", "user:ok", "user:bad", "user:hang,query"]
    );
    assert!(
        table.lines().nth(2).unwrap().ends_with("  exit 3"),
        "{table}"
    );

    write("\"user:new=true\", \"user:ok=:\"");
    agent.signal(libc::SIGHUP);
    wait_until("the new list", || {
        listed(&agent, "true")["filter"] == "user:new"
    });
    assert_eq!(counts(&agent, ":"), [2, 0, 0, 0]);
    assert_eq!(listed(&agent, "exit 3"), Value::Null);
}

#[test]
fn the_list_needs_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    fs::write(&config, "{\"rpc_auth\": \"key\"}").unwrap();
    let agent = Agent::start(&["-node=n1", &format!("-config-file={}", arg(&config))]);
    let refused = no_list(agent.rpc);
    assert!(refused.contains("Authentication required"), "{refused}");
    let (worked, text) = agent.call("handler list", &["-rpc-auth=key", "-format=json"]);
    assert!(worked && text == "{\n  \"handlers\": []\n}\n", "{text}");
}

#[test]
fn the_list_counts_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.json");
    fs::write(&config, "{\"user_event_size_limit\": 9216}").unwrap();
    let file = format!("-config-file={}", arg(&config));
    let hold = Hold::new();
    let slow = hold.script();
    let handlers = [
        format!("-event-handler=user:slow={slow}"),
        "-event-handler=user:much=:".into(),
    ];
    let agent = Agent::start(&["-node=n1", &file, &handlers[0], &handlers[1]]);
    assert!(agent.call("event", &["-coalesce=false", "slow"]).0);
    agent.wait_for("slow, execution exceeding 1s");
    let mut client = Client::connect(&agent.rpc.to_string(), "").unwrap();
    let sent = 2_000;
    for _ in 0..sent {
        let event = Request::Event {
            name: b"much".to_vec(),
            payload: Some(vec![b'x'; 9_000]),
            coalesce: false,
        };
        client.execute(&event).unwrap();
    }
    agent.wait_for("Handler queue is full");
    let [runs, _, _, dropped] = counts(&agent, ":");
    assert!(runs == 0 && dropped > 0, "{dropped}");
    assert_eq!(counts(&agent, &slow)[3], 0);
    hold.release();
    wait_until("the rest runs", || counts(&agent, ":")[0] == sent - dropped);
    assert_eq!(counts(&agent, ":")[3], dropped);
    let (_, info) = agent.call("info", &[]);
    assert!(
        info.contains(&format!("dropped_user_events = {dropped}\n")),
        "{info}"
    );
}

#[test]
fn an_agent_of_serf_cannot_list() {
    if lacks_reference("an_agent_of_serf_cannot_list") {
        return;
    }
    let agent = Spec::bare(Kind::Serf).name("n1").start();
    let refused = no_list(agent.rpc);
    let words = "This agent does not support 'handler list': ";
    assert!(refused.starts_with(words), "{refused}");
    for line in [&["handler sync"][..], &["handler run", "x", "user", "y"]] {
        let refused = agent.ask(Kind::Cottar, line);
        let words = format!(
            "This agent does not support '{}': it is a Serf agent or an older cottar\n",
            line[0]
        );
        assert_eq!((refused.code, refused.stderr), (1, words));
    }
}

#[test]
fn the_list_needs_an_agent() {
    let refused = no_list(free());
    let words = "Error connecting to Serf agent: dial tcp";
    assert!(refused.starts_with(words), "{refused}");
}

#[test]
fn a_handler_of_a_file_is_run_with_its_settings() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let handlers = r#"{"event_handlers": [
        "user=echo plain",
        {
            "name": "web", "on": "member-join,sync,user:go", "where": {"role": "web"}, "settle": "1h",
            "exec": ["sh", "-c", "pwd; echo $OWN; cut -f1"], "directory": "/", "environment": {"OWN": "x y"},
            "timeout": "7s", "grace": "3s"
        },
        {"run": "sleep 60", "timeout": "100ms", "name": "slow"}
    ]}"#;
    std::fs::write(config.path(), handlers).unwrap();
    let file = format!("-config-file={}", config.path().display());
    let test = |rest: &[&str]| run(&[&[&file[..], "-quiet"], rest].concat());
    let joined = test(&["web", "member-join", "a,role=web", "b"]);
    assert_eq!(
        (text(&joined.stdout), joined.status.code()),
        ("/\nx y\na\n".into(), Some(0))
    );
    let synced = test(&["web", "sync", "c,role=web", "d,role=db"]);
    assert_eq!(text(&synced.stdout), "/\nx y\nc\n");
    let none = test(&["web", "member-join", "b"]);
    assert_eq!(none.status.code(), Some(125));
    assert!(said(&none).contains("Not run: its settings"), "{none:?}");
    assert_eq!(text(&test(&["echo", "user", "x"]).stdout), "plain\n");
    assert_eq!(test(&["slow", "user", "x"]).status.code(), Some(124));
    let shown = text(&run(&[&file, "web", "user", "go"]).stdout);
    assert!(
        shown.contains("Limits: 7s of time, 3s more for open output"),
        "{shown}"
    );
    let unknown = test(&["nobody", "user", "x"]);
    assert_eq!(unknown.status.code(), Some(1));
    let words = "has the name 'nobody'; they have: echo, web, slow";
    assert!(said(&unknown).contains(words), "{unknown:?}");
    let missing = run(&["-config-file=/no/such/file", "x", "user", "x"]);
    assert_eq!(missing.status.code(), Some(1));
}
