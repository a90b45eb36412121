//! A wall clock that jumps: it changes the dates in the log, and nothing else.

use crate::live::skip::note;
use crate::live::{Lab, Member, await_members, eventually, run};
use std::process::Command;
use std::time::{Duration, Instant};

/// Library that shifts the wall clock of a process by the seconds in a file.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    long seconds = 0;
    const char *path = getenv("WALL_CLOCK_SHIFT");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return result;
}
"#;

#[test]
fn a_wall_clock_that_jumps_disturbs_only_the_stamps() {
    let lab = Lab::new("clock", "CC");
    let (source, library) = (lab.path().join("shim.c"), lab.path().join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    let compiled =
        run(&mut compile, Duration::from_secs(60)).expect("cc, which the linker needs too");
    assert_eq!(compiled.code, 0, "{compiled:?}");

    let shift = lab.path().join("shift");
    std::fs::write(&shift, "0").unwrap();
    let peer = lab.start(lab.spec(0));
    let spec = lab.spec(1).args(["-retry-interval=2s"]);
    let spec = spec.args(["-retry-join=127.0.0.251:1"]).join(&peer);
    let shown = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let node = lab.start(
        spec.env("LD_PRELOAD", &shown(&library))
            .env("WALL_CLOCK_SHIFT", &shown(&shift)),
    );
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", node.pid())).unwrap();
    if !maps.contains("shim.so") {
        return note("clock", "a static binary has no shim");
    }
    let both = [&peer, &node];
    await_members(&both, &both.map(Member::of), 15.0);
    for step in ["86400", "-86400", "0"] {
        let stamps = days(&node.log()).len();
        std::fs::write(&shift, step).unwrap();
        let tries = || node.log().matches("Join failed").count();
        let (started, before) = (Instant::now(), tries());
        // A timer that used the wall clock would expire at once or in a day.
        eventually(20.0, "three more attempts to join", || {
            if tries() >= before + 3 {
                Ok(())
            } else {
                Err(node.log())
            }
        });
        assert!(
            started.elapsed() >= Duration::from_secs(4),
            "attempts came too early"
        );
        if step != "0" {
            assert_eq!(days(&node.log()).len(), stamps + 1, "{}", node.log());
        }
        await_members(&both, &both.map(Member::of), 1.0);
    }
    for node in both {
        assert!(!node.log().contains("EventMemberFailed"), "{}", node.log());
        // On a busy machine one ack may be late; a dependence on the clock would cost one per jump.
        let doubts = node.log().matches("Suspect").count();
        assert!(doubts <= 1, "{}", node.log());
    }
}

/// Returns the distinct dates of the log lines.
fn days(log: &str) -> std::collections::BTreeSet<String> {
    let lines = log.lines().filter(|line| line.starts_with("    20"));
    lines
        .filter_map(|line| line.get(4..14))
        .map(str::to_owned)
        .collect()
}
