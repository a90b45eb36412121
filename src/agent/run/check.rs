//! `agent -check`: reports the warnings and errors of a start, but takes no lock, opens no port and changes
//! no file.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{node, start};
use crate::agent::config::directory::{Finding, HandlerDirs, Verdict};
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::Waiting;
use crate::agent::config::{Addresses, AgentConfig, Findings, FlagValues, LiveConfig, path};
use crate::agent::files;
use crate::agent::files::snapshot::SnapshotFile;
use crate::agent::observe::syslog;
use crate::handler::Moment;
use crate::os::error::shown;
use crate::os::sys;
use crate::serf::Serf;
use crate::time::Instant;
use crate::wire::{Keyring, NonceSource};

/// Prints all warnings and errors like a start, followed by the result.
pub(super) fn run(flags: &impl FlagValues) -> ExitCode {
    let (
        Findings {
            notices,
            mut errors,
        },
        mut handlers,
    ) = find(flags);
    let verdict = match errors.len() {
        0 if !handlers.is_empty() => "The agent would start, but without some handlers".to_owned(),
        0 => "The agent would start".to_owned(),
        1 => "The agent would not start: 1 error".to_owned(),
        count => format!("The agent would not start: {count} errors"),
    };
    errors.append(&mut handlers);
    let mut text = String::new();
    for line in notices.iter().chain(&errors).chain([&verdict]) {
        text.push_str(&format!("==> {line}\n"));
    }
    // If stdout fails, the exit status still has the result.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(!errors.is_empty()))
}

/// Returns the warnings and errors, and the refused handlers in directories, without which the agent would
/// start.
fn find(flags: &impl FlagValues) -> (Findings, Vec<String>) {
    let mut findings = Findings::default();
    let sources = start::sources(flags, &mut findings);
    let settings = sources.read_all(Waiting::Allowed, &mut findings);
    let mut found = Findings::default();
    let config = AgentConfig::check_all(&settings, &sys::host_name(), &mut found);
    findings.notices.append(&mut found.notices);
    findings.errors.append(&mut found.errors);
    let addresses = Addresses::resolve_settings(&settings, &mut findings.notices);
    let addresses = findings.keep(addresses);
    if let Some(config) = &config {
        findings.keep(config.fixed.check_mdns_interface());
    }
    let keyring = check_files(&settings, &mut findings);
    let mut handlers = Vec::new();
    if let (Some(config), Some(addresses)) = (config, addresses) {
        check_rest(&config, addresses, keyring, &mut findings);
        handlers = check_directories(&config.live, &mut findings.notices);
    }
    (findings, handlers)
}

/// Warns of files without header lines, and returns the files that are refused.
fn check_directories(config: &LiveConfig, notices: &mut Vec<String>) -> Vec<String> {
    let mut directories = HandlerDirs::new(&config.handler_dirs);
    directories.look_at_once(Moment::from(Instant::ORIGIN));
    let mut refused = Vec::new();
    for Finding { path, verdict } in directories.findings(&config.event_handlers) {
        let path = shown(&path);
        match verdict {
            Verdict::Refused(why) => refused.push(format!("Handler {path} refused: {why}")),
            Verdict::Undeclared(why) => {
                notices.push(format!("Warning: {path} is not a handler: {why}"));
            }
            Verdict::Handler(_) | Verdict::Skipped(_) => {}
        }
    }
    refused
}

/// Checks the agent's files: tags, snapshot, journal and keyring.
fn check_files(settings: &Settings, findings: &mut Findings) -> Option<Keyring> {
    if let Some(path) = path(settings.tags_file.clone()) {
        let restored = start::restored_tags(&path, &settings.all_tags());
        findings.keep(restored.map_err(start::no_files));
    }
    if let Some(path) = path(settings.snapshot_path.clone()) {
        let rejoin = settings.rejoin_after_leave.unwrap_or(false);
        let inspected = SnapshotFile::inspect(&path, rejoin).map_err(node::no_snapshot);
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

/// Checks valid settings against the requirements of the agent's parts.
fn check_rest(
    config: &AgentConfig,
    addresses: Addresses,
    keyring: Option<Keyring>,
    findings: &mut Findings,
) {
    let AgentConfig {
        live,
        fixed: config,
        ..
    } = config;
    if let Some(facility) = &config.syslog_facility {
        findings.keep(syslog::facility(facility).map_err(start::no_syslog));
    }
    let faults = start::rpc_faults(config).map(start::no_rpc);
    findings.errors.extend(faults);
    // Fixed seed: nothing is encrypted with it.
    let nonces = NonceSource::new([0; 32]);
    let envelope = node::envelope(config, keyring, nonces).map_err(start::no_core);
    let envelope = findings.keep(envelope);
    // Opening the port will show whether the system has IPv6.
    let core = node::core_config(config, &live.tags, addresses, addresses.bind, true)
        .map_err(start::no_core);
    if let (Some(core), Some(envelope)) = (findings.keep(core), envelope) {
        let warning = node::foreign_to_itself(config, &core);
        findings
            .notices
            .extend(warning.map(|why| format!("Warning: {why}")));
        let core = Serf::new(core, envelope, 0, Instant::ORIGIN);
        findings.keep(core.map_err(start::no_core));
    }
}
