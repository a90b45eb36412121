//! Tags, keyring and snapshot files of live agents (agent spec 4.10), alone and shared with the reference.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::live::{Agent, COTTAR, Kind, Spec, content, free, lacks_reference, refused, wait_until};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The flag with which an agent joins another one.
fn join(other: &Agent) -> String {
    format!("-retry-join={}", other.gossip)
}

#[test]
fn tags_survive_in_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tags");
    let flag = format!("-tags-file={}", path.display());
    let args = ["-node=t", "-profile=local", &flag];
    let agent = Agent::start(&args);
    assert!(!path.exists(), "not before the first change");
    let (worked, text) = agent.call("tags", &["-set=role=web", "-set=b=2"]);
    assert!(worked, "{text}");
    assert_eq!(content(&path), "{\n  \"b\": \"2\",\n  \"role\": \"web\"\n}");
    assert_eq!(mode(&path), 0o600);
    set_mode(&path, 0o640);
    // Tags that are too large are refused and not written.
    let (worked, text) = agent.call("tags", &[&format!("-set=x={}", "x".repeat(512))]);
    assert!(!worked && text.contains("exceeds limit"), "{text}");
    assert!(!content(&path).contains("xxx"));
    agent.end(libc::SIGKILL);

    let agent = Agent::start(&args);
    let line = format!("[INFO] agent: Restored 2 tag(s) from {}", path.display());
    agent.wait_for(&line);
    assert!(agent.member("t").ends_with("b=2,role=web"));
    agent.reload("");
    assert!(agent.call("tags", &["-delete=b"]).0);
    assert_eq!(
        content(&path),
        "{\n  \"role\": \"web\"\n}",
        "reloaded or not"
    );
    assert_eq!(mode(&path), 0o640);
    assert!(agent.member("t").ends_with("role=web"));

    // A change that cannot be written is not applied.
    drop(dir);
    let (worked, text) = agent.call("tags", &["-set=late=1"]);
    assert!(
        !worked && text.contains("Failed to write tags file: "),
        "{text}"
    );
    assert!(agent.member("t").ends_with("role=web"));
}

#[test]
fn tags_and_keys_from_two_sources_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let shown = path.display();
    let (tags, keys) = (
        format!("-tags-file={shown}"),
        format!("-keyring-file={shown}"),
    );
    let setup = "==> Failed to setup the Serf agent: ";
    let no_tags = "Tags config not allowed while using tag files\n";
    let no_key = "Encryption key not allowed while using a keyring\n";
    let missing = format!("stat {shown}: no such file or directory\n");
    let cases: [(&str, &[&str], &str); 9] = [
        ("{}", &[&tags, "-tag=a=b"], no_tags),
        ("{}", &[&tags, "-role=a"], no_tags),
        ("[]", &[&tags], "Failed to decode tags file: "),
        ("[\"AAAA\"]", &[&keys, "-encrypt=AAAA"], no_key),
        ("[]", &[&keys], "Keyring file contains no keys\n"),
        ("{}", &[&keys], "Failed to decode keyring file: "),
        ("[\"!\"]", &[&keys], "Failed to decode key from keyring: "),
        (
            "[\"AAAA\"]",
            &[&keys],
            "Failed to restore keyring: key size must be 16, 24 or 32 bytes\n",
        ),
        ("", &[&keys], &missing),
    ];
    for (text, args, why) in cases {
        fs::write(&path, text).unwrap();
        if why == missing {
            fs::remove_file(&path).unwrap();
        }
        let (code, output) = refused(args);
        assert!(output.contains("==> Starting Serf agent...\n"), "{output}");
        assert!(
            output.contains(&format!("{setup}{why}")),
            "{why}:\n{output}"
        );
        assert_eq!(code, 1);
    }
    let (code, output) = refused(&["-snapshot=/no/such"]);
    let expected = "==> Failed to start the Serf agent: Error creating Serf: Failed to setup snapshot: \
                    failed to open snapshot: open /no/such: no such file or directory\n";
    assert!(output.contains(expected), "{output}");
    assert_eq!(code, 1);
}

