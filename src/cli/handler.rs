//! `handler list`; `handler test` in [`mod@test`], `handler check` in [`check`], and queue commands in
//! [`queue`]. The reference has none of them.

pub(super) mod check;
mod event;
pub(super) mod queue;
mod report;
pub(super) mod runs;
pub(super) mod test;

use std::io::Write;

use super::columns::columns;
use super::command::flags::Flags;
use super::common::{connect, failed, format, unknown_format};
use super::failure::{Failure, Outcome};
use crate::handler::outcome::Millis;
use crate::json::Json;
use crate::rpc::handlers::HandlerFigures;
use crate::time::Duration;
use crate::wire::name::Escaped;

const UNSUPPORTED: &str = "This agent does not support 'handler list': \
     it is a Serf agent or an older cottar";

pub(super) fn list(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let show = match format(flags) {
        "json" => json,
        "text" => table,
        other => return Err(unknown_format(other)),
    };
    let handlers = connect(flags)?
        .handlers()
        .map_err(failed("Error listing handlers"))?
        .ok_or_else(|| Failure::Message(UNSUPPORTED.to_owned()))?;
    writeln!(out, "{}", show(&handlers))?;
    Ok(())
}

fn table(handlers: &[HandlerFigures]) -> String {
    let titles = [
        "NAME", "FILTER", "STATE", "WAITING", "RUNS", "FAILURES", "TIMEOUTS", "DROPS", "LAST",
        "LONGEST", "SCRIPT",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for handler in handlers {
        let time = |nanos| match handler.runs {
            0 => "-".to_owned(),
            _ => Millis(Duration::from_nanos(nanos)).to_string(),
        };
        rows.push(vec![
            Escaped(&handler.name).to_string(),
            Escaped(&handler.filter).to_string(),
            if handler.is_paused { "paused" } else { "on" }.to_owned(),
            handler.waiting.to_string(),
            handler.runs.to_string(),
            handler.failures.to_string(),
            handler.timeouts.to_string(),
            handler.drops.to_string(),
            time(handler.last_nanos),
            time(handler.longest_nanos),
            Escaped(&handler.script).to_string(),
        ]);
    }
    columns(&rows)
}

fn json(handlers: &[HandlerFigures]) -> String {
    let one = |handler: &HandlerFigures| {
        let time = |nanos| match handler.runs {
            0 => Json::Null,
            _ => number(nanos),
        };
        Json::object(vec![
            ("name", Json::text(&handler.name)),
            ("filter", Json::text(&handler.filter)),
            ("paused", Json::Bool(handler.is_paused)),
            ("waiting", number(handler.waiting)),
            ("script", Json::text(&handler.script)),
            ("runs", number(handler.runs)),
            ("failures", number(handler.failures)),
            ("timeouts", number(handler.timeouts)),
            ("drops", number(handler.drops)),
            ("last_nanos", time(handler.last_nanos)),
            ("longest_nanos", time(handler.longest_nanos)),
        ])
    };
    let list = Json::List(handlers.iter().map(one).collect());
    Json::object(vec![("handlers", list)]).indented()
}

fn number(number: u64) -> Json {
    Json::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_listed_in_their_order() {
        let ran = HandlerFigures {
            name: b"x".to_vec(),
            is_paused: true,
            waiting: 4,
            filter: b"user:a\tb".to_vec(),
            script: b"x\ny".to_vec(),
            runs: 12,
            failures: 2,
            timeouts: 1,
            drops: 3,
            last_nanos: 1_500_000,
            longest_nanos: u64::MAX,
        };
        let waits = HandlerFigures {
            filter: b"*".to_vec(),
            ..HandlerFigures::default()
        };
        let handlers = [ran, waits];
        assert_eq!(
            table(&handlers),
            "NAME  FILTER     STATE   WAITING  RUNS  FAILURES  TIMEOUTS  DROPS  LAST     LONGEST               SCRIPT\n\
             x     user:a\\tb  paused  4        12    2         1         3      1.500ms  18446744073709.551ms  x\\ny\n      \
             *          on      0        0     0         0         0      -        -"
        );
        let text = json(&handlers);
        assert!(
            text.contains("\"longest_nanos\": 9223372036854775807\n"),
            "{text}"
        );
        assert!(text.contains("\"last_nanos\": null,\n"), "{text}");
        assert_eq!(json(&[]), "{\n  \"handlers\": []\n}");
    }
}
