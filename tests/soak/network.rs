//! A private network namespace with only loopback and a firewall that drops datagrams.

use crate::live::namespace::{self, call};
use crate::live::skip::{lacks_reference, skip};

/// Runs `story` in a new network namespace with a firewall.
pub fn in_own_network<T: Send>(story: impl FnOnce() -> T + Send) -> Result<T, String> {
    namespace::in_own_network(|| {
        call(&["nft", "add", "table", "inet", "soak"])?;
        let hook = "{ type filter hook input priority 0 ; }";
        call(&["nft", "add", "chain", "inet", "soak", "in", hook])?;
        Ok(story())
    })?
}

/// Drops this percentage of incoming datagrams, in the network namespace of this thread.
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

/// Whether this machine cannot run the test; records the skip if so.
pub fn is_impossible(name: &str, needs_reference: bool) -> bool {
    if needs_reference && lacks_reference(name) {
        return true;
    }
    match in_own_network(|| ()) {
        Ok(()) => false,
        Err(why) => {
            skip(name, &why);
            true
        }
    }
}
