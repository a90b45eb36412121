//! Handlers of a live agent: their input, their order, and that the agent keeps working while they run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cottar::cli::client::Client;
use cottar::rpc::Request;
use cottar::rpc::request::Query;
use tempfile::TempDir;

use crate::live::{Agent, COTTAR, Hold, Kind, Spec, arg, content, eventually};

/// A running agent, a folder for its handlers, and the position up to which its log was searched.
struct Handling {
    agent: Agent,
    dir: TempDir,
    at: usize,
}

impl Handling {
    /// Starts an agent; handlers find their folder in `$DIR` and the program in `$COTTAR`.
    fn start(arguments: &[&str]) -> Handling {
        let dir = tempfile::tempdir().unwrap();
        let agent = Spec::new(Kind::Cottar, "n1")
            .args(["-profile=local"])
            .args(arguments)
            .current_dir(dir.path())
            .env("DIR", arg(dir.path()))
            .env("COTTAR", COTTAR)
            .env("SERF_USER_EVENT", "stale")
            .env("SERF_TAG_OLD", "stale")
            .start();
        let mut handling = Handling { agent, dir, at: 0 };
        handling.line("Received event: member-join");
        handling
    }

    /// Waits for a log line after the one that was found last.
    #[track_caller]
    fn line(&mut self, what: &str) {
        let at = self.at;
        let text = self.agent.wait(what, |text| text[at..].contains(what));
        let found = at + text[at..].find(what).unwrap();
        let end = text[found..].find('\n');
        self.at = end.map_or(text.len(), |end| found + end + 1);
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.agent.ask(Kind::Cottar, arguments).success().stdout
    }

    fn client(&self) -> Client {
        Client::connect(&self.agent.rpc.to_string(), "").unwrap()
    }

    /// Sends a user event that is not coalesced.
    fn event(&self, name: &str, payload: &str) {
        self.run(&["event", "-coalesce=false", name, payload]);
    }

    /// Sends a query and returns the first line of the node's answer as soon as it arrives.
    fn answer(&self, name: &str) -> String {
        let line = ["query", "-timeout=60s", "-no-ack", "-expect=1", name];
        let printed = self.run(&line);
        let answer = printed
            .lines()
            .find_map(|line| line.strip_prefix("Response from 'n1': "));
        answer.expect("an answer").to_owned()
    }