/// Tries each kind of file, by another path than the first agent's. A lock ends with its process.
#[test]
fn a_second_agent_on_the_same_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let keys = dir.path().join("keyring");
    fs::write(&keys, format!("[\"{OLD_KEY}\"]")).unwrap();
    for name in ["snapshot", "tags-file", "keyring-file"] {
        let file = match name {
            "keyring-file" => keys.clone(),
            _ => dir.path().join(name),
        };
        let agent = Agent::start(&[&format!("-{name}={}", file.display())]);
        let other = link.join(file.file_name().unwrap());
        let flag = format!("-{name}={}", other.display());
        let before = fs::read(&file).ok();
        let (code, output) = refused(&[&flag]);
        assert_eq!(code, 1);
        let real = fs::canonicalize(dir.path()).unwrap();
        let shown = real.join(file.file_name().unwrap());
        let why = format!(
            "==> Failed to setup the Serf agent: {0} is in use by process {1}, which has locked {0}.lock",
            shown.display(),
            agent.pid()
        );
        assert!(output.contains(&why), "{output}");
        if name != "snapshot" {
            assert_eq!(fs::read(&file).ok(), before);
        }
        agent.end(libc::SIGKILL);
        drop(Agent::start(&[&flag]));
    }
}

/// `cottar leave` returns after the handlers of the agent's own leave have run and all files are written.
#[test]
fn a_leave_ends_after_the_last_handler_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    let flag = format!("-snapshot={}", dir.path().join("snap").display());
    let handler = format!(
        "-event-handler=member-leave=sleep 0.3; echo >> {}",
        left.display()
    );
    for round in 1..=5 {
        let agent = Agent::start(&["-profile=local", &flag, &handler]);
        assert!(!agent.text().contains("is in use by"), "{}", agent.text());
        assert!(agent.call("leave", &[]).0);
        assert_eq!(content(&left).len(), round);
        drop(Agent::start(&[&flag]));
        assert_eq!(agent.exit_code(), 0);
    }
    // A leave from within a handler does not wait, because the agent waits for the handler.
    let address = dir.path().join("address");
    let handler = format!(
        "-event-handler=user={COTTAR} leave -rpc-addr=$(cat {}) && echo >> {}",
        address.display(),
        left.display()
    );
    let agent = Agent::start(&["-profile=local", &handler]);
    fs::write(&address, agent.rpc.to_string()).unwrap();
    assert!(agent.call("event", &["-coalesce=false", "x"]).0);
    assert_eq!(agent.exit_code(), 0);
    wait_until("the handler's end", || content(&left).len() == 6);
}

#[test]
fn a_start_waits_for_an_agent_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("-tags-file={}", dir.path().join("tags").display());
    let first = Agent::start(&[&flag]);
    let second = Agent::spawn(&[&flag]);
    second.wait_for(". Waiting for it to end");
    first.end(libc::SIGTERM);
    second.wait_for("Log data will now stream in as it occurs:");
}

#[test]
fn a_lock_that_was_removed_is_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keyring");
    fs::write(&keys, format!("[\"{OLD_KEY}\"]")).unwrap();
    let path = |name: &str| dir.path().join(name);
    let (tags, snapshot) = (path("tags"), path("snapshot"));
    let flag = |name: &str, path: &Path| format!("-{name}={}", path.display());
    let flags = [
        flag("tags-file", &tags),
        flag("keyring-file", &keys),
        flag("snapshot", &snapshot),
    ];
    let mut all: Vec<_> = flags.iter().map(String::as_str).collect();
    all.push("-profile=local");
    let agent = Agent::start(&all);
    for name in ["tags.lock", "keyring.lock", "snapshot.lock", "snapshot"] {
        fs::remove_file(path(name)).unwrap();
    }
    assert!(agent.call("tags", &["-set=a=b"]).0);
    assert!(agent.call("keys", &["-install", NEW_KEY]).0);
    assert!(agent.call("event", &["x"]).0);
    wait_until("the snapshot", || snapshot.exists());
    for flag in &flags {
        let (code, output) = refused(&[flag]);
        let holder = format!("is in use by process {}", agent.pid());
        assert!(code == 1 && output.contains(&holder), "{output}");
    }
}

