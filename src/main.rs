//! The `cottar` program: runs a command and turns its end into an exit code.

use std::process::ExitCode;

use cottar::agent::resolver;

fn main() -> ExitCode {
    // The agent starts its own binary under this name to look host names up.
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == resolver::ARGV0)
    {
        return resolver::child_main();
    }
    cottar::cli::main(std::env::args_os())
}
