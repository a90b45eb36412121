//! Output of `handler test`, parts of which `handler run` uses.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::number;
use crate::cli::command::flags::Flags;
use crate::cli::common::{format, unknown_format};
use crate::cli::failure::Failure;
use crate::count::Count;
use crate::handler::outcome::{Millis, output_bytes_kept};
use crate::handler::{End, Invocation, Outcome};
use crate::json::Json;
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Style of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Text, as each part becomes known.
    Text,
    /// One JSON object at the end.
    Json,
    /// The handler's output only; all other information goes to stderr.
    Quiet,
}

impl Style {
    /// Returns the style that the flags ask for.
    pub(super) fn of(flags: &Flags) -> Result<Self, Failure> {
        match format(flags) {
            _ if flags.flag("quiet") => Ok(Style::Quiet),
            "text" => Ok(Style::Text),
            "json" => Ok(Style::Json),
            other => Err(unknown_format(other)),
        }
    }
}

/// Limits that an agent would apply.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) time: Option<Duration>,
    pub(super) grace: Duration,
    /// Limit for the encoded answer.
    pub(super) answer_bytes: usize,
}

/// Size of the encoded answer, or why it would not be sent.
pub(super) type Verdict = Result<usize, String>;

/// Report about all runs for one event.
#[derive(Debug)]
pub(super) struct Report {
    style: Style,
    event: String,
    is_query: bool,
    pub(super) limits: Limits,
    runs: Vec<Json>,
}

impl Report {
    pub(super) fn new(style: Style, event: String, is_query: bool, limits: Limits) -> Self {
        Report {
            style,
            event,
            is_query,
            limits,
            runs: Vec::new(),
        }
    }

