//! Inspects the nodes, for the scenarios and for the history.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{CommandId, CommandResult, MemberStatus, QueryParams, Serf, State};
use cottar::time::Instant;
use cottar::wire::NodeName;

use super::{Known, Node, NodeId, Sim};
use crate::history::{Depths, Record, Spent, What};

/// The least move of a clock by one input that the history records.
const CLOCK_MOVE_NOTED: u64 = 1 << 32;

impl Sim {
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes[id].serf.is_some()
    }

    /// Nodes that run, paused ones included.
    pub fn up(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|&id| self.is_up(id)).collect()
    }

    pub fn serf(&self, id: NodeId) -> &Serf {
        self.nodes[id].serf.as_ref().expect("the node runs")
    }

    /// The status that a node gives a member.
    pub fn status(&self, id: NodeId, of: &str) -> Option<MemberStatus> {
        self.serf(id)
            .member(of.as_bytes())
            .map(|member| member.status)
    }

    /// Returns how the lists of the running nodes differ from the expected ones, if they do.
    pub fn disagreement(&self) -> Option<String> {
        let up = self.up();
        let mut gone: BTreeMap<&NodeName, MemberStatus> = BTreeMap::new();
        for &viewer in &up {
            let serf = self.serf(viewer);
            for &other in &up {
                let name = &self.nodes[other].spec.config.name;
                let own = self.serf(other).member(name.as_bytes());
                let held = serf.member(name.as_bytes());
                let agreed =
                    held.is_some_and(|held| held.status == MemberStatus::Alive) && held == own;
                if !agreed {
                    return Some(format!(
                        "node {viewer} holds {held:?}, the node itself {own:?}"
                    ));
                }
            }
            for member in serf.members() {
                let runs = up
                    .iter()
                    .any(|&id| self.nodes[id].spec.config.name == member.name);
                let settled = matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
                if !runs
                    && (!settled
                        || *gone.entry(&member.name).or_insert(member.status) != member.status)
                {
                    return Some(format!(
                        "node {viewer} holds {member:?}, which does not run"
                    ));
                }
            }
        }
        None
    }

    /// Groups the running nodes that do not leave into islands: no node of an island lists, or remembers from
    /// its snapshot, a node of another one to which it would connect. Leaving nodes do not count, because
    /// they answer no more, nor do members that one node lists as left, because all may soon do so (seed
    /// 1801). Joins in progress do not count, because each ends with the first answer.
    pub fn islands(&self) -> Vec<Vec<NodeId>> {
        let status = |one: NodeId, other: NodeId| {
            self.status(one, &self.nodes[other].spec.config.name.to_string())
        };
        let mut stay = self.up();
        stay.retain(|&id| self.serf(id).state() == State::Alive);
        let is_left = |&other: &NodeId| {
            let mut viewers = stay.iter();
            viewers.any(|&one| status(one, other) == Some(MemberStatus::Left))
        };
        let left: BTreeSet<NodeId> = stay.iter().copied().filter(is_left).collect();
        let remembered = |&one: &NodeId| {
            let snapshot = self.nodes[one].read_snapshot(self.twisted.get(&one));
            let snapshot = snapshot.unwrap_or_default();
            let members = snapshot.alive.into_iter().chain(snapshot.failed);
            (one, members.map(|(name, _)| name).collect::<Vec<_>>())
        };
        let files: BTreeMap<NodeId, Vec<NodeName>> = stay.iter().map(remembered).collect();
        let knows = |one: NodeId, other: NodeId| {
            let lists = status(one, other).is_some()
                || files[&one].contains(&self.nodes[other].spec.config.name);
            lists && !left.contains(&other)
        };
        let mut islands: Vec<Vec<NodeId>> = Vec::new();
        for &id in &stay {
            let touches = |island: &Vec<NodeId>| {
                let mut on_it = island.iter();
                on_it.any(|&other| knows(id, other) || knows(other, id))
            };
            let (near, far): (Vec<_>, Vec<_>) = islands.into_iter().partition(touches);
            let mut island = near.concat();
            island.push(id);
            islands = far;
            islands.push(island);
        }
        islands
    }

    /// The running nodes that a query addresses, if it asks for acks.
    pub(super) fn who_acks(&self, params: &QueryParams) -> Vec<NodeId> {
        let matches = |&id: &NodeId| {
            let config = &self.nodes[id].spec.config;
            let nodes = &params.filter_nodes;
            let named = nodes.is_empty() || nodes.iter().any(|name| name == config.name.as_bytes());
            let tagged = params.filter_tags.iter().all(|(key, pattern)| {
                let value = config.tags.get(key).unwrap_or_default();
                let [value, pattern] =
                    [value, pattern].map(|text| std::str::from_utf8(text).unwrap());
                regex_lite::Regex::new(pattern).unwrap().is_match(value)
            });
            named && tagged
        };
        let mut up = self.up();
        up.retain(|id| params.request_ack && matches(id));
        up
    }

    pub fn result(&self, id: CommandId) -> Option<&CommandResult> {
        self.results.get(&id).map(|(_, result)| result)
    }

    /// A hash of all bytes that all nodes sent, and of their times.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Records the work of each node so far.
    pub fn record_spending(&mut self, quiet: bool) {
        for id in self.up() {
            let counters = self.serf(id).counters();
            let spent = Spent {
                datagrams: self.nodes[id].datagrams,
                exchanges: counters.repair_exchanges(),
                pings: counters.repair_pings,
                answers: counters.repeats_answered,
            };
            self.record(id, What::Spent { spent, quiet });
        }
    }

    pub fn record(&mut self, node: NodeId, what: What) {
        if self.observing {
            self.history.push(Record {
                at: self.now,
                node,
                life: self.nodes[node].life,
                what,
            });
        }
    }

    /// Records the final state in the history, replacing an earlier one: lists, queues and streams of the
    /// running nodes.
    pub fn finish(&mut self) {
        let ending =
            |what: &What| matches!(what, What::Members(_) | What::Queues { end: true, .. });
        self.history.retain(|record| !ending(&record.what));
        for id in self.up() {
            self.serf(id).check_invariants();
            let members = self.serf(id).members().cloned().collect();
            let depths = self.depths(id);
            let handled = self.nodes[id].handlers.counters();
            let dropped = handled.dropped_user_events + handled.dropped_queries;
            assert_eq!(
                dropped + handled.merged_members,
                0,
                "the queue has room for all"
            );
            let opened: Vec<Instant> = (self.nodes[id].streams.values())
                .filter_map(|&(connection, side)| {
                    let end = &self.network.connections.get(&connection)?.ends[side];
                    end.open.then_some(end.since)
                })
                .collect();
            for at in opened {
                self.record_age(id, at);
            }
            self.record(id, What::Members(members));
            self.record(id, What::Queues { depths, end: true });
        }
    }

    pub(super) fn depths(&self, id: NodeId) -> Depths {
        let serf = self.serf(id);
        let stats = serf.stats();
        Depths {
            membership: serf.swim().membership_queue_len(),
            intent: stats.intent_queue,
            query: stats.query_queue,
            event: stats.event_queue,
        }
    }

    /// Records changes in the node's tables.
    pub(super) fn observe(&mut self, id: NodeId, closely: bool) {
        let depths = self.depths(id);
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_ref() else {
            return;
        };
        let mut news = Vec::new();
        let times = clocks(serf);
        for (clock, (before, now)) in node.clocks.into_iter().zip(times).enumerate() {
            if now - before > CLOCK_MOVE_NOTED {
                let by = now - before;
                news.push(What::ClockLeapt { clock, by });
            }
        }
        node.clocks = times;
        let deepest = Depths {
            membership: node.deepest.membership.max(depths.membership),
            intent: node.deepest.intent.max(depths.intent),
            query: node.deepest.query.max(depths.query),
            event: node.deepest.event.max(depths.event),
        };
        if deepest != node.deepest {
            node.deepest = deepest;
            news.push(What::Queues { depths, end: false });
        }
        if !tables_are_known(node, serf, closely) {
            note_nodes(&mut node.known, serf, &mut news);
            note_members(&mut node.statuses, serf, &mut news);
        }
        self.record_all(id, news);
    }

    fn record_all(&mut self, id: NodeId, news: Vec<What>) {
        let (at, life) = (self.now, self.nodes[id].life);
        let records = news.into_iter().map(|what| Record {
            at,
            node: id,
            life,
            what,
        });
        self.history.extend(records);
    }
}

