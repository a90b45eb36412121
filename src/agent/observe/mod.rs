//! Observability: log, syslog, telemetry, and notifications to the service manager.

mod console;
pub mod logger;
#[cfg(feature = "telemetry")]
pub mod metrics;
pub mod notify;
pub mod ring;
#[cfg_attr(not(feature = "syslog"), path = "absent/syslog.rs")]
pub mod syslog;
