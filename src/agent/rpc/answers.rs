//! Writes replies that need no command to the core: members, statistics, handlers, queue (agent spec 2.4).

use regex_lite::{Regex, RegexBuilder};

use super::View;
use crate::handler::{HandlerQueue, Registered};
use crate::os::sys;
use crate::rpc::TextMap;
use crate::rpc::handlers::{self, HandlerFigures};
use crate::rpc::queue::{self, QueueEntry};
use crate::rpc::reply::{self, Stats};
use crate::serf::{Counters, Member, rewrite_expression};
use crate::time::Duration;
use crate::wire::msgpack::Writer;
use crate::wire::name::{Escaped, NodeName};

/// Limit for the memory of a compiled expression, in bytes; it bounds the time of a match, too.
const EXPRESSION_BYTES_MAX: usize = 256 << 10;

/// Limit for the queue entries in one reply: a few hundred kilobytes.
const QUEUE_ENTRIES_MAX: usize = 4096;

/// Selects the members that a client asks for.
pub(super) struct MemberFilter {
    tags: Vec<(Vec<u8>, Regex)>,
    status: Option<Regex>,
    name: Option<Regex>,
}

impl MemberFilter {
    /// Compiles the expressions. An empty one for status or name matches everything; an empty one for a tag
    /// matches members without the tag or with an empty value.
    pub fn new(tags: &TextMap, status: &[u8], name: &[u8]) -> Result<Self, String> {
        let optional = |expression: &[u8]| match expression {
            [] => Ok(None),
            expression => compile(expression).map(Some),
        };
        Ok(MemberFilter {
            tags: tags
                .iter()
                .map(|(tag, expression)| Ok((tag.clone(), compile(expression)?)))
                .collect::<Result<_, String>>()?,
            status: optional(status)?,
            name: optional(name)?,
        })
    }

    pub fn matches(&self, member: &Member) -> bool {
        let fits = |expression: &Option<Regex>, text: &[u8]| {
            expression
                .as_ref()
                .is_none_or(|e| e.is_match(&String::from_utf8_lossy(text)))
        };
        let tags = member.tags();
        fits(&self.name, member.name.as_bytes())
            && fits(&self.status, member.status.as_str().as_bytes())
            && self.tags.iter().all(|(tag, expression)| {
                let value = tags.get(tag).unwrap_or_default();
                expression.is_match(&String::from_utf8_lossy(value))
            })
    }
}

/// Compiles an expression that must match a whole text; the group makes `^` and `$` apply to all
/// alternatives.
fn compile(expression: &[u8]) -> Result<Regex, String> {
    let expression = rewrite_expression(&String::from_utf8_lossy(expression));
    RegexBuilder::new(&format!("^(?:{expression})$"))
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .map_err(|why| format!("Failed to compile regex: {why}"))
}

/// Writes the members that match; none without a filter.
pub(super) fn write_matches(writer: &mut Writer, view: &View<'_>, filter: Option<MemberFilter>) {
    let matches = |member: &&Member| filter.as_ref().is_some_and(|filter| filter.matches(member));
    let members = view.serf.members().filter(matches);
    reply::write_members(writer, &members.collect::<Vec<_>>());
}

/// Writes the handlers with statistics of their runs.
pub(super) fn write_handlers(writer: &mut Writer, queue: &HandlerQueue) {
    handlers::write_handlers(writer, &handler_list(queue));
}

