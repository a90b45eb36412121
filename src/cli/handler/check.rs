//! `handler check`: shows how an agent would treat the files in handler directories.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::agent::config::directory::{Finding, HandlerDirs, Verdict, examine_file};
use crate::cli::columns::columns;
use crate::cli::command::flags::Flags;
use crate::cli::common::{format, unknown_format};
use crate::cli::failure::Failure;
use crate::handler::Moment;
use crate::json::Json;
use crate::os::error::shown;
use crate::time::Instant;
use crate::wire::name::Escaped;

/// Handler directory of packages.
const DIRECTORY: &str = "/etc/cottar/handlers.d";
/// Exit status if a file is refused or undeclared.
const WRONG: u8 = 1;

/// Prints which files would run for which events, and why others would not.
pub(in crate::cli) fn check(flags: &Flags, out: &mut dyn Write) -> Result<u8, Failure> {
    let show = match format(flags) {
        "json" => json,
        "text" => table,
        other => return Err(unknown_format(other)),
    };
    flags.refuse_late_flags().map_err(Failure::Usage)?;
    let default = [OsString::from(DIRECTORY)];
    let paths = match flags.arguments() {
        [] => &default[..],
        given => given,
    };
    let is_file = |path: &&OsString| Path::new(path).exists() && !Path::new(path).is_dir();
    let (files, directories): (Vec<_>, Vec<_>) = paths.iter().partition(is_file);
    let directories: Vec<_> = directories.iter().map(|d| d.as_bytes().to_vec()).collect();
    let mut looked_at = HandlerDirs::new(&directories);
    looked_at.look_at_once(Moment::from(Instant::ORIGIN));
    let mut findings = looked_at.findings(&[]);
    findings.extend(files.into_iter().map(|path| Finding {
        path: path.into(),
        verdict: examine_file(Path::new(path)),
    }));
    writeln!(out, "{}", show(&findings))?;
    let is_wrong = |finding: &Finding| {
        matches!(
            finding.verdict,
            Verdict::Undeclared(_) | Verdict::Refused(_)
        )
    };
    Ok(if findings.iter().any(is_wrong) {
        WRONG
    } else {
        0
    })
}

/// Returns the verdict in a word, and the events or the reason.
fn described(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Handler(settings) => ("runs", Escaped(&settings.filter()).to_string()),
        Verdict::Skipped(why) => ("skipped", why.clone()),
        Verdict::Undeclared(why) => ("undeclared", why.clone()),
        Verdict::Refused(why) => ("refused", why.clone()),
    }
}

fn table(findings: &[Finding]) -> String {
    let mut rows = vec![
        ["FILE", "STATE", "EVENTS OR REASON"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for finding in findings {
        let (state, text) = described(&finding.verdict);
        rows.push(vec![
            shown(&finding.path).to_string(),
            state.to_owned(),
            text,
        ]);
    }
    columns(&rows)
}

fn json(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let (state, text) = described(&finding.verdict);
        let runs = matches!(finding.verdict, Verdict::Handler(_));
        let (on, why) = match runs {
            true => (Json::text(text), Json::Null),
            false => (Json::Null, Json::text(text)),
        };
        Json::object(vec![
            (
                "file",
                Json::text(OsStr::as_bytes(finding.path.as_os_str())),
            ),
            ("state", Json::text(state)),
            ("on", on),
            ("reason", why),
        ])
    };
    let list = Json::List(findings.iter().map(one).collect());
    Json::object(vec![("files", list)]).indented()
}
