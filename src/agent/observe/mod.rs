//! What others see of the agent: its log, syslog, telemetry, and the service manager's notices.

pub mod log;
#[cfg(feature = "telemetry")]
pub mod metrics;
pub mod notify;
#[cfg_attr(not(feature = "syslog"), path = "absent/syslog.rs")]
pub mod syslog;
