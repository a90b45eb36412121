//! Reloads the configuration (agent spec 4.11).

use log::LevelFilter;

use super::{Agent, Waiting, start};
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::Waiting as ReadWaiting;
use crate::agent::config::{AgentConfig, LiveConfig, check_level};
use crate::os::sys;
use crate::serf::Command;

impl Agent {
    /// Reads all files again, merges the flags over them, and applies the settings that may change. An error
    /// changes nothing.
    pub(super) fn reload(&mut self) {
        self.logger.print("==> Reloading configuration...");
        self.notifier.reloading(self.clock.now());
        let mut notices = Vec::new();
        let read = self.sources.read(ReadWaiting::Refused, &mut notices);
        for notice in &notices {
            self.logger.print(&format!("==> {notice}"));
        }
        let checked = read.and_then(|settings| {
            let live = AgentConfig::check_reload(&settings, &sys::host_name())?;
            let rights = Some(&*settings.rpc_socket_group).filter(|name| !name.is_empty());
            let control = Some(&*settings.rpc_control_group).filter(|name| !name.is_empty());
            let fault = start::group_faults(rights, control).next();
            match fault {
                Some(why) => Err(start::no_rpc(why)),
                None => Ok((settings, live)),
            }
        });
        match checked {
            Ok((settings, live)) => {
                self.apply(&settings, live);
                self.notifier.reloaded(Ok(()), self.clock.now());
            }
            Err(why) => {
                self.notifier.reloaded(Err(&why), self.clock.now());
                self.logger.print(&format!("==> {why}"));
                self.logger.print("==> Failed to reload configs");
            }
        }
    }

    fn apply(&mut self, settings: &Settings, live: LiveConfig) {
        let changed = self.settings.changed_keys(settings);
        for key in changed.iter().filter(|key| !key.reload) {
            log::warn!(
                target: "agent",
                "Change of '{}' takes effect at the next start",
                key.name
            );
        }
        self.live = LiveConfig {
            log_level: self.apply_level(&settings.log_level),
            ..live
        };
        self.replace_handler_dirs();
        self.register_handlers();
        self.runner
            .set_limits(self.live.handler_timeout, self.live.handler_grace);
        self.apply_tags();
        // Settings that were not applied keep their old values here, so that the next reload reports them
        // again.
        for key in changed.iter().filter(|key| key.reload) {
            key.copy(settings, &mut self.settings);
        }
    }

    /// Applies the log level. An invalid level leaves the old one in effect, and the rest is applied anyway.
    fn apply_level(&mut self, text: &str) -> LevelFilter {
        match check_level(text) {
            Ok(level) => {
                self.logger.set_level(level);
                level
            }
            Err(why) => {
                self.logger.print(&format!("==> {why}"));
                self.live.log_level
            }
        }
    }

    fn apply_tags(&mut self) {
        let tags = self.live.tags.clone();
        if self.config.tags_file.is_some() {
            // The file determines the tags, not the configuration (agent spec 5, item 36).
            if !tags.is_empty() {
                log::warn!(
                    target: "agent",
                    "Tags config not allowed while using tag files: tags not changed"
                );
            }
        } else if tags != *self.serf.tags() {
            self.run_own(Waiting::Tags, Command::SetTags(tags));
        }
    }
}
