//! Runs the one-line scripts of cottar(1) as they are in the page.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::live::{Agent, COTTAR, Kind, Spec, lacks_program};
use crate::run::{Finished, finish};
use crate::samples::start;

/// Returns the literal displays of the section, as a reader sees them.
fn one_liners() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/cottar.1");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once("\n.Sh SCRIPTS\n").unwrap();
    let (section, _) = section.split_once("\n.Sh ").unwrap();
    let displays = section.split(".Bd -literal -offset indent\n").skip(1);
    displays
        .map(|display| {
            let (text, _) = display.split_once("\n.Ed").expect("the display's end");
            assert!(!text.contains('\n'), "more than a line: {text}");
            assert!(!text.replace("\\e", "").contains('\\'), "an escape: {text}");
            text.replace("\\e", "\\")
        })
        .collect()
}

/// Starts a shell that exits at the first failure, with the program on its path.
pub fn shell(line: &str, agent: &Agent) -> Command {
    let bin = Path::new(COTTAR).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-ec", line])
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("SERF_RPC_ADDR", agent.rpc.to_string())
        .env_remove("SERF_RPC_AUTH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shell
}

fn run(line: &str, agent: &Agent) -> Finished {
    finish(shell(line, agent).spawn().unwrap())
}

#[test]
fn the_one_liners_of_the_page_work() {
    if lacks_program("one-liners with jq", "jq") {
        return;
    }
    let local = ["-profile=local", "-tag=role=web"];
    let handler = |load: &str| format!("-event-handler=query:load=echo {load}");
    let a = start(
        Kind::Cottar,
        "a",
        &[&local[..], &[&handler("0.7")]].concat(),
    );
    let (join, half) = (
        format!("-join={}", a.gossip),
        "-event-handler=query:load=echo 0.5",
    );
    let flags = [&local[..], &[&join, half]].concat();
    let b = start(Kind::Cottar, "b", &flags);
    // An agent that no longer answers.
    let c = start(Kind::Cottar, "c c", &["-profile=local", &join]);
    a.says(&["wait", "-timeout=50s", "a", "b", "c c"], 0, "");
    drop(c);
    a.says(&["wait", "-timeout=50s", "-status=failed", "c c"], 0, "");

    let lines = one_liners();
    let (ip, other) = (a.gossip.ip(), b.gossip.ip());
    let expected = [
        format!("{ip}\ta\n{other}\tb\n"),
        format!("server {ip}:80;\nserver {other}:80;\n"),
        "node <a>\nnode <b>\nnode <c c>\n".to_owned(),
        "down: c c\n".to_owned(),
        String::new(),
        "all is well\n".to_owned(),
        "0.5\tb\n".to_owned(),
        String::new(),
        "a\n".to_owned(),
        "3 members, 0 failed\n".to_owned(),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        let child = shell(line, &a).spawn().unwrap();
        if line.contains("-count 0") {
            a.says(&["force-leave", "c c"], 0, "");
        }
        let got = finish(child);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            (expected.as_str(), "", Some(0)),
            "{line}"
        );
    }
}

#[test]
fn closed_pipes_do_not_make_a_script_fail() {
    let agent = start(Kind::Cottar, "n", &["-event-handler=query:q=echo yes"]);
    for line in [
        "event x",
        "force-leave nobody",
        "info",
        "keygen",
        "members",
        "members -fields name",
        "query -expect 1 q",
        "query -expect 1 -fields payload q",
        "query -expect 1 -format json q",
        "rtt n",
        "tags -set a=b",
        "version",
        "wait -fields name",
    ] {
        // A closed stdout, and a pipe without a reader: neither makes a script fail.
        let script =
            format!("cottar {line} >&-; cottar {line} | :; cottar {line} >/dev/null; echo on");
        let got = run(&script, &agent);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            ("on\n", "", Some(0)),
            "{line}"
        );
        // A full disk is an error, in the usual format.
        if line != "force-leave nobody" {
            let got = run(&format!("cottar {line} >/dev/full"), &agent);
            let why = "cottar: cannot write the output: no space left on device\n";
            assert_eq!((got.stderr.as_str(), got.status), (why, Some(1)), "{line}");
        }
    }
    // A failing command ends the script, and its error does not go into the pipe.
    for (line, status) in [
        ("members -strict -name nobody -fields name", 2),
        ("members -fields nme", 1),
        ("query -strict -expect 2 -timeout 2s -fields payload q", 2),
        ("query -expect none q", 1),
        ("wait -timeout 300ms nobody", 2),
        ("wait -bogus", 1),
        ("wait -count -1", 1),
        ("wait -format xml", 1),
        ("tags -format json", 1),
        ("rtt -format json nobody", 1),
    ] {
        let got = run(&format!("cottar {line}; echo on"), &agent);
        if line.contains("-expect 2") {
            assert_eq!(got.text(), "yes\n");
        } else {
            assert_eq!(got.text(), "", "{line}");
        }
        assert_eq!(got.status, Some(status), "{line}");
        assert!(!got.stderr.is_empty(), "{line}");
    }
}

#[test]
fn names_that_are_no_text_are_shown_byte_by_byte() {
    let script = r#"exec "$@" -event-handler "$(printf '/caf\351.sh')""#;
    let wrapper = ["/bin/sh", "-c", script, "sh"];
    let agent = Spec::new(Kind::Cottar, "n").wrapper(wrapper).start();
    for (line, status, stdout, stderr) in [
        (
            r#"handler pause "$(printf '\377')""#,
            1,
            "",
            "Error changing the handler: no handler has the name '\\xff'\n",
        ),
        (
            r#"handler drop "$(printf '\377')""#,
            1,
            "",
            "Error dropping events: no handler has the name '\\xff', and no event in memory has this id\n",
        ),
        // Unformatted, and as the list prints it.
        (
            r#"handler pause "$(printf 'caf\351.sh')""#,
            0,
            "Paused handler 'caf\\xe9.sh'\n",
            "",
        ),
        (
            r"handler resume 'caf\xe9.sh'",
            0,
            "Resumed handler 'caf\\xe9.sh'\n",
            "",
        ),
    ] {
        let got = run(&format!("cottar {line}"), &agent);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            (stdout, stderr, Some(status)),
            "{line}"
        );
    }
    let got = run(r#"cottar members "-$(printf '\377')=1""#, &agent);
    let why = "flag provided but not defined: -\\xff\n";
    assert_eq!((got.stderr.as_str(), got.status), (why, Some(1)));
    let line = r#"SERF_RPC_ADDR="$(printf '\377:1')" cottar members"#;
    let got = run(line, &agent);
    let why = "Error connecting to Serf agent: dial tcp: lookup \\xff: no such host\n";
    assert_eq!((got.text().as_str(), got.status), (why, Some(1)));
}
