//! Creates the core and the gossip port from the settings.

use std::net::{IpAddr, SocketAddr};

use mio::Poll;

use super::tokens;
use crate::agent::config::{Addresses, FixedConfig};
use crate::agent::files::snapshot::SnapshotFile;
use crate::agent::net::{Gossip, Tokens, addr};
use crate::os::clock::Clock;
use crate::serf::{self, Serf, Tags};
use crate::swim::Network;
use crate::wire::{Envelope, Key, Keyring, NonceSource};

pub(super) fn no_snapshot(why: String) -> String {
    format!("Failed to setup snapshot: failed to open snapshot: {why}")
}

fn no_memberlist(why: String) -> String {
    format!("Failed to create memberlist: {why}")
}

/// Converts the protocol version for the core, which checks its range; refuses numbers that do not fit.
fn check_protocol(protocol: i64) -> Result<u8, String> {
    u8::try_from(protocol).map_err(|_| {
        let (min, max) = (serf::config::PROTOCOL_MIN, serf::config::PROTOCOL_MAX);
        format!("Protocol version '{protocol}' too high. Must be in range: [{min}, {max}]")
    })
}

/// Returns the encryption, compression and label settings of gossip.
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

/// Returns the core's settings without the snapshot. `bound` is the gossip port's current or future address.
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
    core.member_changes = true;
    Ok(core)
}

pub(super) fn open_gossip(
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
    // Opened after the port is bound: until then, the file may belong to a running agent.
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

/// Returns the configured networks, and the address that the node is bound to, which may differ from the one
/// it advertises.
fn allowed_networks(config: &FixedConfig, bound: IpAddr) -> Vec<Network> {
    let mut allowed = config.allowed_networks.clone();
    if !allowed.is_empty() && !bound.is_unspecified() {
        allowed.push(Network::of_one(bound));
    }
    allowed
}

/// Returns a warning if nodes with the same networks would refuse this node.
pub(super) fn foreign_to_itself(config: &FixedConfig, core: &serf::Config) -> Option<String> {
    let (allowed, own) = (&config.allowed_networks, core.addr.ip());
    let is_allowed = allowed.iter().any(|network| network.contains(own));
    (!allowed.is_empty() && !is_allowed).then(|| {
        format!(
            "This node's address {own} is not in an allowed network: nodes with the same setting refuse it"
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

/// Returns the advertised address: the configured one, else the bound one, else a private one of this host.
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
        // Only the port was configured.
        addr.set_ip(bound.ip());
    }
    if addr.ip().is_unspecified() {
        addr.set_ip(addr::advertised_for_wildcard(speaks_ipv6)?);
    }
    Ok(addr)
}
