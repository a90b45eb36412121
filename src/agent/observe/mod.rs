//! What others see of the agent: its log, syslog, telemetry, and the service manager's notices.

mod console;
pub mod logger;
#[cfg(feature = "telemetry")]
pub mod metrics;
pub mod notify;
pub mod ring;
#[cfg_attr(not(feature = "syslog"), path = "absent/syslog.rs")]
pub mod syslog;
