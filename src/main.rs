//! The `cottar` program.

fn main() -> std::process::ExitCode {
    cottar::cli::main(std::env::args_os())
}
