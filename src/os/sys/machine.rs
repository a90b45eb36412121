//! System clocks that the standard library does not offer, the page size and the number of processors.

use std::mem;

/// Returns the size of a memory page in bytes.
pub fn page_bytes() -> u64 {
    // SAFETY: takes and returns integers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Returns the number of processors that this process may use, at least 1. Quotas of control groups do not
/// count: the standard library's function reads them from files, whose code is larger than all the rest here.
pub fn usable_processors() -> usize {
    // SAFETY: all bytes zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is writable and has that size; on failure it stays empty.
    unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
    // SAFETY: reads the set.
    match unsafe { libc::CPU_COUNT(&set) } {
        // A machine with more processors than a set has room for.
        // SAFETY: takes and returns integers.
        0 => usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1),
        count => usize::try_from(count).unwrap_or(1),
    }
}

/// Returns CLOCK_MONOTONIC in microseconds, which service managers compare with their own reading.
pub fn monotonic_micros() -> u64 {
    // SAFETY: all bytes zero is a valid timespec, which has hidden padding on some 32-bit machines.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: `time` is writable for the whole call; on failure it keeps its zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1000)
}

/// Date and time in this machine's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LocalTime {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
}

/// Converts seconds since 1970 to local time.
// `libc` marks the `time_t` of musl as one whose width will change; the conversion below fits each width.
#[allow(deprecated)]
pub fn local_time(unix_seconds: i64) -> LocalTime {
    // On a 32-bit time_t, glibc's on 32-bit machines, a date after 2038 saturates instead of wrapping.
    let time = libc::time_t::try_from(unix_seconds).unwrap_or(libc::time_t::MAX);
    // SAFETY: all bytes zero is a valid tm.
    let mut tm: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to valid places; on failure `tm` keeps its zeros.
    unsafe { libc::localtime_r(&time, &mut tm) };
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_many_processors_are_usable_as_the_system_says() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mut lines = status.lines();
        let list = lines
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap();
        let of_range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<usize>().unwrap();
            number(last) - number(first) + 1
        };
        let listed: usize = list.split(',').map(of_range).sum();
        assert_eq!(usable_processors(), listed);
    }

    #[test]
    fn local_time_has_sane_fields() {
        let time = local_time(1_700_000_000);
        assert_eq!((time.year, time.month), (2023, 11));
        assert!((14..=15).contains(&time.day));
    }

    #[test]
    fn local_time_goes_on_after_2038() {
        assert_eq!(local_time(4_000_000_000).year, 2096);
    }
}
