//! System calls that no dependency wraps. The only folder of the package with `unsafe`.
#![allow(unsafe_code)]

mod address;
mod descriptors;
mod identity;
mod interfaces;
mod machine;
mod multicast;
mod names;
mod processes;
mod program;
mod sockets;
mod users;

pub use descriptors::{
    Locked, descriptors_max, is_unread_before, is_writable, lock_whole, next_descriptor, pipe,
    set_blocking, set_nonblocking,
};
pub use identity::{is_root, take_identity};
pub use interfaces::{InterfaceAddress, interface_addresses, interface_exists, interface_index};
pub use machine::{LocalTime, local_time, monotonic_micros, page_bytes, usable_processors};
pub use multicast::{multicast_listener, multicast_sender};
pub use names::{host_name, look_up, look_up_error};
pub use processes::{
    adopts_orphans, any_ended_child, end_after, group_exists, has_ended, is_stopped,
    isolate_children, kill_group, reap,
};
pub use program::{keep_own_file, may_execute, own_program, own_program_in};
pub use sockets::{
    connect_from, connect_to_path, dual_stack_datagrams, dual_stack_listener, receive_drops,
    send_now, set_receive_buffer,
};
pub use users::{PeerCredentials, effective_user, peer_credentials, peer_groups, with_umask};

use std::io;

/// Converts the result of a system call that returns -1 on failure.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