/// A handler that outlives the agent does not keep the lock.
#[test]
fn handlers_do_not_inherit_locks() {
    let dir = tempfile::tempdir().unwrap();
    let (snap, stays) = (dir.path().join("snap"), dir.path().join("stays"));
    let flag = format!("-snapshot={}", snap.display());
    let handler = format!(
        "-event-handler=user=echo $$ > {}; sleep 60",
        stays.display()
    );
    let agent = Agent::start(&[&flag, &handler]);
    assert!(agent.call("event", &["-coalesce=false", "x"]).0);
    wait_until("it runs", || content(&stays).ends_with('\n'));
    agent.end(libc::SIGKILL);
    drop(Agent::start(&[&flag]));
    let pid = content(&stays);
    let ended = Command::new("/bin/sh")
        .args(["-c", &format!("kill -KILL -{}", pid.trim())])
        .status();
    assert!(ended.unwrap().success(), "it had stayed until now");
}

const OLD_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQ==";
const NEW_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

#[test]
fn keys_changed_by_the_reference_are_kept() {
    if lacks_reference("keys_changed_by_the_reference_are_kept") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    for path in [&ours, &theirs] {
        fs::write(path, format!("[\"{OLD_KEY}\"]")).unwrap();
        set_mode(path, 0o640);
    }
    let serf = Spec::bare(Kind::Serf)
        .name("serf")
        .args([format!("-keyring-file={}", theirs.display())])
        .start();
    let flag = format!("-keyring-file={}", ours.display());
    let agent = Agent::start(&["-node=cottar", &flag, &join(&serf)]);
    let text = agent.wait_for(&format!(
        "[INFO] agent: Restored keyring with 1 keys from {}",
        ours.display()
    ));
    assert!(text.contains("Encrypted: true"), "{text}");
    wait_until("both see each other", || {
        serf.sees("cottar", "alive") && agent.sees("serf", "alive")
    });
    let keys = |args: &[&str]| {
        serf.cli(&[&["keys"], args].concat()).success();
    };
    keys(&["-install", NEW_KEY]);
    assert_eq!(
        content(&ours),
        format!("[\n  \"{OLD_KEY}\",\n  \"{NEW_KEY}\"\n]")
    );
    keys(&["-use", NEW_KEY]);
    assert_eq!(
        content(&ours),
        format!("[\n  \"{NEW_KEY}\",\n  \"{OLD_KEY}\"\n]")
    );
    keys(&["-remove", OLD_KEY]);
    assert_eq!(content(&ours), format!("[\n  \"{NEW_KEY}\"\n]"));
    assert_eq!(content(&theirs), content(&ours), "byte for byte");
    assert_eq!(mode(&ours), 0o640);
    agent.end(libc::SIGKILL);
    // It can join only with the new key.
    let agent = Agent::start(&["-node=cottar2", &flag, &join(&serf)]);
    wait_until("it is back", || agent.sees("serf", "alive"));
}

/// Another node of the cluster, which sends events.
fn peer() -> Agent {
    Agent::start(&["-node=peer", "-profile=local"])
}

