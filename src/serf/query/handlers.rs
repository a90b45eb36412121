//! The queries that this node's handlers run for, as reported by the shell.

use crate::ordered::OrderedSet;

/// Names of the queries that have a handler. The core needs them for acks, which it sends before the shell
/// gets the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryHandlers {
    /// There is a handler for all queries.
    pub all: bool,
    /// Names of the queries that have a handler.
    pub names: OrderedSet<Vec<u8>>,
}

impl QueryHandlers {
    /// Whether a handler will run for a query with this name.
    pub(in crate::serf) fn wants(&self, name: &[u8]) -> bool {
        self.all || self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_wanted_by_its_name_or_by_all() {
        let mut handlers = QueryHandlers::default();
        assert!(!handlers.wants(b"load"));
        handlers.names.insert(b"load".to_vec());
        assert!(handlers.wants(b"load") && !handlers.wants(b"loa") && !handlers.wants(b""));
        handlers.all = true;
        assert!(handlers.wants(b"anything"));
    }
}
