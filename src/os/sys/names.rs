//! The system's resolver, and the host name.

use std::ffi::CStr;
use std::net::SocketAddr;
use std::{mem, ptr};

use libc::c_int;

use super::address::socket_addr_of;

/// Resolves a name to its addresses in one family (`AF_INET` or `AF_INET6`), with port 0. Blocks.
///
/// # Errors
/// The error code of getaddrinfo(3); for `EAI_SYSTEM`, errno has the details.
pub fn look_up(host: &CStr, family: c_int) -> Result<Vec<SocketAddr>, c_int> {
    // SAFETY: all zeroes is a valid addrinfo: no pointers, no hints.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_family = family;
    // One entry per address instead of one per socket type.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: `host` is a C string, `hints` is valid, and `list` is writable.
    let code = unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &hints, &mut list) };
    if code != 0 {
        return Err(code);
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a live node of the list that getaddrinfo made.
        let node = unsafe { &*entry };
        entry = node.ai_next;
        // SAFETY: `ai_addr` is null or points to an address whose family determines its layout.
        found.extend(unsafe { socket_addr_of(node.ai_addr) });
    }
    // SAFETY: the list came from getaddrinfo and nothing borrows from it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

/// Returns the C library's text for an error of [`look_up`].
pub fn look_up_error(code: c_int) -> String {
    // SAFETY: the call returns a C string that is never freed.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    text.to_string_lossy().into_owned()
}

/// Returns the host name; empty if it cannot be read.
pub fn host_name() -> Vec<u8> {
    let mut buffer = [0u8; 256];
    // SAFETY: pointer and length are those of `buffer`; its last byte stays zero.
    unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    let len = buffer.iter().position(|&byte| byte == 0).unwrap_or(0);
    buffer.get(..len).unwrap_or_default().to_vec()
}
