//! Connects to an agent; errors have the reference's texts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::error::Error;
use crate::agent::net::addr::{self, UNIX_PREFIX};
use crate::agent::net::lookup::{self, Failures, Family};
use crate::os::clock::Deadline;
use crate::os::error::os_error;
use crate::os::sys;

/// Timeout for connecting, as in the reference.
const DIAL_TIME_MAX: Duration = Duration::from_secs(10);

/// Socket on which packaged agents serve RPC.
const DEFAULT_SOCKET: &str = "/run/cottar/rpc.sock";
/// Address on which other agents serve RPC by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7373";
/// Hint if the socket's permissions refuse the user.
const NO_PERMISSION_HINT: &str = "only root, the agent's user and the socket's group may connect, \
     see rpc_socket_group in cottar.conf(5); -rpc-addr selects another agent";

/// Where to look for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `unix:PATH` or `HOST:PORT`.
    At(String),
    /// The default places.
    Default,
}

/// Connects before `limit`, if given, and within [`DIAL_TIME_MAX`]. By default it tries the packages' socket,
/// then, if that has no listener, the reference's address.
///
/// # Errors
/// If no connection is possible; the text is the reference's if it has one.
pub(super) fn dial(place: &Place, limit: Option<Deadline>) -> Result<TcpStream, Error> {
    let deadline = Deadline::after(DIAL_TIME_MAX);
    let deadline = limit.map_or(deadline, |limit| limit.min(deadline));
    let address = match place {
        Place::At(address) => address,
        Place::Default => match connect_to_socket(DEFAULT_SOCKET, deadline) {
            Ok(stream) => return Ok(stream),
            Err(why) if is_nobody_there(&why) => DEFAULT_ADDRESS,
            Err(why) => return Err(socket_error(DEFAULT_SOCKET, &why)),
        },
    };
    match address.strip_prefix(UNIX_PREFIX) {
        Some("") => Err(Error::Address("no path after 'unix:'".to_owned())),
        Some(path) => connect_to_socket(path, deadline).map_err(|why| socket_error(path, &why)),
        None => dial_tcp(address, deadline),
    }
}

fn connect_to_socket(path: &str, deadline: Deadline) -> io::Result<TcpStream> {
    let timeout = deadline.left();
    sys::connect_to_path(Path::new(path), timeout)
}

fn is_nobody_there(why: &io::Error) -> bool {
    let nobody = [libc::ENOENT, libc::ENOTDIR, libc::ECONNREFUSED];
    nobody.map(Some).contains(&why.raw_os_error())
}

fn socket_error(path: &str, why: &io::Error) -> Error {
    let hint = match why.raw_os_error() {
        Some(libc::EACCES) => format!(": {NO_PERMISSION_HINT}"),
        _ => String::new(),
    };
    Error::Dial(format!("dial unix {path}: {}{hint}", connect_words(why)))
}

/// Connects to `HOST:PORT`.
fn dial_tcp(address: &str, deadline: Deadline) -> Result<TcpStream, Error> {
    let dial_error = |why: String| Error::Dial(format!("dial tcp{why}"));
    let (host, port) =
        split_host_port(address).map_err(|why| Error::Address(format!("dial tcp: {why}")))?;
    let ip = match host {
        "" => Some(Ipv4Addr::LOCALHOST.into()),
        host => host.parse::<IpAddr>().ok(),
    };
    let zoned = addr::zoned(host).map_err(|why| Error::Address(format!("dial tcp: {why}")))?;
    let zoned = zoned.map(|(ip, zone)| SocketAddrV6::new(ip, port, 0, zone).into());
    if let Some(address) = ip.map(|ip| SocketAddr::new(ip, port)).or(zoned) {
        let addresses = [address];
        return connect_to_one(&addresses, deadline, 0).map_err(dial_error);
    }
    let mut failures = Failures::default();
    let mut refused = None;
    for (family, later) in [(Family::V4, 1), (Family::V6, 0)] {
        let mut addresses = match lookup::in_family(host, family) {
            Ok(addresses) => addresses,
            Err(failure) => {
                failures.add(failure);
                continue;
            }
        };
        for address in &mut addresses {
            address.set_port(port);
        }
        match connect_to_one(&addresses, deadline, later) {
            Ok(stream) => return Ok(stream),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    Err(dial_error(
        refused.unwrap_or_else(|| format!(": {}", failures.of(host))),
    ))
}

/// Connects to the first address that accepts. The time until the deadline is divided among these addresses
/// and `later` further ones that are not resolved yet.
///
/// # Errors
/// The first address's error, if none accepts.
fn connect_to_one(
    addresses: &[SocketAddr],
    deadline: Deadline,
    later: usize,
) -> Result<TcpStream, String> {
    let mut failure = None;
    for (tried, address) in addresses.iter().enumerate() {
        let untried = u32::try_from(addresses.len() - tried + later).unwrap_or(u32::MAX);
        let left = deadline.left() / untried;
        // The call refuses zero.
        match TcpStream::connect_timeout(address, left.max(Duration::from_millis(1))) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(why) => {
                let why = format!(" {address}: {}", connect_words(&why));
                failure = failure.or(Some(why));
            }
        }
    }
    Err(failure.unwrap_or_default())
}

/// Splits `host:port`; errors have the reference's texts.
fn split_host_port(address: &str) -> Result<(&str, u16), String> {
    if address.is_empty() {
        return Err("missing address".to_owned());
    }
    let (host, port) = addr::split_host_port(address)?;
    let port = port.ok_or_else(|| {
        let what = match address.starts_with('[') || !host.contains(':') {
            true => "missing port in address",
            false => "too many colons in address",
        };
        format!("address {address}: {what}")
    })?;
    Ok((host, addr::parse_port(port, "lookup")?))
}

fn connect_words(why: &io::Error) -> String {
    match why.raw_os_error() {
        None => os_error(why),
        Some(_) => format!("connect: {}", os_error(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_refused_in_the_references_words() {
        for (address, expected) in [
            ("127.0.0.1:1", Ok(("127.0.0.1", 1))),
            ("[::1]:7373", Ok(("::1", 7373))),
            ("host:7373", Ok(("host", 7373))),
            (":7373", Ok(("", 7373))),
            ("", Err("missing address")),
            ("foo", Err("address foo: missing port in address")),
            ("[::1]", Err("address [::1]: missing port in address")),
            ("::1", Err("address ::1: too many colons in address")),
            ("a:b:c", Err("address a:b:c: too many colons in address")),
            ("127.0.0.1:99999", Err("address 99999: invalid port")),
            ("[::1", Err("address [::1: missing ']' in address")),
            ("a:b", Err("lookup tcp/b: unknown port")),
        ] {
            assert_eq!(
                split_host_port(address),
                expected.map_err(str::to_owned),
                "{address}"
            );
        }
    }

    #[test]
    fn system_errors_lose_their_number() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(connect_words(&refused), "connect: connection refused");
    }
}
