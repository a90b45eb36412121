//! `agent -check`: what a start would complain of. It takes no lock, opens no port and changes no file.

use std::io::{self, Write};
use std::process::ExitCode;

use super::start;
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::Waiting;
use crate::agent::config::{AgentConfig, Findings, FlagValues, path};
use crate::agent::files;
use crate::agent::files::snapshot::SnapshotFile;
use crate::agent::observe::syslog;
use crate::serf::Serf;
use crate::time::Instant;
use crate::wire::{Keyring, NonceSource};

/// Prints warnings and errors as a start does, all of them, and a verdict.
pub(super) fn run(flags: &impl FlagValues) -> ExitCode {
    let Findings { notices, errors } = find(flags);
    let verdict = match errors.len() {
        0 => "The agent would start".to_owned(),
        1 => "The agent would not start: 1 error".to_owned(),
        count => format!("The agent would not start: {count} errors"),
    };
    let mut text = String::new();
    for line in notices.iter().chain(&errors).chain([&verdict]) {
        text.push_str(&format!("==> {line}\n"));
    }
    // The status says it, too.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(!errors.is_empty()))
}

fn find(flags: &impl FlagValues) -> Findings {
    let mut findings = Findings::default();
    let sources = start::sources(flags, &mut findings);
    let settings = sources.read_all(Waiting::Allowed, &mut findings);
    let mut found = Findings::default();
    let config = AgentConfig::check_all(settings.clone(), &mut found);
    findings.notices.append(&mut found.notices);
    findings.errors.append(&mut found.errors);
    let keyring = check_files(&settings, &mut findings);
    if let Some(config) = config {
        check_rest(&config, keyring, &mut findings);
    }
    findings
}

/// The files that the agent keeps.
fn check_files(settings: &Settings, findings: &mut Findings) -> Option<Keyring> {
    if let Some(path) = path(settings.tags_file.clone()) {
        let restored = start::restored_tags(&path, &settings.all_tags());
        findings.keep(restored.map_err(start::no_files));
    }
    if let Some(path) = path(settings.snapshot_path.clone()) {
        let rejoin = settings.rejoin_after_leave.unwrap_or(false);
        let inspected = SnapshotFile::inspect(&path, rejoin).map_err(start::no_snapshot);
        let warnings = findings.keep(inspected.map_err(start::no_core));
        findings.notices.extend(warnings.unwrap_or_default());
    }
    if let Some(path) = path(settings.journal.clone()) {
        let place = files::check_directory(&path);
        let place = place.map_err(|why| format!("Failed to setup journal: {why}"));
        findings.keep(place.map_err(start::no_core));
    }
    let path = path(settings.keyring_file.clone())?;
    let restored = start::restored_keyring(&path, !settings.encrypt_key.is_empty());
    let (keyring, _) = findings.keep(restored.map_err(start::no_files))?;
    Some(keyring)
}

/// What the parts of the agent say of settings that are good by themselves.
fn check_rest(config: &AgentConfig, keyring: Option<Keyring>, findings: &mut Findings) {
    if let Some(facility) = &config.syslog_facility {
        findings.keep(syslog::facility(facility).map_err(start::no_syslog));
    }
    findings.keep(start::resolve_rpc(config).map_err(start::no_rpc));
    // Nothing will be encrypted with these.
    let nonces = NonceSource::new([0; 32]);
    let envelope = start::envelope(config, keyring, nonces).map_err(start::no_core);
    let envelope = findings.keep(envelope);
    // Whether the system has IPv6 shows when the port is opened.
    let core = start::core_config(config, config.bind, true).map_err(start::no_core);
    if let (Some(core), Some(envelope)) = (findings.keep(core), envelope) {
        let warning = start::foreign_to_itself(config, &core);
        findings
            .notices
            .extend(warning.map(|why| format!("Warning: {why}")));
        let core = Serf::new(core, envelope, 0, Instant::ORIGIN);
        findings.keep(core.map_err(start::no_core));
    }
}
