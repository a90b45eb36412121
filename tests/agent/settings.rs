//! Handlers with settings in configuration files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::live::{Agent, COTTAR, Kind, Spec, arg, content, lacks_program, refused, wait_until};

/// A folder with a configuration file and the output of handlers, which find the folder in `$D`.
pub struct Place {
    dir: tempfile::TempDir,
}

/// A handler of the event `go` that runs a command of ours and writes its output and status to `done`.
pub fn asks_on_go(command: &str) -> Value {
    let run = format!("{COTTAR} {command} >$D/said 2>&1; echo $? >>$D/said; mv $D/said $D/done");
    json!({"run": run, "on": "user:go"})
}

impl Place {
    pub fn new(handlers: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let place = Place { dir };
        place.configure(handlers);
        place
    }

    fn configure(&self, handlers: &Value) {
        let text = json!({"event_handlers": handlers}).to_string();
        let text = text.replace("$D", arg(self.dir.path()));
        fs::write(self.path("config.json"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn spec(&self, name: &str) -> Spec {
        let config = self.path("config.json");
        let flags = ["-profile=local", "-config-file", arg(&config)];
        Spec::new(Kind::Cottar, name).args(flags)
    }

    pub fn start(&self) -> Agent {
        self.spec("n1").start()
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        content(&self.path(name))
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits until a file has `count` lines, and returns them.
    #[track_caller]
    pub fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait_until(&format!("{count} lines of {name}"), || {
            self.lines(name).len() >= count
        });
        self.lines(name)
    }
}

pub fn fire(agent: &Agent, name: &str) {
    let (done, said) = agent.call("event", &["-coalesce=false", name]);
    assert!(done, "{said}");
}

#[test]
fn a_program_runs_without_a_shell_in_its_directory() {
    let place = Place::new(&json!([
        {
            "exec": ["sh", "-c", "pwd >$D/seen; printf '%s|' \"$@\" \"$OWN\" \"$SERF_EVENT\" >>$D/seen; echo >>$D/seen",
                     "zero", "a b", "$HOME", "*", ""],
            "on": "user:go", "directory": "$D/work", "environment": {"OWN": "x=1 $y"},
        },
        {"exec": ["$D/tool", "one"], "on": "user:tool"},
        {"run": "sleep 60", "on": "user:slow", "timeout": "200ms", "name": "sleeper"},
        {"run": "sleep 60 & echo began >>$D/began", "on": "user:behind", "grace": "0s"},
        {"run": "echo >>$D/over", "on": "user:over"},
    ]));
    fs::create_dir(place.path("work")).unwrap();
    let tool = place.path("tool");
    fs::write(&tool, "#!/bin/sh\necho \"$0 $1\" >>\"${0%/*}/tool-ran\"\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let agent = place.start();
    fire(&agent, "go");
    let seen = place.await_lines("seen", 2);
    let work = fs::canonicalize(place.path("work")).unwrap();
    assert_eq!(seen, [arg(&work), "a b|$HOME|*||x=1 $y|user|"]);
    fire(&agent, "tool");
    assert_eq!(
        place.await_lines("tool-ran", 1),
        [format!("{} one", tool.display())]
    );
    fire(&agent, "slow");
    agent.wait_for("Error invoking script 'sleep 60': time limit of 200ms exceeded");
    // The grace times of the agent and of the handler do not delay the next handler.
    fire(&agent, "behind");
    fire(&agent, "over");
    place.await_lines("over", 1);
    // If the directory has been removed, the run fails.
    fs::remove_dir(place.path("work")).unwrap();
    fire(&agent, "go");
    agent.wait_for("cannot use the directory");
}

#[test]
fn a_handler_runs_as_another_user() {
    let place = Place::new(&json!([
        {
            "run": "{ id -u; id -G; pwd; echo $HOME $USER $LOGNAME $SHELL $SERF_USER_EVENT $SERF_SELF_NAME; } >$D/user",
            "on": "user", "user": "nobody", "directory": "/", "environment": {"SHELL": "own"},
        },
        {"exec": ["sh", "-c", "id -u -G >$D/group; id -u >>$D/group"], "on": "user", "group": "1"},
        {"run": "id -u >$D/both; id -G >>$D/both; sleep 30", "on": "user", "user": "4321", "group": "7", "timeout": "1s"},
    ]));
    if lacks_program("a handler of somebody else", "setpriv") {
        return;
    }
    let agent = place.spec("n1").env("HOME", "/of-the-agent").start();
    fire(&agent, "go");
    assert_eq!(
        place.await_lines("both", 2),
        ["4321", "7"],
        "{}",
        agent.text()
    );
    let seen = place.await_lines("user", 4);
    assert_eq!(seen[..3], ["65534", "65534", "/"]);
    assert_eq!(seen[3], "/nonexistent nobody nobody own go n1");
    assert_eq!(place.await_lines("group", 1)[0], "0");
    agent.wait_for("time limit of 1s exceeded");
    // Only root can run handlers as another user.
    let place = Place::new(&json!([{"run": ":", "user": "nobody"}]));
    let agent = place
        .spec("n1")
        .wrapper(["setpriv", "--reuid=65534", "--clear-groups"])
        .launch();
    assert_eq!(agent.exit_code(), 1);
    let config = place.path("config.json");
    let words = format!(
        "Invalid event handler: {}: event_handlers[0]: key 'user': only an agent that runs as root can",
        config.display()
    );
    assert!(agent.text().contains(&words), "{}", agent.text());
}

#[test]
fn invalid_settings_refuse_the_start() {
    let config = |handlers: Value| {
        let place = Place::new(&handlers);
        let path = place.path("config.json");
        let (code, text) = refused(&["-node=n1", "-config-file", arg(&path)]);
        assert_eq!(code, 1);
        text.replace(arg(&path), "FILE")
    };
    for (handler, words) in [
        (
            json!({"run": ":", "hold": 5}),
            "Error decoding 'FILE': 1 error(s) decoding:\n\n* 'event_handlers[1]' key 'hold': must be a duration",
        ),
        (
            json!({"run": ":", "name": "web", "settle": "x"}),
            "* 'event_handlers[1] (web)' key 'settle': must be a duration such as",
        ),
        (
            json!({"run": ":", "where": {"role": "("}}),
            "* 'event_handlers[1]' key 'where': 'role': ",
        ),
        (
            json!({"run": ":", "hodl": "5s"}),
            "* 'event_handlers[1]' key 'hodl': unknown; the keys are ",
        ),
        (
            json!({"on": "user"}),
            "* 'event_handlers[1]' key 'run': missing",
        ),
        (json!(["x"]), "* 'event_handlers[1]' expected type 'string'"),
        (
            json!({"exec": ["cottar-no-such-program"]}),
            "FILE: event_handlers[1]: key 'exec': cottar-no-such-program is not found in PATH",
        ),
        (
            json!({"exec": ["/etc/passwd"]}),
            "FILE: event_handlers[1]: key 'exec': /etc/passwd is not an executable file",
        ),
        (
            json!({"run": ":", "user": "no-such-user"}),
            "FILE: event_handlers[1]: key 'user': there is no user 'no-such-user'",
        ),
        (
            json!({"run": ":", "user": "77777"}),
            "key 'user': user 77777 is not in /etc/passwd",
        ),
        (
            json!({"run": ":", "group": "no-such-group", "name": "g"}),
            "FILE: event_handlers[1] (g): key 'group': there is no group",
        ),
    ] {
        let text = config(json!(["user=:", handler]));
        assert!(text.contains(words), "{handler}: {text}");
    }
    let twice = config(json!([{"run": ":", "name": "x"}, {"run": "true", "name": "x"}]));
    let words =
        "FILE: event_handlers[1] (x): key 'name': already used by FILE: event_handlers[0] (x)";
    assert!(twice.contains(words), "{twice}");
}

#[test]
fn member_filters_match_the_tags_before_or_after_an_update() {
    let place = Place::new(&json!([
        {"run": "cut -f1,3 | sed \"s/^/$SERF_EVENT /\" >>$D/web", "where": {"role": "web"}, "on": "member-join,member-update"},
        {"run": "echo $SERF_USER_EVENT >>$D/self", "self": {"role": "db|web"}, "on": "user"},
        {"run": "echo $SERF_USER_EVENT >>$D/all", "on": "user"},
    ]));
    let agent = place.start();
    agent.wait_for("Received event: member-join");
    fire(&agent, "one");
    place.await_lines("all", 1);
    assert!(agent.call("tags", &["-set", "role=web"]).0);
    assert_eq!(place.await_lines("web", 1), ["member-update n1\tweb"]);
    fire(&agent, "two");
    place.await_lines("all", 2);
    assert!(agent.call("tags", &["-set", "role=db"]).0);
    assert_eq!(place.await_lines("web", 2)[1], "member-update n1\tdb");
    assert!(agent.call("tags", &["-set", "role=x"]).0);
    wait_until("the last update", || {
        agent
            .text()
            .matches("Received event: member-update")
            .count()
            == 3
    });
    fire(&agent, "three");
    place.await_lines("all", 3);
    assert_eq!(place.lines("self"), ["two"]);
    assert_eq!(place.lines("web").len(), 2);
}

#[test]
fn a_short_absence_runs_no_handler() {
    let place = Place::new(&json!([
        {"run": "sed \"s/^/$SERF_EVENT /\" | cut -f1 >>$D/held", "hold": "5s", "node": "n2"},
        {"run": "sed \"s/^/$SERF_EVENT /\" | cut -f1 >>$D/plain", "node": "n2"},
    ]));
    let agent = place.start();
    let other = Spec::new(Kind::Cottar, "n2")
        .args(["-profile=local"])
        .join(&agent)
        .start();
    assert_eq!(place.await_lines("held", 1), ["member-join n2"]);
    other.crash();
    place.await_lines("plain", 2);
    assert_eq!(place.lines("plain")[1], "member-failed n2");
    let (_, listed) = agent.call("handler queue", &[]);
    assert!(listed.contains("held"), "{listed}");
    let other = other.restart(&agent);
    place.await_lines("plain", 3);
    assert_eq!(place.lines("held").len(), 1);
    // This time the member does not come back.
    other.crash();
    assert_eq!(
        place.await_lines("held", 2),
        ["member-join n2", "member-failed n2"]
    );
    assert_eq!(place.lines("plain").len(), 4);
}

#[test]
fn a_burst_settles_into_one_run_with_the_newest_state() {
    let place = Place::new(&json!([
        {"run": "cat >>$D/last", "on": "user", "settle": "1s"},
        {
            "run": "echo \"$SERF_EVENT $(cut -f1 | sort | xargs)\" >>$D/state",
            "on": "sync,member-join,member-failed,member-leave", "settle": "500ms",
        },
    ]));
    let agent = place.start();
    assert_eq!(place.await_lines("state", 1)[0], "sync n1");
    for number in 0..20 {
        let payload = number.to_string();
        assert!(
            agent
                .call("event", &["-coalesce=false", "deploy", &payload])
                .0
        );
    }
    assert_eq!(place.await_lines("last", 1), ["19"]);
    let other = Spec::new(Kind::Cottar, "n2")
        .args(["-profile=local"])
        .join(&agent)
        .start();
    wait_until("the state with two", || {
        place.lines("state").last().unwrap() == "sync n1 n2"
    });
    other.crash();
    wait_until("the state with one", || {
        place.lines("state").last().unwrap() == "sync n1"
    });
    assert!(
        place
            .lines("state")
            .iter()
            .all(|line| line.starts_with("sync n1"))
    );
}

#[test]
fn a_run_is_repeated_over_a_restart() {
    let place = Place::new(&json!([
        {
            "run": "echo \"$SERF_USER_EVENT $COTTAR_ATTEMPT ${COTTAR_REPLAY-}\" >>$D/tries; test -e $D/good || exit 75",
            "on": "user", "retry": {"times": 50, "wait": "2s"}, "name": "tries",
        },
        {"run": "echo $SERF_USER_EVENT >>$D/others", "on": "user"},
    ]));
    let flags = [
        format!("-snapshot={}", place.path("snapshot").display()),
        format!("-journal={}", place.path("journal").display()),
    ];
    let spec = place.spec("n1").args(&flags);
    let agent = spec.clone().start();
    fire(&agent, "one");
    fire(&agent, "two");
    assert_eq!(place.await_lines("others", 2), ["one", "two"]);
    assert_eq!(place.lines("tries"), ["one 1 "]);
    agent.wait_for("temporary failure");
    let (_, listed) = agent.call("handler queue", &[]);
    assert_eq!(listed.matches("retrying").count(), 2, "{listed}");
    agent.crash();
    drop(agent);
    let agent = spec.start();
    // The wait starts again with the agent.
    assert_eq!(place.await_lines("tries", 2)[1], "one 2 ");
    fs::write(place.path("good"), "").unwrap();
    let tries = place.await_lines("tries", 4);
    assert_eq!(tries[2..], ["one 3 ", "two 1 "]);
    assert_eq!(place.lines("others").len(), 2, "{}", agent.text());
}

#[test]
fn held_and_settling_events_survive_a_restart() {
    let place = Place::new(&json!([
        {"run": "echo $SERF_EVENT $(cut -f1) >>$D/failed", "on": "member-failed", "hold": "4s"},
        {"run": "cat >>$D/settled", "on": "user", "settle": "4s"},
        {"run": "echo $SERF_EVENT $(cut -f1) >>$D/plain", "on": "member-failed,user"},
    ]));
    let flags = [
        format!("-snapshot={}", place.path("snapshot").display()),
        format!("-journal={}", place.path("journal").display()),
    ];
    let spec = place.spec("n1").args(&flags);
    let agent = spec.clone().start();
    let other = Spec::new(Kind::Cottar, "n2")
        .args(["-profile=local"])
        .join(&agent)
        .start();
    other.crash();
    place.await_lines("plain", 1);
    for payload in ["1", "2"] {
        assert!(
            agent
                .call("event", &["-coalesce=false", "deploy", payload])
                .0
        );
    }
    place.await_lines("plain", 3);
    assert!(place.lines("failed").is_empty() && place.lines("settled").is_empty());
    agent.crash();
    drop(agent);
    let agent = spec.start();
    assert_eq!(place.await_lines("settled", 1), ["2"], "{}", agent.text());
    assert_eq!(place.await_lines("failed", 1), ["member-failed n2"]);
    wait_until("an empty journal", || {
        agent.call("handler queue", &[]).1.lines().count() <= 1
    });
}

#[test]
fn a_reload_keeps_changes_and_removes_handlers() {
    let handler = |name: &str, script: &str| json!({"run": script, "name": name, "on": "user"});
    let keeps = handler("keeps", "echo keeps >>$D/ran");
    let place = Place::new(&json!([
        keeps,
        handler("changes", "echo before >>$D/ran"),
        handler("goes", "echo goes >>$D/ran"),
    ]));
    let agent = place.start();
    fire(&agent, "a");
    place.await_lines("ran", 3);
    place.configure(&json!([
        keeps,
        {"run": "echo after >>$D/ran", "name": "changes", "on": "user,sync"},
    ]));
    agent.signal(libc::SIGHUP);
    // A changed handler gets a sync.
    assert_eq!(place.await_lines("ran", 4)[3], "after");
    fire(&agent, "b");
    assert_eq!(place.await_lines("ran", 6)[4..], ["keeps", "after"]);
    let (_, listed) = agent.call("handler list", &["-format=json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let runs = |at: usize| {
        (
            &listed["handlers"][at]["name"],
            &listed["handlers"][at]["runs"],
        )
    };
    assert_eq!(runs(0), (&json!("keeps"), &json!(2)));
    assert_eq!(runs(1), (&json!("changes"), &json!(3)));
    // A reload with an invalid handler changes nothing.
    place.configure(&json!([{"run": ":", "settle": "soon"}]));
    let said = agent.reload("Failed to reload configs");
    assert!(said.contains("'event_handlers[0]' key 'settle'"), "{said}");
    fire(&agent, "c");
    assert_eq!(place.await_lines("ran", 8)[6..], ["keeps", "after"]);
}

#[test]
fn strings_and_objects_keep_their_order() {
    let place = Place::new(&json!([
        "user=echo 1 >>$D/ran",
        {"run": "echo 2 >>$D/ran", "on": "user"},
        {"run": "echo 3 >>$D/ran", "on": "user", "latest": true},
        "user=echo 4 >>$D/ran",
    ]));
    let agent = place.start();
    fire(&agent, "a");
    assert_eq!(place.await_lines("ran", 4), ["1", "2", "3", "4"]);
}
