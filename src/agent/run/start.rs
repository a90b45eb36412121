//! Starts an agent from its settings, in the reference's order (agent spec 4.4).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::log::LevelFilter;
use mio::{Poll, Registry, Token};

use super::discovery::{self, Mdns};
use super::handlers::rpc_variables;
use super::join::{Joining, RetryJoin};
use super::node::open_gossip;
use super::save::Saving;
use super::shutdown::{CONSOLE_FLUSH_TIMEOUT, Phase};
use super::telemetry::Telemetry;
use super::waiting::Waits;
use super::{Agent, journal, tokens};
use crate::agent::config::directory::HandlerDirs;
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::{Sources, Waiting};
use crate::agent::config::{
    Addresses, AgentConfig, Findings, FixedConfig, FlagValues, LiveConfig, Refused,
};
use crate::agent::files;
use crate::agent::files::lock::{FileLock, Locks};
use crate::agent::files::snapshot::SnapshotFile;
use crate::agent::net::Gossip;
use crate::agent::observe::logger::Logger;
use crate::agent::observe::notify::Notifier;
use crate::agent::observe::syslog::{self, Syslog};
use crate::agent::process::Runner;
use crate::agent::process::orphans::Orphans;
use crate::agent::process::resolver::Resolver;
use crate::agent::rpc::connections::{Clients, RpcAddr};
use crate::agent::rpc::socket::{self, Rights};
use crate::agent::rpc::{self, RpcServer};
use crate::handler::HandlerQueue;
use crate::handler::outcome::output_bytes_kept;
use crate::handler::start::StartSync;
use crate::os::clock::Clock;
use crate::os::error::{os_error, shown};
use crate::os::signals::Signals;
use crate::os::sys;
use crate::serf::{Serf, Tags};
use crate::time::Instant;
use crate::wire::Keyring;

