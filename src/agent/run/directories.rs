//! Registers handlers of directories in addition to those of flags and configuration files.

use super::Agent;
use crate::agent::config::directory::HandlerDirs;
use crate::count::Count;

impl Agent {
    /// Checks the directories for changes, before an event is handed over or a client asks about handlers.
    pub(super) fn look_for_handlers(&mut self) {
        if self.handler_dirs.look(self.clock.moment()) {
            self.register_handlers();
        }
    }

    /// Reads the directories in the current configuration.
    pub(super) fn replace_handler_dirs(&mut self) {
        self.handler_dirs = HandlerDirs::new(&self.live.handler_dirs);
        self.handler_dirs.look_at_once(self.clock.moment());
    }

    /// Registers the configured handlers, followed by those of the directories.
    pub(super) fn register_handlers(&mut self) {
        let handlers = self.handler_dirs.behind(&self.live.event_handlers);
        let lost = self.handlers.replace_handlers(handlers);
        if lost > 0 {
            log::warn!(
                target: "agent",
                "Dropped {} that waited for removed handlers",
                Count(lost as u64, "event")
            );
        }
        self.handlers.know_members(self.serf.members());
        self.announce_query_handlers();
    }
}
