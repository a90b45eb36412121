//! A network of the soak's own: nothing but loopback, and a firewall that drops datagrams.

use crate::live::{reference, run};
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

/// Runs `story` in a new network, which all that it starts inherits and which vanishes with it.
pub fn in_own_network<T: Send>(story: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| {
            // SAFETY: a plain system call; it takes this thread alone into the new network.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err("no right to make network namespaces".to_owned());
            }
            call(&["ip", "link", "set", "lo", "up"])?;
            call(&["nft", "add", "table", "inet", "soak"])?;
            let hook = "{ type filter hook input priority 0 ; }";
            call(&["nft", "add", "chain", "inet", "soak", "in", hook])?;
            Ok(story())
        });
        match alone.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Drops so many of a hundred datagrams on their way in, on the network of this thread.
pub fn lose(percent: u8) {
    call(&["nft", "flush", "chain", "inet", "soak", "in"]).expect("no rules");
    if percent > 0 {
        let percent = percent.to_string();
        let rule = ["nft", "add", "rule", "inet", "soak", "in"];
        let what = ["meta", "l4proto", "udp", "numgen", "random", "mod", "100"];
        let fate = ["<", &percent, "drop"];
        call(&[&rule[..], &what, &fate].concat()).expect("a rule");
    }
}

/// Whether this machine cannot run the test, which is then said.
pub fn is_impossible(name: &str, needs_reference: bool) -> bool {
    let why = if needs_reference && reference().is_none() {
        Some("there is no `serf` on the path".to_owned())
    } else {
        in_own_network(|| ()).err()
    };
    let Some(why) = why else {
        return false;
    };
    let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(!required, "{name}: COTTAR_INTEROP=require, but {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
    true
}

fn call(line: &[&str]) -> Result<(), String> {
    let ended = run(
        Command::new(line[0]).args(&line[1..]),
        Duration::from_secs(20),
    )?;
    if ended.code == 0 {
        Ok(())
    } else {
        Err(format!("{}: {}", line.join(" "), ended.stderr.trim()))
    }
}
