//! Applies settings that override numbers of the core.

use super::FixedConfig;
use crate::serf;

impl FixedConfig {
    /// Overrides the core's defaults with configured numbers.
    pub fn apply_limits(&self, core: &mut serf::Config) {
        fn set<T: Copy>(value: &mut T, said: Option<T>) {
            *value = said.unwrap_or(*value);
        }
        set(&mut core.reconnect_interval, self.reconnect_interval);
        set(&mut core.reconnect_timeout, self.reconnect_timeout);
        set(&mut core.tombstone_timeout, self.tombstone_timeout);
        set(
            &mut core.query_size_limit_bytes,
            self.query_size_limit_bytes,
        );
        set(
            &mut core.query_response_size_limit_bytes,
            self.query_response_size_limit_bytes,
        );
        set(
            &mut core.user_event_size_limit_bytes,
            self.user_event_size_limit_bytes,
        );
        core.name_conflict_resolution = self.name_conflict_resolution;
        core.coordinates = self.coordinates;
    }
}
