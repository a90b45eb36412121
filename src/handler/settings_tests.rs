use super::*;

fn object(text: &str) -> Result<HandlerSettings, String> {
    let value: Value = serde_json::from_str(text).unwrap();
    HandlerSettings::from_object(value.as_object().unwrap()).map_err(shown)
}

fn header(line: &str) -> Result<HandlerSettings, String> {
    let pairs = header_pairs(line)?;
    HandlerSettings::from_header(Action::Exec([b"/d/f".to_vec()].into()), &pairs).map_err(shown)
}

fn shown(faults: Vec<InvalidSetting>) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

#[test]
fn the_table_is_sorted() {
    assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn an_object_may_say_everything() {
    let all = object(
        r#"{"run": "x y", "on": "member-join,user:deploy,sync", "name": "web",
            "where": {"role": "web|db", "zone": ""}, "node": "n.*", "status": "alive",
            "self": {"role": "lb"}, "input": "json", "timeout": "1m", "grace": "0s", "hold": "30s",
            "settle": "2s", "latest": true, "retry": {"times": 5, "wait": "10s"}, "user": "u",
            "group": "7", "directory": "/srv", "environment": {"A": "b=c"}, "max_age": "1h",
            "journal": "once"}"#,
    )
    .unwrap();
    assert_eq!(all.action, Action::Run(b"x y"[..].into()));
    let on: Vec<_> = all.on.iter().map(ToString::to_string).collect();
    assert_eq!(on, ["member-join:", "user:deploy", "sync:"]);
    assert_eq!(all.name.as_deref(), Some("web"));
    assert!(all.tags.get(&b"role"[..]).unwrap().matches(b"db"));
    assert!(all.node.unwrap().matches(b"n1") && all.status.unwrap().matches(b"alive"));
    assert!(all.self_tags.get(&b"role"[..]).unwrap().matches(b"lb"));
    assert_eq!((all.input, all.journal), (Input::Json, Durability::Once));
    let seconds = Duration::from_secs;
    assert_eq!(all.timeout, Some(seconds(60)));
    assert_eq!(all.grace, Some(Duration::ZERO));
    assert_eq!((all.hold, all.settle), (seconds(30), seconds(2)));
    let retry = all.retry.unwrap();
    assert_eq!((retry.times, retry.wait), (5, seconds(10)));
    assert_eq!(
        (all.user.as_deref(), all.group.as_deref()),
        (Some("u"), Some("7"))
    );
    assert_eq!(all.directory.as_deref(), Some(&b"/srv"[..]));
    assert_eq!(all.environment, [(b"A".to_vec(), b"b=c".to_vec())].into());
    assert_eq!(all.max_age, Some(seconds(3600)));
    let exec = object(r#"{"exec": ["curl", "-d", "a b"]}"#).unwrap();
    assert_eq!(&exec.action.text()[..], b"curl -d a b");
}

#[test]
fn what_is_not_said_is_as_in_a_string() {
    for (text, string) in [
        (r#"{"run": "x"}"#, "x"),
        (r#"{"run": "x", "on": ""}"#, "*=x"),
        (
            r#"{"run": "a=b", "on": "user,query:q"}"#,
            "user,query:q=a=b",
        ),
        (r#"{"run": ""}"#, ""),
    ] {
        let string = HandlerSettings::from_text(string.as_bytes()).unwrap();
        assert_eq!(object(text), Ok(string), "{text}");
    }
}

/// An additional setting, and the beginning of its error.
#[rustfmt::skip]
const WRONG: &[(&str, &str)] = &[
    (r#""nope": 1"#, "key 'nope': unknown; the keys are directory, env"),
    (r#""exec": ["a"]"#, "key 'exec': 'run' is set, too"),
    (r#""on": "member-foo""#, "key 'on': 'member-foo' is not an event type; use member-join, "),
    (r#""on": "user, query""#, "key 'on': ' query' is not an event type"),
    (r#""on": ["user"]"#, "key 'on': must be a string"),
    (r#""hold": 5"#, "key 'hold': must be a duration such as \"10s\""),
    (r#""hold": "5""#, "key 'hold': must be a duration such as \"10s\""),
    (r#""settle": "-1s""#, "key 'settle': must not be negative"),
    (r#""max_age": "0s""#, "key 'max_age': must be more than 0"),
    (r#""latest": "true""#, "key 'latest': must be true or false"),
    (r#""journal": "twice""#, "key 'journal': must be true, false or \"once\""),
    (r#""input": "xml""#, "key 'input': must be \"lines\" or \"json\""),
    (r#""where": {"role": "("}"#, "key 'where': 'role': "),
    (r#""where": "role=web""#, "key 'where': must be an object of strings"),
    (r#""self": {"role": 1}"#, "key 'self': 'role': must be a string"),
    (r#""node": "[""#, "key 'node': "),
    (r#""name": "a b""#, "key 'name': must be at most 64 bytes"),
    (r#""name": "-a""#, "key 'name': must be at most 64 bytes"),
    (r#""user": """#, "key 'user': must not be empty"),
    (r#""directory": "a\u0000b""#, "key 'directory': must not contain NUL"),
    (r#""environment": {"SERF_TAG_X": "1"}"#, "key 'environment': 'SERF_TAG_X': is reserved"),
    (r#""environment": {"A=B": "1"}"#, "key 'environment': 'A=B': is not a valid variable name"),
    (r#""retry": 5"#, "key 'retry': must be an object"),
    (r#""retry": {"times": 0, "wait": "1s"}"#, "key 'retry': 'times' must be a number from 1"),
    (r#""retry": {"times": 1}"#, "key 'retry': 'wait' is missing"),
    (r#""retry": {"times": 1, "wait": "11m"}"#, "key 'retry': 'wait' must be at most 600s"),
    (r#""retry": {"times": 1, "wait": "1s", "x": 1}"#, "key 'retry': 'x' is unknown"),
];

#[test]
fn what_is_wrong_is_said_with_the_key() {
    for (rest, words) in WRONG {
        let why = object(&format!(r#"{{"run": "x", {rest}}}"#)).unwrap_err();
        assert!(why.starts_with(words), "{rest}: {why}");
    }
    for (text, words) in [
        (r#"{"on": "user"}"#, "key 'run': missing"),
        (r#"{"exec": []}"#, "key 'exec': must be a list"),
        (r#"{"exec": "ls"}"#, "key 'exec': must be a list"),
        (r#"{"exec": ["a", 1]}"#, "key 'exec': must be a list"),
        (
            r#"{"exec": ["bin/x"]}"#,
            "key 'exec': the program must be an absolute path",
        ),
        (
            r#"{"exec": [""]}"#,
            "key 'exec': the program must be an absolute path",
        ),
        (
            r#"{"run": 1, "hold": true}"#,
            "key 'hold': must be a duration such as \"10s\"; key 'run': must be a string",
        ),
    ] {
        let why = object(text).unwrap_err();
        assert!(why.starts_with(words), "{text}: {why}");
    }
}

#[test]
fn header_lines_say_the_same() {
    let said = header(
        r#" on=member-join,sync settle=2s where.role="a b\"c" where.zone=x retry.times=3 retry.wait=1s latest=true journal=false environment.X="""#,
    )
    .unwrap();
    let same = object(
        r#"{"exec": ["/d/f"], "on": "member-join,sync", "settle": "2s",
            "where": {"role": "a b\"c", "zone": "x"}, "retry": {"times": 3, "wait": "1s"},
            "latest": true, "journal": false, "environment": {"X": ""}}"#,
    );
    assert_eq!(Ok(said), same);
    for (line, words) in [
        ("on", "'on' is not KEY=VALUE"),
        ("=x", "'=x' is not KEY=VALUE"),
        ("on = user", "'on = user' is not KEY=VALUE"),
        ("on=\"user", "the quoted value of 'on' has no end"),
        ("on=\"user\"x", "no blank after the value of 'on'"),
        ("on=user on=query", "key 'on': is given twice"),
        ("where.a=x where.a=y", "key 'where.a': is given twice"),
        (
            "where=x",
            "key 'where': must be given as where.TAG=EXPRESSION",
        ),
        (
            "environment=x",
            "key 'environment': must be given as environment.NAME=VALUE",
        ),
        (
            "retry=3 retry.wait=1s",
            "key 'retry': must be given as retry.times=NUMBER retry.wait=DURATION",
        ),
        (
            "timeout=5",
            "key 'timeout': must be a duration such as \"10s\"",
        ),
        ("run=x", "key 'run': is not allowed in a header line"),
        ("exec=x", "key 'exec': is not allowed in a header line"),
        ("hold.x=1s", "key 'hold.x': unknown"),
        (
            "retry.times=x retry.wait=1s",
            "key 'retry': 'times' must be a number",
        ),
        ("latest=yes", "key 'latest': must be true or false"),
    ] {
        let why = header(line).unwrap_err();
        assert!(why.starts_with(words), "{line}: {why}");
    }
}

#[test]
fn names_are_unique() {
    let named = |texts: &[&str]| {
        let handlers: Vec<_> = texts.iter().map(|text| object(text).unwrap()).collect();
        name_all(&handlers)
    };
    assert_eq!(
        named(&[
            r#"{"run": "/a/x --y"}"#,
            r#"{"exec": ["/b/x", "z"]}"#,
            r#"{"run": "q", "name": "x-2"}"#,
            r#"{"run": " "}"#,
            r#"{"run": "/a/x --z"}"#,
        ]),
        Ok(vec!["x", "x-3", "x-2", "handler", "x-4"]
            .into_iter()
            .map(String::from)
            .collect())
    );
    assert_eq!(
        named(&[
            r#"{"run": "a", "name": "x"}"#,
            r#"{"run": "b"}"#,
            r#"{"run": "c", "name": "x"}"#,
        ]),
        Err((0, 2))
    );
}
