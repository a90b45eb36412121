//! What has an end.

use std::collections::BTreeSet;

use cottar::wire::NodeName;

use super::{Limits, Verdict, lives_at_the_end};
use crate::history::{Record, What};

/// No queue is deeper than it may be: one membership message a name, and the Serf queues' limit. In
/// the end, with somebody to tell, all are empty.
pub fn queues_stay_within_limits(history: &[Record], limits: &Limits) -> Verdict {
    let names: BTreeSet<&NodeName> = history
        .iter()
        .filter_map(|record| match &record.what {
            What::Started { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    let company = lives_at_the_end(history).len() > 1;
    for record in history {
        let What::Queues { depths, end } = &record.what else {
            continue;
        };
        let serf = depths.intent.max(depths.query).max(depths.event);
        let deepest = depths.membership.max(serf);
        let over = depths.membership > names.len() || serf > limits.queue_messages_max;
        if over || (*end && company && deepest > 0) {
            return Err(format!(
                "{:?}: node {} has queues of {depths:?}{}",
                record.at,
                record.node,
                if *end { " in the end" } else { "" }
            ));
        }
    }
    Ok(())
}

/// No stream outlives the time limits of its phases.
pub fn streams_end(history: &[Record], limits: &Limits) -> Verdict {
    for record in history {
        if let What::StreamAge { age } = &record.what {
            if *age > limits.stream_age_max {
                return Err(format!(
                    "{:?}: node {} held a stream for {age:?}",
                    record.at, record.node
                ));
            }
        }
    }
    Ok(())
}
