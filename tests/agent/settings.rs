//! Handlers with settings in configuration files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::live::{Agent, Kind, Spec, arg, content, lacks_program, refused, wait_until};

/// A folder with a configuration file and what handlers write. `$D` in a handler is the folder.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(handlers: &Value) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spec(&self, name: &str) -> Spec {
        let config = self.path("config.json");
        let flags = ["-profile=local", "-config-file", arg(&config)];
        Spec::new(Kind::Cottar, name).args(flags)
    }

    fn start(&self) -> Agent {
        self.spec("n1").start()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        content(&self.path(name))
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits for so many lines of a file.
    #[track_caller]
    fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait_until(&format!("{count} lines of {name}"), || {
            self.lines(name).len() >= count
        });
        self.lines(name)
    }
}

fn fire(agent: &Agent, name: &str) {
    let (done, said) = agent.call("event", &["-coalesce=false", name]);
    assert!(done, "{said}");
}

#[test]
fn a_program_runs_without_a_shell_where_and_with_what_it_is_told() {
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
    // Neither this agent's nor anybody's grace holds up the next one.
    fire(&agent, "behind");
    fire(&agent, "over");
    place.await_lines("over", 1);
    // A directory that is gone is an error of the run.
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
    // Without root nobody else's handlers are run.
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
fn what_cannot_be_run_so_refuses_the_start() {
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
            "* 'event_handlers[1] (web)' key 'settle': time: invalid duration",
        ),
        (
            json!({"run": ":", "where": {"role": "("}}),
            "* 'event_handlers[1]' key 'where': 'role': ",
        ),
        (
            json!({"run": ":", "hodl": "5s"}),
            "* 'event_handlers[1]' key 'hodl': unknown; these are known: ",
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
    let words = "FILE: event_handlers[1] (x): key 'name': FILE: event_handlers[0] (x) has it, too";
    assert!(twice.contains(words), "{twice}");
}
