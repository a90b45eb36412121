//! Network interfaces.

use std::ffi::{CStr, CString};
use std::net::IpAddr;
use std::{io, ptr};

use super::address::socket_addr_of;

/// One address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Name of the interface.
    pub name: String,
    /// The address.
    pub addr: IpAddr,
    /// Length of the network prefix in bits.
    pub prefix_bits: u32,
    /// Whether the interface is up.
    pub up: bool,
}

/// Returns the addresses of all network interfaces, in the kernel's order.
///
/// # Errors
/// If getifaddrs(3) fails.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a valid place for the pointer; it is freed below exactly once.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a live node of the list that getifaddrs made.
        let node = unsafe { &*entry };
        entry = node.ifa_next;
        // SAFETY: `ifa_addr` is null or points to an address whose family determines its layout.
        let Some(addr) = (unsafe { socket_addr_of(node.ifa_addr) }) else {
            continue;
        };
        // SAFETY: `ifa_netmask` is null or points to an address whose family determines its layout.
        let mask = unsafe { socket_addr_of(node.ifa_netmask) };
        // SAFETY: `ifa_name` is a C string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(node.ifa_name) };
        found.push(InterfaceAddress {
            name: name.to_string_lossy().into_owned(),
            addr: addr.ip(),
            prefix_bits: mask.map_or(0, |mask| match mask.ip() {
                IpAddr::V4(ip) => ip.to_bits().count_ones(),
                IpAddr::V6(ip) => ip.to_bits().count_ones(),
            }),
            up: node.ifa_flags & libc::IFF_UP as libc::c_uint != 0,
        });
    }
    // SAFETY: the list came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// Returns whether there is an interface with that name, with or without addresses.
pub fn interface_exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: `name` is a C string.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Returns the index of an interface; `None` if there is none with that name.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a C string.
    Some(unsafe { libc::if_nametoindex(name.as_ptr()) }).filter(|&index| index != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_loopback_interface_is_found() {
        let all = interface_addresses().unwrap();
        let lo = all
            .iter()
            .find(|entry| entry.addr == IpAddr::V4(Ipv4Addr::LOCALHOST))
            .expect("127.0.0.1 on some interface");
        assert!(lo.up);
        assert_eq!(lo.prefix_bits, 8);
        assert!(interface_exists(&lo.name));
        assert!(!interface_exists("no such interface"));
        assert!(!interface_exists("a\0b"));
    }
}