#[test]
fn a_killed_agent_rejoins_and_handles_no_event_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (snap, ran) = (dir.path().join("snap"), dir.path().join("ran"));
    let peer = peer();
    let flags = [
        "-node=me".to_owned(),
        "-profile=local".to_owned(),
        format!("-snapshot={}", snap.display()),
        format!(
            "-event-handler=user=echo $SERF_USER_EVENT >> {}",
            ran.display()
        ),
        format!("-bind={}", free()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = Agent::start(&[&flags[..], &[&join(&peer), "-replay"]].concat());
    assert!(agent.text().contains("Snapshot: true"));
    wait_until("joined", || peer.sees("me", "alive"));
    for event in ["one", "two", "three"] {
        assert!(peer.call("event", &["-coalesce=false", event]).0);
    }
    wait_until("handled", || content(&ran) == "one\ntwo\nthree\n");
    agent.end(libc::SIGKILL);
    let text = content(&snap);
    assert!(
        text.contains(&format!("alive: peer {}\n", peer.gossip)),
        "{text}"
    );
    assert!(text.contains("event-clock: "), "{text}");

    // Rejoins from the snapshot, without -join. Handles missed events, but not those it has handled before.
    assert!(peer.call("event", &["-coalesce=false", "four"]).0);
    let agent = Agent::start(&[&flags[..], &["-replay"]].concat());
    agent.wait_for("[INFO] serf: Attempting re-join to previously known node: peer: ");
    agent.wait_for("[INFO] serf: Re-joined to previously known node: peer: ");
    assert!(peer.call("event", &["-coalesce=false", "five"]).0);
    wait_until("the new one", || content(&ran).ends_with("five\n"));
    let seen = content(&ran);
    assert!(seen.starts_with("one\ntwo\nthree\n"), "{seen}");
    for event in ["one", "two", "three", "five"] {
        assert_eq!(seen.matches(event).count(), 1, "{seen}");
    }

    // After a leave it does not rejoin,
    assert_eq!(agent.end(libc::SIGINT), 0);
    let text = content(&snap);
    assert!(text.contains("\nleave\n"), "{text}");
    let agent = Agent::start(&flags);
    agent.wait_for("EventMemberJoin: me");
    assert!(agent.call("event", &["alone"]).0);
    assert!(!agent.text().contains("Attempting re-join"));
    agent.end(libc::SIGKILL);

    // except with -rejoin.
    let leave = format!("alive: peer {}\nleave\n", peer.gossip);
    fs::write(&snap, leave).unwrap();
    let agent = Agent::start(&[&flags[..], &["-rejoin"]].concat());
    agent.wait_for("[INFO] serf: Ignoring previous leave in snapshot");
    agent.wait_for("[INFO] serf: Re-joined to previously known node: peer: ");
}

#[test]
fn damaged_lines_of_a_snapshot_are_skipped_with_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    fs::write(
        &snap,
        "# comment\ncoordinate: x\nalive: lost\nclock: x\nevent-clock: y\nquery-clock: -1\nwhat\n\
         clock: 7\nalive: gone 127.0.0.1:1\nalive: n3 127.0.0.1:28",
    )
    .unwrap();
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", &flag]);
    for line in [
        "[WARN] serf: Failed to parse address: lost",
        "[WARN] serf: Failed to convert clock time: x",
        "[WARN] serf: Failed to convert event clock time: y",
        "[WARN] serf: Failed to convert query clock time: -1",
        "[WARN] serf: Unrecognized snapshot line: what",
        "[WARN] serf: Snapshot ends inside a line: dropping its last 22 bytes",
        "[INFO] serf: Attempting re-join to previously known node: gone: 127.0.0.1:1",
        "[WARN] serf: Failed to re-join any previously known node",
    ] {
        agent.wait_for(line);
    }
    wait_until("new lines", || content(&snap).contains("alive: me "));
    agent.end(libc::SIGTERM);
    let text = content(&snap);
    assert!(!text.contains("n3"), "{text}");
    let lines = text.lines().skip(9);
    for line in lines {
        let known = [
            "alive: me 127.0.0.1:",
            "clock: ",
            "event-clock: ",
            "query-clock: ",
        ];
        assert!(known.iter().any(|start| line.starts_with(start)), "{text}");
    }
}

