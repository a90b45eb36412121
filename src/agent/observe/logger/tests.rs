use super::super::console::CONSOLE_BYTES_MAX;
use super::super::ring::{RING_BYTES_MAX, RING_LINES_MAX};
use super::*;
use log::Level;
use std::fs::File;
use std::os::fd::OwnedFd;

fn logger(room: usize) -> Logger {
    let sink = Sink::Memory {
        taken: Vec::new(),
        room,
    };
    Logger::new(LevelFilter::Info, sink)
}

fn taken(logger: &Logger) -> String {
    match &logger.hub().console.sink {
        Sink::Memory { taken, .. } => String::from_utf8(taken.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn give_room(logger: &Logger, more: usize) {
    if let Sink::Memory { room, .. } = &mut logger.hub().console.sink {
        *room += more;
    }
}

fn log(logger: &Logger, level: Level, text: &str) {
    logger.note(Line::now(level, "agent", format_args!("{text}")));
}

/// Returns the console's output without timestamps.
fn shown(logger: &Logger) -> String {
    let undated = |line: &str| match line.strip_prefix(INDENT) {
        Some(line) => line[20..].to_owned() + "\n",
        None => line.to_owned() + "\n",
    };
    taken(logger).lines().map(undated).collect()
}

#[test]
fn lines_wait_for_the_gate_and_prints_do_not() {
    let logger = logger(usize::MAX);
    log(&logger, Level::Info, "one");
    logger.print("==> up");
    log(&logger, Level::Debug, "hidden");
    assert_eq!(taken(&logger), "==> up\n");
    logger.open_gate();
    log(&logger, Level::Warn, "two");
    logger.open_gate();
    assert_eq!(
        shown(&logger),
        "==> up\n[INFO] agent: one\n[WARN] agent: two\n"
    );
}

#[test]
fn the_ring_keeps_the_last_lines_of_all_levels() {
    let logger = logger(usize::MAX);
    let mut cursor = logger.oldest();
    for number in 0..600 {
        let level = if number % 2 == 0 {
            Level::Info
        } else {
            Level::Debug
        };
        log(&logger, level, &number.to_string());
    }
    let mut late = cursor;
    let (all, missed) = logger.lines_since(&mut cursor, LevelFilter::Debug);
    assert_eq!((all.len(), missed), (RING_LINES_MAX, 88));
    assert_eq!((all[0].level, &*all[0].text), (Level::Info, "agent: 88"));
    let (info, _) = logger.lines_since(&mut late, LevelFilter::Info);
    assert_eq!(info.len(), RING_LINES_MAX / 2);
    log(&logger, Level::Info, "fresh");
    let (fresh, missed) = logger.lines_since(&mut cursor, LevelFilter::Trace);
    assert_eq!((fresh.len(), missed), (1, 0));
    for _ in 0..300 {
        log(&logger, Level::Info, &"x".repeat(8192));
    }
    assert!(logger.hub().ring.bytes <= RING_BYTES_MAX);
}

#[test]
fn a_reader_who_stops_costs_lines_and_bounded_memory() {
    let logger = logger(10);
    logger.open_gate();
    for number in 0..20_000 {
        log(&logger, Level::Info, &format!("line {number}"));
    }
    assert!(!logger.flush() && logger.has_unwritten());
    assert!(logger.hub().console.pending.len() <= CONSOLE_BYTES_MAX);
    give_room(&logger, usize::MAX / 2);
    assert!(logger.has_unwritten(), "asking writes nothing");
    assert!(logger.flush() && !logger.has_unwritten());
    let shown = taken(&logger);
    assert!(shown.contains("lines lost"), "{}", shown.len());
    assert!(shown.lines().next_back().unwrap().starts_with("==> "));
    logger.finish(Duration::ZERO);
}

#[test]
fn a_slow_reader_gets_the_last_words_too() {
    let (writer, mut reader) = mio::unix::pipe::new().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let logger = Logger::new(LevelFilter::Info, Sink::Reopened(writer));
    logger.open_gate();
    for number in 0..5_000 {
        log(&logger, Level::Info, &format!("line {number}"));
    }
    assert!(!logger.flush(), "more than a pipe takes");
    logger.print("==> the end");
    reader.set_nonblocking(false).unwrap();
    let reading = std::thread::spawn(move || {
        let (mut text, mut bytes) = (Vec::new(), [0; 1000]);
        while !text.ends_with(b"==> the end\n") {
            let count = io::Read::read(&mut reader, &mut bytes).unwrap();
            assert!(count > 0, "{} bytes without the end", text.len());
            text.extend_from_slice(&bytes[..count]);
        }
    });
    logger.finish(Duration::from_secs(60));
    drop(logger);
    reading.join().unwrap();
}

#[test]
fn level_names_are_the_references() {
    assert_eq!(parse_level("info"), Some(LevelFilter::Info));
    assert_eq!(parse_level("Err"), Some(LevelFilter::Error));
    assert_eq!(parse_level("error"), None);
}