/// Named values of a group.
type Figures = Vec<(&'static str, String)>;
/// Named counters of a group that is only shown if one of them is not zero.
type Counts = Vec<(&'static str, u64)>;

/// Returns the values that `info` shows. `unread_records` counts events and log lines that were dropped for
/// slow clients. Scripts may contain secrets and are only included if `with_scripts`.
pub(super) fn stats(view: &View<'_>, unread_records: u64, with_scripts: bool) -> Stats {
    let mut groups = vec![("runtime", runtime()), ("serf", node_figures(view))];
    // The reference lacks these groups; without handlers the reply has only the reference's.
    if !view.handlers.handlers().is_empty() {
        groups.push(("handlers", handler_figures(view, with_scripts)));
    }
    groups.extend(journal_figures(view).map(|figures| ("journal", figures)));
    // Groups of counters that are shown only if one of them is not zero.
    let counters = view.serf.counters();
    for (name, counts) in [
        ("lost", losses(view, unread_records)),
        ("order", out_of_order(counters)),
        ("queries", repeated(counters)),
        ("repair", repaired(counters)),
    ] {
        if counts.iter().any(|(_, count)| *count > 0) {
            let shown = counts
                .iter()
                .map(|(name, count)| (*name, count.to_string()));
            groups.push((name, shown.collect()));
        }
    }
    let shown = |(name, value): (&str, String)| (name.into(), value.into_bytes());
    let mut stats: Stats = groups
        .into_iter()
        .map(|(name, figures)| (name.into(), figures.into_iter().map(shown).collect()))
        .collect();
    let own_name = view.serf.local_name().as_bytes().to_vec();
    stats.insert(b"agent".to_vec(), [(b"name".to_vec(), own_name)].into());
    let tags = view.serf.tags().iter();
    let tags = tags.map(|(tag, value)| (tag.to_vec(), value.to_vec()));
    stats.insert(b"tags".to_vec(), tags.collect());
    let scripts = match with_scripts {
        true => handlers(view.handlers.handlers()),
        false => TextMap::new(),
    };
    stats.insert(b"event_handlers".to_vec(), scripts);
    stats
}

fn runtime() -> Figures {
    let version = concat!("cottar-", env!("CARGO_PKG_VERSION"));
    vec![
        ("os", std::env::consts::OS.to_owned()),
        ("arch", architecture().to_owned()),
        ("version", version.to_owned()),
        // The agent has a single thread.
        ("max_procs", "1".to_owned()),
        ("goroutines", "1".to_owned()),
        ("cpu_count", sys::usable_processors().to_string()),
    ]
}

fn node_figures(view: &View<'_>) -> Figures {
    let figures = view.serf.stats();
    let mut shown = vec![
        ("members", figures.members.to_string()),
        ("failed", figures.failed.to_string()),
        ("left", figures.left.to_string()),
        ("health_score", figures.health_score.to_string()),
        ("member_time", figures.member_time.to_string()),
        ("event_time", figures.event_time.to_string()),
        ("query_time", figures.query_time.to_string()),
        ("intent_queue", figures.intent_queue.to_string()),
        ("event_queue", figures.event_queue.to_string()),
        ("query_queue", figures.query_queue.to_string()),
        ("encrypted", figures.encrypted.to_string()),
    ];
    let resets = figures.coordinate_resets;
    shown.extend(resets.map(|resets| ("coordinate_resets", resets.to_string())));
    shown
}

fn journal_figures(view: &View<'_>) -> Option<Figures> {
    let journal = view.handlers.journal()?;
    let counters = journal.counters();
    Some(vec![
        ("bytes", journal.bytes().to_string()),
        ("waiting", journal.len().to_string()),
        ("damaged", counters.damaged.to_string()),
        ("unrecorded", counters.unrecorded.to_string()),
        ("failing", journal.is_failing().to_string()),
    ])
}

fn losses(view: &View<'_>, unread_records: u64) -> Counts {
    let counters = view.serf.counters();
    let swim = view.serf.swim().counters();
    vec![
        ("answers_foreign", swim.foreign_out),
        ("broadcasts_unsent", counters.dropped_unsent),
        ("events_crowded", counters.dropped_crowded_events),
        ("events_too_late", counters.dropped_old_events),
        ("nodes_foreign", swim.foreign_nodes),
        ("packets_foreign", swim.foreign_in),
        ("packets_mislabelled", swim.dropped_mislabelled),
        ("packets_unread", view.lost.unread),
        ("packets_unsent", view.lost.unsent),
        ("records_unread", unread_records),
    ]
}

fn out_of_order(counters: &Counters) -> Counts {
    vec![
        ("events_out_of_order", counters.events_out_of_order),
        ("queries_out_of_order", counters.queries_out_of_order),
        ("pushed_out", counters.order_pushed_out),
    ]
}

fn repeated(counters: &Counters) -> Counts {
    vec![
        ("repeated", counters.queries_repeated),
        ("repeats_answered", counters.repeats_answered),
    ]
}

fn repaired(counters: &Counters) -> Counts {
    vec![
        ("events_sent", counters.repair_events_sent),
        ("events_fetched", counters.repair_events_fetched),
        ("exchanges_for_gaps", counters.repair_exchanges_for_gaps),
        (
            "exchanges_for_digests",
            counters.repair_exchanges_for_digests,
        ),
        ("exchanges_for_jumps", counters.repair_exchanges_for_jumps),
        ("exchanges_for_losses", counters.repair_exchanges_for_losses),
        ("times_given_up", counters.repair_times_given_up),
    ]
}

/// Returns the counters of the handler queue.
fn handler_figures(view: &View<'_>, with_scripts: bool) -> Figures {
    let counters = view.handlers.counters();
    let running = view.handlers.running().filter(|_| with_scripts);
    let running = running.map(|script| ("running", Escaped(script).to_string()));
    let figures = vec![
        ("queue", view.handlers.len().to_string()),
        ("runs", counters.runs.to_string()),
        ("failures", counters.failures.to_string()),
        ("timeouts", counters.timeouts.to_string()),
        (
            "dropped_user_events",
            counters.dropped_user_events.to_string(),
        ),
        ("dropped_queries", counters.dropped_queries.to_string()),
        ("merged_members", counters.merged_members.to_string()),
        ("refused", counters.refused.to_string()),
        ("repeated", counters.repeated.to_string()),
        ("given_up", counters.given_up.to_string()),
        ("expired", counters.expired.to_string()),
    ];
    // The active run, which all others wait for.
    figures.into_iter().chain(running).collect()
}

/// Returns the scripts by filter, `<type>:<name>`. Of several with the same filter the reference shows only
/// the last; here the later ones get a number after the filter.
fn handlers(handlers: &[Registered]) -> TextMap {
    let mut shown = TextMap::new();
    let parts = handlers
        .iter()
        .flat_map(|r| r.settings.on.iter().map(move |on| (on, r)));
    for (filter, registered) in parts {
        let filter = filter.to_string();
        let mut key = filter.clone();
        let mut number = 1;
        while shown.contains_key(key.as_bytes()) {
            number += 1;
            key = format!("{filter} ({number})");
        }
        shown.insert(key.into_bytes(), registered.settings.action.text().to_vec());
    }
    shown
}

/// Returns the entries of `handler list`.
fn handler_list(queue: &HandlerQueue) -> Vec<HandlerFigures> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let figures = |registered: &Registered| handler_row(queue, registered, &nanos);
    queue.handlers().iter().map(figures).collect()
}

fn handler_row(
    queue: &HandlerQueue,
    registered: &Registered,
    nanos: &dyn Fn(Duration) -> u64,
) -> HandlerFigures {
    let tally = &registered.tally;
    HandlerFigures {
        name: registered.name.clone().into_bytes(),
        is_paused: registered.is_paused,
        waiting: queue.waiting_for(registered.key) as u64,
        filter: registered.filter(),
        script: registered.settings.action.text().to_vec(),
        runs: tally.runs,
        failures: tally.failures,
        timeouts: tally.timeouts,
        drops: tally.drops,
        last_nanos: nanos(tally.last),
        longest_nanos: nanos(tally.longest),
    }
}

/// Writes the reply for `handler queue`: entries, and how many more events wait.
pub(super) fn write_queue(writer: &mut Writer, view: &View<'_>) {
    let (entries, more) = view.handlers.entries(QUEUE_ENTRIES_MAX);
    let bytes = |name: &NodeName| name.as_bytes().to_vec();
    let shown = entries.into_iter().map(|entry| QueueEntry {
        id: entry.id.into_bytes(),
        taken_micros: entry.taken_micros,
        age_micros: view.unix_micros.saturating_sub(entry.taken_micros),
        event: entry.event.into_bytes(),
        members: entry.members.iter().map(bytes).collect(),
        member_count: entry.member_count as u64,
        handler: entry.handler,
        attempts: entry.attempts.into(),
        state: entry.state.as_str().into(),
    });
    queue::write_queue(writer, &shown.collect::<Vec<_>>(), more as u64);
}

/// Returns the reference's name for the processor architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Compares keys in constant time: the duration does not depend on where they differ.
pub(super) fn same_key(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != expected.len());
    for (index, byte) in given.iter().enumerate() {
        let other = expected.get(index).or(expected.last()).unwrap_or(&0);
        difference |= byte ^ other;
    }
    std::hint::black_box(difference) == 0
}
