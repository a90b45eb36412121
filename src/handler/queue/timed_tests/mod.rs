//! Tests of handler settings with explicit time.

mod durable;
mod edits;
mod merging;
mod pairs;
mod requested;
mod retries;

pub(super) use super::tests::ended;
use super::tests::value;

use super::*;
use crate::handler::journal::disk::Disk;
use crate::handler::journal::{Recovered, Settings};
use crate::serf::MemberEventKind::{self, Failed, Join, Leave, Reap, Update};
use crate::serf::{Member, MemberEvent, MemberStatus, Query, Tags, UserEvent};
use crate::wire::VersionVector;

pub(super) fn settings(text: &str) -> HandlerSettings {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    HandlerSettings::from_object(value.as_object().unwrap()).unwrap()
}

pub(super) fn list(texts: &[&str]) -> Vec<HandlerSettings> {
    texts.iter().map(|text| settings(text)).collect()
}

/// Parses `name` or `name,tag=value`.
pub(super) fn member(text: &str, kind: MemberEventKind) -> Member {
    let mut parts = text.split(',');
    let name = NodeName::new(parts.next().unwrap().as_bytes()).unwrap();
    let mut tags = Tags::new();
    for part in parts {
        let (tag, value) = part.split_once('=').unwrap();
        tags.set(tag.as_bytes(), value.as_bytes());
    }
    Member::new(
        name,
        "10.0.0.1:7946".parse().unwrap(),
        &tags,
        match kind {
            Failed | Reap => MemberStatus::Failed,
            Leave => MemberStatus::Left,
            _ => MemberStatus::Alive,
        },
        VersionVector::serf(5),
    )
}

/// A queue with a clock in seconds since its start.
pub(super) struct Timed {
    pub(super) queue: HandlerQueue,
    pub(super) disk: Disk,
    pub(super) tags: Tags,
    pub(super) members: Vec<Member>,
    pub(super) ltime: u64,
    pub(super) now: f64,
}

impl Timed {
    pub(super) fn new(texts: &[&str]) -> Self {
        Timed {
            queue: HandlerQueue::new(list(texts)),
            disk: Disk::default(),
            tags: Tags::new(),
            members: Vec::new(),
            ltime: 0,
            now: 0.0,
        }
    }

    pub(super) fn with_journal(texts: &[&str]) -> Self {
        let mut timed = Timed::new(texts);
        let journal = Journal::new(Settings::default(), 1);
        timed.queue.attach_journal(journal, Recovered::default());
        timed
    }

    /// Kills and restarts the agent.
    pub(super) fn restarted(mut self, texts: &[&str]) -> Self {
        self.flush();
        let (journal, recovered) = self.disk.recover();
        self.queue = HandlerQueue::new(list(texts));
        self.queue.attach_journal(journal, recovered);
        self
    }

    pub(super) fn flush(&mut self) {
        if let Some(journal) = self.queue.journal_mut() {
            self.disk.flush(journal);
        }
    }

    pub(super) fn at(&mut self, seconds: f64) -> &mut Self {
        assert!(seconds >= self.now);
        self.now = seconds;
        self
    }

    pub(super) fn instant(&self) -> Instant {
        Instant::from_millis((self.now * 1000.0) as u64)
    }

    pub(super) fn members(&mut self, kind: MemberEventKind, members: &[&str]) -> &mut Self {
        let members = members.iter().map(|text| member(text, kind)).collect();
        let event = Event::Member(MemberEvent { kind, members });
        self.queue.push(event, self.instant());
        self
    }

    /// Reports changes as the core sees them, before they are coalesced.
    pub(super) fn note(&mut self, kind: MemberEventKind, names: &[&str]) -> &mut Self {
        for name in names {
            let name = NodeName::new(name.as_bytes()).unwrap();
            self.queue.note_member(&name, kind, self.instant());
        }
        self
    }

