//! From settings to a running agent, in the reference's order (agent spec 4.4).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::log::LevelFilter;
use mio::{Poll, Registry, Token};

use super::join::{Joining, RetryJoin};
use super::save::Saving;
use super::shutdown::{LAST_WORDS, Life};
use super::telemetry::Telemetry;
use super::waiting::Waits;
use super::{Agent, discovery, journal, tokens};
use crate::agent::config::directory::HandlerDirs;
use crate::agent::config::settings::Settings;
use crate::agent::config::sources::{Sources, Waiting};
use crate::agent::config::{
    Addresses, AgentConfig, Findings, FixedConfig, FlagValues, LiveConfig, Refused,
};
use crate::agent::files;
use crate::agent::files::lock::{FileLock, Locks};
use crate::agent::files::snapshot::SnapshotFile;
use crate::agent::net::addr;
use crate::agent::net::{Gossip, Tokens};
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
use crate::os::clock::Clock;
use crate::os::error::{os_error, shown};
use crate::os::signals::Signals;
use crate::os::sys;
use crate::serf::{self, Serf, Tags};
use crate::swim::Network;
use crate::wire::{Envelope, Key, Keyring, NonceSource};

/// Runs the agent until it ends.
pub(super) fn run(flags: &impl FlagValues) -> ExitCode {
    sys::keep_own_file();
    let logger = Logger::install(LevelFilter::Info);
    match start(flags, &logger) {
        Ok(agent) => agent.run(),
        Err(why) => {
            // What led to it would be lost otherwise (agent spec 5, item 35). The log has the error
            // as well: who reads only stderr sees all of it.
            ::log::error!(target: "agent", "{why}");
            logger.open_gate_aside();
            logger.print(&format!("==> {why}"));
            logger.finish(LAST_WORDS);
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &impl FlagValues, logger: &Logger) -> Result<Agent, String> {
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
        mut live,
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
    logger.set_level(live.log_level);
    if let Some(facility) = &config.syslog_facility {
        let syslog = Syslog::new(&syslog::PATHS, facility).map_err(no_syslog)?;
        if !syslog.is_connected() {
            // It may start after us. Who looks at the console shall know where the lines are.
            ::log::warn!(target: "agent", "No syslog at {}; looking for it again with each line",
                syslog::PATHS.join(", "));
        }
        logger.set_syslog(syslog);
    }
    ::log::info!(target: "agent", "Serf agent starting");

    let telemetry = Telemetry::new(&config);
    let rpc = resolve_rpc(&config);

    let clock = Clock::new();
    let setup = |error: std::io::Error| format!("Failed to setup the agent: {}", os_error(&error));

    logger.print("==> Starting Serf agent...");
    let mut locks = lock_files(&config, logger).map_err(no_files)?;
    let keyring = restore(&config, &mut live).map_err(no_files)?;

    // Until here there is nothing to leave, and a signal ends a slow resolver at once, or the wait for
    // somebody to write to a pipe that stands for a file. From here on none ends the process half way.
    let poll = Poll::new().map_err(setup)?;
    let signals = Signals::install(poll.registry(), Token(tokens::SIGNALS)).map_err(setup)?;
    sys::isolate_children();

    let (gossip, mut serf, mut snapshot) =
        open_gossip(&config, &live.tags, addresses, keyring, &clock, &poll).map_err(no_core)?;

    if let Some(snapshot) = &mut snapshot {
        snapshot.keep(locks.snapshot.take());
    }

    let addr = serf.swim().local().addr;
    let bound = addresses.bind.ip();
    let mdns = discovery::start(&config, bound, addr, poll.registry(), clock.now())?;

    let clients = rpc
        .and_then(|rpc| listen_for_rpc(&rpc, poll.registry()))
        .map_err(no_rpc)?;
    logger.print("==> Starting Serf agent RPC...");

    let mut handler_dirs = HandlerDirs::new(&live.handler_dirs);
    handler_dirs.look_at_once(clock.moment());
    let mut handlers = HandlerQueue::new(handler_dirs.behind(&live.event_handlers));
    let journal = journal::open(&config, &mut serf, &mut handlers, clock.now()).map_err(no_core)?;

    let mut runner = Runner::new(tokens::RUNNER, live.handler_timeout);
    runner.set_limits(live.handler_timeout, live.handler_grace);
    runner.set_output_bytes_max(output_bytes_kept(
        config.query_response_size_limit_bytes.unwrap_or_default(),
    ));
    let mut agent = Agent {
        clock,
        poll,
        signals,
        gossip,
        clients,
        server: RpcServer::new(rpc::Config {
            auth_key: config.rpc_auth.clone(),
            control_group: config.rpc_control_group.clone(),
        }),
        serf,
        handlers,
        handler_dirs,
        runner,
        orphans: Orphans::new(),
        resolver: Resolver::new(tokens::RESOLVER),
        mdns,
        telemetry,
        logger: logger.clone(),
        notifier: Notifier::from_environment(),
        config,
        live,
        sources,
        settings,
        snapshot,
        journal,
        earlier: None,
        locks,
        saving: Saving::default(),
        waits: Waits::default(),
        joining: Joining::default(),
        retry_join: None,
        life: Life::Running,
        own_leave_seen: false,
        unfinished: true,
    };
    agent.announce_query_handlers();
    logger.print(&agent.banner());
    if agent.config.start_join.is_empty() {
        agent.started();
    } else {
        agent.start_join();
    }
    Ok(agent)
}

// What each part of a start that fails is called.
pub(super) fn no_syslog(why: String) -> String {
    format!("Syslog setup failed: {why}")
}
pub(super) fn no_files(why: String) -> String {
    format!("Failed to setup the Serf agent: {why}")
}
pub(super) fn no_core(why: String) -> String {
    format!("Failed to start the Serf agent: Error creating Serf: {why}")
}
pub(super) fn no_snapshot(why: String) -> String {
    format!("Failed to setup snapshot: failed to open snapshot: {why}")
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

/// What the RPC server needs of the system.
pub(super) struct Rpc {
    addrs: Vec<RpcAddr>,
    rights: Rights,
    control_group: Option<u32>,
}

/// Looks up names of hosts and groups.
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

/// The core takes a protocol in a byte and refuses those that it does not speak; here for the others.
fn check_protocol(protocol: i64) -> Result<u8, String> {
    u8::try_from(protocol).map_err(|_| {
        let (min, max) = (serf::config::PROTOCOL_MIN, serf::config::PROTOCOL_MAX);
        format!("Protocol version '{protocol}' too high. Must be in range: [{min}, {max}]")
    })
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

/// What files that the agent keeps have to say: the tags, and the keys if there is a file for them.
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

/// The tags of the file, if there is one, which allows no others.
pub(super) fn restored_tags(path: &Path, others: &Tags) -> Result<Option<Tags>, String> {
    if !others.is_empty() {
        return Err("Tags config not allowed while using tag files".to_owned());
    }
    files::tags::read(path)
}

/// The keys of the file, which allows no other, and how many they are.
pub(super) fn restored_keyring(path: &Path, has_key: bool) -> Result<(Keyring, usize), String> {
    if has_key {
        return Err("Encryption key not allowed while using a keyring".to_owned());
    }
    files::keyring::read(path)
}

fn no_memberlist(why: String) -> String {
    format!("Failed to create memberlist: {why}")
}

/// How gossip is wrapped.
pub(super) fn envelope(
    config: &FixedConfig,
    keyring: Option<Keyring>,
    nonces: NonceSource,
) -> Result<Envelope, String> {
    let mut envelope = Envelope::plain(nonces);
    envelope.compression = config.compression;
    envelope.label = config.label.clone();
    envelope.labels_accepted.clone_from(&config.labels_accepted);
    envelope.keyring = keyring;
    envelope.verify_incoming = config.verify_incoming;
    envelope.verify_outgoing = config.verify_outgoing;
    if let Some(key) = &config.encrypt_key {
        let key = Key::new(key).map_err(|why| no_memberlist(why.to_owned()))?;
        envelope.keyring = Some(Keyring::new(key));
    }
    Ok(envelope)
}

/// What the core is told, apart from the snapshot. `bound`: where the gossip port is, or will be.
pub(super) fn core_config(
    config: &FixedConfig,
    tags: &Tags,
    addresses: Addresses,
    bound: SocketAddr,
    speaks_ipv6: bool,
) -> Result<serf::Config, String> {
    let protocol = check_protocol(config.protocol)?;
    let addr = advertised(addresses.advertise, bound, speaks_ipv6)
        .map_err(|why| no_memberlist(format!("Failed to get final advertise address: {why}")))?;
    let mut core = serf::Config::new(config.node.clone(), addr, config.profile.swim());
    core.tags = tags.clone();
    core.protocol = protocol;
    core.broadcast_timeout = config.broadcast_timeout;
    core.allowed_networks = allowed_networks(config, addresses.bind.ip());
    config.apply_limits(&mut core);
    core.keyring_file = config.keyring_file.is_some();
    core.journal = config.journal.is_some();
    Ok(core)
}

fn open_gossip(
    config: &FixedConfig,
    tags: &Tags,
    addresses: Addresses,
    keyring: Option<Keyring>,
    clock: &Clock,
    poll: &Poll,
) -> Result<(Gossip, Serf, Option<SnapshotFile>), String> {
    check_protocol(config.protocol)?;
    let mut seed = [0; 32 + 8];
    getrandom::getrandom(&mut seed)
        .map_err(|error| no_memberlist(format!("no entropy: {error}")))?;
    let (nonce_seed, choice_seed) = split_seed(seed);
    let envelope = envelope(config, keyring, NonceSource::new(nonce_seed))?;
    let tokens = Tokens {
        first: tokens::GOSSIP,
    };
    let gossip = Gossip::bind(addresses.bind, poll.registry(), tokens).map_err(|why| {
        let why = format!("Could not set up network transport: failed to obtain an address: {why}");
        no_memberlist(why)
    })?;
    let mut core = core_config(
        config,
        tags,
        addresses,
        addr::without_zone(gossip.local_addr(), gossip.zone()),
        gossip.speaks_ipv6(),
    )?;
    if let Some(warning) = foreign_to_itself(config, &core) {
        ::log::warn!(target: "agent", "{warning}");
    }
    // Not before the port is ours: the file may belong to an agent that runs.
    let snapshot = match &config.snapshot {
        None => None,
        Some(path) => {
            let (file, found) = SnapshotFile::open(path, config.rejoin).map_err(no_snapshot)?;
            core.snapshot = Some(found);
            Some(file)
        }
    };
    let serf = Serf::new(core, envelope, choice_seed, clock.now())?;
    Ok((gossip, serf, snapshot))
}

/// The networks that were asked for, and the address where the node is bound, in case it is not the one
/// that it advertises.
fn allowed_networks(config: &FixedConfig, bound: IpAddr) -> Vec<Network> {
    let mut allowed = config.allowed_networks.clone();
    if !allowed.is_empty() && !bound.is_unspecified() {
        allowed.push(Network::of_one(bound));
    }
    allowed
}

/// A warning if nodes with the same networks would refuse this one.
pub(super) fn foreign_to_itself(config: &FixedConfig, core: &serf::Config) -> Option<String> {
    let (allowed, own) = (&config.allowed_networks, core.addr.ip());
    let is_allowed = allowed.iter().any(|network| network.contains(own));
    (!allowed.is_empty() && !is_allowed).then(|| {
        format!(
            "This node's address {own} is not in an allowed network: nodes with the same networks refuse it"
        )
    })
}

fn split_seed(seed: [u8; 40]) -> ([u8; 32], u64) {
    let mut nonces = [0; 32];
    let mut choices = [0; 8];
    for (to, from) in nonces.iter_mut().chain(&mut choices).zip(seed) {
        *to = from;
    }
    (nonces, u64::from_le_bytes(choices))
}

/// What the others are told: what was asked for, else where we are bound, else a private address.
fn advertised(
    wanted: Option<SocketAddr>,
    bound: SocketAddr,
    speaks_ipv6: bool,
) -> Result<SocketAddr, String> {
    let mut addr = wanted.unwrap_or(bound);
    if addr.port() == 0 {
        addr.set_port(bound.port());
    }
    if addr.ip().is_unspecified() {
        // Only the port is another one.
        addr.set_ip(bound.ip());
    }
    if addr.ip().is_unspecified() {
        addr.set_ip(addr::advertised_for_wildcard(speaks_ipv6)?);
    }
    Ok(addr)
}

impl Agent {
    /// The lines that supervisors and people wait for; the column of the values is the reference's.
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
        // The printer adds the last line's end.
        lines.trim_end_matches('\n').to_owned()
    }

    /// The start is through: the log may be seen, and the tries to join begin.
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
