//! Where and when figures are measured.

use std::fs;
use std::process::Command;

use crate::live::Kind;
use crate::results::Setting;

/// Returns the machine, both versions, the date and the current load.
pub fn now() -> Setting {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Setting {
        machine: machine(),
        cottar: version(Kind::Cottar),
        serf: version(Kind::Serf),
        date: first_line(Command::new("date").args(["-u", "+%F"])),
        load: load.split(' ').next().unwrap_or_default().to_owned(),
    }
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal");
    let memory: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    // Only the version: the rest of the release names a particular build.
    let release = first_line(Command::new("uname").arg("-r"));
    let version: Vec<&str> = release.split('.').take(2).collect();
    format!(
        "{processors} processors ({}), {:.0} GiB of memory, Linux {}",
        field("/proc/cpuinfo", "model name"),
        memory / f64::from(1 << 20),
        version.join("."),
    )
}

/// Returns the first line of a program's version output, and the size of its file.
fn version(kind: Kind) -> String {
    let line = first_line(Command::new(kind.program()).arg("version"));
    let size = fs::metadata(kind.program()).map_or(0, |file| file.len());
    let name = match kind {
        Kind::Cottar => "cottar",
        Kind::Serf => "Serf",
    };
    format!("{name} {line}, {size} bytes")
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or("unknown").to_owned()
}
