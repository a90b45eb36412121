//! The `cottar` program: runs a command and converts its result to an exit status.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use cottar::agent::files::sync;
use cottar::agent::process::{drain, resolver, run_as};

fn main() -> ExitCode {
    // The agent starts its own binary under these names: to resolve host names, to sync files, to run a
    // handler as another user, and to drain the output of handlers that have ended.
    let name = std::env::args_os().next().unwrap_or_default();
    if name == resolver::ARGV0 {
        return resolver::child_main();
    }
    if name == sync::ARGV0 {
        return sync::child_main();
    }
    if name == run_as::ARGV0 {
        return run_as::child_main();
    }
    if name == drain::ARGV0 {
        return drain::child_main();
    }
    cottar::cli::main(std::env::args_os())
}