/// One program writes a snapshot, the other continues from it, in both directions.
#[test]
fn snapshots_are_shared_with_the_reference() {
    if lacks_reference("snapshots_are_shared_with_the_reference") {
        return;
    }
    let peer = Agent::start(&["-node=peer number 1"]);
    let kinds = [Kind::Serf, Kind::Cottar];
    for (first, second) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
        let dir = tempfile::tempdir().unwrap();
        let (snap, ran) = (dir.path().join("snap"), dir.path().join("ran"));
        let address = free();
        // A new name each time, because the peer lists the previous agent as alive for a while.
        let me = format!("me-{}", address.port());
        let flags = [
            format!("-node={me}"),
            "-replay".to_owned(),
            "-log-level=debug".to_owned(),
            format!("-snapshot={}", snap.display()),
            format!(
                "-event-handler=user=echo $SERF_USER_EVENT >> {}",
                ran.display()
            ),
        ];
        let start = |kind: Kind, more: &[&str]| {
            let spec = Spec::bare(kind).gossip(address).args(&flags);
            spec.args(more).start()
        };
        let agent = start(first, &[&join(&peer)]);
        wait_until("joined", || peer.sees(&me, "alive"));
        let mark = format!("seen-{}", address.port());
        assert!(peer.call("event", &["-coalesce=false", &mark]).0);
        wait_until("handled", || content(&ran).contains(&mark));
        agent.end(libc::SIGTERM);
        drop(agent);
        fs::write(&ran, "").unwrap();

        let agent = start(second, &[]);
        agent.wait_for("Re-joined to previously known node: peer number 1: ");
        wait_until("back", || peer.sees(&me, "alive"));
        let mark = format!("next-{}", address.port());
        assert!(peer.call("event", &["-coalesce=false", &mark]).0);
        wait_until("the new one", || content(&ran).contains(&mark));
        assert!(!content(&ran).contains("seen-"), "{}", content(&ran));

        // Each program respects a leave that the other one recorded.
        assert_eq!(agent.end(libc::SIGINT), 0);
        drop(agent);
        let agent = start(first, &[]);
        agent.wait_for(&format!("EventMemberJoin: {me}"));
        assert!(agent.call("event", &["alone"]).0);
        assert!(!agent.text().contains("Attempting re-join"));
        agent.end(libc::SIGKILL);
        drop(agent);
        fs::write(
            &snap,
            format!("alive: peer number 1 {}\nleave\n", peer.gossip),
        )
        .unwrap();
        let agent = start(second, &["-rejoin"]);
        agent.wait_for("Re-joined to previously known node: peer number 1: ");
    }
}

#[test]
fn a_long_snapshot_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    let mut file = fs::File::create(&snap).unwrap();
    for number in 0..20_000 {
        writeln!(file, "clock: {number}").unwrap();
    }
    drop(file);
    set_mode(&snap, 0o640);
    let before = fs::metadata(&snap).unwrap();
    assert!(before.len() > 128 << 10);
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", "-profile=local", &flag]);
    wait_until("compaction", || fs::metadata(&snap).unwrap().len() < 1000);
    assert_ne!(fs::metadata(&snap).unwrap().ino(), before.ino());
    assert_eq!(mode(&snap), 0o640);
    let clock = |text: &str| -> Option<u64> {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix("clock: ")?.parse().ok())
    };
    let text = content(&snap);
    assert!(text.contains("alive: me "), "{text}");
    assert!(clock(&text) >= Some(19_999), "{text}");
    // The agent writes to the new file.
    assert!(agent.call("event", &["after"]).0);
    wait_until("the event's time", || {
        content(&snap)
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("event-clock: "))
            && content(&snap).len() > text.len()
    });
    assert_eq!(agent.end(libc::SIGINT), 0);
    assert!(content(&snap).contains("leave\n"));
    assert_eq!(files_and_locks(dir.path()), (1, 1), "no leftovers");
}

/// The numbers of other files and of lock files in a folder.
fn files_and_locks(dir: &Path) -> (usize, usize) {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let (locks, files): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".lock"));
    (files.len(), locks.len())
}

/// The number of log lines that say that the snapshot cannot be written.
fn complaints(agent: &Agent) -> usize {
    agent.text().matches("Failed to write snapshot").count()
}

#[test]
fn a_full_disk_is_logged_once_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    fs::write(&snap, format!("#{}\n", "x".repeat(500))).unwrap();
    let flag = format!("-snapshot={}", snap.display());
    let agent = Spec::bare(Kind::Cottar)
        .args(["-node=me", "-profile=local", &flag])
        // The soft limit only, so that it can be raised again.
        .after("ulimit -S -f 1")
        .piped()
        .start();
    let peer = Agent::start(&["-node=peer", "-profile=local", &join(&agent)]);
    wait_until("joined", || agent.sees("peer", "alive"));
    let mut lost = 0;
    wait_until("the limit is reached", || {
        lost += 1;
        assert!(
            peer.call("event", &["-coalesce=false", &format!("e{lost}")])
                .0
        );
        complaints(&agent) > 0
    });
    for number in 0..20 {
        assert!(
            agent
                .call("event", &["-coalesce=false", &format!("f{number}")])
                .0
        );
    }
    assert!(fs::metadata(&snap).unwrap().len() <= 1024);
    assert!(content(&snap).ends_with('\n'), "no half line");
    let pid = agent.pid().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:"])
        .status();
    assert!(raised.unwrap().success());
    agent.wait_for("can be written again");
    assert_eq!(complaints(&agent), 1, "{}", agent.text());
    let text = content(&snap);
    assert!(
        text.contains(&format!("alive: peer {}\n", peer.gossip)),
        "{text}"
    );
    assert!(!text.contains("xxx"), "a new file: {text}");
    // Further events are recorded.
    assert!(agent.call("event", &["-coalesce=false", "again"]).0);
    wait_until("new lines", || content(&snap).len() > text.len());
    assert_eq!(agent.end(libc::SIGINT), 0);
}

