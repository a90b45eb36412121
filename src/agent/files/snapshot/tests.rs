use super::rewrite::COMPACTION_RETRY;
use super::*;
use crate::serf::LamportTime;
use crate::wire::NodeName;

fn alive(number: u32) -> SnapshotLine {
    SnapshotLine::Alive {
        name: NodeName::new(format!("n {number}").as_bytes()).unwrap(),
        addr: ([127, 0, 0, 1], 1000).into(),
    }
}

fn open(path: &Path) -> (SnapshotFile, Snapshot) {
    SnapshotFile::open(path, false).unwrap()
}

const NOW: Instant = Instant::ORIGIN;

#[test]
fn lines_are_there_after_a_flush_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    let (mut file, found) = open(&path);
    assert_eq!(found, Snapshot::default());
    file.record(&alive(1));
    for time in 1..5 {
        file.record(&SnapshotLine::EventClock(LamportTime(time)));
    }
    file.flush(NOW);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "alive: n 1 127.0.0.1:1000\nevent-clock: 4\n");
    let (_, found) = open(&path);
    assert_eq!((found.alive.len(), found.event_clock.0), (1, 4));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o022, 0);
}

#[test]
fn events_of_a_turn_move_the_event_clock_once_and_are_kept_by_a_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    fs::write(&path, "clock: 1\n".repeat(20_000)).unwrap();
    let (mut file, _) = open(&path);
    file.record(&SnapshotLine::Member(LamportTime(3)));
    for time in 4..6 {
        let (ltime, hash) = (LamportTime(time), time);
        file.record(&SnapshotLine::Seen { ltime, hash });
        file.record(&SnapshotLine::EventClock(ltime));
    }
    let notes = "# cottar-member 3\n\
                 # cottar-seen 4 0000000000000004\n# cottar-seen 5 0000000000000005\n";
    file.append();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.ends_with(&format!("{notes}event-clock: 5\n")),
        "{text}"
    );
    file.flush(NOW);
    let text = fs::read_to_string(&path).unwrap();
    let clocks = "clock: 1\nevent-clock: 5\nquery-clock: 0\n";
    assert_eq!(text, format!("{clocks}{notes}"));
    // Notes are synced after [`SYNC_INTERVAL`].
    let (ltime, hash) = (LamportTime(6), 6);
    file.record(&SnapshotLine::Seen { ltime, hash });
    file.flush(NOW);
    assert_eq!(file.poll_timeout(), Some(NOW + SYNC_INTERVAL));
    file.handle_timeout(NOW + SYNC_INTERVAL);
    assert_eq!(file.poll_timeout(), None);
    // A leave removes the notes.
    file.record(&SnapshotLine::Leave);
    let (_, found) = open(&path);
    assert_eq!(found, Snapshot::default());
}

#[test]
fn a_torn_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    fs::write(&path, "alive: n2 127.0.0.1:28202\nalive: n3 127.0.0.1:28").unwrap();
    let (mut file, found) = open(&path);
    assert_eq!(found.alive.len(), 1);
    file.record(&SnapshotLine::Clock(LamportTime(3)));
    file.flush(NOW);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "alive: n2 127.0.0.1:28202\nclock: 3\n");
}

#[test]
fn a_leave_empties_the_state_unless_it_is_overruled() {
    let dir = tempfile::tempdir().unwrap();
    for (rejoin, expected) in [
        (false, "clock: 0\nevent-clock: 0\nquery-clock: 0\n"),
        (
            true,
            "alive: n 1 127.0.0.1:1000\nclock: 0\nevent-clock: 0\nquery-clock: 0\nleave\n",
        ),
    ] {
        let path = dir.path().join(format!("snap {rejoin}"));
        let (mut file, _) = SnapshotFile::open(&path, rejoin).unwrap();
        file.record(&alive(1));
        file.record(&SnapshotLine::Leave);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text, "alive: n 1 127.0.0.1:1000\nleave\n",
            "written at once"
        );
        assert_eq!(String::from_utf8(file.whole()).unwrap(), expected);
    }
}

#[test]
fn a_device_is_written_to_and_never_replaced() {
    let (mut file, _) = SnapshotFile::open(Path::new("/dev/full"), false).unwrap();
    file.record(&alive(1));
    file.flush(NOW);
    assert!(file.is_failing && file.poll_timeout() == Some(NOW + RETRY));
    file.handle_timeout(NOW + RETRY);
    assert!(file.is_failing && file.poll_timeout() == Some(NOW + RETRY + RETRY));
    file.finish();
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
    let (mut null, _) = SnapshotFile::open(Path::new("/dev/null"), false).unwrap();
    null.record(&alive(1));
    null.flush(NOW);
    assert!(!null.is_failing);
}

#[test]
fn a_long_file_is_replaced_by_its_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    fs::write(&path, "clock: 1\n".repeat(20_000)).unwrap();
    let (mut file, _) = open(&path);
    file.record(&alive(1));
    file.flush(NOW);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "alive: n 1 127.0.0.1:1000\nclock: 1\nevent-clock: 0\nquery-clock: 0\n"
    );
    file.record(&alive(2));
    file.flush(NOW);
    assert!(fs::read_to_string(&path).unwrap().ends_with(":1000\n"));
}

#[test]
fn a_compaction_that_fails_is_not_tried_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    fs::write(&path, "clock: 1\n".repeat(20_000)).unwrap();
    // No file can be created with that name.
    let blocker = dir.path().join("snap.compact");
    fs::create_dir(&blocker).unwrap();
    let (mut file, _) = open(&path);
    file.record(&alive(1));
    file.flush(NOW);
    assert!(!file.is_failing && file.compaction_failed);
    fs::remove_dir(&blocker).unwrap();
    file.flush(NOW);
    assert!(file.size_bytes > 100_000);
    file.flush(NOW + COMPACTION_RETRY);
    assert!(file.size_bytes < 1_000 && !file.compaction_failed);
}

#[test]
fn a_lost_directory_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("snap");
    let (mut file, _) = open(&path);
    fs::remove_dir_all(&folder).unwrap();
    let mut now = NOW;
    for number in 0..3 {
        file.record(&alive(number));
        file.flush(now);
        now = file.poll_timeout().unwrap();
        file.handle_timeout(now);
        assert!(file.is_failing);
    }
    fs::create_dir(&folder).unwrap();
    file.handle_timeout(now + RETRY);
    assert!(!file.is_failing && file.poll_timeout().is_none());
    let (_, found) = open(&path);
    assert_eq!(found.alive.len(), 3);
}

#[test]
fn a_deleted_file_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    let (mut file, _) = open(&path);
    file.record(&alive(1));
    file.flush(NOW);
    fs::remove_file(&path).unwrap();
    file.record(&alive(2));
    file.flush(NOW);
    assert!(file.is_failing);
    file.finish();
    let (_, found) = open(&path);
    assert_eq!(found.alive.len(), 2);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let why = SnapshotFile::open(Path::new("/no/such"), false).unwrap_err();
    assert_eq!(why, "open /no/such: no such file or directory");
}
