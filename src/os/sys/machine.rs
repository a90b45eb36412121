//! System clocks that the standard library does not offer, and the page size.

use std::mem;

/// Returns the size of a memory page in bytes.
pub fn page_bytes() -> u64 {
    // SAFETY: takes and returns integers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
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
mod tests {
    use super::*;

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
