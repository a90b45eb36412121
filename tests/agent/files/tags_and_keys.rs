//! Files of tags and keys: read at the start, written at each change, shared with the reference.

use std::fs;
use std::process::Command;

use super::{NEW_KEY, OLD_KEY, join, mode, set_mode};
use crate::live::{Agent, Kind, Spec, content, lacks_reference, refused, wait_until};

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

#[test]
fn a_signal_ends_a_start_that_waits_for_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&path).status();
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
