#![allow(clippy::unwrap_used)]

use super::*;
use crate::handler::HandlerSettings;
use crate::serf::{LamportTime, UserEvent};
use std::os::unix::fs::PermissionsExt;

const NOW: Instant = Instant::ORIGIN;

fn queue() -> HandlerQueue {
    HandlerQueue::new(vec![HandlerSettings::from_text(b"user=handle").unwrap()])
}

fn open(path: &Path) -> (JournalFiles, HandlerQueue, usize) {
    let (files, journal, recovered) = JournalFiles::open(path, Settings::default()).unwrap();
    let mut queue = queue();
    let waiting = recovered.waiting;
    queue.attach_journal(journal, recovered);
    (files, queue, waiting)
}

fn event(time: u64) -> UserEvent {
    UserEvent {
        ltime: LamportTime(time),
        name: b"x".to_vec(),
        payload: vec![b'p'; 100],
        coalesce: false,
    }
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries
        .filter(|path| path.to_string_lossy().ends_with(".journal"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn files_are_private_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut files, mut queue, waiting) = open(&path);
    assert_eq!(waiting, 0);
    for time in 1..=5 {
        queue.take_in(&event(time), NOW);
    }
    files.flush(&mut queue, NOW);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let found = segments(&path);
    assert_eq!(found.len(), 1);
    let mode = fs::metadata(found.first().unwrap())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(files);
    let (mut files, mut queue, waiting) = open(&path);
    assert_eq!((waiting, queue.len()), (5, 5));
    assert!(files.read_for(&mut queue));
    assert!(!files.read_for(&mut queue), "once a turn");
    queue.drop_all();
    files.finish(&mut queue, NOW);
    assert_eq!(segments(&path).len(), 0);
}

#[test]
fn a_damaged_file_is_kept_aside_and_no_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut files, mut queue, _) = open(&path);
    for time in 1..=5 {
        queue.take_in(&event(time), NOW);
    }
    files.flush(&mut queue, NOW);
    drop(files);
    let segment = segments(&path).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let length = bytes.len();
    *bytes.get_mut(300).unwrap() ^= 1;
    bytes.extend_from_slice(b"torn");
    fs::write(&segment, &bytes).unwrap();
    let other = dir.path().join("other");
    fs::write(&other, "mine").unwrap();
    let link = path.join("00000000000000ff-0000000000000001.journal");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let (_, _, waiting) = open(&path);
    assert_eq!(waiting, 4);
    assert_eq!(fs::metadata(&segment).unwrap().len(), length as u64);
    let names = fs::read_dir(&path).unwrap().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let damaged = names.filter(|name| name.starts_with("damaged-"));
    assert_eq!(damaged.count(), 2);
    assert_eq!(fs::read(&other).unwrap(), b"mine");
}

#[test]
fn old_damage_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..40 {
        fs::write(dir.path().join(format!("damaged-{number}")), "x").unwrap();
    }
    let (files, _, _) = open(dir.path());
    files.prune_damaged();
    let left = fs::read_dir(dir.path()).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-"));
    assert_eq!(left.count(), DAMAGED_FILES_MAX);
}

#[test]
fn a_directory_that_is_gone_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("journal");
    let (mut files, mut queue, _) = open(&path);
    queue.take_in(&event(1), NOW);
    files.flush(&mut queue, NOW);
    fs::remove_dir_all(&folder).unwrap();
    queue.take_in(&event(2), NOW);
    files.begin_turn();
    files.flush(&mut queue, NOW);
    assert!(queue.journal().unwrap().is_failing());
    let at = NOW + RETRY;
    files.handle_timeout(&mut queue, at);
    assert!(queue.journal().unwrap().is_failing() && files.retry_at == Some(at + RETRY));
    fs::create_dir(&folder).unwrap();
    files.begin_turn();
    files.handle_timeout(&mut queue, at + RETRY);
    assert!(!queue.journal().unwrap().is_failing());
    assert_eq!(segments(&path).len(), 1);
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let why = JournalFiles::open(&file, Settings::default()).unwrap_err();
    assert!(
        why.starts_with("open ") && why.ends_with("not a directory"),
        "{why}"
    );
    let why = JournalFiles::open(&file.join("x"), Settings::default()).unwrap_err();
    assert!(why.starts_with("create "), "{why}");
    // Nobody, not even root, can create files there. Trees in which packages are built may lack it.
    let sysfs = Path::new("/sys/kernel");
    if sysfs.is_dir() {
        let why = JournalFiles::open(sysfs, Settings::default()).unwrap_err();
        assert_eq!(why, "write to /sys/kernel: permission denied");
    }
}
