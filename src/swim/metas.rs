//! One allocation for equal metas: in most clusters there are few different ones.

use std::sync::Arc;

use crate::ordered::OrderedSet;

/// Limit for the distinct metas that are remembered. With the longest ones they hold 135 KB.
const METAS_MAX: usize = 256;

/// The distinct metas that nodes announced lately.
#[derive(Debug, Default)]
pub(super) struct SharedMetas(OrderedSet<Arc<[u8]>>);

impl SharedMetas {
    /// Returns a meta with the same bytes, in the allocation of an earlier one if there is one.
    pub(super) fn share(&mut self, meta: Option<&Arc<[u8]>>) -> Arc<[u8]> {
        let Some(meta) = meta else {
            return Arc::default();
        };
        if let Some(known) = self.0.get(meta) {
            return known.clone();
        }
        if self.0.len() >= METAS_MAX {
            // Where each node has a meta of its own, nothing is lost; elsewhere they are soon known again.
            self.0.clear();
        }
        self.0.insert(meta.clone());
        meta.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_metas_are_shared_and_few_are_remembered() {
        let mut metas = SharedMetas::default();
        let mut share = |text: String| metas.share(Some(&text.as_bytes().into()));
        let (first, other) = (share("web".into()), share("db".into()));
        assert!(Arc::ptr_eq(&first, &share("web".into())));
        assert!(!Arc::ptr_eq(&first, &other));
        for number in 0..METAS_MAX {
            assert_eq!(*share(number.to_string()), *number.to_string().as_bytes());
        }
        assert_eq!(Arc::strong_count(&first), 1, "it is remembered no longer");
        assert_eq!(share("web".into()), first);
        assert!(metas.share(None).is_empty());
    }
}