#[test]
fn a_lost_directory_is_logged_once_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let snap = folder.join("snap");
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", "-profile=local", &flag]);
    wait_until("first lines", || content(&snap).contains("alive: me "));
    fs::remove_dir_all(&folder).unwrap();
    for number in 0..5 {
        assert!(
            agent
                .call("event", &["-coalesce=false", &format!("e{number}")])
                .0
        );
    }
    agent.wait_for("Failed to write snapshot");
    fs::create_dir(&folder).unwrap();
    agent.wait_for("can be written again");
    assert_eq!(complaints(&agent), 1, "{}", agent.text());
    assert!(content(&snap).contains("alive: me "));
}

/// With -replay, a join in the background (-retry-join) delivers old events, too.
#[test]
fn old_events_are_replayed_if_requested_at_the_join() {
    let dir = tempfile::tempdir().unwrap();
    let peer = peer();
    assert!(peer.call("event", &["-coalesce=false", "old"]).0);
    let config = dir.path().join("config.json");
    let text = format!(
        "{{\"replay_on_join\": true, \"retry_join\": [\"{}\"]}}",
        peer.gossip
    );
    fs::write(&config, text).unwrap();
    let (by_file, by_flag) = (format!("-config-file={}", config.display()), join(&peer));
    let cases: [(&str, &[&str], bool); 3] = [
        ("flag", &[&by_flag, "-replay"], true),
        ("file", &[&by_file], true),
        ("neither", &[&by_flag], false),
    ];
    let agents = cases.map(|(name, args, replay)| {
        let ran = dir.path().join(name);
        let handler = format!(
            "-event-handler=user=echo $SERF_USER_EVENT >> {}",
            ran.display()
        );
        let node = format!("-node={name}");
        let agent = Agent::start(&[&[&handler, &node, "-profile=local"], args].concat());
        agent.wait_for(&format!(
            "[INFO] agent: Joining cluster...(replay: {replay})\n"
        ));
        agent.wait_for("[INFO] agent: Join completed. Synced with 1 initial agents");
        (agent, ran, replay)
    });
    assert!(peer.call("event", &["-coalesce=false", "new"]).0);
    for (_agent, ran, replay) in agents {
        let expected = if replay { "old\nnew\n" } else { "new\n" };
        wait_until(expected, || content(&ran).ends_with("new\n"));
        assert_eq!(content(&ran), expected);
    }
}

/// Simulates a hanging disk: stops the process by which the agent syncs to the disk, with SIGSTOP.
struct SlowDisk(u32);

impl SlowDisk {
    /// Makes changes that the agent must save, until it catches and stops such a process.
    fn catch(agent: &Agent, mut change: impl FnMut() -> Running) -> (SlowDisk, Running) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let mut running = change();
            while running.is_running() {
                if let Some(pid) = SlowDisk::find(agent) {
                    return (SlowDisk(pid), running);
                }
                assert!(std::time::Instant::now() < deadline, "nothing was caught");
            }
        }
    }

    fn find(agent: &Agent) -> Option<u32> {
        let pid = agent.pid();
        let children = content(Path::new(&format!("/proc/{pid}/task/{pid}/children")));
        children.split_whitespace().find_map(|child| {
            let shown = |file: &str| content(Path::new(&format!("/proc/{child}/{file}")));
            // Only after its exec, for which the agent waits.
            if !shown("cmdline").starts_with("cottar: sync") {
                return None;
            }
            // The file comes first, then its directory.
            let what = fs::read_link(format!("/proc/{child}/fd/0")).ok()?;
            if !what.to_string_lossy().ends_with(".new") {
                return None;
            }
            let id: i32 = child.parse().ok()?;
            kill(id, "STOP");
            let is_stopped = || shown("stat").rsplit(')').next()?.chars().nth(1);
            loop {
                match is_stopped() {
                    Some('T') => return u32::try_from(id).ok(),
                    // It had finished before it was stopped.
                    None | Some('Z' | 'X') => return None,
                    Some(_) => std::thread::yield_now(),
                }
            }
        })
    }

    fn goes_on(self) {
        kill(self.0 as i32, "CONT");
    }
}

