//! `handler run` and `handler sync`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::event::handler_and_event;
use super::number;
use super::queue::{one_or_all, unsupported};
use super::report::{Style, show};
use crate::cli::columns::columns;
use crate::cli::command::flags::Flags;
use crate::cli::common::{connect, failed, format, is_in_handler, unknown_format};
use crate::cli::failure::Failure;
use crate::handler::outcome::Millis;
use crate::json::Json;
use crate::rpc::Request;
use crate::rpc::request::{Runs, SyntheticEvent};
use crate::rpc::runs::RunEnd;
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Requests `sync` runs and waits for their ends, unless the agent itself waits for this command. Returns the
/// first exit status that is not 0.
pub(in crate::cli) fn sync(flags: &Flags, out: &mut dyn Write) -> Result<u8, Failure> {
    let show = match format(flags) {
        "json" => json,
        "text" => table,
        other => return Err(unknown_format(other)),
    };
    let name = one_or_all(flags, "The name is empty. For all handlers, omit it.")?;
    let runs = ask(flags, name, None, "Error syncing handlers")?;
    writeln!(out, "{}", show(&runs))?;
    Ok(status(&runs))
}

/// Requests a run of a handler for a synthetic event and waits for its end, unless the agent itself waits for
/// this command. Returns the exit status.
pub(in crate::cli) fn run(flags: &Flags, out: &mut dyn Write) -> Result<u8, Failure> {
    let (name, event) = handler_and_event(flags)?;
    let style = Style::of(flags)?;
    let what = "Error running the handler";
    let runs = ask(flags, name.as_bytes().to_vec(), Some(event), what)?;
    if style == Style::Json {
        writeln!(out, "{}", json(&runs))?;
    }
    for run in &runs {
        let mut end = Escaped(&run.end).to_string();
        if run.duration_nanos > 0 {
            let time = Millis(Duration::from_nanos(run.duration_nanos));
            end += &format!(" after {time}");
        }
        show(style, (&run.output, run.output_bytes), &end, None, out)?;
    }
    Ok(status(&runs))
}

fn ask(
    flags: &Flags,
    name: Vec<u8>,
    event: Option<SyntheticEvent>,
    what: &str,
) -> Result<Vec<RunEnd>, Failure> {
    let request = Request::RunHandlers(Runs {
        name,
        event,
        is_awaited: !is_in_handler(),
    });
    let runs = connect(flags)?.handler_runs(&request);
    runs.map_err(failed(what))?
        .ok_or_else(|| unsupported(flags.command().name))
}

/// Returns the first exit status that is not 0, or 0.
fn status(runs: &[RunEnd]) -> u8 {
    let mut statuses = runs.iter().map(|run| run.status);
    statuses.find(|status| *status != 0).unwrap_or_default()
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
