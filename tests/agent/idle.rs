//! An agent that has nothing to do.

use std::net::TcpStream;

use crate::live::skip::skip;
use crate::live::wait_until;
use crate::{handshake, start};

/// Returns whether a process sleeps in a system call whose fourth argument, the timeout of a poll, is -1.
/// Panics if the kernel does not show the call.
fn sleeps_for_good(id: u32) -> std::io::Result<bool> {
    let text = std::fs::read_to_string(format!("/proc/{id}/syscall"))?;
    // The number of the call, then its arguments; just one word if the process does not sleep.
    let timeout = text.split_whitespace().nth(4).unwrap_or_default();
    let timeout = timeout.strip_prefix("0x").unwrap_or_default();
    Ok(u64::from_str_radix(timeout, 16).is_ok_and(|timeout| timeout as i32 == -1))
}

#[test]
fn an_agent_alone_has_no_timer() {
    let agent = start("alone", &[]);
    if let Err(why) = sleeps_for_good(agent.pid()) {
        return skip("an agent alone has no timer", &why.to_string());
    }
    let sleeps = || sleeps_for_good(agent.pid()).unwrap();
    wait_until("a sleep without a timeout", sleeps);
    let mut client = TcpStream::connect(agent.rpc).unwrap();
    handshake(&mut client).unwrap();
    wait_until(
        "a sleep without a timeout while a client is connected",
        sleeps,
    );
}
