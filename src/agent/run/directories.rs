//! Handlers of directories, beside those of flags and configuration files.

use super::Agent;
use crate::agent::config::directory::HandlerDirs;
use crate::count::Count;

impl Agent {
    /// Looks for changes before an event is handed over or a client asks about handlers, so that both meet
    /// those of now.
    pub(super) fn look_for_handlers(&mut self) {
        if self.handler_dirs.look(self.clock.moment()) {
            self.register_handlers();
        }
    }

    /// Reads the directories that the configuration names now.
    pub(super) fn replace_handler_dirs(&mut self) {
        self.handler_dirs = HandlerDirs::new(&self.live.handler_dirs);
        self.handler_dirs.look_at_once(self.clock.moment());
    }

    /// Registers what the configuration has, and behind it what is in the directories.
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
