//! Which queries a handler of this node runs for, as the shell told the core.

use crate::ordered::OrderedSet;

/// The names of the queries that some handler wants. The core puts it into acks, which leave before
/// the shell sees the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryHandlers {
    /// Some handler wants every query.
    pub all: bool,
    /// Names of which some handler wants the queries.
    pub names: OrderedSet<Vec<u8>>,
}

impl QueryHandlers {
    /// Whether a handler will run for a query of that name.
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
