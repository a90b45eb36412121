//! Reading the configuration again (agent spec 4.11).

use super::{Agent, Waiting};
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::Waiting as ReadWaiting;
use crate::agent::config::{AgentConfig, HANDLER_LEAVE_WAIT, check_level, parse_handlers};
use crate::agent::process;
use crate::handler::HandlerSettings;
use crate::serf::Command;

impl Agent {
    /// Reads all files again, with the flags over them, and applies what a running agent can take; an
    /// error changes nothing.
    pub(super) fn reload(&mut self) {
        self.logger.print("==> Reloading configuration...");
        self.notifier.reloading(self.clock.now());
        let mut notices = Vec::new();
        let read = self.sources.read(ReadWaiting::Refused, &mut notices);
        for notice in &notices {
            self.logger.print(&format!("==> {notice}"));
        }
        let checked = read.and_then(|settings| {
            AgentConfig::check_reload(&settings)?;
            let handlers = parse_handlers(&settings.event_handlers)?;
            Ok((settings, handlers))
        });
        match checked {
            Ok((settings, handlers)) => {
                self.apply(settings, handlers);
                self.notifier.reloaded(Ok(()), self.clock.now());
            }
            Err(why) => {
                self.notifier.reloaded(Err(&why), self.clock.now());
                self.logger.print(&format!("==> {why}"));
                self.logger.print("==> Failed to reload configs");
            }
        }
    }

    fn apply(&mut self, settings: Settings, handlers: Vec<HandlerSettings>) {
        let changed = self.settings.changed_keys(&settings);
        for key in changed.iter().filter(|key| !key.reload) {
            log::warn!(
                target: "agent",
                "The change of '{}' takes effect at the next start",
                key.name
            );
        }
        // A level that does not exist leaves the old one, and the rest is applied all the same.
        match check_level(&settings.log_level) {
            Ok(level) => self.logger.set_level(level),
            Err(why) => self.logger.print(&format!("==> {why}")),
        }
        self.config.event_handlers = handlers;
        self.replace_handler_dirs(&settings.handler_dirs);
        self.register_handlers();
        apply_options(&mut self.config, &settings);
        self.runner
            .set_limits(self.config.handler_timeout, self.config.handler_grace);
        self.apply_tags(&settings);
        // What was not applied stays as it was, so that the next reload names it again.
        for key in changed.iter().filter(|key| key.reload) {
            key.copy(&settings, &mut self.settings);
        }
    }

    fn apply_tags(&mut self, settings: &Settings) {
        let tags = settings.all_tags();
        if self.config.tags_file.is_some() {
            // The file has them; the configuration cannot (agent spec 5, item 36).
            if !tags.is_empty() {
                log::warn!(
                    target: "agent",
                    "Tags config not allowed while using tag files: the tags stay as they are"
                );
            }
        } else if tags != *self.serf.tags() {
            self.run_own(Waiting::Tags, Command::SetTags(tags));
        }
    }
}

fn apply_options(config: &mut AgentConfig, settings: &Settings) {
    config.leave_on_terminate = settings.leave_on_terminate.unwrap_or(false);
    config.skip_leave_on_interrupt = settings.skip_leave_on_interrupt.unwrap_or(false);
    config.handler_timeout = settings.handler_timeout.filter(|limit| !limit.is_zero());
    config.handler_grace = settings.handler_grace.unwrap_or(process::GRACE);
    config.handler_leave_wait = settings.handler_leave_wait.unwrap_or(HANDLER_LEAVE_WAIT);
}