    pub(super) fn user(&mut self, name: &str, payload: &str) -> &mut Self {
        self.ltime += 1;
        let event = UserEvent {
            ltime: LamportTime(self.ltime),
            name: name.into(),
            payload: payload.into(),
            coalesce: false,
        };
        let now = self.instant();
        self.queue.take_in(&event, now);
        self.queue.push(Event::User(event), now);
        self
    }

    pub(super) fn query(&mut self, name: &str, deadline: f64) -> &mut Self {
        self.ltime += 1;
        let event = Event::Query(Query {
            ltime: LamportTime(self.ltime),
            id: 1,
            name: name.into(),
            payload: Vec::new(),
            source_node: None,
            deadline: Instant::from_millis((deadline * 1000.0) as u64),
        });
        self.queue.push(event, self.instant());
        self
    }

    /// Begins the next run; returns script, attempt if it is not the first, event and subject.
    pub(super) fn begin(&mut self) -> Option<String> {
        let name = NodeName::new(b"self").unwrap();
        let (tags, members) = (self.tags.clone(), self.members.clone());
        let local = Local {
            members: &|| members.clone(),
            ..Local::alone(&name, &tags)
        };
        let run = loop {
            let now = self.instant();
            let run = self.queue.poll_invocation(local, now);
            self.flush();
            if let Some(run) = run {
                break run;
            }
            let read = self.queue.poll_read()?;
            self.queue.handle_read(read, Some(self.disk.read(read)));
        };
        let stdin = String::from_utf8_lossy(&run.stdin).into_owned();
        let about = match value(&run, "SERF_EVENT").as_str() {
            "user" => format!("{}:{}", value(&run, "SERF_USER_EVENT"), stdin.trim()),
            "query" => format!("query:{}", value(&run, "SERF_QUERY_NAME")),
            kind => {
                let names = stdin.lines().map(|line| line.split('\t').next().unwrap());
                let kind = kind.strip_prefix("member-").unwrap_or(kind);
                format!("{kind}:{}", names.collect::<Vec<_>>().join("+"))
            }
        };
        let attempt = match value(&run, "COTTAR_ATTEMPT").as_str() {
            "1" => String::new(),
            number => format!("#{number}"),
        };
        let replay = if value(&run, "COTTAR_REPLAY") == "1" {
            "!"
        } else {
            ""
        };
        let script = String::from_utf8_lossy(&run.script).into_owned();
        Some(format!("{script}{attempt}{replay} {about}"))
    }

    pub(super) fn end(&mut self, status: i32) -> &mut Self {
        self.queue.handle_outcome(ended(End::Exited(status), b""));
        self.flush();
        self
    }

    /// Completes all runs that can run now with this exit status.
    pub(super) fn run(&mut self, status: i32) -> String {
        let mut ran = Vec::new();
        while let Some(run) = self.begin() {
            ran.push(run);
            self.end(status);
        }
        ran.join(", ")
    }

    pub(super) fn timeout(&self) -> Option<f64> {
        let at = self.queue.poll_timeout()?;
        Some(at.as_nanos() as f64 / 1e9)
    }

    pub(super) fn states(&self) -> String {
        let (entries, more) = self.queue.entries(100);
        assert_eq!(more, 0);
        let shown = entries.iter().map(|e| {
            format!(
                "{} {} {}",
                String::from_utf8_lossy(&e.handler),
                e.event,
                e.state.as_str()
            )
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Asserts that nothing waits, in memory or in the journal.
    pub(super) fn assert_done(&mut self) {
        assert_eq!(self.run(0), "");
        assert!(self.queue.is_idle() && self.queue.is_empty());
        assert_eq!(
            (self.queue.bytes(), self.queue.handlers.lanes().bytes),
            (0, 0)
        );
        assert!(self.queue.journal().is_none_or(Journal::is_empty));
        assert_eq!(self.timeout(), None);
    }
}