/// The member, event and query clocks.
pub fn clocks(serf: &Serf) -> [u64; 3] {
    let stats = serf.stats();
    [stats.member_time, stats.event_time, stats.query_time]
}

/// Updates the known records of nodes, and notes what has changed.
fn note_nodes(known: &mut BTreeMap<NodeName, Known>, serf: &Serf, news: &mut Vec<What>) {
    let mut seen = 0;
    for record in serf.swim().nodes() {
        seen += 1;
        let value = (record.addr, record.incarnation, record.state);
        if known.get(&record.name) != Some(&value) {
            known.insert(record.name.clone(), value);
            news.push(What::Known {
                about: record.name.clone(),
                addr: record.addr,
                incarnation: record.incarnation,
                state: record.state,
            });
        }
    }
    if seen != known.len() {
        known.retain(|name, _| {
            let kept = serf.swim().node(name).is_some();
            if !kept {
                news.push(What::Dropped {
                    about: name.clone(),
                });
            }
            kept
        });
    }
}

/// Updates the known statuses of members, and notes what has changed.
fn note_members(
    statuses: &mut BTreeMap<NodeName, MemberStatus>,
    serf: &Serf,
    news: &mut Vec<What>,
) {
    let mut members = 0;
    for member in serf.members() {
        members += 1;
        if statuses.get(&member.name) != Some(&member.status) {
            statuses.insert(member.name.clone(), member.status);
            let about = member.name.clone();
            let status = Some(member.status);
            news.push(What::Status { about, status });
        }
    }
    if members != statuses.len() {
        statuses.retain(|name, _| {
            let kept = serf.member(name.as_bytes()).is_some();
            if !kept {
                let about = name.clone();
                news.push(What::Status {
                    about,
                    status: None,
                });
            }
            kept
        });
    }
}

/// Whether the node's tables are unchanged since the last call, which is the usual case: a walk through both
/// in the order of names, without lookups. Compares names only if `closely`, because within one input no
/// member replaces another with the same status.
fn tables_are_known(node: &Node, serf: &Serf, closely: bool) -> bool {
    let nodes = serf
        .swim()
        .nodes()
        .map(|n| (n.addr, n.incarnation, n.state));
    let statuses = serf.members().map(|member| member.status);
    let same =
        nodes.eq(node.known.values().copied()) && statuses.eq(node.statuses.values().copied());
    same && (!closely
        || serf.swim().nodes().map(|n| &n.name).eq(node.known.keys())
            && serf
                .members()
                .map(|member| &member.name)
                .eq(node.statuses.keys()))
}