    /// Sends a query and checks that no answer arrives until its timeout.
    fn gives_no_answer(&self, name: &str) {
        let text = self.run(&["query", "-timeout=2s", name]);
        assert!(text.contains("Total Responses: 0\n"), "{text}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until a file has the expected content.
    #[track_caller]
    fn file_is(&self, name: &str, expected: &str) {
        self.file_meets(name, |text| text == expected, expected);
    }

    #[track_caller]
    fn file_meets(&self, name: &str, met: impl Fn(&str) -> bool, expected: &str) {
        let what = format!("{name}, which is to be {expected:?}");
        eventually(15.0, &what, || {
            let text = content(&self.file(name));
            if met(&text) { Ok(()) } else { Err(text) }
        });
    }
}

#[test]
fn environment_and_input_of_each_event() {
    let mut agent = Handling::start(&[
        "-tag=role=web",
        "-tag=data-center=a\tb",
        "-event-handler={ env | grep ^SERF_ | grep -v ^SERF_RPC_ADDR= | sort; echo -; cat; echo .; } \
         >>$DIR/all; echo done",
    ]);
    let join = "SERF_EVENT=member-join\nSERF_SELF_NAME=n1\nSERF_SELF_ROLE=web\n\
                SERF_TAG_DATA_CENTER=a\tb\nSERF_TAG_ROLE=web\n-\n\
                n1\t127.0.0.1\tweb\tdata-center=a\\tb,role=web\n.\n";
    agent.file_is("all", join);

    fs::remove_file(agent.file("all")).unwrap();
    agent.event("deploy it", "v=1\nv=2");
    let user = "SERF_EVENT=user\nSERF_SELF_NAME=n1\nSERF_SELF_ROLE=web\n\
                SERF_TAG_DATA_CENTER=a\tb\nSERF_TAG_ROLE=web\nSERF_USER_EVENT=deploy it\n\
                SERF_USER_LTIME=1\n-\nv=1\nv=2\n.\n";
    agent.file_is("all", user);

    fs::remove_file(agent.file("all")).unwrap();
    assert_eq!(agent.answer("load"), "done");
    let query = "SERF_EVENT=query\nSERF_QUERY_LTIME=1\nSERF_QUERY_NAME=load\nSERF_SELF_NAME=n1\n\
                 SERF_SELF_ROLE=web\nSERF_TAG_DATA_CENTER=a\tb\nSERF_TAG_ROLE=web\n-\n.\n";
    agent.file_is("all", query);

    fs::remove_file(agent.file("all")).unwrap();
    agent.run(&["tags", "-delete=data-center", "-set=role=db"]);
    let update = "SERF_EVENT=member-update\nSERF_SELF_NAME=n1\nSERF_SELF_ROLE=db\n\
                  SERF_TAG_ROLE=db\n-\nn1\t127.0.0.1\tdb\trole=db\n.\n";
    agent.file_is("all", update);

    fs::remove_file(agent.file("all")).unwrap();
    agent.agent.signal(libc::SIGINT);
    agent.line("Received event: member-leave");
    assert_eq!(agent.agent.exit_code(), 0);
    let leave = update.replace("member-update", "member-leave");
    agent.file_is("all", &leave);
}

#[test]
fn the_first_good_answer_is_sent_and_others_are_logged() {
    let mut agent = Handling::start(&[
        "-event-handler=query:two=echo no; exit 1",
        "-event-handler=query:two=:",
        "-event-handler=query:two=echo first >&2",
        "-event-handler=query:two=echo second",
        "-event-handler=query:large=head -c 2000 /dev/zero | tr '\\0' x",
        "-event-handler=query:large=echo small",
        "-event-handler=query:huge=head -c 20000 /dev/zero",
        "-event-handler=query:none=kill -9 $$",
        "-event-handler=query:none=/nonexistent/program",
    ]);
    assert_eq!(agent.answer("two"), "first");
    agent.line("Error invoking script 'echo no; exit 1': exit status 1");
    agent.line(
        "[WARN] agent: Failed to respond to query 'query: two': \
         failed to respond to key query: response already sent",
    );
    assert_eq!(agent.answer("large"), "small");
    agent.line(
        "[WARN] agent: Failed to respond to query 'query: large': \
         failed to respond to key query: response exceeds limit of 1024 bytes (2000 bytes of output)",
    );
    agent.gives_no_answer("huge");
    agent.line("wrote 20000 bytes, keeping only the last 8192");
    agent.line("response exceeds limit of 1024 bytes (20000 bytes of output)");
    agent.gives_no_answer("none");
    agent.line("[ERR] agent: Error invoking script 'kill -9 $$': signal: killed");
    agent.line("[ERR] agent: Error invoking script '/nonexistent/program': exit status 127");
}

#[test]
fn a_raised_limit_lets_large_answers_pass_whole() {
    let settings = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    fs::write(&settings, r#"{"query_response_size_limit": 20000}"#).unwrap();
    let mut agent = Handling::start(&[
        &format!("-config-file={}", settings.path().display()),
        "-event-handler=query:large=head -c 15000 /dev/zero | tr '\\0' x",
        "-event-handler=query:huge=head -c 30000 /dev/zero | tr '\\0' x",
    ]);
    assert_eq!(agent.answer("large"), "x".repeat(15000));
    agent.gives_no_answer("huge");
    agent.line("wrote 30000 bytes, keeping only the last 20000");
    agent.line("response exceeds limit of 20000 bytes (30000 bytes of output)");
}

#[test]
fn a_late_answer_is_refused() {
    let mut agent = Handling::start(&["-event-handler=query=sleep 3; echo late"]);
    agent.gives_no_answer("q");
    agent.line("[WARN] agent: Script 'sleep 3; echo late' slow, execution exceeding 1s");
    agent.line(
        "Failed to respond to query 'query: q': failed to respond to key query: \
         response is past the deadline",
    );
}

#[test]
fn a_thousand_events_wait_for_a_slow_handler_and_run_once_each_in_order() {
    let hold = Hold::new();
    let mut agent = Handling::start(&[
        &format!("-event-handler=user:slow={}", hold.script()),
        "-event-handler=user:fast=echo $SERF_USER_LTIME >>$DIR/order",
    ]);
    agent.event("slow", "");
    agent.line("slow, execution exceeding 1s");
    let mut client = agent.client();
    for _ in 0..1_000 {
        let event = Request::Event {
            name: b"fast".to_vec(),
            payload: None,
            coalesce: false,
        };
        client.execute(&event).unwrap();
    }
    // The agent answers other requests meanwhile.
    let members = agent.run(&["members"]);
    assert!(members.contains("alive"), "{members}");
    assert!(!agent.file("order").exists());
    hold.release();
    let expected: String = (2..1_002).map(|time| format!("{time}\n")).collect();
    agent.file_meets(
        "order",
        |text| text.len() >= expected.len(),
        "a thousand lines",
    );
    assert!(fs::read_to_string(agent.file("order")).unwrap() == expected);
}

#[test]
fn handlers_run_where_the_agent_was_started() {
    let agent = Handling::start(&["-event-handler=user=pwd -P >here"]);
    agent.event("where", "");
    let folder = fs::canonicalize(agent.dir.path()).unwrap();
    agent.file_is("here", &format!("{}\n", folder.display()));
}

#[test]
fn payloads_and_answers_may_be_any_bytes() {
    let mut agent = Handling::start(&[
        "-event-handler=user=cat >user; echo >user.done",
        "-event-handler=query=cat >query; printf 'b\\000\\377'",
    ]);
    let payload = b"a\0\xff\n\0".to_vec();
    let mut client = agent.client();
    let event = Request::Event {
        name: b"raw".to_vec(),
        payload: Some(payload.clone()),
        coalesce: false,
    };
    client.execute(&event).unwrap();
    agent.file_is("user.done", "\n");
    let given = [&payload[..], b"\n"].concat();
    assert_eq!(fs::read(agent.file("user")).unwrap(), given);
    let query = Query {
        name: b"raw".to_vec(),
        payload: Some(payload),
        timeout_nanos: 2_000_000_000,
        ..Query::default()
    };
    let mut answers = Vec::new();
    let mut records = client.query(query).unwrap();
    while let Some(record) = records.receive().unwrap() {
        if record.kind == b"response" {
            answers.extend(record.payload);
        }
    }
    assert_eq!(answers, [b"b\0\xff"]);
    assert_eq!(fs::read(agent.file("query")).unwrap(), given);
    agent.line(r#"[DEBUG] agent: Requesting query send: raw. Payload: "a\x00\xff\n\x00""#);
}

#[test]
fn a_time_limit_ends_a_handler_and_the_next_runs() {
    let mut agent = Handling::start(&[
        "-handler-timeout=3s",
        "-event-handler=user:hang=trap '' TERM; while :; do sleep 1; done",
        "-event-handler=user=echo $SERF_USER_EVENT >>$DIR/order",
    ]);
    agent.event("hang", "");
    agent.event("next", "");
    agent.line("': time limit of 3s exceeded");
    agent.file_is("order", "hang\nnext\n");
    let info = agent.run(&["info", "-format=json"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let figures = &info["handlers"];
    assert_eq!(figures["timeouts"], "1");
    assert_eq!(figures["failures"], "1");
    assert_eq!(figures["dropped_user_events"], "0");
}

#[test]
fn detached_children_do_not_hold_the_queue() {
    let agent = Handling::start(&[
        "-event-handler=query:a=sleep 300 >/dev/null 2>&1 & echo $! >>$DIR/pids; echo a",
        // A form that dash interprets in another way.
        "-event-handler=query:b=sleep 300 &>/dev/null & echo $! >>$DIR/pids; echo b",
        "-event-handler=query:c=sleep 300 & echo $! >>$DIR/pids; echo c",
    ]);
    for name in ["a", "b", "c"] {
        assert_eq!(agent.answer(name), name);
    }
    for pid in fs::read_to_string(agent.file("pids")).unwrap().lines() {
        let killed = Command::new("kill").arg(pid).stderr(Stdio::null()).status();
        assert!(killed.is_ok());
    }
}

#[test]
fn a_handler_may_talk_to_its_own_agent() {
    let mut agent = Handling::start(&[
        "-event-handler=user:ask=$COTTAR members -rpc-addr=$(cat) >$DIR/members; echo asked",
        "-event-handler=user:tell=$COTTAR event -rpc-addr=$(cat) told",
        "-event-handler=user:told=echo told >$DIR/told",
    ]);
    let rpc = agent.agent.rpc.to_string();
    agent.event("ask", &rpc);
    agent.line("script output: asked");
    agent.file_meets("members", |text| text.starts_with("n1"), "a member list");
    agent.event("tell", &rpc);
    agent.file_is("told", "told\n");
}

#[test]
fn a_bad_handler_stops_the_agent_before_it_opens_anything() {
    for (handler, token, script) in [
        ("FOO=1 env", "FOO", "1 env"),
        ("member-join, member-leave=x", " member-leave", "x"),
        ("*:foo=x", "*:foo", "x"),
        ("user:a,b=x", "b", "x"),
    ] {
        let flag = format!("-event-handler={handler}");
        let output = Command::new(COTTAR)
            .args(["agent", "-bind=nonsense", &flag])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        let first = format!("==> Invalid event script: Event '{token}' invoking '{script}'\n");
        assert!(text.starts_with(&first) && text.contains("'*='"), "{text}");
    }
}
