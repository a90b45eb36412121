//! The completion scripts match the table of flags, and the shells complete as intended.

use crate::live::{Agent, COTTAR, lacks_program, wait_until};
use crate::{bash, fish, zsh};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/completions")
}

fn path(name: &str) -> String {
    directory().join(name).to_str().unwrap().to_owned()
}

/// Runs a shell that finds the program under test and, through it, the agent at that address.
#[track_caller]
fn run_at(rpc: &str, program: &str, args: &[&str]) -> String {
    let bin = Path::new(COTTAR).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(args)
        .env("PATH", format!("{bin}:{path}"))
        .env("SERF_RPC_ADDR", rpc)
        .env_remove("SERF_RPC_AUTH")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    assert!(errors.is_empty(), "{program}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell without an agent.
#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    run_at(NOBODY, program, args)
}

/// Address without a listener.
const NOBODY: &str = "127.0.0.1:1";

/// The parts of a script that are generated from the table lie between these lines; the rest is written by
/// hand.
const BEGIN: &str = "# From the table of flags, by \"make completions\":";
const END: &str = "# End of what comes from the table.";

/// Replaces the generated parts of a script.
fn with_parts(script: &str, parts: Vec<String>) -> String {
    let mut parts = parts.into_iter();
    let mut text = String::new();
    let mut inside = false;
    for line in script.split_inclusive('\n') {
        inside &= line.trim() != END;
        if !inside {
            text.push_str(line);
        }
        if line.trim() == BEGIN {
            text.push_str(&parts.next().expect("a part for each place"));
            inside = true;
        }
    }
    assert!(!inside && parts.next().is_none(), "a place for each part");
    text
}

/// With `COTTAR_COMPLETIONS=write` the files are updated.
#[test]
fn the_files_are_those_of_the_table() {
    let write = std::env::var("COTTAR_COMPLETIONS").is_ok_and(|value| value == "write");
    let scripts = [
        ("cottar.bash", bash::parts()),
        ("_cottar", zsh::parts()),
        ("cottar.fish", fish::parts()),
    ];
    for (name, parts) in scripts {
        let path = directory().join(name);
        let found = fs::read_to_string(&path).unwrap();
        let due = with_parts(&found, parts);
        if write {
            fs::write(&path, &due).unwrap();
            continue;
        }
        assert!(
            found == due,
            "dist/completions/{name} does not fit the table of flags; \"make completions\" writes it anew"
        );
    }
}

#[test]
fn only_what_comes_from_the_table_is_replaced() {
    let script = |part: &str| format!("by hand\n  {BEGIN}\n{part}  {END}\nby hand, too\n");
    let new = with_parts(&script("old\n"), vec!["new\n".to_owned()]);
    assert_eq!(new, script("new\n"));
}

/// Returns what bash proposes when the cursor is at the end of the line; `breaks` is its COMP_WORDBREAKS.
fn bash_proposes(line: &str, breaks: &str, directory: &Path) -> Vec<String> {
    bash_proposes_at(NOBODY, line, breaks, directory)
}

fn bash_proposes_at(rpc: &str, line: &str, breaks: &str, directory: &Path) -> Vec<String> {
    // Splits words as readline does: at blanks, with each break character as a word.
    let script = r#"
        source "$1" || exit
        cd "$4" || exit
        COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$3
        COMP_WORDS=() word=''
        for ((i = 0; i < ${#2}; i++)); do
            c=${2:i:1}
            if [[ $c == ' ' ]]; then
                [[ -n $word ]] && COMP_WORDS+=("$word")
                word=''
            elif [[ $3 == *$c* ]]; then
                [[ -n $word ]] && COMP_WORDS+=("$word")
                COMP_WORDS+=("$c") word=''
            else
                word+=$c
            fi
        done
        [[ -z $word && $2 == *["$3"] ]] || COMP_WORDS+=("$word")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _cottar cottar
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let place = directory.to_str().unwrap();
    let file = path("cottar.bash");
    let output = run_at(
        rpc,
        "bash",
        &[
            "--norc",
            "--noprofile",
            "-uc",
            script,
            "bash",
            &file,
            line,
            breaks,
            place,
        ],
    );
    output.lines().map(str::to_owned).collect()
}

/// Lines, each with the completions of its last word, for all shells; separated by blanks.
const CASES: &[(&str, &str)] = &[
    ("cottar ke", "keygen keys"),
    ("cottar force", "force-leave"),
    ("cottar nothing -", ""),
    ("cottar agent -log-l", "-log-level"),
    ("cottar agent -log-level ", "TRACE DEBUG INFO WARN ERR"),
    ("cottar agent -log-level W", "WARN"),
    ("cottar agent -profile ", "lan wan local"),
    (
        "cottar agent -tag role=web -bind 127.0.0.1:7946 -profile w",
        "wan",
    ),
    ("cottar agent -node alpha -tag ", ""),
    ("cottar agent -mdns-iface lo", "lo"),
    ("cottar agent -config-file one", "one.json"),
    ("cottar agent -config-dir sub", "subdirectory/"),
    ("cottar monitor -log-level T", "TRACE"),
    ("cottar members -status al", "alive"),
    ("cottar force-leave -p", "-prune"),
];

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Lines with completions that come from a running agent.
const ASKED: &[(&str, &str)] = &[
    ("cottar force-leave al", "alpha"),
    ("cottar rtt alpha be", "beta"),
    ("cottar wait -timeout 1s al", "alpha"),
    ("cottar members -name al", "alpha"),
    ("cottar query -node be", "beta"),
    ("cottar handler pause de", "deploy.sh"),
    ("cottar handler drop de", "deploy.sh"),
    ("cottar keys -use MD", KEY),
    ("cottar tags -delete ro", "role"),
    ("cottar tags -set ro", "role="),
    ("cottar members -tag zo", "zone="),
    ("cottar query -tag ro", "role="),
    ("cottar force-leave gam", ""),
];

/// Starts two agents; the completions ask the first one.
fn agents() -> [Agent; 2] {
    let encrypt = format!("-encrypt={KEY}");
    let handler = "-event-handler=user:deploy=/opt/deploy.sh now";
    let first = Agent::start(&[
        "-node=alpha",
        "-profile=local",
        &encrypt,
        "-tag=role=web",
        handler,
    ]);
    let join = format!("-join={}", first.gossip);
    let flags = [
        "-node=beta",
        "-profile=local",
        &encrypt,
        "-tag=zone=a",
        &join,
    ];
    let second = Agent::start(&flags);
    wait_until("both", || first.sees("beta", "alive"));
    [first, second]
}

/// Creates a folder with a file and a directory.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("one.json"), "{}").unwrap();
    fs::create_dir(place.path().join("subdirectory")).unwrap();
    place
}

#[test]
fn bash_completes() {
    let place = place();
    let proposes = |line: &str, breaks: &str| bash_proposes(line, breaks, place.path());
    for (line, expected) in CASES {
        let found = proposes(line, "=:");
        // Readline appends the slash.
        let expected = expected.trim_end_matches('/').split_whitespace();
        let expected: Vec<&str> = expected.collect();
        assert_eq!(found, expected, "{line}");
    }
    // If the shell splits at "=", only the part after it is replaced.
    assert_eq!(proposes("cottar members -format=j", "=:"), ["json"]);
    assert_eq!(proposes("cottar members -format=j", ":"), ["-format=json"]);
    assert_eq!(proposes("cottar agent -profile=", "=:").len(), 3);
    assert_eq!(proposes("cottar agent -config-file=o", "=:"), ["one.json"]);
    assert_eq!(proposes("cottar agent --profile wa", "=:"), ["wan"]);
    assert_eq!(
        proposes("cottar agent --log", "=:"),
        ["--log-level"],
        "as many dashes as were begun with"
    );
    assert_eq!(proposes("cottar event -c", "=:"), ["-coalesce=false"]);
    assert!(proposes("cottar ", "=:").contains(&"members".to_owned()));
    assert!(proposes("cottar members ", "=:").contains(&"-status".to_owned()));
    // No flags are completed after the first argument or after two dashes.
    assert!(proposes("cottar event deploy -", "=:").is_empty());
    assert!(proposes("cottar query -- -", "=:").is_empty());
    assert!(proposes("cottar event ", "=:").is_empty(), "any name");
}

#[test]
fn bash_asks_an_agent() {
    let place = place();
    let agents = agents();
    let rpc = agents[0].rpc.to_string();
    for (line, expected) in ASKED {
        let found = bash_proposes_at(&rpc, line, "=:", place.path());
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{line}");
        // Without an agent, nothing is proposed and no error is printed.
        assert!(bash_proposes(line, "=:", place.path()).is_empty(), "{line}");
    }
    // The command line may specify the agent.
    for flag in ["-rpc-addr ", "-rpc-addr=", "--rpc-addr="] {
        let line = format!("cottar force-leave {flag}{rpc} al");
        let found = bash_proposes(&line, "=:", place.path());
        assert_eq!(found, ["alpha"], "{line}");
    }
    let odd = Agent::start(&["-node=a 'b", "-profile=local"]);
    let rpc = odd.rpc.to_string();
    let found = bash_proposes_at(&rpc, "cottar force-leave a", "=:", place.path());
    assert_eq!(found, [r"a\ \'b"]);
}

#[test]
fn bash_knows_every_command_and_flag_of_the_help() {
    let place = place();
    let usage = Command::new(COTTAR).arg("--help").output().unwrap();
    let usage = String::from_utf8_lossy(&usage.stderr).into_owned();
    let (_, list) = usage.split_once("Available commands are:\n").unwrap();
    for line in list.lines() {
        let name = line.trim().split("    ").next().unwrap();
        let help = Command::new(COTTAR)
            .args(name.split(' '))
            .arg("-help")
            .output()
            .unwrap();
        let help = String::from_utf8_lossy(&help.stderr).into_owned();
        let (_, options) = help.split_once("Options:\n").unwrap_or_default();
        let flags = options.lines().filter_map(|line| line.strip_prefix("  -"));
        let mut flags: Vec<String> = flags
            .map(|flag| match flag.split_once('=') {
                Some((flag, "false")) => format!("-{flag}=false"),
                Some((flag, _)) => format!("-{flag}"),
                None => format!("-{flag}"),
            })
            .collect();
        flags.sort();
        let mut found = bash_proposes(&format!("cottar {name} -"), "=:", place.path());
        found.sort();
        assert_eq!(found, flags, "cottar {name}");
    }
}

/// Returns what zsh makes of each line when it completes it.
fn zsh_completed(rpc: &str, place: &Path, lines: &[&str]) -> Vec<String> {
    // A shell on a pseudoterminal completes each line; a key binding prints the result.
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PS1=; cd ${(q)2}; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=0
            setopt no_auto_list no_beep; show() { print -r -- \"<\$BUFFER>\"; zle kill-whole-line }; zle -N show; bindkey '^X' show
            print rea''dy"
        zpty -r -m shell ignored '*ready*' || exit 1
        shift 2
        for line; do
            zpty -w -n shell "$line"$'\t\x18'
            zpty -r -m shell seen '*<*>*' || exit 1
            seen=${${seen##*\<}%%\>*}
            print -r -- "$seen"
        done
        zpty -d shell
    "#;
    let completions = directory();
    let mut args = vec![
        "60",
        "zsh",
        "-fc",
        script,
        "zsh",
        completions.to_str().unwrap(),
    ];
    args.push(place.to_str().unwrap());
    args.extend(lines);
    let output = run_at(rpc, "timeout", &args);
    let found = output.lines().map(|line| line.trim_end().to_owned());
    found.collect()
}

#[test]
fn zsh_asks_an_agent() {
    if lacks_program("completion in zsh", "zsh") {
        return;
    }
    let place = place();
    let agents = agents();
    let rpc = agents[0].rpc.to_string();
    let lines: Vec<&str> = ASKED.iter().map(|(line, _)| *line).collect();
    let expected = ASKED.iter().map(|(line, word)| match *word {
        "" => (*line).to_owned(),
        word => format!("{} {word}", line.rsplit_once(' ').unwrap().0),
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(zsh_completed(&rpc, place.path(), &lines), expected);
    assert_eq!(zsh_completed(NOBODY, place.path(), &lines), lines);
    let line = format!("cottar force-leave -rpc-addr {rpc} al");
    let found = zsh_completed(NOBODY, place.path(), &[&line]);
    assert_eq!(found, [format!("{line}pha")]);
}

#[test]
fn zsh_completes() {
    if lacks_program("completion in zsh", "zsh") {
        return;
    }
    run("zsh", &["-n", &path("_cottar")]);
    let place = place();
    let unique = |case: &&(&str, &str)| case.1.split_whitespace().count() == 1;
    let cases: Vec<_> = CASES.iter().filter(unique).collect();
    let mut lines: Vec<&str> = cases.iter().map(|(line, _)| *line).collect();
    lines.extend(["cottar members -format=j", "cottar event -coal"]);
    let found = zsh_completed(NOBODY, place.path(), &lines);
    let mut expected: Vec<String> = cases
        .iter()
        .map(|(line, word)| {
            let (before, _) = line.rsplit_once(' ').unwrap();
            format!("{before} {word}")
        })
        .collect();
    expected.push("cottar members -format=json".to_owned());
    expected.push("cottar event -coalesce=".to_owned());
    // A flag with a value is completed together with an optional "=".
    let found: Vec<String> = found
        .iter()
        .zip(&expected)
        .map(|(found, expected)| match found.strip_suffix('=') {
            Some(bare) if bare == expected => bare.to_owned(),
            _ => found.clone(),
        })
        .collect();
    assert_eq!(found, expected);
}

fn fish_proposes(rpc: &str, line: &str, place: &Path) -> Vec<String> {
    let script = "source $argv[1]; cd $argv[2]; complete -C $argv[3]";
    let (file, place) = (path("cottar.fish"), place.to_str().unwrap());
    let args = ["--no-config", "-c", script, &file, place, line];
    let output = run_at(rpc, "fish", &args);
    let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    output.lines().map(word).collect()
}

#[test]
fn fish_asks_an_agent() {
    if lacks_program("completion in fish", "fish") {
        return;
    }
    let place = place();
    let agents = agents();
    let rpc = agents[0].rpc.to_string();
    for (line, expected) in ASKED {
        let found = fish_proposes(&rpc, line, place.path());
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{line}");
        assert!(
            fish_proposes(NOBODY, line, place.path()).is_empty(),
            "{line}"
        );
    }
    for flag in ["-rpc-addr ", "--rpc-addr="] {
        let line = format!("cottar force-leave {flag}{rpc} al");
        assert_eq!(
            fish_proposes(NOBODY, &line, place.path()),
            ["alpha"],
            "{line}"
        );
    }
}

#[test]
fn fish_completes() {
    if lacks_program("completion in fish", "fish") {
        return;
    }
    run("fish", &["--no-config", "-n", &path("cottar.fish")]);
    let place = place();
    let proposes = |line: &str| fish_proposes(NOBODY, line, place.path());
    for (line, expected) in CASES {
        let mut found = proposes(line);
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        expected.sort_unstable();
        found.sort();
        assert_eq!(found, expected, "{line}");
    }
    assert_eq!(proposes("serf ke"), ["keygen", "keys"]);
    assert_eq!(proposes("cottar members -format=j"), ["-format=json"]);
    assert_eq!(proposes("cottar event -coal"), ["-coalesce=false"]);
}