    /// Prints the environment and input of a run that begins.
    pub(super) fn given(&self, invocation: &Invocation, out: &mut dyn Write) -> io::Result<()> {
        if self.style != Style::Text {
            return Ok(());
        }
        let mut text = format!(
            "Event: {}\nScript: {}\nEnvironment:\n",
            self.event,
            Escaped(&invocation.script)
        );
        for (name, value) in &invocation.env {
            let _ = writeln!(text, "    {}={}", Escaped(name), Escaped(value));
        }
        text += "Input:";
        block(&mut text, &invocation.stdin, invocation.stdin.len() as u64);
        let limits = &self.limits;
        match limits.time {
            None => text += "Limits: no time limit",
            Some(time) => {
                let _ = write!(text, "Limits: {time:?} of time");
            }
        }
        let _ = write!(
            text,
            ", {:?} more for open output, {} of output",
            limits.grace,
            Count(output_bytes_kept(limits.answer_bytes) as u64, "byte")
        );
        if self.is_query {
            let _ = write!(
                text,
                ", {} for an answer's message",
                Count(limits.answer_bytes as u64, "byte")
            );
        }
        text.push('\n');
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints or collects the outcome of a run.
    pub(super) fn came(
        &mut self,
        invocation: &Invocation,
        outcome: &Outcome,
        code: u8,
        verdict: Option<Verdict>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.style == Style::Json {
            self.runs.push(run(invocation, outcome, code, verdict));
            return Ok(());
        }
        let refused = verdict.as_ref().and_then(|verdict| verdict.as_ref().err());
        let written = (&*outcome.output, outcome.output_bytes);
        show(self.style, written, &end(outcome), refused, out)?;
        match self.style {
            Style::Text if self.is_query => writeln!(out, "Answer: {}", answer(outcome, verdict)),
            _ => Ok(()),
        }
    }

    /// Prints the JSON object after all runs.
    pub(super) fn end(self, out: &mut dyn Write) -> io::Result<()> {
        if self.style != Style::Json {
            return Ok(());
        }
        let limits = Json::object(vec![
            (
                "handler_timeout_nanos",
                self.limits.time.map_or(Json::Null, nanos),
            ),
            ("handler_grace_nanos", nanos(self.limits.grace)),
            (
                "output_bytes",
                number(output_bytes_kept(self.limits.answer_bytes) as u64),
            ),
            (
                "answer_message_bytes",
                number(self.limits.answer_bytes as u64),
            ),
        ]);
        let report = Json::object(vec![
            ("event", Json::text(self.event)),
            ("limits", limits),
            ("runs", Json::List(self.runs)),
        ]);
        writeln!(out, "{}", report.indented())
    }
}

/// Prints the kept output of a handler, its complete size and its end; in quiet style also why there is no
/// answer. Prints nothing in JSON style.
pub(super) fn show(
    style: Style,
    (output, bytes): (&[u8], u64),
    end: &str,
    refused: Option<&String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = String::new();
    match style {
        Style::Text => {
            text += "Output:";
            block(&mut text, output, bytes);
            let _ = writeln!(text, "End: {end}");
            out.write_all(text.as_bytes())
        }
        Style::Quiet => {
            out.write_all(output)?;
            if bytes > output.len() as u64 {
                let bytes = Count(bytes, "byte");
                let _ = writeln!(text, "The last {} of {bytes}", output.len());
            }
            // The command's exit status says the same.
            if !end.starts_with("exit status ") {
                let _ = writeln!(text, "{end}");
            }
            if let Some(why) = refused {
                let _ = writeln!(text, "No answer: {why}");
            }
            let _ = io::stderr().write_all(text.as_bytes());
            Ok(())
        }
        Style::Json => Ok(()),
    }
}

fn run(invocation: &Invocation, outcome: &Outcome, code: u8, verdict: Option<Verdict>) -> Json {
    let variables = invocation.env.iter();
    let env = variables.map(|(name, value)| (name.clone(), Json::text(value)));
    let answer = verdict.map_or(Json::Null, |verdict| {
        let (message, refused) = match verdict {
            Ok(bytes) => (number(bytes as u64), Json::Null),
            Err(why) => (Json::Null, Json::text(why)),
        };
        Json::object(vec![("message_bytes", message), ("refused", refused)])
    });
    Json::object(vec![
        ("script", Json::text(&invocation.script)),
        ("env", Json::Object(env.collect())),
        ("stdin", Json::text(&invocation.stdin)),
        ("output", Json::text(&outcome.output)),
        ("output_bytes", number(outcome.output_bytes)),
        ("end", Json::text(outcome.end.to_string())),
        ("exit_status", number(code.into())),
        ("duration_nanos", nanos(outcome.duration)),
        ("answer", answer),
    ])
}

fn nanos(time: Duration) -> Json {
    number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Describes the end of a run, and its duration if it began.
fn end(outcome: &Outcome) -> String {
    match &outcome.end {
        end @ End::NotStarted(_) => end.to_string(),
        end => format!("{end} after {}", Millis(outcome.duration)),
    }
}

fn answer(outcome: &Outcome, verdict: Option<Verdict>) -> String {
    match verdict {
        Some(Ok(bytes)) => format!("the output, in a message of {bytes} bytes"),
        Some(Err(why)) => format!("not sent: {why}"),
        None if outcome.is_success() => "none, because there is no output".to_owned(),
        None => "none, because the handler failed".to_owned(),
    }
}

/// Appends the size of a text and its last bytes, line by line. Tabs are not escaped.
fn block(text: &mut String, bytes: &[u8], total: u64) {
    let _ = write!(text, " {}", Count(total, "byte"));
    if total > bytes.len() as u64 {
        let _ = write!(text, ", the last {} kept", bytes.len());
    }
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if lines.len() == bytes.len() && !bytes.is_empty() {
        *text += ", no newline at the end";
    }
    text.push('\n');
    if bytes.is_empty() {
        return;
    }
    for line in lines.split(|&byte| byte == b'\n') {
        *text += "    ";
        for (index, cell) in line.split(|&byte| byte == b'\t').enumerate() {
            let tab = if index > 0 { "\t" } else { "" };
            let _ = write!(text, "{tab}{}", Escaped(cell));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_line_by_line() {
        for (bytes, total, shown) in [
            (&b""[..], 0, " 0 bytes\n"),
            (b"a\tb\n", 4, " 4 bytes\n    a\tb\n"),
            (b"\n\x1b\n", 3, " 3 bytes\n    \n    \\u{1b}\n"),
            (b"\n", 1, " 1 byte\n    \n"),
            (
                b"a\nb",
                9,
                " 9 bytes, the last 3 kept, no newline at the end\n    a\n    b\n",
            ),
        ] {
            let mut text = String::new();
            block(&mut text, bytes, total);
            assert_eq!(text, shown);
        }
    }
}
