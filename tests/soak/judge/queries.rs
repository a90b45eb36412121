//! D5: every cottar that a query addresses acks and answers it.

use super::Court;
use crate::askers::QUERY_TIMEOUT;
use crate::live::Kind;
use crate::membership::Membership;

/// Acks and answers that settled nodes owe to settled askers.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    /// Pairs of a query and a node.
    pub expected: usize,
    pub acks_missing: usize,
    pub answers_missing: usize,
}

/// Counts them by the programs of both nodes. If the loss is so heavy that all eight repetitions may be lost,
/// missing ones are only reported.
pub fn judge(court: &mut Court) {
    let history = court.history;
    for query in &history.queries {
        let until = query.asked + QUERY_TIMEOUT.as_secs_f64() * 1.2;
        let is_settled =
            |some: &[Membership]| some.iter().any(|one| one.is_settled(query.asked, until));
        if !is_settled(&court.memberships[query.asker]) {
            continue;
        }
        for (index, node) in history.nodes.iter().enumerate() {
            if !is_settled(&court.memberships[index]) {
                continue;
            }
            let kinds = (history.nodes[query.asker].kind, node.kind);
            let has_acked = query.acks.contains(&node.name);
            // On nodes with a journal, busy handlers delay answers.
            let has_answered = node.has_journal || query.answers.contains(&node.name);
            let counts = court.verdict.queries.entry(kinds).or_default();
            counts.expected += 1;
            counts.acks_missing += usize::from(!has_acked);
            counts.answers_missing += usize::from(!has_answered);
            let is_promised = kinds == (Kind::Cottar, Kind::Cottar);
            if is_promised && !(has_acked && has_answered) && history.loss < super::HEAVY_LOSS {
                court.broken(index, || {
                    let (asker, asked) = (query.asker, query.asked);
                    format!(
                        "D5 n{index} to n{asker} at {asked:.2}: ack {has_acked}, answer {has_answered}"
                    )
                });
            }
        }
    }
}
