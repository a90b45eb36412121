//! `handler sync`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::number;
use super::queue::{argument, unsupported};
use crate::cli::columns::columns;
use crate::cli::command::flags::Flags;
use crate::cli::common::{connect, failed, format, is_in_handler, unknown_format};
use crate::cli::failure::Failure;
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::runs::RunEnd;
use crate::wire::name::Escaped;

/// Asks for the runs, waits for their ends unless the agent waits for this command, and returns the first exit
/// status that is not 0.
pub(in crate::cli) fn sync(flags: &Flags, out: &mut dyn Write) -> Result<u8, Failure> {
    let show = match format(flags) {
        "json" => json,
        "text" => table,
        other => return Err(unknown_format(other)),
    };
    let name = match argument(flags)? {
        None => Vec::new(),
        // A variable that is not set, perhaps.
        Some(name) if name.is_empty() => {
            let words = "The name is empty. For all handlers, leave it out.";
            return Err(Failure::Message(words.to_owned()));
        }
        Some(name) => name.as_bytes().to_vec(),
    };
    let is_awaited = !is_in_handler();
    let runs = connect(flags)?
        .handler_runs(&Request::RunHandlers { name, is_awaited })
        .map_err(failed("Error syncing handlers"))?
        .ok_or_else(|| unsupported("handler sync"))?;
    writeln!(out, "{}", show(&runs))?;
    let status = runs
        .iter()
        .map(|run| run.status)
        .find(|status| *status != 0);
    Ok(status.unwrap_or_default())
}

fn table(runs: &[RunEnd]) -> String {
    let mut rows = vec![["NAME", "END"].map(str::to_owned).to_vec()];
    let row = |run: &RunEnd| {
        vec![
            Escaped(&run.handler).to_string(),
            Escaped(&run.end).to_string(),
        ]
    };
    rows.extend(runs.iter().map(row));
    columns(&rows)
}

fn json(runs: &[RunEnd]) -> String {
    let one = |run: &RunEnd| {
        Json::object(vec![
            ("name", Json::text(&run.handler)),
            ("end", Json::text(&run.end)),
            ("status", number(run.status.into())),
            ("output", Json::text(&run.output)),
            ("output_bytes", number(run.output_bytes)),
            ("duration_nanos", number(run.duration_nanos)),
        ])
    };
    let runs = Json::List(runs.iter().map(one).collect());
    Json::object(vec![("runs", runs)]).indented()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_shown() {
        let run = RunEnd {
            handler: b"up\tstreams".to_vec(),
            end: b"exit status 3".to_vec(),
            status: 3,
            ..RunEnd::default()
        };
        let runs = [run];
        assert_eq!(
            table(&runs),
            "NAME         END\nup\\tstreams  exit status 3"
        );
        let text = json(&runs);
        assert!(text.contains("\"status\": 3,\n"), "{text}");
        assert_eq!(json(&[]), "{\n  \"runs\": []\n}");
    }
}
