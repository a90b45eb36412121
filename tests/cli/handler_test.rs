//! `handler test`: its arguments, its report, and what it runs.

mod ends;
mod events;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::live::{Agent, COTTAR};

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
pub fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["-format=json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"))
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

/// Invalid arguments, and the reason that is printed.
const INVALID: &[(&[&str], &str)] = &[
    (&[], "A handler and an event must be specified."),
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
];

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
    for (arguments, why) in INVALID {
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