fn kill(pid: i32, signal: &str) {
    let command = format!("kill -{signal} {pid} 2>/dev/null");
    let _ = Command::new("/bin/sh").args(["-c", &command]).status();
}

/// A running command of ours.
struct Running(std::process::Child);

impl Running {
    fn start(agent: &Agent, args: &[&str]) -> Running {
        let mut command = Command::new(COTTAR);
        command.arg(args[0]).arg(format!("-rpc-addr={}", agent.rpc));
        command
            .args(&args[1..])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Running(command.spawn().unwrap())
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

#[test]
fn a_slow_disk_blocks_nothing_and_loses_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tags");
    let flag = format!("-tags-file={}", path.display());
    let agent = Agent::start(&["-node=t", "-profile=local", &flag]);
    let mut number = 0;
    let (disk, mut first) = SlowDisk::catch(&agent, || {
        number += 1;
        Running::start(&agent, &["tags", &format!("-set=a={number}")])
    });
    // The change is not visible, the file is unchanged, and the agent answers other requests.
    let old = content(&path);
    assert!(!old.contains(&format!("\"a\": \"{number}\"")), "{old}");
    assert!(!agent.member("t").ends_with(&format!("a={number}")));
    let mut second = Running::start(&agent, &["tags", "-set=b=2"]);
    let mut third = Running::start(&agent, &["tags", "-set=c=3", "-delete=nothing"]);
    assert!(agent.call("event", &["meanwhile"]).0);
    agent.wait_for("Received event: user-event: meanwhile");
    assert!(first.is_running() && second.is_running() && third.is_running());
    assert_eq!(content(&path), old);
    disk.goes_on();
    for running in [&mut first, &mut second, &mut third] {
        assert!(running.0.wait().unwrap().success());
    }
    let expected = format!("{{\n  \"a\": \"{number}\",\n  \"b\": \"2\",\n  \"c\": \"3\"\n}}");
    assert_eq!(content(&path), expected);
    assert!(agent.member("t").ends_with(&format!("a={number},b=2,c=3")));
    assert_eq!(files_and_locks(dir.path()), (1, 1));
}

#[test]
fn keys_being_written_at_the_end_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, format!("[\"{OLD_KEY}\"]")).unwrap();
    set_mode(&path, 0o600);
    let flag = format!("-keyring-file={}", path.display());
    let agent = Agent::start(&["-node=t", "-profile=local", &flag]);
    let mut installs = false;
    let (_disk, mut running) = SlowDisk::catch(&agent, || {
        installs = !installs;
        let change = if installs { "-install" } else { "-remove" };
        Running::start(&agent, &["keys", &format!("{change}={NEW_KEY}")])
    });
    // The key is in use at once, but the change is not confirmed yet.
    assert!(running.is_running());
    let (_, listed) = agent.call("keys", &["-list"]);
    assert_eq!(listed.contains(NEW_KEY), installs, "{listed}");
    assert_eq!(content(&path).contains(NEW_KEY), !installs);
    agent.end(libc::SIGTERM);
    assert_eq!(content(&path).contains(NEW_KEY), installs);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(files_and_locks(dir.path()), (1, 1));
    let _ = running.0.wait();
}

#[test]
fn a_signal_ends_a_start_that_waits_for_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    for (flag, signal) in [
        ("-tags-file", libc::SIGINT),
        ("-keyring-file", libc::SIGTERM),
    ] {
        let agent = Agent::spawn(&["-node=t", &format!("{flag}={}", path.display())]);
        agent.wait_for("==> Starting Serf agent...");
        // Ended by the signal, without an exit status.
        assert_eq!(agent.end(signal), -1, "{flag}");
    }
}
