//! Prints the nodes' logs with virtual time and node name, if `COTTAR_SIM_LOG` is set.

use std::cell::RefCell;
use std::sync::Once;

use cottar::time::Instant;
use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static WHERE: RefCell<(Instant, String)> = const { RefCell::new((Instant::ORIGIN, String::new())) };
}

struct Trace;

impl Log for Trace {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        WHERE.with_borrow(|(at, node)| {
            eprintln!(
                "{at:?} {node} [{}] {}: {}",
                record.level(),
                record.target(),
                record.args()
            );
        });
    }
    fn flush(&self) {}
}

/// Installs the logger once, if `COTTAR_SIM_LOG` is set.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = std::env::var("COTTAR_SIM_LOG").unwrap_or_default();
        if let Ok(level) = level.parse::<LevelFilter>() {
            if log::set_logger(&Trace).is_ok() {
                log::set_max_level(level);
            }
        }
    });
}

/// Sets the time and the node of the following log lines.
pub fn at(now: Instant, node: &str) {
    if log::max_level() > LevelFilter::Off {
        WHERE.with_borrow_mut(|place| {
            place.0 = now;
            place.1.clear();
            place.1.push_str(node);
        });
    }
}