/// Runs the agent until it ends.
pub(super) fn run(flags: &impl FlagValues) -> ExitCode {
    sys::keep_own_file();
    let logger = Logger::install(LevelFilter::Info);
    match start(flags, &logger) {
        Ok(agent) => agent.run(),
        Err(why) => {
            // Without this, the log lines held back would be lost (agent spec 5, item 35). The error is also
            // logged, so that stderr alone has everything.
            ::log::error!(target: "agent", "{why}");
            logger.open_gate_aside();
            logger.print(&format!("==> {why}"));
            logger.finish(CONSOLE_FLUSH_TIMEOUT);
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &impl FlagValues, logger: &Logger) -> Result<Agent, String> {
    let mut found = find_settings(flags, logger)?;
    begin_log(&found, logger)?;
    let telemetry = Telemetry::new(&found.config);
    let clock = Clock::new();
    let opened = open(&mut found, &clock, logger)?;
    let mut agent = assemble(found, opened, telemetry, clock, logger)?;
    agent.announce_query_handlers();
    logger.print(&agent.banner());
    if agent.config.start_join.is_empty() {
        agent.started();
    } else {
        agent.start_join();
    }
    Ok(agent)
}

/// Builds the agent from the settings and the opened files and sockets.
fn assemble(
    found: Found,
    opened: Opened,
    telemetry: Telemetry,
    clock: Clock,
    logger: &Logger,
) -> Result<Agent, String> {
    let (config, live, mut serf) = (found.config, found.live, opened.serf);
    let mut handler_dirs = HandlerDirs::new(&live.handler_dirs);
    handler_dirs.look_at_once(clock.moment());
    let mut handlers = HandlerQueue::new(handler_dirs.behind(&live.event_handlers));
    let journal = journal::open(&config, &mut serf, &mut handlers, clock.now()).map_err(no_core)?;

    let start_sync = start_sync(&config, &serf, clock.now());
    let mut runner = runner(&config, &live);
    runner.set_variables(rpc_variables(opened.clients.local_addrs()));
    Ok(Agent {
        clock,
        poll: opened.poll,
        signals: opened.signals,
        gossip: opened.gossip,
        clients: opened.clients,
        server: server(&config),
        serf,
        handlers,
        handler_dirs,
        runner,
        orphans: Orphans::new(),
        resolver: Resolver::new(tokens::RESOLVER),
        mdns: opened.mdns,
        telemetry,
        logger: logger.clone(),
        notifier: Notifier::from_environment(),
        config,
        live,
        sources: found.sources,
        settings: found.settings,
        snapshot: opened.snapshot,
        journal,
        earlier: None,
        locks: opened.locks,
        saving: Saving::default(),
        waits: Waits::default(),
        joining: Joining::default(),
        retry_join: None,
        phase: Phase::Running,
        start_sync,
        own_leave_seen: false,
        unfinished: true,
    })
}

/// Returns when `sync` handlers first run: after the join, if there will be one.
fn start_sync(config: &FixedConfig, serf: &Serf, now: Instant) -> StartSync {
    let is_joining = serf.is_rejoining()
        || !config.start_join.is_empty()
        || !config.retry_join.is_empty()
        || config.discover.is_some();
    StartSync::new(is_joining, now)
}

fn runner(config: &FixedConfig, live: &LiveConfig) -> Runner {
    let mut runner = Runner::new(tokens::RUNNER, live.handler_timeout);
    runner.set_limits(live.handler_timeout, live.handler_grace);
    let answer_bytes = config.query_response_size_limit_bytes;
    runner.set_output_bytes_max(output_bytes_kept(answer_bytes.unwrap_or_default()));
    runner
}

fn server(config: &FixedConfig) -> RpcServer {
    RpcServer::new(rpc::Config {
        auth_key: config.rpc_auth.clone(),
        control_group: config.rpc_control_group.clone(),
    })
}

/// Settings from flags and files.
struct Found {
    sources: Sources,
    settings: Settings,
    config: FixedConfig,
    live: LiveConfig,
    addresses: Addresses,
}

/// Reads and checks the settings, and prints warnings.
fn find_settings(flags: &impl FlagValues, logger: &Logger) -> Result<Found, String> {
    let mut notices = Vec::new();
    let mut findings = Findings::default();
    let sources = sources(flags, &mut findings);
    if let Some(why) = findings.errors.into_iter().next() {
        return Err(why);
    }
    let read = sources.read(Waiting::Allowed, &mut notices);
    print_notices(logger, &notices);
    let settings = read?;
    let AgentConfig {
        live,
        fixed: config,
        notices,
    } = match AgentConfig::check(&settings, &sys::host_name()) {
        Ok(checked) => checked,
        Err(Refused { notices, error }) => {
            print_notices(logger, &notices);
            return Err(error);
        }
    };
    print_notices(logger, &notices);
    let addresses = look_up(&config, logger)?;
    Ok(Found {
        sources,
        settings,
        config,
        live,
        addresses,
    })
}

fn begin_log(found: &Found, logger: &Logger) -> Result<(), String> {
    logger.set_level(found.live.log_level);
    if let Some(facility) = &found.config.syslog_facility {
        let syslog = Syslog::new(&syslog::PATHS, facility).map_err(no_syslog)?;
        if !syslog.is_connected() {
            // Syslog may start later. Readers of the console should know where the lines go.
            ::log::warn!(target: "agent", "No syslog at {}; retrying with each log line",
                syslog::PATHS.join(", "));
        }
        logger.set_syslog(syslog);
    }
    ::log::info!(target: "agent", "Serf agent starting");
    Ok(())
}

/// Files and sockets opened at the start, up to the RPC port.
struct Opened {
    poll: Poll,
    signals: Signals,
    gossip: Gossip,
    serf: Serf,
    snapshot: Option<SnapshotFile>,
    mdns: Option<Mdns>,
    clients: Clients,
    locks: Locks,
}

fn open(found: &mut Found, clock: &Clock, logger: &Logger) -> Result<Opened, String> {
    let (config, addresses) = (&found.config, found.addresses);
    let rpc = resolve_rpc(config);
    let setup = |error: std::io::Error| format!("Failed to setup the agent: {}", os_error(&error));

    logger.print("==> Starting Serf agent...");
    let mut locks = lock_files(config, logger).map_err(no_files)?;
    let keyring = restore(config, &mut found.live).map_err(no_files)?;

    // Until here, signals end the process at once, for example during a slow name lookup or while waiting for
    // the writer of a pipe. From here on, the process ends only in an orderly way.
    let poll = Poll::new().map_err(setup)?;
    let signals = Signals::install(poll.registry(), Token(tokens::SIGNALS)).map_err(setup)?;
    sys::isolate_children();

    let (gossip, serf, mut snapshot) =
        open_gossip(config, &found.live.tags, addresses, keyring, clock, &poll).map_err(no_core)?;
    if let Some(snapshot) = &mut snapshot {
        snapshot.keep(locks.snapshot.take());
    }

    let addr = serf.swim().local().addr;
    let bound = addresses.bind.ip();
    let mdns = discovery::start(config, bound, addr, poll.registry(), clock.now())?;

    let clients = rpc
        .and_then(|rpc| listen_for_rpc(&rpc, poll.registry()))
        .map_err(no_rpc)?;
    logger.print("==> Starting Serf agent RPC...");
    Ok(Opened {
        poll,
        signals,
        gossip,
        serf,
        snapshot,
        mdns,
        clients,
        locks,
    })
}

// Prefixes of the error for each part of the start.
pub(super) fn no_syslog(why: String) -> String {
    format!("Syslog setup failed: {why}")
}
pub(super) fn no_files(why: String) -> String {
    format!("Failed to setup the Serf agent: {why}")
}
pub(super) fn no_core(why: String) -> String {
    format!("Failed to start the Serf agent: Error creating Serf: {why}")
}
pub(super) fn no_rpc(why: String) -> String {
    format!("Error starting RPC listener: {why}")
}

pub(super) fn sources(flags: &impl FlagValues, findings: &mut Findings) -> Sources {
    let paths = flags.byte_values_of_any(&["config-file", "config-dir"]);
    let paths = paths.into_iter().map(OsStr::from_bytes);
    Sources {
        paths: paths.map(PathBuf::from).collect(),
        flags: Settings::from_flags(flags, findings),
    }
}

/// Resolved settings of the RPC server.
pub(super) struct Rpc {
    addrs: Vec<RpcAddr>,
    rights: Rights,
    control_group: Option<u32>,
}

/// Resolves host names and groups.
pub(super) fn resolve_rpc(config: &FixedConfig) -> Result<Rpc, String> {
    let addrs = config.rpc_addrs.iter().map(|text| Clients::resolve(text));
    Ok(Rpc {
        addrs: addrs.collect::<Result<_, _>>()?,
        rights: Rights {
            mode: config.rpc_socket_mode,
            group: socket::group("rpc_socket_group", config.rpc_socket_group.as_deref())?,
        },
        control_group: socket::group("rpc_control_group", config.rpc_control_group.as_deref())?,
    })
}

/// Returns all errors that [`resolve_rpc`] would find.
pub(super) fn rpc_faults(config: &FixedConfig) -> impl Iterator<Item = String> + '_ {
    let addrs = config.rpc_addrs.iter();
    let addrs = addrs.filter_map(|text| Clients::resolve(text).err());
    let (rights, control) = (&config.rpc_socket_group, &config.rpc_control_group);
    addrs.chain(group_faults(rights.as_deref(), control.as_deref()))
}

/// Returns the errors for groups.
pub(super) fn group_faults(
    rights: Option<&str>,
    control: Option<&str>,
) -> impl Iterator<Item = String> {
    let faults = [
        socket::group("rpc_socket_group", rights).err(),
        socket::group("rpc_control_group", control).err(),
    ];
    faults.into_iter().flatten()
}

fn listen_for_rpc(rpc: &Rpc, registry: &Registry) -> Result<Clients, String> {
    let mut clients = Clients::new(tokens::CLIENTS, rpc.control_group);
    for addr in &rpc.addrs {
        clients.listen(addr, rpc.rights, registry)?;
    }
    Ok(clients)
}

fn look_up(config: &FixedConfig, logger: &Logger) -> Result<Addresses, String> {
    let mut notices = Vec::new();
    let addresses = Addresses::resolve(config, &mut notices);
    print_notices(logger, &notices);
    config.check_mdns_interface()?;
    addresses
}

fn print_notices(logger: &Logger, notices: &[String]) {
    for notice in notices {
        logger.print(&format!("==> {notice}"));
    }
}

/// Locks the files that the agent writes, before it reads any of them.
fn lock_files(config: &FixedConfig, logger: &Logger) -> Result<Locks, String> {
    let mut note = |why: &str| logger.print(&format!("==> {why}"));
    let mut lock = |path: &Option<PathBuf>| match path {
        Some(path) => FileLock::await_turn(path, &mut note),
        None => Ok(None),
    };
    Ok(Locks {
        tags: lock(&config.tags_file)?,
        keyring: lock(&config.keyring_file)?,
        snapshot: lock(&config.snapshot)?,
    })
}

/// Reads the agent's files: replaces the tags, and returns the keyring if there is a file for it.
fn restore(config: &FixedConfig, live: &mut LiveConfig) -> Result<Option<Keyring>, String> {
    if let Some(path) = &config.tags_file {
        if let Some(tags) = restored_tags(path, &live.tags)? {
            let (count, path) = (tags.len(), shown(path));
            ::log::info!(target: "agent", "Restored {count} tag(s) from {path}");
            live.tags = tags;
        }
    }
    let Some(path) = &config.keyring_file else {
        return Ok(None);
    };
    let (keyring, count) = restored_keyring(path, config.encrypt_key.is_some())?;
    let path = shown(path);
    ::log::info!(target: "agent", "Restored keyring with {count} keys from {path}");
    Ok(Some(keyring))
}

/// Returns the tags in the file, if it exists. Fails if tags are configured as well.
pub(super) fn restored_tags(path: &Path, others: &Tags) -> Result<Option<Tags>, String> {
    if !others.is_empty() {
        return Err("Tags config not allowed while using tag files".to_owned());
    }
    files::tags::read(path)
}

/// Returns the keyring in the file and the number of its keys. Fails if a key is configured as well.
pub(super) fn restored_keyring(path: &Path, has_key: bool) -> Result<(Keyring, usize), String> {
    if has_key {
        return Err("Encryption key not allowed while using a keyring".to_owned());
    }
    files::keyring::read(path)
}

impl Agent {
    /// Returns the lines that supervisors and people wait for; the values' column is the reference's.
    fn banner(&self) -> String {
        let mut lines = String::from("==> Serf agent running!\n");
        let mut line = |label: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(lines, "    {label:>27}: {value}");
        };
        let quoted = |value: &dyn std::fmt::Display| format!("'{value}'");
        line("Node name", &quoted(&self.config.node));
        line("Bind addr", &quoted(&self.gossip.local_addr()));
        if !self.config.advertise.is_empty() {
            let advertised = self.serf.swim().local().addr;
            let _ = writeln!(lines, "    Advertise addr: '{advertised}'");
        }
        let mut line = |label: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(lines, "    {label:>27}: {value}");
        };
        for addr in self.clients.local_addrs() {
            line("RPC addr", &quoted(addr));
        }
        let encrypted = self.config.encrypt_key.is_some() || self.config.keyring_file.is_some();
        line("Encrypted", &encrypted);
        if !self.config.label.is_empty() {
            line("Label", &self.config.label);
        }
        line("Snapshot", &self.snapshot.is_some());
        line("Profile", &self.config.profile.as_str());
        line("Message Compression Enabled", &self.config.compression);
        if let Some(cluster) = &self.config.discover {
            line("mDNS cluster", cluster);
        }
        // The printer adds the last newline.
        lines.trim_end_matches('\n').to_owned()
    }

    /// Completes the start: opens the log and begins `-retry-join`.
    pub(super) fn started(&mut self) {
        self.logger
            .print("\n==> Log data will now stream in as it occurs:\n");
        self.logger.open_gate();
        if !self.config.retry_join.is_empty() {
            self.retry_join = Some(RetryJoin::new(self.clock.now()));
        }
        self.notifier.ready(self.clock.now());
    }
}
