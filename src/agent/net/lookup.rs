//! Resolves host names with the system's resolver, which blocks: the running agent does this in a child
//! process, the start and the command line directly.
//!
//! IPv4 and IPv6 are separate lookups. Some routers and company name servers answer for IPv4 but return an
//! error for IPv6; if both are requested at once, C libraries turn that into one error, and the IPv4 address
//! is lost.

use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::{fmt, io};

use crate::os::error::os_error;
use crate::os::sys;

/// Limit for the addresses kept per name and family.
pub const ADDRESSES_MAX: usize = 256;

/// Addresses of a name, or the error.
pub type Answer = Result<Vec<IpAddr>, String>;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in lookup order.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];
}

/// Why a name has no addresses in a family. Later variants are more informative.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The name does not exist, or has no address in this family.
    NoSuchHost,
    /// No name server gave a usable answer; a retry may succeed.
    Misbehaving,
    /// Any other error, with the system's text.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::NoSuchHost => "no such host",
            Failure::Misbehaving => "server misbehaving",
            Failure::Other(why) => why,
        })
    }
}

/// Returns the distinct addresses of a name in one family, with port 0. Blocks.
///
/// # Errors
/// If there is none, or the lookup fails.
pub fn in_family(host: &str, family: Family) -> Result<Vec<SocketAddr>, Failure> {
    let name = CString::new(host).map_err(|_| Failure::NoSuchHost)?;
    if name.is_empty() {
        return Err(Failure::NoSuchHost);
    }
    let number = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for addr in sys::look_up(&name, number).map_err(failure)? {
        if !found.contains(&addr) && found.len() < ADDRESSES_MAX {
            found.push(addr);
        }
    }
    if found.is_empty() {
        return Err(Failure::NoSuchHost);
    }
    Ok(found)
}

fn failure(code: libc::c_int) -> Failure {
    // Codes of glibc for a name without addresses and for an address of the other family; musl has the first
    // one, too. The libc crate does not define them.
    const EAI_NODATA: libc::c_int = -5;
    const EAI_ADDRFAMILY: libc::c_int = -9;
    match code {
        libc::EAI_NONAME | EAI_NODATA | EAI_ADDRFAMILY => Failure::NoSuchHost,
        libc::EAI_AGAIN | libc::EAI_FAIL => Failure::Misbehaving,
        libc::EAI_SYSTEM => Failure::Other(os_error(&io::Error::last_os_error())),
        code => Failure::Other(sys::look_up_error(code).to_ascii_lowercase()),
    }
}

/// Returns the first address of a name, IPv4 preferred, with port 0. Blocks.
///
/// # Errors
/// If neither family has one; the text is the reference's.
pub fn first(host: &str) -> Result<SocketAddr, String> {
    let mut failures = Failures::default();
    for family in Family::ALL {
        match in_family(host, family) {
            Ok(found) => return found.first().copied().ok_or_else(|| failures.of(host)),
            Err(failure) => failures.add(failure),
        }
    }
    Err(failures.of(host))
}

/// Failures in both families of a name; the most informative one is shown.
#[derive(Debug, Default)]
pub struct Failures(Option<Failure>);

impl Failures {
    /// Adds a failure.
    pub fn add(&mut self, failure: Failure) {
        self.0 = self.0.take().max(Some(failure));
    }

    /// Returns the error for a host; the text is the reference's.
    pub fn of(&self, host: &str) -> String {
        let why = self.0.as_ref().unwrap_or(&Failure::NoSuchHost);
        format!("lookup {host}: {why}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn families_are_looked_up_each_for_itself() {
        let v4 = in_family("localhost", Family::V4).unwrap();
        assert!(v4.contains(&"127.0.0.1:0".parse().unwrap()), "{v4:?}");
        assert!(v4.iter().all(SocketAddr::is_ipv4));
        assert_eq!(in_family("::1", Family::V4), Err(Failure::NoSuchHost));
        assert_eq!(in_family("127.1", Family::V6), Err(Failure::NoSuchHost));
        // Other notations of an address count as names here.
        assert_eq!(first("127.1"), Ok("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_a_name_is_no_host() {
        for name in ["", "a\0b"] {
            let why = format!("lookup {name}: no such host");
            assert_eq!(first(name), Err(why));
        }
    }

    #[test]
    fn the_failure_that_says_most_is_shown() {
        let mut failures = Failures::default();
        assert_eq!(failures.of("a"), "lookup a: no such host");
        failures.add(Failure::Misbehaving);
        failures.add(Failure::NoSuchHost);
        assert_eq!(failures.of("a"), "lookup a: server misbehaving");
        failures.add(Failure::Other("out of memory".into()));
        assert_eq!(failures.of("a"), "lookup a: out of memory");
    }
}
